//! Counts of messages and entities, made with plain additions under the lock that is held
//! anyway.

use std::ops::AddAssign;

/// Counts of the messages of a queue, or of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MessageCounters {
    /// Publishes on the channel, or messages that came into the queue.
    pub(crate) published: u64,
    /// Those of them that are to be confirmed.
    pub(crate) published_to_confirm: u64,
    /// Publishes that were confirmed.
    pub(crate) confirmed: u64,
    /// Mandatory publishes that no queue took, and others.
    pub(crate) returned: u64,
    pub(crate) dropped: u64,
    /// Deliveries to consumers that acknowledge, and to those that do not.
    pub(crate) delivered: u64,
    pub(crate) delivered_no_ack: u64,
    /// Messages fetched with `basic.get` that are to be acknowledged, and others, and attempts that
    /// found none.
    pub(crate) got: u64,
    pub(crate) got_no_ack: u64,
    pub(crate) got_nothing: u64,
    /// The number of those delivered and fetched that had been so before.
    pub(crate) redelivered: u64,
    pub(crate) acked: u64,
}

impl MessageCounters {
    /// Counts a delivery to a consumer.
    #[inline]
    pub(crate) fn deliver(&mut self, no_ack: bool, redelivered: bool) {
        self.delivered += u64::from(!no_ack);
        self.delivered_no_ack += u64::from(no_ack);
        self.redelivered += u64::from(redelivered);
    }

    /// Counts a message that was fetched.
    #[inline]
    pub(crate) fn get(&mut self, no_ack: bool, redelivered: bool) {
        self.got += u64::from(!no_ack);
        self.got_no_ack += u64::from(no_ack);
        self.redelivered += u64::from(redelivered);
    }
}

impl AddAssign for MessageCounters {
    fn add_assign(&mut self, other: Self) {
        let MessageCounters { published, confirmed, returned, dropped, delivered, .. } = other;
        let MessageCounters {
            published_to_confirm,
            delivered_no_ack,
            got,
            got_no_ack,
            got_nothing,
            redelivered,
            acked,
            ..
        } = other;
        self.published += published;
        self.published_to_confirm += published_to_confirm;
        self.confirmed += confirmed;
        self.returned += returned;
        self.dropped += dropped;
        self.delivered += delivered;
        self.delivered_no_ack += delivered_no_ack;
        self.got += got;
        self.got_no_ack += got_no_ack;
        self.got_nothing += got_nothing;
        self.redelivered += redelivered;
        self.acked += acked;
    }
}

/// Counts of the entities that came and went in a virtual host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Churn {
    pub(crate) connections_opened: u64,
    pub(crate) connections_closed: u64,
    pub(crate) channels_opened: u64,
    pub(crate) channels_closed: u64,
    /// Declarations of queues, whether they were there or not.
    pub(crate) queues_declared: u64,
    pub(crate) queues_created: u64,
    pub(crate) queues_deleted: u64,
}

impl AddAssign for Churn {
    fn add_assign(&mut self, other: Self) {
        self.connections_opened += other.connections_opened;
        self.connections_closed += other.connections_closed;
        self.channels_opened += other.channels_opened;
        self.channels_closed += other.channels_closed;
        self.queues_declared += other.queues_declared;
        self.queues_created += other.queues_created;
        self.queues_deleted += other.queues_deleted;
    }
}

/// Counts of an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExchangeCounters {
    /// Messages that clients published to it, and the copies of them that went to queues.
    pub(crate) published: u64,
    pub(crate) routed: u64,
}

/// The counts of a virtual host besides those of its queues and channels.
#[derive(Clone, Debug, Default)]
pub(crate) struct VhostCounters {
    pub(crate) churn: Churn,
    /// The counts of deleted queues, by their type: classic, quorum, stream.
    pub(crate) deleted_queues: [MessageCounters; 3],
    pub(crate) default_exchange: ExchangeCounters,
    /// The counts of closed channels.
    pub(crate) closed_channels: MessageCounters,
}
