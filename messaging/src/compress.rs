//! Compressed bodies, as kombu and oslo.messaging write them.

use std::{borrow::Cow, io::Read as _};

use flate2::read::ZlibDecoder;

use crate::error::Malformed;

/// The header that names the compression.
pub(crate) const HEADER: &str = "compression";

/// A body that is larger when decompressed is refused: a few bytes can become gigabytes.
const LIMIT: u64 = 128 * 1024 * 1024;

/// The body as it was before the compression that its header names. An unknown name is taken for none, as Python does.
pub(crate) fn decompress<'a>(compression: Option<&str>, body: &'a [u8]) -> Result<Cow<'a, [u8]>, Malformed> {
    match compression {
        // Under any of its names it is zlib's format, not gzip's.
        Some("application/x-gzip" | "gzip" | "zlib") => unzlib(body, LIMIT).map(Cow::Owned),
        _ => Ok(Cow::Borrowed(body)),
    }
}

fn unzlib(body: &[u8], limit: u64) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::new();
    // One byte more, to tell what just fits from what does not.
    let read =
        ZlibDecoder::new(body).take(limit + 1).read_to_end(&mut out).map_err(Malformed::Compression)?;
    if read as u64 > limit { Err(Malformed::TooLarge { limit }) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{
        Compression,
        write::{GzEncoder, ZlibEncoder},
    };

    use super::*;

    fn zlib(body: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn zlib_is_read_under_all_its_names_and_gzip_is_refused() {
        let body = zlib(b"{}");
        for name in ["application/x-gzip", "gzip", "zlib"] {
            assert_eq!(decompress(Some(name), &body).unwrap().as_ref(), b"{}");
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(b"{}").unwrap();
        let gzip = encoder.finish().unwrap();
        assert!(matches!(decompress(Some("gzip"), &gzip), Err(Malformed::Compression(_))));
    }

    #[test]
    fn what_is_not_compressed_or_by_an_unknown_name_is_left_alone() {
        for name in [None, Some("application/x-unknown")] {
            assert!(matches!(decompress(name, b"{}").unwrap(), Cow::Borrowed(b"{}")));
        }
    }

    #[test]
    fn no_truncation_passes_and_nothing_grows_over_the_limit() {
        let body = zlib(&[0; 1000]);
        assert_eq!(unzlib(&body, 1000).unwrap(), [0; 1000]);
        assert!(matches!(unzlib(&body, 999), Err(Malformed::TooLarge { limit: 999 })));
        for end in 0..body.len() - 4 {
            assert!(unzlib(&body[..end], 1000).is_err(), "cut at {end}");
        }
    }
}
