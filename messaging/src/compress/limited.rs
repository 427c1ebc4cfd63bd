//! Output that may not grow over a limit.

use std::io::Read;

use crate::error::Malformed;

/// Appends everything that a decompressor gives, up to `limit` bytes in all. What is allocated grows with what comes out.
pub(super) fn append(decompressor: impl Read, out: &mut Vec<u8>, limit: u64) -> Result<(), Malformed> {
    // One byte more, to tell what just fits from what does not.
    let room = limit.saturating_add(1).saturating_sub(out.len() as u64);
    decompressor.take(room).read_to_end(out).map_err(Malformed::Compression)?;
    if out.len() as u64 > limit { Err(Malformed::TooLarge { limit }) } else { Ok(()) }
}
