//! Transcripts: frames as lines of text or as JSON, and back.

pub(crate) mod item;
#[cfg(feature = "json")]
pub(crate) mod json;
mod literal;
pub(crate) mod read;
mod secret;
pub(crate) mod write;
