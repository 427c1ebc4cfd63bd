//! The memory for reads.
//!
//! Deliveries are slices of it, so a buffer is free only when its last delivery has been dropped.
//! Free buffers are reused before new ones are allocated, because fresh memory costs more than
//! copying from the socket.

use std::collections::VecDeque;

use bytes::BytesMut;

/// The size of a read: small on an idle connection, large on a busy one.
const SMALLEST: usize = 8 * 1024;
const LARGEST: usize = 512 * 1024;

/// After this many consecutive small reads the size shrinks: a buffer freed between two bursts
/// would be fresh memory for the second.
const SMALL_READS: u8 = 32;

/// How many buffers are kept for reuse.
const KEPT: usize = 16;

#[derive(Debug)]
pub(crate) struct ReadBuffer {
    current: BytesMut,
    /// Full buffers, oldest first, whose deliveries may still be in use.
    retired: VecDeque<BytesMut>,
    /// The size of the next read.
    size: usize,
    /// How many consecutive reads were small.
    small_reads: u8,
}

impl ReadBuffer {
    pub(crate) fn new() -> Self {
        ReadBuffer { current: BytesMut::new(), retired: VecDeque::new(), size: SMALLEST, small_reads: 0 }
    }

    /// Returns the buffer, with room for a read at its end.
    pub(crate) fn with_room(&mut self) -> &mut BytesMut {
        if self.current.capacity() - self.current.len() < self.size / 2 {
            self.make_room();
        }
        &mut self.current
    }

    /// Returns the buffer with the bytes that were read.
    pub(crate) fn unread(&mut self) -> &mut BytesMut {
        &mut self.current
    }

    /// Adapts the size of the next read to what was filled lately.
    pub(crate) fn adapt(&mut self, filled: usize) {
        if filled >= self.size / 8 {
            self.small_reads = 0;
        } else {
            self.small_reads += 1;
        }
        if filled >= self.size / 2 {
            self.size = (self.size * 2).min(LARGEST);
        } else if self.small_reads == SMALL_READS {
            self.small_reads = 0;
            self.size = (self.size / 2).max(SMALLEST);
        }
    }

    /// Tells whether it holds more than an idle connection should.
    #[cfg(test)]
    pub(crate) fn is_large(&self) -> bool {
        !self.retired.is_empty() || self.current.capacity() > SMALLEST
    }

    /// Frees memory that an idle connection does not need.
    pub(crate) fn release(&mut self) {
        self.size = SMALLEST;
        self.retired.clear();
        if self.current.is_empty() {
            self.current = BytesMut::new();
        }
    }

    fn make_room(&mut self) {
        if self.current.try_reclaim(self.size) {
            return;
        }
        // An incomplete frame moves to the next buffer, with room for its rest.
        let mut next = self.reusable(self.current.len() + self.size);
        next.extend_from_slice(&self.current);
        let mut full = std::mem::replace(&mut self.current, next);
        full.clear();
        if self.size == LARGEST {
            self.retired.push_back(full);
        }
        self.retired.truncate(KEPT);
    }

    /// Returns a free buffer, or a new one.
    fn reusable(&mut self, size: usize) -> BytesMut {
        let free = self.retired.iter_mut().position(|buffer| buffer.try_reclaim(size));
        let reused = free.and_then(|index| self.retired.remove(index));
        // A busy connection fills more than one read before its deliveries are dropped.
        let ahead = if self.size > SMALLEST { self.size * 2 } else { self.size };
        reused.unwrap_or_else(|| BytesMut::with_capacity(size.max(ahead)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills the free room as a read does, and takes everything off as deliveries do.
    fn read_and_take(buffer: &mut ReadBuffer) -> bytes::Bytes {
        let room = buffer.with_room();
        let size = room.capacity() - room.len();
        room.resize(room.capacity(), 1);
        buffer.adapt(size);
        buffer.unread().split().freeze()
    }

    #[test]
    fn buffers_are_used_again_when_their_deliveries_are_gone() {
        let mut buffer = ReadBuffer::new();
        for _ in 0..10 {
            drop(read_and_take(&mut buffer));
        }
        let first = read_and_take(&mut buffer);
        let address = first.as_ptr();
        let held: Vec<_> = (0..3).map(|_| read_and_take(&mut buffer)).collect();
        assert!(held.iter().all(|delivery| delivery.as_ptr() != address));
        drop(first);
        let again: Vec<_> = (0..KEPT).map(|_| read_and_take(&mut buffer)).collect();
        assert!(again.iter().any(|delivery| delivery.as_ptr() == address), "the free one was not used");
    }

    #[test]
    fn a_frame_begun_moves_along_whole() {
        let mut buffer = ReadBuffer::new();
        let room = buffer.with_room();
        room.resize(room.capacity(), 7);
        let taken = buffer.unread().split_to(100).freeze();
        let begun = buffer.unread().len();
        buffer.with_room();
        assert_eq!(buffer.unread().len(), begun);
        assert!(buffer.unread().iter().all(|&byte| byte == 7));
        drop(taken);
    }

    #[test]
    fn a_small_read_between_large_ones_does_not_give_the_memory_up() {
        let mut buffer = ReadBuffer::new();
        for _ in 0..10 {
            drop(read_and_take(&mut buffer));
        }
        assert_eq!(buffer.size, LARGEST);
        for _ in 1..SMALL_READS {
            buffer.adapt(100);
        }
        assert_eq!(buffer.size, LARGEST);
        buffer.adapt(LARGEST / 8);
        for _ in 0..SMALL_READS {
            assert_eq!(buffer.size, LARGEST);
            buffer.adapt(100);
        }
        assert_eq!(buffer.size, LARGEST / 2);
    }

    #[test]
    fn a_quiet_connection_holds_little() {
        let mut buffer = ReadBuffer::new();
        let held: Vec<_> = (0..2 * KEPT).map(|_| read_and_take(&mut buffer)).collect();
        assert!(buffer.is_large() && buffer.retired.len() <= KEPT);
        drop(held);
        buffer.release();
        assert!(!buffer.is_large());
        assert!(buffer.with_room().capacity() <= 2 * SMALLEST);
    }
}
