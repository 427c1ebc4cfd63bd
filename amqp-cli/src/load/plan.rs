//! The parts of a load.

use serde::{Deserialize, Serialize};

use crate::load::kinds::{QueueKind, Stamp};

/// The parts of a load. A report repeats them.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct Plan {
    pub(crate) publishers: usize,
    pub(crate) consumers: usize,
    /// The number of queues, which are made for the load and deleted after it.
    pub(crate) queues: usize,
    /// The queues of others, if there are any; nothing is declared or deleted then.
    pub(crate) named_queues: Vec<String>,
    pub(crate) kind: QueueKind,
    /// The sizes of bodies, as text.
    pub(crate) size: String,
    pub(crate) is_persistent: bool,
    pub(crate) stamp: Stamp,
    /// Messages a second of each publisher; `None` is as fast as possible.
    pub(crate) rate: Option<u32>,
    /// Messages a second of each consumer.
    pub(crate) consume_rate: Option<u32>,
    /// The open confirms of each publisher; 0 is none, and no confirms.
    pub(crate) confirm_window: usize,
    /// After how many deliveries they are acknowledged; 0 is never: without acknowledgement.
    pub(crate) ack_every: u32,
    pub(crate) prefetch: u16,
    /// The most connections of publishers, and of consumers.
    pub(crate) connections: usize,
    pub(crate) threads: usize,
    /// In seconds.
    pub(crate) warm_up: f64,
    /// In seconds; `None` is until the count is reached, or a signal comes.
    pub(crate) duration: Option<f64>,
    /// The messages of each publisher; without publishers, those that are consumed.
    pub(crate) count: Option<u64>,
    /// The time that consumers have for what is left at the end, in seconds.
    pub(crate) drain: f64,
    /// In seconds.
    pub(crate) interval: f64,
}

/// The purpose of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    /// The queues of each publisher, which take turns.
    pub(crate) publishers: Vec<Vec<usize>>,
    /// The queue of each consumer.
    pub(crate) consumers: Vec<usize>,
}

impl Plan {
    /// The number of queues.
    pub(crate) fn queue_count(&self) -> usize {
        match self.named_queues.len() {
            0 => self.queues,
            named => named,
        }
    }

    /// Spreads publishers and consumers over queues and connections. A publisher and a consumer
    /// never share a connection, because a broker that slows a publisher down stops reading all of
    /// its connection.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let queues = self.queue_count();
        let publishers: Vec<Vec<usize>> =
            (0..self.publishers).map(|number| shares(number, self.publishers, queues)).collect();
        let consumers: Vec<Vec<usize>> =
            (0..self.consumers).map(|number| shares(number, self.consumers, queues)).collect();
        let mut parts = vec![Part::default(); self.publishers.min(self.connections)];
        let width = parts.len();
        for (number, queues) in publishers.into_iter().enumerate() {
            if let Some(part) = parts.get_mut(number % width.max(1)) {
                part.publishers.push(queues);
            }
        }
        let mut consuming = vec![Part::default(); self.consumers.min(self.connections)];
        let width = consuming.len();
        for (number, queues) in consumers.into_iter().enumerate() {
            if let Some(part) = consuming.get_mut(number % width.max(1)) {
                part.consumers.extend(queues);
            }
        }
        parts.extend(consuming);
        parts
    }
}

/// The queues of one of several publishers or consumers: one where there are as many of them as
/// queues, or more; otherwise its share of the queues.
fn shares(number: usize, of: usize, queues: usize) -> Vec<usize> {
    match of >= queues {
        true => vec![number % queues.max(1)],
        false => (number..queues).step_by(of.max(1)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_has_its_share() {
        assert_eq!(shares(3, 4, 2), [1]);
        assert_eq!(shares(0, 2, 5), [0, 2, 4]);
        assert_eq!(shares(1, 2, 5), [1, 3]);
        assert_eq!(shares(0, 1, 1), [0]);
    }
}
