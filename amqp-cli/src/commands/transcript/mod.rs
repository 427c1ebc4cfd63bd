//! What was sent over the wire as transcripts, and back.

pub(crate) mod decode;
pub(crate) mod encode;
mod input;
mod section;
