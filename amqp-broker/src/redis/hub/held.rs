//! The claims that links hold.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
};

use crate::sync::Mutex;

/// The claims of all links, by link and number.
#[derive(Debug, Default)]
pub(crate) struct Held {
    links: Mutex<HashMap<u64, Claims>>,
}

#[derive(Debug, Default)]
struct Claims {
    numbers: BTreeSet<u64>,
    /// The numbers of a claim that is under way: which of them are taken shows in its answer.
    pending: Range<u64>,
}

impl Held {
    /// A link is about to claim messages, with some of these numbers.
    pub(crate) fn begin(&self, link: u64, numbers: Range<u64>) {
        self.links.lock().entry(link).or_default().pending = numbers;
    }

    /// It has claimed messages with these numbers.
    pub(crate) fn finish(&self, link: u64, numbers: impl IntoIterator<Item = u64>) {
        let mut links = self.links.lock();
        let claims = links.entry(link).or_default();
        claims.pending = Range::default();
        claims.numbers.extend(numbers);
    }

    /// Claims are settled.
    pub(crate) fn remove(&self, link: u64, numbers: impl IntoIterator<Item = u64>) {
        if let Some(claims) = self.links.lock().get_mut(&link) {
            numbers.into_iter().for_each(|number| _ = claims.numbers.remove(&number));
        }
    }

    /// Removes all that a link may have claimed; returns the numbers, the first claim first.
    pub(crate) fn take(&self, link: u64) -> Vec<u64> {
        let claims = self.links.lock().remove(&link).unwrap_or_default();
        claims.numbers.into_iter().chain(claims.pending).collect()
    }

    /// Removes what a link may have claimed in a claim that failed.
    pub(crate) fn take_pending(&self, link: u64) -> Vec<u64> {
        let mut links = self.links.lock();
        links.get_mut(&link).map(|claims| std::mem::take(&mut claims.pending).collect()).unwrap_or_default()
    }

    /// The numbers of all claims.
    pub(crate) fn all(&self) -> Vec<u64> {
        let links = self.links.lock();
        links.values().flat_map(|claims| claims.numbers.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_whose_answer_is_lost_may_have_taken_any_of_its_numbers() {
        let held = Held::default();
        held.begin(1, 0..9);
        held.finish(1, 0..3);
        held.begin(1, 9..12);
        held.remove(1, [1]);
        assert_eq!(held.all(), [0, 2]);
        assert_eq!(held.take(1), [0, 2, 9, 10, 11]);
        assert!(held.take(1).is_empty());
    }
}
