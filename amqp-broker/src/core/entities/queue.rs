//! A queue with its ready messages and its consumers.

use std::collections::BTreeMap;

use amqp_codec::{ShortString, Table};

use super::{
    dead_letters::DeadLetters,
    exchange::Sources,
    ids::{ConnectionId, ConsumerId},
    line::Line,
    message_store::MessageStore,
    ready::{Entry, NEVER, Ready},
    stream::Stream,
    unacked::Outcome,
};
use crate::core::{
    budget::Budget,
    content::{message::Message, returns::Returns},
    counters::MessageCounters,
    journal::{groups::Groups, kept::Kept},
    rabbitmq::{
        arguments::{Overflow, QueueArguments, QueueType},
        death::Reason,
    },
};

/// A queue.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) name: ShortString,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    /// The connection that owns an exclusive queue.
    pub(crate) owner: Option<ConnectionId>,
    pub(crate) table: Table,
    pub(crate) arguments: QueueArguments,
    /// Its serial number in the store; 0 when it is transient.
    pub(crate) serial: u64,
    pub(crate) ready: Ready,
    /// The log of a stream. A stream has no ready messages, and consuming removes nothing.
    pub(crate) stream: Option<Box<Stream>>,
    /// How many messages are delivered and not acknowledged.
    pub(crate) unacked: usize,
    /// The bytes of their bodies.
    pub(crate) unacked_bytes: u64,
    pub(crate) counters: MessageCounters,
    /// All consumers, in the order of their arrival.
    pub(crate) consumers: BTreeMap<u64, ConsumerId>,
    last_consumer: u64,
    /// In a stream, the next consumer to look at, when one turn does not suffice for all.
    pub(crate) next_consumer: u64,
    /// The consumer with exclusive access.
    pub(crate) exclusive_consumer: Option<ConsumerId>,
    pub(crate) sources: Sources,
    /// The number of the search that last found this queue.
    pub(crate) visited: u64,
    /// When its timer is set to fire.
    pub(crate) timer: u64,
    /// When it was last declared, fetched from or consumed from.
    pub(crate) last_used: u64,
    next_position: u64,
    /// The position of the next message that returns and goes ahead.
    next_return: u64,
    /// The consumers that may have room. One without room is taken out when its turn comes and
    /// lines up again when it gets room, so that a message never searches among busy consumers.
    /// Consumers that are gone stay until their turn.
    line: Line,
    /// How many consumers are gone since the line was last cleaned.
    gone: usize,
    /// Unfinished transactions that put messages into a queue whose length is limited. The excess
    /// is dropped in the group of these transactions.
    lengthened_by: Vec<Kept>,
}

/// The properties of a queue declaration.
#[derive(Debug)]
pub(crate) struct QueueDeclaration {
    pub(crate) name: ShortString,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) owner: Option<ConnectionId>,
    pub(crate) table: Table,
    pub(crate) arguments: QueueArguments,
    pub(crate) serial: u64,
}

/// The positions from here on are those of messages that returned to a quorum queue, in the order
/// of their return. Such messages go ahead of those at lower positions. A folder keeps positions,
/// and thus this order.
const FIRST_RETURN: u64 = 1 << 63;

/// The memory of a queue besides its messages, in bytes. An estimate.
const QUEUE_OVERHEAD: u64 = 1100;

impl Queue {
    /// About how much memory a queue of this name and these arguments takes besides its messages.
    pub(crate) fn weight_of(name: &ShortString, arguments: &Table) -> u64 {
        QUEUE_OVERHEAD + (2 * name.len() + 3 * arguments.as_encoded().len()) as u64
    }

    /// The memory of the queue itself.
    pub(crate) fn weight(&self) -> u64 {
        Self::weight_of(&self.name, &self.table)
    }

    pub(crate) fn new(declared: QueueDeclaration, now: u64) -> Self {
        let QueueDeclaration { name, durable, auto_delete, owner, table, arguments, serial } = declared;
        Queue {
            name,
            durable,
            auto_delete,
            owner,
            table,
            stream: (arguments.kind == QueueType::Stream).then(Box::default),
            ready: Ready::new(arguments.order),
            arguments,
            serial,
            unacked: 0,
            unacked_bytes: 0,
            counters: MessageCounters::default(),
            consumers: BTreeMap::new(),
            last_consumer: 0,
            next_consumer: 0,
            exclusive_consumer: None,
            sources: Sources::new(),
            visited: 0,
            timer: NEVER,
            last_used: now,
            next_position: 0,
            next_return: FIRST_RETURN,
            line: Line::default(),
            gone: 0,
            lengthened_by: Vec::new(),
        }
    }

