#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]

mod choices;
mod client;
mod link;
mod pools;
mod wire_frame;

pub use choices::Choices;
pub use client::fault::Fault;
pub use client::options::SessionOptions;
pub use client::session::{Session, client_methods};
pub use client::step::{Refused, Step};
pub use client::violations::Violation;
pub use link::{Link, LinkError};
pub use pools::Pools;
pub use wire_frame::{WireFrame, octets};

#[cfg(test)]
mod tests;
