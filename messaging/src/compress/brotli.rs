//! Brotli (RFC 7932).

use std::io;

use brotli::{BrotliCompress, Decompressor, enc::BrotliEncoderParams};

use super::limited;
use crate::error::Malformed;

const BUFFER: usize = 4096;

/// The quality, a compromise: it takes a tenth of the time of the highest, 11.
const QUALITY: i32 = 5;

pub(super) fn compress(mut body: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let parameters =
        BrotliEncoderParams { quality: QUALITY, size_hint: body.len(), ..BrotliEncoderParams::default() };
    BrotliCompress(&mut body, &mut out, &parameters)?;
    Ok(out)
}

pub(super) fn decompress(body: &[u8], limit: u64) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::new();
    limited::append(Decompressor::new(body, BUFFER), &mut out, limit)?;
    Ok(out)
}