    /// Creates an entry for a message at the queue's end.
    #[inline]
    pub(crate) fn entry(&mut self, message: Message, terms: MessageTerms, now: u64) -> Entry {
        let position = self.next_position;
        self.next_position += 1;
        let ttl = match (terms.ttl, self.arguments.message_ttl) {
            (Some(own), Some(queue)) => Some(own.min(queue)),
            (own, queue) => own.or(queue),
        };
        Entry {
            message,
            position,
            expires_at: ttl.map_or(NEVER, |ttl| now.saturating_add(ttl)),
            priority: self.ready.level(terms.priority),
            redelivered: false,
            returns: Returns::NONE,
            kept: Kept::NO,
        }
    }

    /// Tells whether the message survives a restart in this queue.
    #[inline]
    pub(crate) fn keeps(&self, is_persistent: bool) -> bool {
        self.serial != 0 && (is_persistent || self.arguments.kind == QueueType::Quorum)
    }

    /// Puts back a message that survived a restart.
    pub(crate) fn restore(&mut self, entry: Entry) {
        match &mut self.stream {
            // For a stream this field holds the time of arrival, not of expiry.
            Some(log) => log.restore(entry.position, entry.message, entry.expires_at),
            None => {
                if entry.position >= FIRST_RETURN {
                    self.next_return = self.next_return.max(entry.position.saturating_add(1));
                    self.ready.put_ahead(entry);
                } else {
                    self.next_position = self.next_position.max(entry.position + 1);
                    self.ready.push(entry);
                }
            }
        }
    }

    /// Tells whether one more message exceeds the limit and is to be refused.
    #[inline]
    pub(crate) fn refuses(&self, body_len: usize) -> bool {
        self.arguments.overflow != Overflow::DropHead && self.is_over(1, body_len as u64)
    }

    /// Notes that a message is put into the queue, or back: the current transaction, if there is
    /// one, may cause an excess later.
    #[inline]
    pub(crate) fn lengthens(&mut self, groups: &Groups) {
        if groups.is_any_entered() && self.may_be_too_long() {
            groups.add_to(&mut self.lengthened_by);
        }
    }

    /// Makes the queue go by other arguments. If only these limit its length, each unfinished
    /// transaction may have caused an excess.
    pub(crate) fn put_arguments(&mut self, arguments: QueueArguments, groups: &Groups) {
        let was_limited = self.may_be_too_long();
        self.arguments = arguments;
        if self.may_be_too_long() && !was_limited {
            groups.list_open(&mut self.lengthened_by);
        }
    }

    fn may_be_too_long(&self) -> bool {
        let QueueArguments { max_length, max_length_bytes, overflow, .. } = self.arguments;
        overflow == Overflow::DropHead && (max_length.is_some() || max_length_bytes.is_some())
    }

    /// Drops the excess, as far as the turn allows; returns whether all of it is gone.
    #[inline]
    pub(crate) fn drop_overflow(
        &mut self,
        messages: &mut MessageStore,
        dead_letters: &mut DeadLetters,
        budget: &mut Budget,
    ) -> bool {
        !self.is_to_drop() || self.drop_heads(messages, dead_letters, budget)
    }

    #[inline]
    fn is_to_drop(&self) -> bool {
        // Where publishes are refused, returning messages may exceed the limit.
        self.arguments.overflow == Overflow::DropHead && self.is_over(0, 0)
    }

    fn drop_heads(
        &mut self,
        messages: &mut MessageStore,
        dead_letters: &mut DeadLetters,
        budget: &mut Budget,
    ) -> bool {
        let around = messages.journal.groups.enter_all(&mut self.lengthened_by);
        let is_all = self.drop_until_short(messages, dead_letters, budget);
        messages.journal.groups.enter(around);
        is_all
    }

    fn drop_until_short(
        &mut self,
        messages: &mut MessageStore,
        dead_letters: &mut DeadLetters,
        budget: &mut Budget,
    ) -> bool {
        while self.is_to_drop() {
            let Some(entry) = self.ready.pop() else { break };
            budget.spend(1);
            messages.left(self.serial, &entry);
            self.dead_letter(entry.message, entry.kept, Reason::MaxLength, messages, dead_letters);
            if (budget.is_over() || dead_letters.is_crowded()) && self.is_to_drop() {
                return false;
            }
        }
        true
    }

