//! A received message, and what settles it.

use std::{borrow::Cow, fmt, sync::Arc};

use amqp_codec::{EncodedProperties, Properties, borrowed::ContentProperties};
use bytes::Bytes;

use crate::{
    error::{Error, Result},
    proto::{channel_ref::ChannelRef, consuming::delivery::RawDelivery},
    runtime::handles::ChannelHandle,
};

/// A message from a queue. Its parts are slices of the connection's read buffer; properties are
/// decoded on request.
///
/// # On drop
/// A delivery dropped without ack, nack or reject stays unacknowledged: it counts towards the
/// prefetch, and goes back to its queue when the channel ends.
pub struct Delivery {
    raw: RawDelivery,
    channel: Arc<ChannelHandle>,
    remaining: Option<u32>,
}

impl Delivery {
    pub(crate) fn consumed(channel: Arc<ChannelHandle>, raw: RawDelivery) -> Self {
        Delivery { raw, channel, remaining: None }
    }

    pub(crate) fn got(channel: Arc<ChannelHandle>, raw: RawDelivery, remaining: u32) -> Self {
        Delivery { raw, channel, remaining: Some(remaining) }
    }

    /// Returns the body.
    pub fn body(&self) -> &Bytes {
        &self.raw.body
    }

    /// Returns the size of the body in bytes, if it was over the consumer's limit
    /// ([`withhold_bodies_over`](crate::ConsumeOptions::withhold_bodies_over)). The body was then
    /// dropped on arrival, and [`body`](Self::body) is empty.
    pub fn withheld(&self) -> Option<u64> {
        self.raw.withheld()
    }

    /// Decodes the properties.
    ///
    /// # Errors
    /// [`Error::Protocol`] when the broker sent malformed properties; the delivery can still be
    /// acked or rejected.
    pub fn properties(&self) -> Result<Properties> {
        let decoded = self.raw.properties().decode();
        decoded.map_err(|source| Error::Protocol { channel: self.channel.key.id, source })
    }

    /// Decodes only the properties that describe how to read the body, without touching a reference
    /// count.
    ///
    /// # Errors
    /// The same as for [`properties`](Self::properties).
    pub fn content_properties(&self) -> Result<ContentProperties<'_>> {
        let decoded = ContentProperties::decode(self.raw.property_bytes());
        decoded.map_err(|source| Error::Protocol { channel: self.channel.key.id, source })
    }

    /// Returns the properties as encoded bytes, to be passed on.
    pub fn encoded_properties(&self) -> EncodedProperties {
        self.raw.properties()
    }

    /// Replaces the properties.
    pub fn set_properties(&mut self, properties: &EncodedProperties) {
        self.raw.set_properties(properties);
    }

    /// Returns the exchange that the message was published to; empty for the default exchange.
    pub fn exchange(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.raw.exchange())
    }

    /// Returns the routing key that the message was published with.
    pub fn routing_key(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.raw.routing_key())
    }

    /// Returns the delivery's number on its channel.
    pub fn delivery_tag(&self) -> u64 {
        self.raw.tag
    }

    /// Tells whether the message was delivered before, to any consumer.
    pub fn redelivered(&self) -> bool {
        self.raw.redelivered
    }

    /// Returns how many messages are left in the queue, if this one was fetched by `get`.
    pub fn remaining(&self) -> Option<u32> {
        self.remaining
    }

    /// Returns the message's offset, if it is from a stream
    /// (<https://www.rabbitmq.com/docs/streams#consuming>). Other headers need not be readable.
    pub fn stream_offset(&self) -> Option<u64> {
        self.raw.stream_offset()
    }

    /// Copies the message out of the read buffer, because a small message kept for long would keep
    /// the whole buffer alive.
    pub fn detach(&mut self) {
        self.raw.detach();
    }

    /// Splits the delivery into its message and an acker, so that one can be passed on and the
    /// other kept.
    pub fn split(self) -> (Received, Acker) {
        let Delivery { raw, channel, .. } = self;
        let (tag, no_ack, number) = (raw.tag, raw.no_ack, channel.key.id);
        (Received { raw, channel: number }, Acker { tag, no_ack, channel })
    }

    /// Acknowledges the message as processed. Consecutive acks leave as one frame: at once when the
    /// connection is idle, within about a millisecond when it is busy. Does nothing for a delivery
    /// without acknowledgement.
    ///
    /// # Errors
    /// The reason why the channel has ended: the message will be delivered again.
    pub async fn ack(self) -> Result<()> {
        self.split().1.ack().await
    }

    /// Refuses the message: it is requeued, or dropped (dead-lettered if the queue is so
    /// configured). Messages of a stream can be neither requeued nor dropped, and RabbitMQ closes
    /// the connection for trying. A consumer with a
    /// [`stream_offset`](crate::ConsumeOptions::stream_offset), or one that
    /// [resumes](crate::ConsumeOptions::resume_stream), therefore acknowledges the message instead.
    ///
    /// # Errors
    /// The reason why the channel has ended: the message will be delivered again.
    pub async fn nack(self, requeue: bool) -> Result<()> {
        self.split().1.nack(requeue).await
    }

    /// Does the same as [`nack`](Self::nack) with `basic.reject`, which brokers other than RabbitMQ
    /// support too.
    ///
    /// # Errors
    /// The reason why the channel has ended: the message will be delivered again.
    pub async fn reject(self, requeue: bool) -> Result<()> {
        self.split().1.reject(requeue).await
    }
}

