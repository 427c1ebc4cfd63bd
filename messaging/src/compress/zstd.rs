//! Zstandard (RFC 8878).

use std::io;

use ruzstd::{
    decoding::StreamingDecoder,
    encoding::{CompressionLevel, compress_to_vec},
};

use super::limited;
use crate::error::Malformed;

/// The window that every decoder should support, and that levels up to 19 use. It is allocated
/// before anything is read.
const WINDOW: u64 = 8 * 1024 * 1024;

pub(super) fn compress(body: &[u8]) -> io::Result<Vec<u8>> {
    Ok(compress_to_vec(body, CompressionLevel::Fastest))
}

/// Decompresses one frame after another.
pub(super) fn decompress(mut body: &[u8], limit: u64) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::new();
    loop {
        let frame = StreamingDecoder::new_with_max_window_size(&mut body, WINDOW);
        let mut frame = frame.map_err(|error| Malformed::Compression(io::Error::other(error)))?;
        limited::append(&mut frame, &mut out, limit)?;
        let frame = frame.into_frame_decoder();
        let said = frame.get_checksum_from_data();
        if said.is_some() && said != frame.get_calculated_checksum() {
            return Err(Malformed::Compression(io::Error::other("the checksum does not match")));
        }
        if body.is_empty() {
            return Ok(out);
        }
    }
}