    /// Drops expired messages and the excess, as far as the turn allows; returns whether all is
    /// done.
    #[inline]
    pub(crate) fn prune(
        &mut self,
        now: u64,
        messages: &mut MessageStore,
        dead_letters: &mut DeadLetters,
        budget: &mut Budget,
    ) -> bool {
        self.expire(now, messages, dead_letters, budget)
            && (self.ready.is_empty() || self.drop_overflow(messages, dead_letters, budget))
    }

    /// Adds a message that died to the dead letters, if the queue has a dead-letter exchange.
    pub(crate) fn dead_letter(
        &self,
        message: Message,
        kept: Kept,
        reason: Reason,
        messages: &MessageStore,
        dead_letters: &mut DeadLetters,
    ) {
        if let Some(to) = &self.arguments.dead_letter {
            let kept = messages.journal.groups.following(kept);
            dead_letters.push_back(message, kept, &self.name, to, reason);
        }
    }

    /// Takes back a message that the client, or the end of its channel, returned. It dies when it
    /// has returned too often.
    pub(crate) fn take_back(
        &mut self,
        now: u64,
        mut entry: Entry,
        outcome: Outcome,
        messages: &mut MessageStore,
        dead_letters: &mut DeadLetters,
    ) {
        entry.redelivered = true;
        self.lengthens(&messages.journal.groups);
        match self.arguments.kind {
            QueueType::Classic => return self.ready.put_back(entry),
            QueueType::Quorum => {}
            // A stream's message never left the stream.
            QueueType::Stream => return,
        }
        let has_failed = outcome != Outcome::Requeued;
        if self.arguments.only_failures_count {
            entry.returns = entry.returns.and_one_apart(has_failed);
        } else {
            entry.returns = entry.returns.and_one();
        }
        match self.arguments.delivery_limit {
            Some(limit) if u64::from(entry.returns.counted()) > limit => {
                messages.left(self.serial, &entry);
                self.dead_letter(entry.message, entry.kept, Reason::DeliveryLimit, messages, dead_letters);
            }
            limit => {
                // In some versions, without a delivery limit, a message that a client returns goes
                // to the end, so that one which nobody can process does not block the rest.
                let goes_last = limit.is_none()
                    && outcome != Outcome::Abandoned
                    && self.arguments.unlimited_returns_go_last;
                let next = if goes_last { &mut self.next_position } else { &mut self.next_return };
                let position = *next;
                *next += 1;
                messages.returned(self.serial, &mut entry, position);
                let retry = self.arguments.delayed_retry;
                if let Some(delay) = retry.and_then(|retry| retry.delay(entry.returns.counted(), has_failed))
                {
                    self.ready.set_aside(entry, now.saturating_add(delay));
                    return;
                }
                if goes_last {
                    self.ready.push(entry);
                } else {
                    self.ready.put_ahead(entry);
                }
            }
        }
    }

    #[inline]
    fn is_over(&self, more: u64, more_bytes: u64) -> bool {
        let QueueArguments { max_length, max_length_bytes, .. } = self.arguments;
        max_length.is_some_and(|most| self.ready.len() as u64 + more > most)
            || max_length_bytes.is_some_and(|most| self.ready.body_bytes() + more_bytes > most)
    }

    /// Drops expired messages at the head, as far as the turn allows; returns whether all are gone.
    #[inline]
    fn expire(
        &mut self,
        now: u64,
        messages: &mut MessageStore,
        dead_letters: &mut DeadLetters,
        budget: &mut Budget,
    ) -> bool {
        if !self.ready.is_empty() && self.ready.next_expiry() <= now {
            while !dead_letters.is_crowded() {
                let Some(entry) = self.ready.pop_expired(now) else { break };
                budget.spend(1);
                messages.left(self.serial, &entry);
                self.dead_letter(entry.message, entry.kept, Reason::Expired, messages, dead_letters);
                if budget.is_over() {
                    return false;
                }
            }
            if self.ready.next_expiry() <= now {
                return false;
            }
        }
        match &mut self.stream {
            Some(_) => self.trim(now, messages, budget),
            None => true,
        }
    }

    fn trim(&mut self, now: u64, messages: &mut MessageStore, budget: &mut Budget) -> bool {
        let around = messages.journal.groups.enter_all(&mut self.lengthened_by);
        let is_all = self.trim_until_short(now, messages, budget);
        messages.journal.groups.enter(around);
        is_all
    }

