//! The time of day.

use std::time::SystemTime;

/// Milliseconds since 1970.
pub(crate) fn since_1970() -> u64 {
    let elapsed = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
