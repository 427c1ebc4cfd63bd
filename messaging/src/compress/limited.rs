//! Output with a limit.

use std::io::Read;

use crate::error::Malformed;

/// Appends the output of a decompressor, up to `limit` bytes in all. Memory grows with the actual
/// output.
pub(super) fn append(decompressor: impl Read, out: &mut Vec<u8>, limit: u64) -> Result<(), Malformed> {
    // One byte beyond the limit distinguishes output that just fits from output that does not.
    let room = limit.saturating_add(1).saturating_sub(out.len() as u64);
    decompressor.take(room).read_to_end(out).map_err(Malformed::Compression)?;
    if out.len() as u64 > limit { Err(Malformed::TooLarge { limit }) } else { Ok(()) }
}
