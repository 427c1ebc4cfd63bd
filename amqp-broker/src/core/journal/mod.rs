//! The changes to persistent state as they happen. The holder of the virtual host passes them to
//! the store.

pub(crate) mod groups;
pub(crate) mod kept;
pub(crate) mod records;

use self::{
    groups::Groups,
    kept::Kept,
    records::{Changes, Record},
};

/// The predeclared exchanges have serial numbers below this.
const FIRST_SERIAL: u64 = 100;

/// The changes since they were last taken, if there is a store.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    is_kept: bool,
    last_serial: u64,
    count: usize,
    changes: Changes,
    /// Settlements of persistent messages. No answer waits for them.
    settled: Changes,
    /// The changes that are to be written together.
    pub(crate) groups: Groups,
}

impl Journal {
    /// Records changes from now on.
    pub(crate) fn keep(&mut self) {
        self.is_kept = true;
        self.last_serial = self.last_serial.max(FIRST_SERIAL);
    }

    /// Tells whether there is a store.
    #[inline]
    pub(crate) fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// A number that grows with each change that answers wait for.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// A serial number for a durable entity; 0 for a transient one.
    pub(crate) fn serial(&mut self, survives: bool) -> u64 {
        if !(self.is_kept && survives) {
            return 0;
        }
        self.last_serial += 1;
        self.last_serial
    }

    /// Notes that a serial number is in use.
    pub(crate) fn is_used(&mut self, serial: u64) {
        self.last_serial = self.last_serial.max(serial);
    }

    #[inline]
    pub(crate) fn record(&mut self, record: Record) {
        self.count += 1;
        self.changes.push(record);
    }

    /// Records a message's settlement, with its transaction if that is not written yet.
    #[inline]
    pub(crate) fn record_of(&mut self, kept: Kept, record: impl FnOnce() -> Record) {
        if kept.is_kept() {
            self.groups.of(kept).unwrap_or(&mut self.settled).push(record());
        }
    }

    /// Records that the stream of this serial number is empty, because then no message tells its
    /// next offset.
    pub(crate) fn emptied(&mut self, queue: u64, end: u64) {
        self.settled.push(Record::Emptied { queue, end });
    }

    /// Makes the next answers wait for changes that an earlier turn recorded.
    pub(crate) fn follow(&mut self) {
        self.count += 1;
    }

    /// Records changes that are to be written together.
    pub(crate) fn record_all(&mut self, mut changes: Changes) {
        if !changes.is_empty() {
            self.count += 1;
            self.changes.append(&mut changes);
        }
    }

    /// How many bytes unfinished transactions have to write.
    #[inline]
    pub(crate) fn unwritten(&self) -> u64 {
        self.groups.weight()
    }

    /// Takes the recorded changes, if there are any.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<Changes> {
        if self.count == 0 && self.settled.is_empty() {
            return None;
        }
        self.count = 0;
        let mut changes = std::mem::take(&mut self.changes);
        changes.append(&mut self.settled);
        Some(changes)
    }
}
