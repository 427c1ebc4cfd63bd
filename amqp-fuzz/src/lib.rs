#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]

mod acts;
mod arguments;
#[cfg(feature = "pcap")]
mod capture;
mod choices;
mod client;
mod entry;
mod link;
mod loopback;
mod mutation;
mod pools;
mod server;
mod session;
mod transcript;
mod wire_frame;

pub use acts::violations::Violation;
#[cfg(feature = "pcap")]
pub use capture::connections::{CaptureOptions, read_capture};
#[cfg(feature = "pcap")]
pub use capture::error::CaptureError;
#[cfg(feature = "pcap")]
pub use capture::frames::StreamReader;
#[cfg(feature = "pcap")]
pub use capture::told::{Captured, End, Speaker, Told};
pub use choices::Choices;
pub use client::fault::Fault;
pub use client::options::SessionOptions;
pub use client::step::{Refused, Step};
pub use entry::{mutate_stream, valid_frames};
pub use link::{Link, LinkError};
pub use loopback::Loopback;
pub use mutation::change::{Change, Level};
pub use mutation::mutator::{Mutator, mutate_bytes};
pub use pools::Pools;
pub use server::answers::server_methods;
pub use server::server::{Server, ServerOptions};
pub use session::session::{Session, client_methods};
pub use transcript::item::Item;
#[cfg(feature = "json")]
pub use transcript::json::JsonError;
pub use transcript::read::{TranscriptError, read_line, read_transcript};
pub use transcript::write::WithSecrets;
pub use wire_frame::{WireFrame, octets};

#[cfg(test)]
mod tests;
