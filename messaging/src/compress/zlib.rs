//! zlib's format (RFC 1950), which kombu calls gzip.

use std::io::{self, Write as _};

use flate2::{Compression as Level, Decompress, FlushDecompress, Status, write::ZlibEncoder};

use crate::error::Malformed;

/// The step in which the output grows.
const CHUNK: usize = 32 * 1024;

pub(super) fn compress(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Level::default());
    encoder.write_all(body)?;
    encoder.finish()
}

/// Uses flate2's decompressor directly, because its reader takes the end of the body for the end of
/// the data, and so misses a truncated checksum.
pub(super) fn decompress(body: &[u8], limit: u64) -> Result<Vec<u8>, Malformed> {
    let mut zlib = Decompress::new(true);
    let mut out = Vec::new();
    loop {
        out.reserve(CHUNK.min(out.len().max(1024)));
        let read = usize::try_from(zlib.total_in()).unwrap_or(usize::MAX);
        let rest = body.get(read..).unwrap_or_default();
        let before = (zlib.total_in(), zlib.total_out());
        let status = zlib.decompress_vec(rest, &mut out, FlushDecompress::None);
        let status = status.map_err(|error| Malformed::Compression(error.into()))?;
        if out.len() as u64 > limit {
            return Err(Malformed::TooLarge { limit });
        }
        match status {
            Status::StreamEnd => return Ok(out),
            _ if before == (zlib.total_in(), zlib.total_out()) => {
                return Err(Malformed::Compression(io::ErrorKind::UnexpectedEof.into()));
            }
            _ => {}
        }
    }
}
