//! AMQP 0-9-1 on the wire: frames, all methods with RabbitMQ's extensions, content headers and
//! properties, field tables, SASL. For clients, brokers, proxies, sniffers and fuzzers.
//!
//! There is no socket, clock or runtime here: bytes in, values out, and back. What arrives is cut
//! out of the read buffer without copying; what passes through is written again as the bytes it
//! was. Nothing a peer sends makes this crate panic, recurse past [`MAX_DEPTH`], or allocate from a
//! size that was only claimed.
//!
//! A frame, as [`frame`] reads it:
//!
//! ```text
//! 0      1         3             7                  size+7   size+8
//! +------+---------+-------------+------------------+--------+
//! | type | channel |    size     |     payload      |  0xCE  |
//! +------+---------+-------------+------------------+--------+
//!    1 method  2 content header  3 content body  8 heartbeat
//! ```
//!
//! ```
//! use amqp_codec::{Frame, RawFrame, ShortString, method::queue};
//! use bytes::BytesMut;
//!
//! let frame_max = 131_072;
//! let queue = ShortString::from_static("jobs");
//! let declare = queue::Declare { queue, durable: true, ..Default::default() };
//!
//! let mut wire = BytesMut::new();
//! Frame::Method(1, declare.into()).encode(frame_max, &mut wire)?;
//!
//! let raw = RawFrame::split_from(&mut wire, frame_max)?.expect("a whole frame is there");
//! let Frame::Method(1, method) = raw.decode()? else { panic!("a method on channel 1") };
//! assert_eq!(method.name(), "queue.declare");
//! # Ok::<(), amqp_codec::Error>(())
//! ```

#[cfg(feature = "arbitrary")]
mod arbitrary;
pub mod borrowed;
#[cfg(feature = "tokio-codec")]
pub mod codec;
pub mod content;
mod error;
pub mod frame;
pub mod framer;
pub mod method;
pub mod parse;
mod properties;
mod reply;
mod report;
pub mod sasl;
pub mod scanner;
mod table;
mod transcript;
mod tune;
mod wire;

pub use content::content_header_ref::ContentHeaderRef;
pub use content::{Assembler, Body, Content, ContentHeader};
pub use error::Error;
pub use frame::frame_ref::FrameRef;
pub use frame::frames::{ContentRef, Frames};
pub use frame::{Frame, FrameHeader, FrameKind, RawFrame};
pub use framer::Framer;
pub use method::method_ref::MethodRef;
pub use method::sender::Sender;
pub use method::{Arguments, Method, MethodId, Request};
pub use properties::raw_properties::RawProperties;
pub use properties::{EncodedProperties, PERSISTENT, Properties, PropertyList};
pub use reply::{ReplyCode, Scope};
pub use report::Report;
pub use scanner::FrameScanner;
pub use table::entries::{Elements, Entries, ValueRef};
pub use table::header_table::HeaderTable;
pub use table::{Array, ArrayElements, Table, TableEntries, Value};
pub use tune::{FRAME_MIN_SIZE, FRAME_OVERHEAD, Tune};
pub use wire::field::{Field, FieldKind};
pub use wire::nesting::MAX_DEPTH;
pub use wire::text::{LongString, Secret, ShortString};
