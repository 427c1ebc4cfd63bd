//! What is to survive the process, as it happens: whoever keeps the virtual host writes it to where it lasts.

use amqp_codec::{ShortString, Table};

use super::{exchange::Declaration, message::Message, ready::Entry};

/// Serial numbers below are those of the exchanges that are always there.
const FIRST_SERIAL: u64 = 100;

/// A change to what survives. Exchanges and queues go by serial numbers, of which none is ever used again, so what is left of
/// one that has gone belongs to nobody.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    ExchangeDeclared {
        serial: u64,
        declared: Declaration,
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
    Bound(Binding),
    Unbound(Binding),
    Stored(Stored),
    /// A message is what it was, but was returned to its quorum queue.
    Returned(Stored),
    /// A stream is empty; the offset that its next message will have.
    Emptied {
        queue: u64,
        end: u64,
    },
    /// A message has left its queue for good.
    Gone {
        queue: u64,
        position: u64,
    },
}

/// A binding of what survives to what survives.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Binding {
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
    /// In milliseconds of the broker's clock; in a stream, when it came.
    pub(crate) expires_at: u64,
    pub(crate) priority: u8,
    pub(crate) redelivered: bool,
    /// How often it was returned to a quorum queue.
    pub(crate) returns: u32,
    pub(crate) message: Message,
}

impl Stored {
    pub(crate) fn new(queue: u64, entry: &Entry) -> Self {
        Stored {
            queue,
            position: entry.position,
            expires_at: entry.expires_at,
            priority: entry.priority,
            redelivered: entry.redelivered,
            returns: entry.returns,
            message: entry.message.clone(),
        }
    }
}

impl Stored {
    /// A message in a stream that came now.
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

/// The changes since they were last taken, if anybody keeps them.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    is_kept: bool,
    last_serial: u64,
    records: Vec<Record>,
}

impl Journal {
    /// From now on changes are noted.
    pub(crate) fn keep(&mut self) {
        self.is_kept = true;
        self.last_serial = self.last_serial.max(FIRST_SERIAL);
    }

    /// Whether anything survives at all.
    #[inline]
    pub(crate) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// How many changes are noted.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// A number for what is to survive; 0 for what is not.
    pub(crate) fn serial(&mut self, survives: bool) -> u64 {
        if !(self.is_kept && survives) {
            return 0;
        }
        self.last_serial += 1;
        self.last_serial
    }

    /// A number that is in use.
    pub(crate) fn is_used(&mut self, serial: u64) {
        self.last_serial = self.last_serial.max(serial);
    }

    pub(crate) fn record(&mut self, record: Record) {
        self.records.push(record);
    }

    /// Notes changes that are to be written together.
    pub(crate) fn record_all(&mut self, mut records: Vec<Record>) {
        if self.records.is_empty() {
            // However many there are.
            self.records = records;
        } else {
            self.records.append(&mut records);
        }
    }

    pub(crate) fn take(&mut self, records: &mut Vec<Record>) {
        debug_assert!(records.is_empty());
        std::mem::swap(records, &mut self.records);
    }
}
