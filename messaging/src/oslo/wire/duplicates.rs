//! Detecting messages that were seen before.

use std::{
    collections::{HashSet, VecDeque},
    hash::BuildHasherDefault,
    time::Duration,
};

use tokio::time::Instant;

use crate::oslo::wire::{fingerprint::Fingerprint, id::IdHasher};

/// How many requests a server remembers, and for how long, so that it does not run one again that
/// is delivered twice. This happens because a client that loses its connection sends unconfirmed
/// requests again, under the same ids. Default: the last 16,384, without a limit of time. The
/// number is large because a client may send thousands of other requests before it repeats one
/// whose confirm was lost.
///
/// ```
/// use std::time::Duration;
/// use messaging::rpc::RepeatWindow;
///
/// let window = RepeatWindow::last(100_000).within(Duration::from_secs(600));
/// # let _ = window;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepeatWindow {
    ids: usize,
    age: Duration,
}

impl RepeatWindow {
    /// Returns a window of this many requests. Each costs about 70 bytes while it is remembered,
    /// whatever the length of its id. Python's servers remember 16. With 0 no request is
    /// remembered, and every delivery is run.
    #[must_use]
    pub const fn last(requests: usize) -> Self {
        RepeatWindow { ids: requests, age: Duration::MAX }
    }

    /// Limits how long requests are remembered; default without limit.
    #[must_use]
    pub const fn within(mut self, age: Duration) -> Self {
        self.age = age;
        self
    }
}

impl Default for RepeatWindow {
    fn default() -> Self {
        RepeatWindow::last(16_384)
    }
}

/// The last ids seen, as many as the window holds.
///
/// Python keeps 16, which a burst of redeliveries exceeds.
#[derive(Debug, Default)]
pub(crate) struct Duplicates {
    seen: HashSet<Fingerprint, BuildHasherDefault<IdHasher>>,
    /// The ids, oldest first; without times if they do not expire.
    order: VecDeque<(Option<Instant>, Fingerprint)>,
    window: RepeatWindow,
}

impl Duplicates {
    pub(crate) fn new(window: RepeatWindow) -> Self {
        Duplicates { window, ..Duplicates::default() }
    }

    /// Whether this id was seen before.
    pub(crate) fn contains(&mut self, id: Fingerprint) -> bool {
        self.forget_old();
        self.seen.contains(&id)
    }

    /// Notes this id, and returns whether it was seen before.
    pub(crate) fn is_repeated(&mut self, id: Fingerprint) -> bool {
        self.forget_old();
        if self.window.ids == 0 {
            return false;
        }
        if !self.seen.insert(id) {
            return true;
        }
        if self.order.len() >= self.window.ids {
            self.forget_oldest();
        }
        self.order.push_back((self.grows_old().then(Instant::now), id));
        false
    }

    fn grows_old(&self) -> bool {
        self.window.age < Duration::MAX
    }

    fn forget_old(&mut self) {
        if !self.grows_old() {
            return;
        }
        let age = self.window.age;
        while matches!(self.order.front(), Some((Some(since), _)) if since.elapsed() >= age) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, oldest)) = self.order.pop_front() {
            self.seen.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oslo::wire::id::Id;

    impl Duplicates {
        fn repeats(&mut self, id: &str) -> bool {
            self.is_repeated(Fingerprint::of(id))
        }

        fn knows(&mut self, id: &str) -> bool {
            self.contains(Fingerprint::of(id))
        }
    }

    #[test]
    fn an_id_is_repeated_until_as_many_others_came_as_there_is_room_for() {
        let mut duplicates = Duplicates::new(RepeatWindow::last(3));
        assert!(!duplicates.repeats("a"));
        assert!(duplicates.repeats("a"));
        for other in ["b", "c"] {
            assert!(!duplicates.repeats(other));
        }
        assert!(duplicates.repeats("a"));
        assert!(!duplicates.repeats("d"));
        assert!(!duplicates.repeats("a"));
        assert_eq!((duplicates.seen.len(), duplicates.order.len()), (3, 3));
    }

    #[test]
    fn ids_of_every_form_are_told_apart() {
        let simple = Id::new().to_string();
        let mut duplicates = Duplicates::new(RepeatWindow::last(10));
        for id in [&simple, &simple.to_uppercase(), &format!("{{{simple}}}"), "", "a"] {
            assert!(!duplicates.repeats(id) && duplicates.repeats(id), "{id}");
        }
    }

    #[test]
    fn an_id_of_any_length_takes_as_little_room() {
        assert_eq!(size_of::<Fingerprint>(), 16);
        let mut duplicates = Duplicates::new(RepeatWindow::last(2));
        let (long, longer) = ("x".repeat(1 << 20), "x".repeat((1 << 20) + 1));
        assert!(!duplicates.repeats(&long) && !duplicates.repeats(&longer));
        assert!(duplicates.repeats(&long) && duplicates.repeats(&longer));
    }

    #[tokio::test(start_paused = true)]
    async fn an_id_is_forgotten_after_its_time() {
        let mut duplicates = Duplicates::new(RepeatWindow::last(3).within(Duration::from_secs(10)));
        assert!(!duplicates.repeats("a"));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert!(duplicates.repeats("a") && !duplicates.repeats("b"));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert!(!duplicates.knows("a") && duplicates.knows("b"));
        assert_eq!((duplicates.seen.len(), duplicates.order.len()), (1, 1));
    }

    #[test]
    fn with_no_room_nothing_is_remembered() {
        let mut duplicates = Duplicates::new(RepeatWindow::last(0));
        assert!(!duplicates.repeats("a") && !duplicates.repeats("a"));
        assert!(duplicates.seen.is_empty() && duplicates.order.is_empty());
    }
}
