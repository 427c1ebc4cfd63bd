//! The messages of fanout exchanges that wait in this process.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::shown::shown;

/// How often a queue's losses are logged at most.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// What a queue got of fanout exchanges. Redis does not keep it, so that it waits here, up to a
/// number of bytes: beyond that the oldest messages are dropped.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    messages: VecDeque<Buffered>,
    bytes: usize,
    dropped: u64,
    logged: Option<Instant>,
}

/// A message in a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Buffered {
    /// The envelope.
    pub(crate) raw: Bytes,
    /// Set when it was delivered before.
    pub(crate) redelivered: bool,
}

impl Buffer {
    /// Adds a message at the back.
    pub(crate) fn push(&mut self, queue: &str, raw: Bytes, most: usize) {
        self.bytes += raw.len();
        self.messages.push_back(Buffered { raw, redelivered: false });
        let before = self.dropped;
        while self.bytes > most && self.messages.len() > 1 {
            self.pop();
            self.dropped += 1;
        }
        if self.dropped > before {
            self.log(queue);
        }
    }

    /// Returns a message to the front.
    pub(crate) fn push_front(&mut self, raw: Bytes) {
        self.bytes += raw.len();
        self.messages.push_front(Buffered { raw, redelivered: true });
    }

    /// Takes the oldest message.
    pub(crate) fn pop(&mut self) -> Option<Buffered> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.raw.len();
        Some(message)
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn clear(&mut self) {
        self.messages.clear();
        self.bytes = 0;
    }

    fn log(&mut self, queue: &str) {
        if self.logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
            self.logged = Some(Instant::now());
            let dropped = std::mem::take(&mut self.dropped);
            tracing::warn!(
                queue = shown(queue),
                dropped,
                "dropped the oldest messages of a fanout exchange: nobody takes them"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(buffer: &mut Buffer) -> Vec<Bytes> {
        std::iter::from_fn(|| buffer.pop()).map(|message| message.raw).collect()
    }

    #[test]
    fn the_oldest_messages_make_room() {
        let mut buffer = Buffer::default();
        for text in ["one", "two", "six", "ten"] {
            buffer.push("q", Bytes::from_static(text.as_bytes()), 6);
        }
        assert_eq!(buffer.len(), 2);
        buffer.push("q", Bytes::from_static(b"larger than the bound"), 6);
        assert_eq!(texts(&mut buffer), ["larger than the bound"]);
    }

    #[test]
    fn what_returns_comes_first() {
        let mut buffer = Buffer::default();
        buffer.push("q", Bytes::from_static(b"new"), 100);
        buffer.push_front(Bytes::from_static(b"old"));
        assert_eq!(buffer.pop(), Some(Buffered { raw: Bytes::from_static(b"old"), redelivered: true }));
        assert_eq!(texts(&mut buffer), ["new"]);
    }
}
