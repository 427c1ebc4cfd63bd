//! A queue: its ready messages, and the consumers that wait for them.

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
};
use crate::core::{
    budget::Budget,
    content::message::Message,
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
    /// The connection that alone may use it.
    pub(crate) owner: Option<ConnectionId>,
    pub(crate) table: Table,
    pub(crate) arguments: QueueArguments,
    /// Its number among what survives the process; 0 when it does not.
    pub(crate) serial: u64,
    pub(crate) ready: Ready,
    /// Where a stream keeps its messages, which are never ready and never leave it for a consumer.
    pub(crate) stream: Option<Box<Stream>>,
    /// How many messages are with consumers.
    pub(crate) unacked: usize,
    /// All consumers, in the order they came.
    pub(crate) consumers: BTreeMap<u64, ConsumerId>,
    last_consumer: u64,
    /// Of a stream: the consumer that is next where not all could be looked at in one turn.
    pub(crate) next_consumer: u64,
    /// The consumer that alone may consume.
    pub(crate) exclusive_consumer: Option<ConsumerId>,
    pub(crate) sources: Sources,
    /// The routing in which this queue was last found.
    pub(crate) visited: u64,
    /// When its timer is set to fire.
    pub(crate) timer: u64,
    /// When it was last declared, got from or consumed from.
    pub(crate) last_used: u64,
    next_position: u64,
    /// The consumers that may have room. Those without are taken out when their turn comes and line
    /// up again when they get some, so a message never searches among those that are busy. Those
    /// that have gone stay until then.
    line: Line,
    /// How many consumers have gone since the line was last gone through.
    gone: usize,
    /// The transactions that have put messages into it, or back, and may be under way, where it is
    /// to be no longer than it may: what is too much meanwhile goes when they are written.
    lengthened_by: Vec<Kept>,
}

/// What a queue is declared with.
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

/// What a queue takes beside its messages, in bytes. An estimate.
const QUEUE_OVERHEAD: u64 = 1100;

impl Queue {
    /// How much memory a queue of this name and these arguments takes beside its messages, near
    /// enough.
    pub(crate) fn weight_of(name: &ShortString, arguments: &Table) -> u64 {
        QUEUE_OVERHEAD + (2 * name.len() + 3 * arguments.as_encoded().len()) as u64
    }

