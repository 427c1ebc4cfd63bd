//! The virtual host's part of a channel: what deliveries need.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use amqp_codec::ShortString;

use crate::core::counters::MessageCounters;

use super::{
    consumer::Consumer,
    ids::{ConnectionId, ConsumerId},
    reply_consumer::ReplyConsumer,
    unacked::{Outcome, Unacked, UnackedDelivery},
    waiting_consumers::WaitingConsumers,
};

/// A channel.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) connection: ConnectionId,
    /// The channel number in its frames.
    pub(crate) number: u16,
    pub(crate) consumers: HashMap<ShortString, ConsumerId>,
    /// The prefetch limit of each new consumer; 0 is none.
    pub(crate) prefetch: u32,
    /// The prefetch limit that all consumers share; 0 is none.
    pub(crate) shared_prefetch: u32,
    /// The configured limit, which holds when the client sets none.
    most_unacked: u32,
    pub(crate) unacked: Unacked,
    /// Deliveries settled in a transaction that is neither committed nor rolled back, by delivery
    /// tag.
    pub(crate) settled: BTreeMap<u64, Settled>,
    /// The tags of deliveries that returned to their queue when their consumer timed out: the
    /// client may still settle them, which does nothing.
    pub(crate) timed_out: BTreeSet<u64>,
    /// Unacknowledged deliveries to consumers; messages fetched with `basic.get` do not count.
    pub(crate) in_flight: u32,
    /// The number of deliveries in flight that count against the shared limit.
    pub(crate) shared_in_flight: u32,
    /// The consumers that wait for room: those that share a limit, and the others.
    sharing: WaitingConsumers,
    others: WaitingConsumers,
    /// The consumer of its direct replies.
    pub(crate) replies: Option<ReplyConsumer>,
    last_tag: u64,
    pub(crate) counters: MessageCounters,
    #[cfg_attr(not(feature = "management"), allow(dead_code))]
    pub(crate) mode: ChannelMode,
    pub(crate) is_ending: bool,
}

/// The answers that a client wants to its publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelMode {
    Plain,
    Confirm,
    Transaction,
}

/// A delivery settled in a transaction.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) delivery: UnackedDelivery,
    pub(crate) outcome: Outcome,
}

impl Channel {
    /// The memory of a channel besides what arrives on it and is unacknowledged on it, in bytes. An
    /// estimate.
    pub(crate) const WEIGHT: u64 = 3000;

    pub(crate) fn new(connection: ConnectionId, number: u16, most_unacked: u32) -> Self {
        Channel {
            connection,
            number,
            consumers: HashMap::new(),
            prefetch: 0,
            shared_prefetch: 0,
            most_unacked,
            unacked: Unacked::default(),
            settled: BTreeMap::new(),
            timed_out: BTreeSet::new(),
            in_flight: 0,
            shared_in_flight: 0,
            sharing: WaitingConsumers::default(),
            others: WaitingConsumers::default(),
            replies: None,
            last_tag: 0,
            counters: MessageCounters::default(),
            mode: ChannelMode::Plain,
            is_ending: false,
        }
    }

    /// Ends the channel: it has no room for deliveries from now on.
    pub(crate) fn end(&mut self) {
        self.most_unacked = 0;
        self.is_ending = true;
    }

    /// The last delivery tag that was used.
    pub(crate) fn last_tag(&self) -> u64 {
        self.last_tag
    }

    /// The next delivery tag.
    #[inline]
    pub(crate) fn next_tag(&mut self) -> u64 {
        self.last_tag += 1;
        self.last_tag
    }

    /// Tells whether the channel's limits allow one more delivery to a consumer that shares its
    /// prefetch, or to one that does not.
    #[inline]
    pub(crate) fn has_room(&self, shares: bool) -> bool {
        self.in_flight < self.most_unacked
            && (self.shared_prefetch == 0 || !shares || self.shared_in_flight < self.shared_prefetch)
    }

    /// Tells whether consumers wait for room.
    #[inline]
    pub(crate) fn is_waited_for(&self) -> bool {
        !self.sharing.is_empty() || !self.others.is_empty()
    }

    /// Takes the consumer that gets the next delivery, if there is room for it.
    pub(crate) fn next_turn(&mut self) -> Option<ConsumerId> {
        let other = if self.has_room(false) { self.others.pop() } else { None };
        other.or_else(|| if self.has_room(true) { self.sharing.pop() } else { None })
    }

    /// Makes a consumer wait for room.
    pub(crate) fn wait(&mut self, id: ConsumerId, consumer: &mut Consumer) {
        if consumer.ticket.is_none() {
            let waiting = if consumer.shares { &mut self.sharing } else { &mut self.others };
            consumer.ticket = Some(waiting.push(consumer.queue, id, consumer.priority));
        }
    }

    /// Removes a consumer from those that wait, if it is among them.
    pub(crate) fn leave_turn(&mut self, consumer: &Consumer) {
        if let Some(ticket) = consumer.ticket {
            let waiting = if consumer.shares { &mut self.sharing } else { &mut self.others };
            waiting.remove(consumer.queue, ticket);
        }
    }
}
