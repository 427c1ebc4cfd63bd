//! The path of a delivery from a queue to a connection.

use super::sink::{Delivery, Sink};
use crate::core::{
    collections::arena::Arena,
    content::{
        extra_header::{with_extra_header, with_extra_header_and_mode},
        message::{Message, Parts},
        returns::Returns,
    },
    entities::{
        channel::Channel,
        connection::Connection,
        consumer::Consumer,
        ids::{ChannelKey, ConnectionKey, ConsumerId, ConsumerKey, QueueId, QueueKey},
        queue::Queue,
        ready::{Entry, NEVER},
        unacked::UnackedDelivery,
    },
    journal::kept::Kept,
    rabbitmq::profile::Profile,
};

/// The fate of a message that a stream's consumer has come to.
pub(crate) enum StreamRead {
    Sent(Message),
    /// The consumer does not want it.
    Filtered,
}

/// All entities that a delivery passes on its way from a queue to a connection.
pub(crate) struct DeliveryPath<'a> {
    queue_id: QueueId,
    pub(crate) queue: &'a mut Queue,
    consumer_id: ConsumerId,
    pub(crate) consumer: &'a mut Consumer,
    pub(crate) channel: &'a mut Channel,
    pub(crate) connection: &'a mut Connection,
}

impl<'a> DeliveryPath<'a> {
    #[inline]
    pub(crate) fn find(
        consumers: &'a mut Arena<Consumer, ConsumerKey>,
        channels: &'a mut Arena<Channel, ChannelKey>,
        connections: &'a mut Arena<Connection, ConnectionKey>,
        queues: &'a mut Arena<Queue, QueueKey>,
        (queue_id, consumer_id): (QueueId, ConsumerId),
    ) -> Option<Self> {
        let consumer = consumers.get_mut(consumer_id)?;
        let channel = channels.get_mut(consumer.channel)?;
        let connection = connections.get_mut(channel.connection)?;
        let queue = queues.get_mut(queue_id)?;
        Some(DeliveryPath { queue_id, queue, consumer_id, consumer, channel, connection })
    }

    /// Makes the consumer wait for its channel, if it is the channel that lacks room.
    pub(crate) fn wait_for_channel(&mut self) {
        if !self.connection.congested
            && self.consumer.has_room()
            && !self.channel.has_room(self.consumer.shares)
        {
            self.channel.wait(self.consumer_id, self.consumer);
        }
    }

    /// Sends the next message to a stream's consumer, or passes it over, if there is one and the
    /// consumer has room.
    pub(crate) fn deliver_record(
        &mut self,
        now: u64,
        profile: &Profile,
        sink: &mut impl Sink,
    ) -> Option<StreamRead> {
        if self.connection.congested
            || !self.consumer.has_room()
            || !self.channel.has_room(self.consumer.shares)
        {
            return None;
        }
        let (offset, message) = self.queue.stream.as_ref()?.at(self.consumer.offset)?;
        let message = message.clone();
        self.consumer.offset = offset + 1;
        if let Some(filter) = &self.consumer.filter
            && !filter.matches(message.parts().properties())
        {
            return Some(StreamRead::Filtered);
        }
        // Headers that cannot be read cannot be extended: the message goes out unchanged.
        let extend = match profile.streams_set_delivery_mode {
            true => with_extra_header_and_mode,
            false => with_extra_header,
        };
        let header = extend(message.parts().header, "x-stream-offset", offset).ok();
        let mut parts = message.parts();
        if let Some(header) = &header {
            parts.header = header;
        }
        let tag = self.send(parts, false, sink);
        let entry = Entry {
            message: message.clone(),
            position: offset,
            expires_at: NEVER,
            priority: 0,
            redelivered: false,
            returns: Returns::NONE,
            kept: Kept::NO,
        };
        self.hold(now, tag, entry);
        Some(StreamRead::Sent(message))
    }

    /// Sends a message of the queue, and keeps it until it is acknowledged.
    #[inline]
    pub(crate) fn deliver_entry(&mut self, now: u64, entry: Entry, sink: &mut impl Sink) {
        let header = entry.header();
        let mut parts = entry.message.parts();
        if let Some(header) = &header {
            parts.header = header;
        }
        let tag = self.send(parts, entry.redelivered, sink);
        if !self.consumer.no_ack {
            self.hold(now, tag, entry);
        }
    }

    /// Keeps a message until it is acknowledged.
    #[inline]
    fn hold(&mut self, now: u64, tag: u64, entry: Entry) {
        self.consumer.unacked += 1;
        self.channel.in_flight += 1;
        self.channel.shared_in_flight += u32::from(self.consumer.shares);
        self.queue.unacked += 1;
        self.queue.unacked_bytes += entry.message.body_len() as u64;
        let (consumer, shared) = (Some(self.consumer_id), self.consumer.shares);
        let unacked = UnackedDelivery { entry, queue: self.queue_id, since: now, consumer, shared };
        self.channel.unacked.push(tag, unacked);
    }

    /// Sends a message; returns its delivery tag.
    #[inline]
    pub(crate) fn send(&mut self, parts: Parts<'_>, redelivered: bool, sink: &mut impl Sink) -> u64 {
        let tag = self.channel.next_tag();
        self.channel.counters.deliver(self.consumer.no_ack, redelivered);
        self.queue.counters.deliver(self.consumer.no_ack, redelivered);
        let delivery = Delivery {
            channel: self.channel.number,
            consumer_tag: &self.consumer.tag,
            tag,
            redelivered,
            parts,
        };
        if !sink.deliver(self.channel.connection, delivery) {
            self.connection.congested = true;
        }
        self.queue.rotate();
        tag
    }
}