    /// How much it takes itself.
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
            ready: Ready::new(arguments.max_priority),
            arguments,
            serial,
            unacked: 0,
            consumers: BTreeMap::new(),
            last_consumer: 0,
            next_consumer: 0,
            exclusive_consumer: None,
            sources: Sources::new(),
            visited: 0,
            timer: NEVER,
            last_used: now,
            next_position: 0,
            line: Line::default(),
            gone: 0,
            lengthened_by: Vec::new(),
        }
    }

    /// A message of this queue, at its end.
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
            priority: terms.priority.min(self.ready.max_priority()),
            redelivered: false,
            returns: 0,
            kept: Kept::NO,
        }
    }

    /// Whether a message of it survives the process.
    #[inline]
    pub(crate) fn keeps(&self, is_persistent: bool) -> bool {
        self.serial != 0 && (is_persistent || self.arguments.kind == QueueType::Quorum)
    }

    /// Puts back a message that survived the process.
    pub(crate) fn restore(&mut self, entry: Entry) {
        match &mut self.stream {
            // What expires in queues has come at that time in streams.
            Some(log) => log.restore(entry.position, entry.message, entry.expires_at),
            None => {
                self.next_position = self.next_position.max(entry.position + 1);
                self.ready.push(entry);
            }
        }
    }

    /// Whether one more message is one too many and is to be refused.
    #[inline]
    pub(crate) fn refuses(&self, body_len: usize) -> bool {
        self.arguments.overflow != Overflow::DropHead && self.is_over(1, body_len as u64)
    }

    /// A message is put into it, or back: what is too much from now on may be so because of the
    /// transaction under way, if one is.
    #[inline]
    pub(crate) fn lengthens(&mut self, groups: &Groups) {
        if groups.is_any_entered() && self.may_be_too_long() {
            groups.add_to(&mut self.lengthened_by);
        }
    }

    fn may_be_too_long(&self) -> bool {
        let QueueArguments { max_length, max_length_bytes, overflow, .. } = self.arguments;
        overflow == Overflow::DropHead && (max_length.is_some() || max_length_bytes.is_some())
    }

    /// Drops what is too much, as far as the turn allows; tells whether that is all.
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
        // Where publishers are refused, what returns may be more than there is room for.
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

    /// Drops what has expired and what is too much, as far as the turn allows; tells whether that
    /// is all.
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

    /// Notes a message that died for the dead-letter exchange, if there is one.
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

    /// Takes a message back that `by_client` or the end of its channel has returned; it dies when
    /// it did so too often.
    pub(crate) fn take_back(
        &mut self,
        mut entry: Entry,
        by_client: bool,
        messages: &mut MessageStore,
        dead_letters: &mut DeadLetters,
    ) {
        entry.redelivered = true;
        self.lengthens(&messages.journal.groups);
        match self.arguments.kind {
            QueueType::Classic => return self.ready.put_back(entry),
            QueueType::Quorum => {}
            // It never left.
            QueueType::Stream => return,
        }
        entry.returns = entry.returns.saturating_add(1);
        match self.arguments.delivery_limit {
            Some(limit) if u64::from(entry.returns) > limit => {
                messages.left(self.serial, &entry);
                self.dead_letter(entry.message, entry.kept, Reason::DeliveryLimit, messages, dead_letters);
            }
            limit => {
                messages.returned(self.serial, &mut entry);
                // Without a limit, what a client returns goes to the end: one that nobody can
                // digest shall not hold up the rest.
                if limit.is_none() && by_client {
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

    /// Drops the messages at the head that have expired, as far as the turn allows; tells whether
    /// that is all.
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

    /// How many messages there are that are not with consumers.
    pub(crate) fn len(&self) -> usize {
        self.ready.len() + self.stream.as_ref().map_or(0, |log| log.len())
    }

    /// When something falls due: a message at the head, or the unused queue itself.
    pub(crate) fn deadline(&self) -> u64 {
        let log = self.stream.as_ref().map_or(NEVER, |log| log.next_expiry(&self.arguments));
        log.min(self.ready.next_expiry()).min(self.unused_until())
    }

    /// When it goes for want of use.
    pub(crate) fn unused_until(&self) -> u64 {
        match self.arguments.expires {
            Some(expires) if self.consumers.is_empty() => self.last_used.saturating_add(expires),
            _ => NEVER,
        }
    }

    /// Whether messages may go to this consumer at all: to the first alone when only one is active.
    pub(crate) fn is_active(&self, consumer: ConsumerId) -> bool {
        !self.arguments.single_active_consumer
            || self.consumers.first_key_value().is_some_and(|(_, first)| *first == consumer)
    }

    /// Adds a consumer; its number, by which it goes again.
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

    /// Puts a consumer at the end of those of its priority.
    pub(crate) fn line_up(&mut self, consumer: ConsumerId, priority: i32) {
        self.line.push_back(consumer, priority);
    }

    /// Puts a consumer at the beginning of those of its priority.
    pub(crate) fn line_up_first(&mut self, consumer: ConsumerId, priority: i32) {
        self.line.push_front(consumer, priority);
    }

    /// Takes the consumer whose turn it is out of the line.
    pub(crate) fn leave_line(&mut self) {
        self.line.pop_front();
    }

    /// Lets the consumer whose turn it was line up again.
    #[inline]
    pub(crate) fn rotate(&mut self) {
        self.line.rotate();
    }

    /// Takes a consumer away. It stays in the line until its turn comes.
    pub(crate) fn remove_consumer(&mut self, number: u64, now: u64) {
        if let Some(consumer) = self.consumers.remove(&number)
            && self.exclusive_consumer == Some(consumer)
        {
            self.exclusive_consumer = None;
        }
        self.gone += 1;
        self.last_used = now;
    }

    /// Tells whether those that have gone may be most of the line.
    pub(crate) fn has_gaps(&self) -> bool {
        self.gone > self.consumers.len() + 64
    }

    /// Takes those out of the line that have gone.
    pub(crate) fn close_gaps(&mut self, is_there: impl Fn(&ConsumerId) -> bool) {
        self.line.retain(is_there);
        self.gone = 0;
    }
}

/// What a message's properties ask of a queue.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MessageTerms {
    /// Time to live in milliseconds.
    pub(crate) ttl: Option<u64>,
    pub(crate) priority: u8,
}
