#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]
//! # Where to begin
//! | task | begin with |
//! |---|---|
//! | read frames as they arrive | [`RawFrame::split_from`], [`Frames`] for a whole buffer at once |
//! | read frames from a capture that begins anywhere | [`Framer`], [`FrameScanner`] |
//! | decode and encode methods | [`Method`], and the structs in [`method`] |
//! | read the hot methods without copying | [`borrowed`] |
//! | join a message's frames, or split a message into frames | [`Assembler`], [`Content`], [`Body`] |
//! | read and write properties and headers | [`Properties`], [`Table`], [`Value`] |
//! | agree on limits, log in | [`Tune`], [`sasl`] |
//! | combine the parsers with one's own | [`parse`] |
//!
//! # A frame
//! This is the layout that [`frame`] reads. Tables nest no deeper than [`MAX_DEPTH`].
//!
//! ```text
//! 0      1         3             7                  size+7   size+8
//! +------+---------+-------------+------------------+--------+
//! | type | channel |    size     |     payload      |  0xCE  |
//! +------+---------+-------------+------------------+--------+
//!    1 method  2 content header  3 content body  8 heartbeat
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
