//! Unique ids of requests, messages and reply queues.

use std::{fmt, hash::Hasher, sync::OnceLock};

use serde::{Serialize, Serializer};
use uuid::{Uuid, fmt::Simple as SimpleUuid};

use crate::sync::atomic::{AtomicU64, Ordering};

/// An id in the form of a UUID.
///
/// It combines a random base per process with a counter, because asking the system for randomness
/// costs a system call each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id(u128);

impl Id {
    pub(crate) fn new() -> Self {
        static BASE: OnceLock<u128> = OnceLock::new();
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let base = *BASE.get_or_init(|| Uuid::new_v4().as_u128());
        // The counter changes only the lower 62 bits, which are random in version 4; the bits above
        // hold version and variant.
        Id(base ^ u128::from(COUNT.fetch_add(1, Ordering::Relaxed) & (u64::MAX >> 2)))
    }

    /// Parses 32 hexadecimal digits, as [`Display`](fmt::Display) writes them.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(|uuid| Id(uuid.as_u128()))
    }

    /// Returns the form with dashes that notifications use.
    pub(crate) fn hyphenated(self) -> String {
        Uuid::from_u128(self.0).hyphenated().to_string()
    }
}

/// Writes 32 lower-case hexadecimal digits: Python's `uuid4().hex`.
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Uuid::from_u128(self.0).simple().encode_lower(&mut [0; SimpleUuid::LENGTH]))
    }
}

/// Serializes it as it is displayed.
impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Uuid::from_u128(self.0).simple().encode_lower(&mut [0; SimpleUuid::LENGTH]))
    }
}

/// A fast hasher for keys that no peer can choose: ids made by this process, and fingerprints. Ids
/// of peers are looked up as well, but never inserted.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u128(byte.into()));
    }

    fn write_u128(&mut self, id: u128) {
        // The counter is in the lower half. The upper bits of a hash matter as much as the lower
        // ones.
        self.0 = (self.0 ^ id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_differ_and_look_like_version_4() {
        let ids: HashSet<_> = (0..10_000).map(|_| Id::new()).collect();
        assert_eq!(ids.len(), 10_000);
        for id in ids {
            assert_eq!(Uuid::from_u128(id.0).get_version_num(), 4);
        }
    }

    #[test]
    fn an_id_is_read_back_as_it_was_written() {
        let id = Id::new();
        assert_eq!(id.to_string().len(), 32);
        assert!(Id::parse(&id.to_string()) == Some(id));
        assert!(Id::parse(&id.hyphenated()) == Some(id));
        assert!(Id::parse("").is_none() && Id::parse("x").is_none());
    }
}
