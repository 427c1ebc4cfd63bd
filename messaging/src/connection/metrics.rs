//! Counts of a transport.

#[cfg(feature = "redis")]
use amqp_broker::redis::RedisMetrics;
use amqp_client::Metrics;

/// What a transport has done since it was made, over all its connections, and what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransportMetrics {
    /// Messages sent; a retried message counts again.
    pub published: u64,
    /// Published messages that the broker has confirmed, including those it returned.
    pub confirmed: u64,
    /// Published messages that the broker has refused with a nack.
    pub nacked: u64,
    /// Mandatory messages that were returned because no queue took them.
    pub returned: u64,
    /// Attempts to publish beyond the first of each message.
    pub retried: u64,
    /// Messages received.
    pub delivered: u64,
    /// Delivered messages that were acknowledged.
    pub acked: u64,
    /// How often a lost connection was opened again, or its recovery began.
    pub reconnects: u64,
    /// Items in queues on a Redis that are none of kombu's messages: each was put into a list
    /// `QUEUE.undecodable`, or dropped if it came from a fanout exchange. Of a Redis behind a
    /// broker, that broker's own metrics count it.
    pub undecodable_items: u64,
    /// Messages of a Redis that were settled when another had already returned them to their
    /// queues, because their claims had lapsed: they are handled twice. Of a Redis behind a broker,
    /// that broker's own metrics count it.
    pub settled_too_late: u64,
    /// Messages that now wait for the broker's confirm.
    pub unconfirmed: usize,
    /// Messages that were received and are not settled now.
    pub unacked: usize,
}

impl TransportMetrics {
    /// The counts of a Redis alone.
    #[cfg(feature = "redis")]
    pub(crate) fn of_redis(redis: RedisMetrics) -> Self {
        TransportMetrics {
            undecodable_items: redis.undecodable,
            settled_too_late: redis.settled_too_late,
            ..TransportMetrics::default()
        }
    }

    /// Adds what a connection has done and holds.
    pub(crate) fn with(self, connection: &Metrics) -> Self {
        TransportMetrics {
            unconfirmed: self.unconfirmed + connection.unconfirmed,
            unacked: self.unacked + connection.unacked,
            ..self.after(connection)
        }
    }

    /// Adds what a connection that has ended has done.
    pub(crate) fn after(self, connection: &Metrics) -> Self {
        TransportMetrics {
            published: self.published + connection.messages_published,
            confirmed: self.confirmed + connection.messages_confirmed,
            nacked: self.nacked + connection.messages_nacked,
            returned: self.returned + connection.messages_returned,
            delivered: self.delivered + connection.messages_received,
            acked: self.acked + connection.messages_acked,
            reconnects: self.reconnects + connection.reconnects,
            ..self
        }
    }

    /// Adds the counts of another connection.
    pub(crate) fn and(self, other: Self) -> Self {
        TransportMetrics {
            published: self.published + other.published,
            confirmed: self.confirmed + other.confirmed,
            nacked: self.nacked + other.nacked,
            returned: self.returned + other.returned,
            retried: self.retried + other.retried,
            delivered: self.delivered + other.delivered,
            acked: self.acked + other.acked,
            reconnects: self.reconnects + other.reconnects,
            undecodable_items: self.undecodable_items + other.undecodable_items,
            settled_too_late: self.settled_too_late + other.settled_too_late,
            unconfirmed: self.unconfirmed + other.unconfirmed,
            unacked: self.unacked + other.unacked,
        }
    }
}
