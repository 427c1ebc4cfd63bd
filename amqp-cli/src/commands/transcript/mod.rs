//! Transcripts of the octets that were sent over the wire, and the octets of transcripts.

pub(crate) mod decode;
pub(crate) mod encode;
mod input;
mod section;
