//! The ids of revoked tasks, as many and for as long as Celery's workers keep them.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use tokio::time::Instant;

/// The most ids that are kept.
const MOST: usize = 50_000;
/// The time for which an id is kept.
const KEPT: Duration = Duration::from_secs(10_800);
/// The most bytes of an id that is kept.
const LONGEST: usize = 255;

/// The ids of revoked tasks.
#[derive(Debug, Default)]
pub(super) struct Revoked {
    ids: HashSet<String>,
    /// In the order in which they are forgotten.
    order: VecDeque<(Instant, String)>,
}

impl Revoked {
    pub(super) fn add(&mut self, id: &str) {
        if id.len() > LONGEST || !self.ids.insert(id.to_owned()) {
            return;
        }
        self.order.push_back((Instant::now(), id.to_owned()));
        self.forget();
    }

    pub(super) fn contains(&mut self, id: &str) -> bool {
        self.forget();
        self.ids.contains(id)
    }

    pub(super) fn ids(&mut self) -> Vec<String> {
        self.forget();
        self.order.iter().map(|(_, id)| id.clone()).collect()
    }

    fn forget(&mut self) {
        let is_old = |(since, _): &(Instant, String)| since.elapsed() >= KEPT;
        while self.order.len() > MOST || self.order.front().is_some_and(is_old) {
            if let Some((_, id)) = self.order.pop_front() {
                self.ids.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ids_are_forgotten_when_they_are_old_or_too_many() {
        let mut revoked = Revoked::default();
        revoked.add("a");
        revoked.add(&"x".repeat(LONGEST + 1));
        advance(KEPT / 2).await;
        revoked.add("a");
        revoked.add("b");
        assert_eq!(revoked.ids(), ["a", "b"]);
        advance(KEPT / 2).await;
        assert!(!revoked.contains("a") && revoked.contains("b"));
        for number in 0..MOST {
            revoked.add(&number.to_string());
        }
        assert!(!revoked.contains("b") && revoked.contains("0"));
        assert_eq!(revoked.ids().len(), MOST);
    }
}
