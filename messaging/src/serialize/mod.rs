//! Bodies: values in, bytes and a content type out, and back.

mod bodies;
mod json;
#[cfg(feature = "msgpack")]
mod message_pack;
mod plain;
mod registry;
mod serializer;
mod text_or_bytes;

pub(crate) use bodies::Bodies;
pub(crate) use json::{CONTENT_ENCODING, CONTENT_TYPE, from_json, strict, to_json};
pub use registry::{Serialized, Serializers};
pub use serializer::{BoxError, ReadValue, Serializer};
