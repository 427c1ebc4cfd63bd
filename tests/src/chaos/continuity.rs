//! For how long clients got nothing done.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The last time that each client got something done, and the longest in which it did not.
/// Clones are handles of the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Continuity {
    clients: Arc<Mutex<BTreeMap<Client, Times>>>,
}

/// The kind of a client, and its number among them.
type Client = (&'static str, usize);

#[derive(Clone, Copy, Debug)]
struct Times {
    last: Instant,
    longest: Duration,
}

impl Continuity {
    /// Notes a client, which is expected to get something done from now on.
    pub(super) fn begin(&self, kind: &'static str, number: usize) -> Progress {
        let client = (kind, number);
        self.with(|clients| clients.insert(client, Times { last: Instant::now(), longest: Duration::ZERO }));
        Progress { all: self.clone(), client }
    }

    /// The longest time in which a client of each kind got nothing done, up to now.
    pub(super) fn longest(&self) -> Vec<(&'static str, Duration)> {
        self.with(|clients| {
            let mut kinds = BTreeMap::<_, Duration>::new();
            for ((kind, _), times) in clients {
                let longest = kinds.entry(*kind).or_default();
                *longest = (*longest).max(times.longest).max(times.last.elapsed());
            }
            kinds.into_iter().collect()
        })
    }

    /// The clients that got nothing done since this moment.
    pub(super) fn idle_since(&self, moment: Instant) -> Vec<String> {
        self.with(|clients| {
            let idle = clients.iter().filter(|(_, times)| times.last < moment);
            idle.map(|((kind, number), _)| format!("{kind} {number}")).collect()
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<Client, Times>) -> T) -> T {
        work(&mut self.clients.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The progress of one client.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    all: Continuity,
    client: Client,
}

impl Progress {
    /// Notes that the client got something done.
    pub(super) fn made(&self) {
        self.all.with(|clients| {
            if let Some(times) = clients.get_mut(&self.client) {
                times.longest = times.longest.max(times.last.elapsed());
                times.last = Instant::now();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_longest_pause_of_a_kind_is_that_of_any_client_also_one_that_still_lasts() {
        let continuity = Continuity::default();
        let (first, second) = (continuity.begin("publisher", 0), continuity.begin("publisher", 1));
        let _third = continuity.begin("worker", 0);
        advance(Duration::from_secs(3)).await;
        first.made();
        let moment = Instant::now();
        advance(Duration::from_secs(2)).await;
        [&first, &second].into_iter().for_each(Progress::made);
        advance(Duration::from_secs(1)).await;
        let longest = [("publisher", Duration::from_secs(5)), ("worker", Duration::from_secs(6))];
        assert_eq!(continuity.longest(), longest);
        assert_eq!(continuity.idle_since(moment), ["worker 0"]);
    }
}
