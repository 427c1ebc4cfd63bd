//! xz, which kombu calls lzma too.

use std::io::{self, Write as _};

use lzma_rust2::{XzOptions, XzReader, XzWriter};

use super::limited;
use crate::error::Malformed;

const PRESET: u32 = 6;
const SMALLEST_DICTIONARY: u32 = 4096;

/// KiB for the dictionary and what is beside it: preset 9 has one of 64 MiB. It is allocated before anything is read.
const MEMORY: u32 = 66 * 1024;

pub(super) fn compress(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut options = XzOptions::with_preset(PRESET);
    // A dictionary larger than the body is of no use, and both sides allocate it.
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).max(SMALLEST_DICTIONARY);
    options.lzma_options.dict_size = options.lzma_options.dict_size.min(length);
    let mut encoder = XzWriter::new(Vec::new(), options)?;
    encoder.write_all(body)?;
    encoder.finish()
}

pub(super) fn decompress(body: &[u8], limit: u64) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::new();
    limited::append(XzReader::new_mem_limit(body, true, MEMORY), &mut out, limit)?;
    Ok(out)
}
