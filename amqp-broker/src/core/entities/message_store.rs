//! The messages of a virtual host that are in queues and with consumers.

use super::{ready::Entry, stream::StreamRecord};
use crate::core::{
    content::message::Message,
    journal::{Journal, records::Record},
};

/// The messages in queues and with consumers: how much memory they take, and what becomes of those
/// that survive the process.
#[derive(Debug, Default)]
pub(crate) struct MessageStore {
    bytes: u64,
    pub(crate) journal: Journal,
}

impl MessageStore {
    /// Bytes of the messages in queues and with consumers.
    #[inline]
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A message has entered a queue.
    #[inline]
    pub(crate) fn entered(&mut self, message: &Message) {
        self.bytes += message.enter();
    }

    /// A message has left the queue of this serial number for good.
    #[inline]
    pub(crate) fn left(&mut self, queue: u64, entry: &Entry) {
        self.freed(&entry.message);
        self.journal.record_of(entry.kept, || Record::Gone { queue, position: entry.position });
    }

    /// A message has left a queue that need not be told of it: a stream, or one that is gone
    /// itself.
    #[inline]
    pub(crate) fn freed(&mut self, message: &Message) {
        self.bytes = self.bytes.saturating_sub(message.leave());
    }

    /// A message has left the stream of this serial number for good.
    pub(crate) fn left_stream(&mut self, queue: u64, record: &StreamRecord) {
        self.freed(&record.message);
        self.journal.record_of(record.kept, || Record::Gone { queue, position: record.offset });
    }

    /// A message has returned to the quorum queue of this serial number.
    pub(crate) fn returned(&mut self, queue: u64, entry: &mut Entry) {
        if entry.kept.is_kept() {
            // What becomes of it next is not written before this is.
            entry.kept = self.journal.groups.following(entry.kept);
        }
        self.journal.record_of(entry.kept, || Record::Returned(entry.stored(queue)));
    }
}