/// The message of a delivery, without the means to settle it. Cloning shares its parts.
#[derive(Clone)]
pub struct Received {
    raw: RawDelivery,
    /// The number of the channel that the message came on, for errors.
    channel: u16,
}

impl Received {
    /// Returns the body.
    pub fn body(&self) -> &Bytes {
        &self.raw.body
    }

    /// Returns only the body.
    pub fn into_body(self) -> Bytes {
        self.raw.body
    }

    /// Returns the same as [`Delivery::withheld`].
    pub fn withheld(&self) -> Option<u64> {
        self.raw.withheld()
    }

    /// Returns the properties as encoded bytes, to be passed on.
    pub fn encoded_properties(&self) -> EncodedProperties {
        self.raw.properties()
    }

    /// Replaces the properties.
    pub fn set_properties(&mut self, properties: &EncodedProperties) {
        self.raw.set_properties(properties);
    }

    /// Decodes the properties.
    ///
    /// # Errors
    /// [`Error::Protocol`] when the broker sent malformed properties.
    pub fn properties(&self) -> Result<Properties> {
        self.raw.properties().decode().map_err(|source| Error::Protocol { channel: self.channel, source })
    }

    /// Decodes only the properties that describe how to read the body, without touching a reference
    /// count.
    ///
    /// # Errors
    /// The same as for [`Delivery::properties`].
    pub fn content_properties(&self) -> Result<ContentProperties<'_>> {
        let decoded = ContentProperties::decode(self.raw.property_bytes());
        decoded.map_err(|source| Error::Protocol { channel: self.channel, source })
    }

    /// Returns the exchange that the message was published to; empty for the default exchange.
    pub fn exchange(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.raw.exchange())
    }

    /// Returns the routing key that the message was published with.
    pub fn routing_key(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.raw.routing_key())
    }

    /// Tells whether the message was delivered before, to any consumer.
    pub fn redelivered(&self) -> bool {
        self.raw.redelivered
    }
}

/// The handle that settles one delivery.
///
/// # On drop
/// If it is dropped unused, the delivery stays unacknowledged, as a dropped [`Delivery`] does.
pub struct Acker {
    channel: Arc<ChannelHandle>,
    tag: u64,
    no_ack: bool,
}

impl Acker {
    /// Tells whether there is nothing left to settle: the connection was lost or the channel has
    /// ended, so that the message is delivered again.
    pub fn is_stale(&self) -> bool {
        let status = &self.channel.status;
        !self.no_ack && (status.is_stale(self.tag) || status.ended.get().is_some())
    }

    /// Rebuilds the delivery that this was [split](Delivery::split) from. The message may have been
    /// changed since.
    pub fn join(self, message: Received) -> Delivery {
        let Acker { tag, no_ack, channel } = self;
        let mut raw = message.raw;
        (raw.tag, raw.no_ack) = (tag, no_ack);
        Delivery { raw, channel, remaining: None }
    }

    /// Does the same as [`Delivery::ack`].
    ///
    /// # Errors
    /// The reason why the channel has ended: the message will be delivered again.
    pub async fn ack(self) -> Result<()> {
        self.settle(|mut channel| channel.ack(self.tag))
    }

    /// Does the same as [`Delivery::nack`].
    ///
    /// # Errors
    /// The reason why the channel has ended: the message will be delivered again.
    pub async fn nack(self, requeue: bool) -> Result<()> {
        self.settle(|mut channel| channel.nack(self.tag, requeue))
    }

    /// Does the same as [`Delivery::reject`].
    ///
    /// # Errors
    /// The reason why the channel has ended: the message will be delivered again.
    pub async fn reject(self, requeue: bool) -> Result<()> {
        self.settle(|mut channel| channel.reject(self.tag, requeue))
    }

    #[inline]
    fn settle(&self, settle: impl FnOnce(ChannelRef<'_>) -> Result<()>) -> Result<()> {
        if self.no_ack {
            return Ok(());
        }
        self.channel.with_channel(settle).flatten().map_err(|error| self.channel.explain(error))
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("exchange", &self.exchange())
            .field("routing_key", &self.routing_key())
            .field("body_len", &self.body().len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Acker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acker").field("delivery_tag", &self.tag).finish_non_exhaustive()
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("delivery_tag", &self.delivery_tag())
            .field("exchange", &self.exchange())
            .field("routing_key", &self.routing_key())
            .field("redelivered", &self.redelivered())
            .field("body_len", &self.body().len())
            .finish()
    }
}
