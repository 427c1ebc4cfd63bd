//! Reply queues that are known to be gone, so that nobody waits for them for long again.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::oslo::wire::fingerprint::Fingerprint;

/// The most queues that are remembered, and for how long: the same as in Python.
const ROOM: usize = 200;
const MEMORY: Duration = Duration::from_secs(60);

/// Queues whose client has vanished.
#[derive(Debug, Default)]
pub(crate) struct Vanished {
    /// The queues, oldest first.
    queues: VecDeque<(Instant, Fingerprint)>,
}

impl Vanished {
    pub(crate) fn insert(&mut self, queue: &str) {
        self.forget();
        if self.queues.len() >= ROOM {
            self.queues.pop_front();
        }
        self.queues.push_back((Instant::now(), Fingerprint::of(queue)));
    }

    pub(crate) fn contains(&mut self, queue: &str) -> bool {
        self.forget();
        let queue = Fingerprint::of(queue);
        self.queues.iter().any(|(_, vanished)| *vanished == queue)
    }

    fn forget(&mut self) {
        while self.queues.front().is_some_and(|(since, _)| since.elapsed() >= MEMORY) {
            self.queues.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_queue_is_remembered_for_a_minute_and_two_hundred_others() {
        let mut vanished = Vanished::default();
        vanished.insert("a");
        assert!(vanished.contains("a") && !vanished.contains("b"));
        tokio::time::advance(MEMORY).await;
        assert!(!vanished.contains("a"));
        vanished.insert("a");
        (0..ROOM).for_each(|n| vanished.insert(&n.to_string()));
        assert!(!vanished.contains("a"));
        assert_eq!(vanished.queues.len(), ROOM);
    }
}
