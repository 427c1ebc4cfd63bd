//! xz, which kombu also calls lzma.

use std::io::{self, Write as _};

use lzma_rust2::{XzOptions, XzReader, XzWriter};

use super::limited;
use crate::error::Malformed;

const PRESET: u32 = 6;
const SMALLEST_DICTIONARY: u32 = 4096;

/// The dictionary of preset 6, which is the default everywhere. It is allocated before anything is
/// read.
const DICTIONARY: u64 = 8 * 1024 * 1024;
/// The dictionary of preset 9.
const LARGEST_DICTIONARY: u64 = 64 * 1024 * 1024;
/// The memory of a decoder besides its dictionary, in KiB.
const BESIDE: u32 = 2 * 1024;

pub(super) fn compress(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut options = XzOptions::with_preset(PRESET);
    // A dictionary larger than the body is useless, and both sides would allocate it.
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).max(SMALLEST_DICTIONARY);
    options.lzma_options.dict_size = options.lzma_options.dict_size.min(length);
    let mut encoder = XzWriter::new(Vec::new(), options)?;
    encoder.write_all(body)?;
    encoder.finish()
}

/// A dictionary larger than the output limit is refused unless it is the default one: no output
/// needs it.
pub(super) fn decompress(body: &[u8], limit: u64) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::new();
    limited::append(XzReader::new_mem_limit(body, true, memory(limit)), &mut out, limit)?;
    Ok(out)
}

/// Returns how much a decoder may allocate, in KiB.
fn memory(limit: u64) -> u32 {
    let dictionary = limit.clamp(DICTIONARY, LARGEST_DICTIONARY).div_ceil(1024);
    u32::try_from(dictionary).unwrap_or(u32::MAX).saturating_add(BESIDE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dictionary_larger_than_what_may_come_out_is_not_allocated() {
        let mut options = XzOptions::with_preset(9);
        options.lzma_options.dict_size = 1 << 26;
        let mut encoder = XzWriter::new(Vec::new(), options).unwrap();
        encoder.write_all(b"body").unwrap();
        let body = encoder.finish().unwrap();
        assert!(matches!(decompress(&body, 1024), Err(Malformed::Compression(_))));
        assert_eq!(decompress(&body, LARGEST_DICTIONARY).unwrap(), b"body");
        let options = XzOptions::with_preset(6);
        let mut encoder = XzWriter::new(Vec::new(), options).unwrap();
        encoder.write_all(b"body").unwrap();
        assert_eq!(decompress(&encoder.finish().unwrap(), 1024).unwrap(), b"body");
    }
}
