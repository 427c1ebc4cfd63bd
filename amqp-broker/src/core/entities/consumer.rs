//! A consumer: whose it is, and how much it may have unacknowledged.

use amqp_codec::ShortString;

use super::{
    ids::{ChannelId, QueueId},
    waiting_consumers::WaitingTicket,
};

/// A consumer.
#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) tag: ShortString,
    pub(crate) queue: QueueId,
    pub(crate) channel: ChannelId,
    pub(crate) no_ack: bool,
    /// How many deliveries it may have unacknowledged; 0 is no limit.
    pub(crate) prefetch: u32,
    pub(crate) unacked: u32,
    /// Whether the limit of all consumers of the channel together holds for it: in RabbitMQ only
    /// classic queues know that.
    pub(crate) shares: bool,
    /// Whom messages go to first.
    pub(crate) priority: i32,
    /// The offset of the next message, in a stream.
    pub(crate) offset: u64,
    /// Its number among those of its queue.
    pub(crate) number: u64,
    /// Whether it waits in its queue's line.
    pub(crate) in_line: bool,
    /// Its place among those that wait for their channel to have room.
    pub(crate) ticket: Option<WaitingTicket>,
}

impl Consumer {
    /// How much memory it takes, in bytes. An estimate.
    pub(crate) const WEIGHT: u64 = 600;

    /// Whether its own limit lets it have one more.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.no_ack || self.prefetch == 0 || self.unacked < self.prefetch
    }
}
