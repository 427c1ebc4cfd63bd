//! How much memory the disk of a virtual host may take.

use crate::sockets::file_limit;

/// Files that the store writes at a time: a journal and the next one, and tables of what it gathers
/// or merges.
const WRITTEN: usize = 16;

/// How much memory the disk of a virtual host may take, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// What may wait to be written before publishers are held back.
    pub(super) backlog: u64,
    /// What each part of the store gathers before it goes from the journal to where it stays. A
    /// part has of it what was said when it was made.
    pub(super) memtable: u64,
    /// What is written together where more waits. The store holds it several times while it writes,
    /// and gathers as much beyond what it may before it writes that elsewhere.
    pub(super) batch: u64,
    /// What the store keeps of what it has read.
    pub(super) cache: u64,
    /// How many files the store keeps open.
    pub(super) files: usize,
}

impl Room {
    /// A share of the memory that messages may take.
    pub(crate) fn of(memory: u64) -> Self {
        Room {
            backlog: (memory / 8).clamp(1 << 20, 64 << 20),
            memtable: (memory / 32).clamp(1 << 20, 64 << 20),
            batch: (memory / 32).clamp(1 << 20, 8 << 20),
            cache: (memory / 32).clamp(1 << 20, 32 << 20),
            files: (file_limit().unwrap_or(usize::MAX) / 4).clamp(16, 900),
        }
    }

    /// How many files the store may open, with those it is writing.
    pub(crate) fn files(self) -> usize {
        self.files + WRITTEN
    }
}
