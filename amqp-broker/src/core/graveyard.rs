//! Messages that died, until they are published anew, and those that left their queue for good or returned to it.

use std::{collections::VecDeque, ops::Range};

use amqp_codec::ShortString;

use super::{
    arguments::DeadLetter,
    death::Reason,
    journal::{Record, Stored},
    message::Message,
    ready::Entry,
};

/// A message that died, on its way to its queue's dead-letter exchange.
#[derive(Debug)]
pub(crate) struct Dead {
    pub(crate) message: Message,
    /// The name of the queue, which may be gone when its turn comes.
    pub(crate) queue: ShortString,
    pub(crate) to: DeadLetter,
    pub(crate) reason: Reason,
}

/// Messages that died, in the order in which they did, and what became of those that survive the process.
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

    /// Forgets what waits to be published anew beyond so many, the youngest first; tells how many those were.
    pub(crate) fn shorten(&mut self, most: usize) -> usize {
        let beyond = self.dead.len().saturating_sub(most);
        self.dead.truncate(most);
        beyond
    }

    /// A message has left the queue of this serial number for good.
    #[inline]
    pub(crate) fn left(&mut self, queue: u64, entry: &Entry) {
        if entry.stored {
            self.gone.push(Record::Gone { queue, position: entry.position });
        }
    }

    /// Messages have left the stream of this serial number for good, and left it empty or not.
    pub(crate) fn left_all(&mut self, queue: u64, positions: Range<u64>, is_empty: bool) {
        if queue != 0 && !positions.is_empty() {
            if is_empty {
                // Nothing else tells where its offsets go on.
                self.gone.push(Record::Emptied { queue, end: positions.end });
            }
            self.gone.extend(positions.map(|position| Record::Gone { queue, position }));
        }
    }

    /// A message has returned to the quorum queue of this serial number.
    pub(crate) fn returned(&mut self, queue: u64, entry: &Entry) {
        if entry.stored {
            self.gone.push(Record::Returned(Stored::new(queue, entry)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::message::Draft;

    #[test]
    fn the_youngest_are_forgotten_where_too_many_wait() {
        let mut graveyard = Graveyard::default();
        for queue in ["a", "b", "c"] {
            graveyard.push_back(Dead {
                message: Draft::default().message(),
                queue: ShortString::from_static(queue),
                to: DeadLetter { exchange: ShortString::EMPTY, key: None },
                reason: Reason::Expired,
            });
        }
        assert_eq!((graveyard.shorten(3), graveyard.shorten(2), graveyard.len()), (0, 1, 2));
        assert_eq!(graveyard.pop_front().map(|dead| dead.queue), Some(ShortString::from_static("a")));
    }
}
