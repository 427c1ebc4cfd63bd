//! Ids that no other process makes: of requests, messages, reply queues.

use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use uuid::Uuid;

/// An id in the form of a UUID.
///
/// A random base a process and a counter: asking the system for randomness costs a system call each time.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Id(u128);

impl Id {
    pub(crate) fn new() -> Self {
        static BASE: OnceLock<u128> = OnceLock::new();
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let base = *BASE.get_or_init(|| Uuid::new_v4().as_u128());
        // The lower 62 bits are random in version 4: those above tell version and variant and stay as they are.
        Id(base ^ u128::from(COUNT.fetch_add(1, Ordering::Relaxed) & (u64::MAX >> 2)))
    }

    /// From 32 hexadecimal digits, as [`Display`](fmt::Display) writes them.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(|uuid| Id(uuid.as_u128()))
    }

    /// With dashes, as notifications write it.
    pub(crate) fn hyphenated(self) -> String {
        Uuid::from_u128(self.0).hyphenated().to_string()
    }
}

/// 32 lower-case hexadecimal digits: Python's `uuid4().hex`.
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
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
