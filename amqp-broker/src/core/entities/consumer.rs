//! A consumer, its owner and its prefetch.

use amqp_codec::ShortString;

use crate::core::rabbitmq::filter::StreamFilter;

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
    /// The most unacknowledged deliveries it may have; 0 is no limit.
    pub(crate) prefetch: u32,
    pub(crate) unacked: u32,
    /// Whether the channel's shared limit applies to it. In RabbitMQ only classic queues know that
    /// limit.
    pub(crate) shares: bool,
    /// Messages go to the consumer of the highest priority first.
    pub(crate) priority: i32,
    /// In a stream, the offset of the next message.
    pub(crate) offset: u64,
    /// In a stream, which messages it gets.
    pub(crate) filter: Option<Box<StreamFilter>>,
    /// The time that a delivery may stay unacknowledged, in milliseconds, if it has its own.
    pub(crate) timeout: Option<u64>,
    /// Its number among the consumers of its queue.
    pub(crate) number: u64,
    /// Whether it waits in its queue's line.
    pub(crate) in_line: bool,
    /// Its ticket while it waits for its channel to have room.
    pub(crate) ticket: Option<WaitingTicket>,
}

impl Consumer {
    /// The memory of a consumer, in bytes. An estimate.
    pub(crate) const WEIGHT: u64 = 600;

    /// Tells whether its own limit allows one more delivery.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.no_ack || self.prefetch == 0 || self.unacked < self.prefetch
    }
}
