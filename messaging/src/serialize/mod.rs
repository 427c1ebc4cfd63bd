//! Bodies of messages: values are encoded to bytes and a content type, and decoded again.

mod bodies;
mod json;
#[cfg(feature = "msgpack")]
mod message_pack;
mod plain;
mod registry;
mod serializer;
mod text_or_bytes;

pub(crate) use bodies::Bodies;
pub(crate) use json::{CONTENT_ENCODING, CONTENT_TYPE, to_json};
#[cfg(feature = "oslo")]
pub(crate) use json::{from_json, strict};
pub use registry::{Serialized, Serializers};
pub use serializer::{BoxError, ReadValue, Serializer};