    fn trim_until_short(&mut self, now: u64, messages: &mut MessageStore, budget: &mut Budget) -> bool {
        let Some(log) = &mut self.stream else { return true };
        while let Some(trimmed) = log.trim_one(now, &self.arguments) {
            budget.spend(1);
            messages.left_stream(self.serial, &trimmed);
            if log.len() == 0 && self.serial != 0 {
                messages.journal.emptied(self.serial, log.end());
            }
            if budget.is_over() {
                return false;
            }
        }
        true
    }

    /// How many messages are ready.
    pub(crate) fn len(&self) -> usize {
        self.ready.len() + self.stream.as_ref().map_or(0, |log| log.len())
    }

    /// When something falls due: the expiry of a message at the head, or of the unused queue
    /// itself.
    pub(crate) fn deadline(&self) -> u64 {
        let log = self.stream.as_ref().map_or(NEVER, |log| log.next_expiry(&self.arguments));
        log.min(self.ready.next_expiry()).min(self.ready.next_due()).min(self.unused_until())
    }

    /// When the queue expires for lack of use.
    pub(crate) fn unused_until(&self) -> u64 {
        match self.arguments.expires {
            Some(expires) if self.consumers.is_empty() => self.last_used.saturating_add(expires),
            _ => NEVER,
        }
    }

    /// Tells whether it is an auto-delete queue that has lost its last consumer.
    pub(crate) fn is_to_go(&self) -> bool {
        self.auto_delete && self.consumers.is_empty()
    }

    /// Tells whether messages may go to this consumer: with a single active consumer, only to the
    /// first.
    pub(crate) fn is_active(&self, consumer: ConsumerId) -> bool {
        !self.arguments.single_active_consumer
            || self.consumers.first_key_value().is_some_and(|(_, first)| *first == consumer)
    }

    /// Adds a consumer; returns its number, which removes it again.
    pub(crate) fn add_consumer(&mut self, consumer: ConsumerId) -> u64 {
        self.last_consumer += 1;
        self.consumers.insert(self.last_consumer, consumer);
        self.last_consumer
    }

    /// The consumer whose turn it is.
    #[inline]
    pub(crate) fn next_in_line(&self) -> Option<ConsumerId> {
        self.line.front()
    }

    /// Adds a consumer to the line after those of its priority.
    pub(crate) fn line_up(&mut self, consumer: ConsumerId, priority: i32) {
        self.line.push_back(consumer, priority);
    }

    /// Adds a consumer to the line before those of its priority.
    pub(crate) fn line_up_first(&mut self, consumer: ConsumerId, priority: i32) {
        self.line.push_front(consumer, priority);
    }

    /// Takes the consumer whose turn it is out of the line.
    pub(crate) fn leave_line(&mut self) {
        self.line.pop_front();
    }

    /// Passes the turn on; the consumer goes to the end of its priority.
    #[inline]
    pub(crate) fn rotate(&mut self) {
        self.line.rotate();
    }

    /// Removes a consumer. It stays in the line until its turn comes.
    pub(crate) fn remove_consumer(&mut self, number: u64, now: u64) {
        if let Some(consumer) = self.consumers.remove(&number)
            && self.exclusive_consumer == Some(consumer)
        {
            self.exclusive_consumer = None;
        }
        self.gone += 1;
        self.last_used = now;
    }

    /// Tells whether consumers that are gone may be more than half of the line.
    pub(crate) fn has_gaps(&self) -> bool {
        self.gone > self.consumers.len() + 64
    }

    /// Removes consumers that are gone from the line.
    pub(crate) fn close_gaps(&mut self, is_there: impl Fn(&ConsumerId) -> bool) {
        self.line.retain(is_there);
        self.gone = 0;
    }
}

/// What a message's properties demand of a queue.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MessageTerms {
    /// The time to live in milliseconds.
    pub(crate) ttl: Option<u64>,
    pub(crate) priority: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_limit_drops_together_with_the_transactions_that_may_have_exceeded_it() {
        let mut groups = Groups::default();
        let open = groups.open().unwrap();
        let declared = QueueDeclaration {
            name: ShortString::from_static("q"),
            durable: true,
            auto_delete: false,
            owner: None,
            table: Table::new(),
            arguments: QueueArguments::default(),
            serial: 1,
        };
        let mut queue = Queue::new(declared, 0);
        groups.enter(open);
        queue.lengthens(&groups);
        groups.enter(Kept::NO);
        assert!(queue.lengthened_by.is_empty(), "it may be of any length");
        for max_length in [Some(1), Some(2), None] {
            queue.put_arguments(QueueArguments { max_length, ..QueueArguments::default() }, &groups);
            assert_eq!(queue.lengthened_by, [open]);
        }
    }
}
