//! The messages of a virtual host that are in queues and with consumers.

use super::{ready::Entry, stream::StreamRecord};
use crate::core::{
    content::message::Message,
    journal::{Journal, records::Record},
};

/// The messages in queues and with consumers: it counts their memory, and records in the journal
/// what becomes of persistent ones.
#[derive(Debug, Default)]
pub(crate) struct MessageStore {
    bytes: u64,
    pub(crate) journal: Journal,
}

impl MessageStore {
    /// How many bytes the messages in queues and with consumers take.
    #[inline]
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Counts a message that entered a queue.
    #[inline]
    pub(crate) fn entered(&mut self, message: &Message) {
        self.bytes += message.enter();
    }

    /// Counts a message that left the queue of this serial number for good.
    #[inline]
    pub(crate) fn left(&mut self, queue: u64, entry: &Entry) {
        self.freed(&entry.message);
        self.journal.record_of(entry.kept, || Record::Gone { queue, position: entry.position });
    }

    /// Counts a message that left a stream or a deleted queue, for which nothing is recorded.
    #[inline]
    pub(crate) fn freed(&mut self, message: &Message) {
        self.bytes = self.bytes.saturating_sub(message.leave());
    }

    /// Counts a message that left the stream of this serial number for good.
    pub(crate) fn left_stream(&mut self, queue: u64, record: &StreamRecord) {
        self.freed(&record.message);
        self.journal.record_of(record.kept, || Record::Gone { queue, position: record.offset });
    }

    /// Records that a message returned to the quorum queue of this serial number, and moves it to
    /// this position.
    pub(crate) fn returned(&mut self, queue: u64, entry: &mut Entry, position: u64) {
        if entry.kept.is_kept() {
            // Later changes to the message are not written before this one.
            entry.kept = self.journal.groups.following(entry.kept);
        }
        let before = std::mem::replace(&mut entry.position, position);
        // A crash between both may leave the message twice, but does not lose it.
        self.journal.record_of(entry.kept, || Record::Returned(entry.stored(queue)));
        self.journal.record_of(entry.kept, || Record::Gone { queue, position: before });
    }
}
