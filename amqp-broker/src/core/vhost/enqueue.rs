//! Puts messages into queues, or hands them to consumers straight away.

use super::Vhost;
use crate::core::{
    content::message::Message,
    effects::sink::Sink,
    entities::{ids::QueueId, ready::NEVER},
    journal::{kept::Kept, records::Stored},
    rabbitmq::{arguments::Overflow, death::Reason},
    work::{
        publication::Publication,
        publishing::{PublishProgress, Published, Publishing},
        routing::Found,
    },
};

/// The outcome of a message at a queue.
enum Enqueued {
    Taken,
    Refused,
    /// The queue has more to drop first than the turn allows.
    NotYet,
}

impl Vhost {
    /// Puts a message into its queues, as far as the turn allows; returns whether all have it.
    pub(super) fn put(
        &mut self,
        now: u64,
        publication: &mut Publication<'_>,
        found: &Found,
        progress: &mut PublishProgress,
        sink: &mut impl Sink,
    ) -> bool {
        self.reply_all(publication, found, progress, sink);
        if found.queues.is_empty() {
            // In some versions direct replies do not count as routed: with `mandatory` they are
            // returned as well.
            if found.replies.is_empty() || !self.profile.direct_replies_are_routed {
                progress.outcome = Published::Unroutable;
            }
            return true;
        }
        self.dead_letters.publish_begins(publication.origin.clone());
        let is_done = self.put_in_queues(now, publication, found, progress, sink);
        publication.origin = self.dead_letters.publish_ends();
        is_done
    }

    /// Puts an interrupted publish, whose queues are found, into those that do not have it yet;
    /// returns whether all have it.
    pub(super) fn put_rest(&mut self, now: u64, publishing: &mut Publishing, sink: &mut impl Sink) -> bool {
        let Publishing { draft, stored, terms, is_persistent, found, progress, .. } = publishing;
        let mut publication = Publication {
            draft,
            stored,
            terms: *terms,
            is_persistent: *is_persistent,
            is_shared: found.queues.len() > 1,
            is_letter: publishing.is_letter,
            origin: publishing.origin.take(),
        };
        let is_done = self.put(now, &mut publication, found, progress, sink);
        publishing.origin = publication.origin;
        is_done
    }

    fn put_in_queues(
        &mut self,
        now: u64,
        publication: &mut Publication<'_>,
        found: &Found,
        progress: &mut PublishProgress,
        sink: &mut impl Sink,
    ) -> bool {
        while let Some(&id) = found.queues.get(progress.queue) {
            match self.enqueue(now, id, publication, sink) {
                Enqueued::Taken => {}
                Enqueued::Refused => progress.outcome = Published::Rejected,
                Enqueued::NotYet => return false,
            }
            progress.queue += 1;
            // Publishing a dead letter cannot wait for other dead letters.
            let waits = self.budget.is_over() || self.dead_letters.is_crowded() && !publication.is_letter;
            if waits && progress.queue < found.queues.len() {
                return false;
            }
        }
        true
    }

    /// Delivers a direct reply to its channels: at most one for each routing key.
    fn reply_all(
        &mut self,
        publication: &Publication<'_>,
        found: &Found,
        progress: &mut PublishProgress,
        sink: &mut impl Sink,
    ) {
        while let Some(&channel) = found.replies.get(progress.reply) {
            progress.reply += 1;
            self.deliver_reply(channel, publication.parts(), sink);
        }
    }

    /// Delivers the message to a consumer with room, or else appends it to the queue.
    #[inline]
    fn enqueue(
        &mut self,
        now: u64,
        id: QueueId,
        publication: &mut Publication<'_>,
        sink: &mut impl Sink,
    ) -> Enqueued {
        self.budget.spend(1);
        // The queue first drops what is expired or in excess, and may then refuse the message.
        let (waiting, is_stream) = match self.queues.get_mut(id) {
            None => return Enqueued::Taken,
            Some(queue) => {
                let is_pruned =
                    queue.prune(now, &mut self.messages, &mut self.dead_letters, &mut self.budget);
                // Messages that die to make room for a dead letter get their own dead letters only
                // after this one.
                if !is_pruned && !publication.is_letter {
                    return Enqueued::NotYet;
                }
                if queue.refuses(publication.body_len()) {
                    if queue.arguments.overflow == Overflow::RejectPublishDeadLetter {
                        queue.dead_letter(
                            publication.message(),
                            Kept::NO,
                            Reason::MaxLength,
                            &self.messages,
                            &mut self.dead_letters,
                        );
                    }
                    return Enqueued::Refused;
                }
                queue.counters.published += 1;
                (!queue.ready.is_empty(), queue.stream.is_some())
            }
        };
        // A stream appends every message; its consumers read it from there.
        if is_stream {
            let message = publication.message();
            self.append(now, id, &message, sink);
            return Enqueued::Taken;
        }
        // If nothing waits before it, the message goes straight to a consumer with room.
        if !waiting && let Some(consumer) = self.ready_consumer(id) {
            self.deliver_new(now, id, consumer, publication, sink);
            return Enqueued::Taken;
        }
        // Otherwise it waits in the queue, from which it may push out the oldest.
        let Some(queue) = self.queues.get_mut(id) else { return Enqueued::Taken };
        let mut entry = queue.entry(publication.message(), publication.terms, now);
        self.messages.entered(&entry.message);
        let stored = queue.keeps(publication.is_persistent).then(|| {
            entry.kept = self.messages.journal.groups.kept();
            entry.stored(queue.serial)
        });
        let (expires, length) = (entry.expires_at != NEVER, queue.ready.len());
        queue.ready.push(entry);
        queue.lengthens(&self.messages.journal.groups);
        let is_pruned = queue.drop_overflow(&mut self.messages, &mut self.dead_letters, &mut self.budget);
        let has_new_head = queue.ready.len() <= length;
        // The journal, the line of queues and the timer learn of it last.
        if let Some(stored) = stored {
            self.keep(stored);
        }
        if !is_pruned {
            self.wake(id);
        }
        if expires || has_new_head {
            self.arm(id);
        }
        Enqueued::Taken
    }

    /// Appends a message to a stream.
    fn append(&mut self, now: u64, id: QueueId, message: &Message, sink: &mut impl Sink) {
        let Some(queue) = self.queues.get_mut(id) else { return };
        let Some(log) = &mut queue.stream else { return };
        self.messages.entered(message);
        let kept = if queue.serial == 0 { Kept::NO } else { self.messages.journal.groups.kept() };
        let offset = log.append(message.clone(), kept, now);
        queue.lengthens(&self.messages.journal.groups);
        let stored = (queue.serial != 0).then(|| Stored::in_stream(queue.serial, offset, now, message));
        let is_pruned = queue.prune(now, &mut self.messages, &mut self.dead_letters, &mut self.budget);
        if let Some(stored) = stored {
            self.keep(stored);
        }
        if !is_pruned {
            self.wake(id);
        }
        self.arm(id);
        self.dispatch_stream(now, id, sink);
    }
}
