//! A short identifier of a text of any length.

use std::{hash::Hasher as _, sync::OnceLock};

use siphasher::sip128::{Hasher128 as _, SipHasher13};
use uuid::Uuid;

/// What is kept of a text that a peer chose, however long it is.
///
/// It is SipHash with 128 bits and a key of this process: a peer that does not know the key can
/// construct neither two texts with the same fingerprint nor many that crowd a hash table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Fingerprint(u128);

impl Fingerprint {
    pub(crate) fn of(text: &str) -> Self {
        static KEY: OnceLock<(u64, u64)> = OnceLock::new();
        let &(first, second) = KEY.get_or_init(|| Uuid::new_v4().as_u64_pair());
        let mut hasher = SipHasher13::new_with_keys(first, second);
        hasher.write(text.as_bytes());
        Fingerprint(hasher.finish128().as_u128())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn texts_are_told_apart_by_their_fingerprints() {
        let texts = (0..10_000).map(|n| n.to_string()).chain((1..1000).map(|length| "a".repeat(length)));
        let fingerprints: HashSet<_> = texts.map(|text| Fingerprint::of(&text)).collect();
        assert_eq!(fingerprints.len(), 10_999);
        assert_eq!(Fingerprint::of("a"), Fingerprint::of("a"));
    }
}
