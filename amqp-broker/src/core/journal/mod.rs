//! What is to survive the process, as it happens: whoever keeps the virtual host writes it to where
//! it lasts.

pub(crate) mod groups;
pub(crate) mod kept;
pub(crate) mod records;

use self::{
    groups::Groups,
    kept::Kept,
    records::{Changes, Record},
};

/// Serial numbers below are those of the exchanges that are always there.
const FIRST_SERIAL: u64 = 100;

/// The changes since they were last taken, if anybody keeps them.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    is_kept: bool,
    last_serial: u64,
    count: usize,
    changes: Changes,
    /// What became of messages that are kept. No answer waits for it.
    settled: Changes,
    /// What is to be written together.
    pub(crate) groups: Groups,
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

    /// Grows whenever changes are noted that answers wait for.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.count
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

    #[inline]
    pub(crate) fn record(&mut self, record: Record) {
        self.count += 1;
        self.changes.push(record);
    }

    /// Notes what became of a message, with its transaction where that is not written yet.
    #[inline]
    pub(crate) fn record_of(&mut self, kept: Kept, record: impl FnOnce() -> Record) {
        if kept.is_kept() {
            self.groups.of(kept).unwrap_or(&mut self.settled).push(record());
        }
    }

    /// The stream of this serial number has become empty: nothing else tells where its offsets go
    /// on.
    pub(crate) fn emptied(&mut self, queue: u64, end: u64) {
        self.settled.push(Record::Emptied { queue, end });
    }

    /// What was noted in an earlier turn is to be on disk before anything that is said of it.
    pub(crate) fn follow(&mut self) {
        self.count += 1;
    }

    /// Notes changes that are to be written together.
    pub(crate) fn record_all(&mut self, mut changes: Changes) {
        if !changes.is_empty() {
            self.count += 1;
            self.changes.append(&mut changes);
        }
    }

    /// Bytes of what is to be written of transactions that are under way.
    #[inline]
    pub(crate) fn unwritten(&self) -> u64 {
        self.groups.weight()
    }

    /// The changes since they were last taken, if there are any.
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
