//! bzip2.

use std::io::{self, Write as _};

use bzip2::{Compression as Level, read::MultiBzDecoder, write::BzEncoder};

use super::limited;
use crate::error::Malformed;

pub(super) fn compress(body: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = BzEncoder::new(Vec::new(), Level::best());
    encoder.write_all(body)?;
    encoder.finish()
}

pub(super) fn decompress(body: &[u8], limit: u64) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::new();
    limited::append(MultiBzDecoder::new(body), &mut out, limit)?;
    Ok(out)
}
