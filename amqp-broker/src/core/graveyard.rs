//! Messages that died in the operation under way, until they are published anew, and those that left their queue for good.

use std::{collections::VecDeque, ops::Range};

use super::{death::Reason, ids::QueueId, journal::Record, message::Message, ready::Entry};

/// A message that died, on its way to its queue's dead-letter exchange.
#[derive(Debug)]
pub(crate) struct Dead {
    pub(crate) message: Message,
    pub(crate) queue: QueueId,
    pub(crate) reason: Reason,
}

/// Messages that died, in the order in which they did, and what left of those that would have survived the process.
#[derive(Debug, Default)]
pub(crate) struct Graveyard {
    dead: VecDeque<Dead>,
    gone: Vec<Record>,
}

impl Graveyard {
    /// Whether nothing waits to be published anew.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.dead.is_empty()
    }

    /// How many wait to be published anew.
    pub(crate) fn len(&self) -> usize {
        self.dead.len()
    }

    pub(crate) fn push_back(&mut self, dead: Dead) {
        self.dead.push_back(dead);
    }

    pub(crate) fn pop_front(&mut self) -> Option<Dead> {
        self.dead.pop_front()
    }

    /// Forgets what waits to be published anew.
    pub(crate) fn clear(&mut self) {
        self.dead.clear();
    }

    /// A message has left the queue of this serial number for good.
    #[inline]
    pub(crate) fn left(&mut self, queue: u64, entry: &Entry) {
        if entry.stored {
            self.gone.push(Record::Gone { queue, position: entry.position });
        }
    }

    /// Messages have left the stream of this serial number for good.
    pub(crate) fn left_all(&mut self, queue: u64, positions: Range<u64>) {
        if queue != 0 {
            self.gone.extend(positions.map(|position| Record::Gone { queue, position }));
        }
    }

    /// What left since this was last asked.
    pub(crate) fn take_gone(&mut self, records: &mut Vec<Record>) {
        records.append(&mut self.gone);
    }

    /// Whether anything left since that was last asked.
    #[inline]
    pub(crate) fn has_gone(&self) -> bool {
        !self.gone.is_empty()
    }
}
