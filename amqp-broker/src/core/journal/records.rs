//! Changes to persistent state, in their order.

use std::{
    iter::{Chain, Flatten},
    vec,
};

use amqp_codec::{ShortString, Table};

use crate::core::{
    content::message::Message,
    rabbitmq::{exchange_declaration::ExchangeDeclaration, policies::policy::Policy},
};

/// The memory of a change besides its texts. An estimate.
const RECORD_OVERHEAD: u64 = 200;

/// How many changes a part holds.
const PART: usize = 4096;

/// A change to persistent state. Exchanges and queues go by serial numbers, which are never reused,
/// so that the leftovers of a deleted one belong to nobody.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    ExchangeDeclared {
        serial: u64,
        declared: ExchangeDeclaration,
    },
    ExchangeDeleted {
        serial: u64,
    },
    QueueDeclared {
        serial: u64,
        name: ShortString,
        auto_delete: bool,
        arguments: Table,
    },
    QueueDeleted {
        serial: u64,
    },
    Bound(DurableBinding),
    Unbound(DurableBinding),
    PolicySet(Box<Policy>),
    PolicyCleared {
        name: ShortString,
        is_of_operator: bool,
    },
    Stored(Stored),
    /// A message returned to its quorum queue, at a new position. The next change is that it is
    /// gone from the former one.
    Returned(Stored),
    /// A stream is empty; its next offset is recorded.
    Emptied {
        queue: u64,
        end: u64,
    },
    /// A message left its queue for good.
    Gone {
        queue: u64,
        position: u64,
    },
}

impl Record {
    /// About how much memory it takes until it is written.
    #[inline]
    fn weight(&self) -> u64 {
        let texts = match self {
            Record::Stored(stored) | Record::Returned(stored) => stored.message.parts().weight(),
            Record::ExchangeDeclared { declared, .. } => declared.arguments.as_encoded().len() as u64,
            Record::QueueDeclared { arguments, .. } => arguments.as_encoded().len() as u64,
            Record::Bound(binding) | Record::Unbound(binding) => binding.arguments.as_encoded().len() as u64,
            Record::PolicySet(policy) => {
                (policy.name.len() + policy.pattern.len() + policy.definition.as_encoded().len()) as u64
            }
            _ => 0,
        };
        RECORD_OVERHEAD + texts
    }
}

/// Changes in their order. They are kept in parts whose sizes are known, so that appending and
/// handing over takes no time, however many there are.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    full: Vec<Vec<Record>>,
    last: Vec<Record>,
    weight: u64,
}

impl Changes {
    /// Adds a change.
    #[inline]
    pub(crate) fn push(&mut self, record: Record) {
        if self.last.len() == PART {
            self.full.push(std::mem::take(&mut self.last));
        }
        self.weight += record.weight();
        self.last.push(record);
    }

    /// Moves all changes from another list.
    #[inline]
    pub(crate) fn append(&mut self, more: &mut Changes) {
        self.weight += std::mem::take(&mut more.weight);
        if self.is_empty() {
            std::mem::swap(&mut self.full, &mut more.full);
            std::mem::swap(&mut self.last, &mut more.last);
        } else if more.full.is_empty() && self.last.len() + more.last.len() <= PART {
            self.last.append(&mut more.last);
        } else {
            self.full.push(std::mem::take(&mut self.last));
            self.full.append(&mut more.full);
            self.last = std::mem::take(&mut more.last);
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.last.is_empty() && self.full.is_empty()
    }

    /// About how much memory they take, in bytes.
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.full.iter().flatten().chain(&self.last)
    }
}

impl IntoIterator for Changes {
    type Item = Record;
    type IntoIter = Chain<Flatten<vec::IntoIter<Vec<Record>>>, vec::IntoIter<Record>>;

    fn into_iter(self) -> Self::IntoIter {
        self.full.into_iter().flatten().chain(self.last)
    }
}

/// A binding between durable entities.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DurableBinding {
    pub(crate) source: u64,
    pub(crate) destination: u64,
    pub(crate) to_exchange: bool,
    pub(crate) key: ShortString,
    pub(crate) arguments: Table,
}

/// A message in a queue.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) queue: u64,
    pub(crate) position: u64,
    /// The time of expiry, in milliseconds of the broker's clock; in a stream, the time of arrival.
    pub(crate) expires_at: u64,
    pub(crate) priority: u8,
    pub(crate) redelivered: bool,
    /// How often it was returned to a quorum queue.
    pub(crate) returns: u32,
    pub(crate) message: Message,
}

impl Stored {
    /// Creates the record of a message that arrives in a stream now.
    pub(crate) fn in_stream(queue: u64, offset: u64, now: u64, message: &Message) -> Self {
        Stored {
            queue,
            position: offset,
            expires_at: now,
            priority: 0,
            redelivered: false,
            returns: 0,
            message: message.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(serials: std::ops::Range<u64>) -> Changes {
        let mut changes = Changes::default();
        serials.for_each(|serial| changes.push(Record::QueueDeleted { serial }));
        changes
    }

    #[test]
    fn changes_that_are_added_to_others_come_after_them_and_are_not_moved_when_they_are_many() {
        let part = PART as u64;
        for (first, second) in [(0, 3), (3, 0), (3, 3), (3, part), (part, 3), (3, 5 * part), (5 * part, 3)] {
            let (mut all, mut more) = (changes(0..first), changes(first..first + second));
            let at = more.iter().next().filter(|_| second >= part).map(std::ptr::from_ref);
            all.append(&mut more);
            assert!(more.is_empty() && more.weight() == 0);
            assert_eq!(all.weight(), (first + second) * RECORD_OVERHEAD);
            let there = all.iter().nth(first as usize).map(std::ptr::from_ref);
            assert!(at.is_none() || at == there, "{first} and {second}");
            let serials = all.into_iter().map(|record| match record {
                Record::QueueDeleted { serial } => serial,
                other => panic!("{other:?}"),
            });
            assert!(serials.eq(0..first + second), "{first} and {second}");
        }
    }
}
