//! The memory that reads go into.
//!
//! Deliveries are slices of it, so a buffer is free again only when its last delivery has been dropped. Buffers in that
//! state are used again before new ones are made: fresh memory costs more than the copy out of the socket.

use std::collections::VecDeque;

use bytes::BytesMut;

/// Room made for one read: little for a quiet connection, much for a busy one.
const SMALLEST: usize = 8 * 1024;
const LARGEST: usize = 512 * 1024;

/// So many reads in turn that fill little make the room smaller: a buffer given up between two bursts is fresh memory for
/// the second.
const SMALL_READS: u8 = 32;

/// Buffers kept to be used again.
const KEPT: usize = 16;

#[derive(Debug)]
pub(crate) struct ReadBuffer {
    current: BytesMut,
    /// Full ones, oldest first, whose deliveries may still be with their users.
    retired: VecDeque<BytesMut>,
    /// How much room to make.
    size: usize,
    /// Reads in turn that filled little of it.
    small_reads: u8,
}

impl ReadBuffer {
    pub(crate) fn new() -> Self {
        ReadBuffer { current: BytesMut::new(), retired: VecDeque::new(), size: SMALLEST, small_reads: 0 }
    }

    /// The buffer, with room for a read at its end.
    pub(crate) fn with_room(&mut self) -> &mut BytesMut {
        if self.current.capacity() - self.current.len() < self.size / 2 {
            self.make_room();
        }
        &mut self.current
    }

    /// The buffer, with what has been read.
    pub(crate) fn unread(&mut self) -> &mut BytesMut {
        &mut self.current
    }

    /// Makes as much room next time as lately was filled.
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

    /// Whether it holds more than a quiet connection should.
    #[cfg(test)]
    pub(crate) fn is_large(&self) -> bool {
        !self.retired.is_empty() || self.current.capacity() > SMALLEST
    }

    /// Gives back what a quiet connection does not need.
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
        // A frame begun moves to the next buffer, with room for as much as will come.
        let mut next = self.reusable(self.current.len() + self.size);
        next.extend_from_slice(&self.current);
        let mut full = std::mem::replace(&mut self.current, next);
        full.clear();
        if self.size == LARGEST {
            self.retired.push_back(full);
        }
        self.retired.truncate(KEPT);
    }

    /// A retired buffer that nobody uses any more, or a new one.
    fn reusable(&mut self, size: usize) -> BytesMut {
        let free = self.retired.iter_mut().position(|buffer| buffer.try_reclaim(size));
        let reused = free.and_then(|index| self.retired.remove(index));
        // A connection that is busy fills more than one read before its deliveries are gone.
        let ahead = if self.size > SMALLEST { self.size * 2 } else { self.size };
        reused.unwrap_or_else(|| BytesMut::with_capacity(size.max(ahead)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills what room there is, as one read does, and takes it all off as deliveries do.
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
