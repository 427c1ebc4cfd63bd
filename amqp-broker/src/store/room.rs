//! How much memory the disk of a virtual host may take.

use crate::sockets::file_limit;

/// How many files the store writes at a time: a journal and the next one, and tables that it
/// flushes or merges.
const WRITTEN: usize = 16;

/// How much memory the disk of a virtual host may take, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// How much may wait to be written before publishers are held back.
    pub(super) backlog: u64,
    /// How much each keyspace gathers before it is flushed. It keeps the value with which it was
    /// created.
    pub(super) memtable: u64,
    /// How much is written together when more waits. The store holds it several times while it
    /// writes, and exceeds the memtable size by it before it flushes.
    pub(super) batch: u64,
    /// The size of the store's read cache.
    pub(super) cache: u64,
    /// How many files the store keeps open.
    pub(super) files: usize,
}

impl Room {
    /// The shares of this memory limit.
    pub(crate) fn of(memory: u64) -> Self {
        Room {
            backlog: (memory / 8).clamp(1 << 20, 64 << 20),
            memtable: (memory / 32).clamp(1 << 20, 64 << 20),
            batch: (memory / 32).clamp(1 << 20, 8 << 20),
            cache: (memory / 32).clamp(1 << 20, 32 << 20),
            files: (file_limit().unwrap_or(usize::MAX) / 4).clamp(16, 900),
        }
    }

    /// How many files the store may have open, including those it is writing.
    pub(crate) fn files(self) -> usize {
        self.files + WRITTEN
    }
}
