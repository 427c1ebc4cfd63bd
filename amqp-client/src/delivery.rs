//! A message received, to be acked or given back.

use std::{borrow::Cow, fmt, sync::Arc};

use amqp_codec::{EncodedProperties, Properties, borrowed::ContentProperties};
use bytes::Bytes;

use crate::{
    error::{Error, Result},
    proto::{channel_ref::ChannelRef, consuming::delivery::RawDelivery},
    runtime::handles::ChannelHandle,
};

/// A message from a queue. Its parts are slices of the connection's read buffer; properties are
/// decoded when asked for.
///
/// # On drop
/// Dropped without ack, nack or reject it stays unacknowledged: it counts towards the prefetch, and
/// goes back to its queue when the channel ends.
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

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.raw.body
    }

    /// The size of the body in bytes, when it was over what the consumer takes
    /// ([`withhold_bodies_over`](crate::ConsumeOptions::withhold_bodies_over)): it was dropped as
    /// it came, and [`body`](Self::body) is empty.
    pub fn withheld(&self) -> Option<u64> {
        self.raw.withheld()
    }

    /// The properties, decoded now.
    ///
    /// # Errors
    /// [`Error::Protocol`] when the broker sent malformed ones; the delivery can still be acked or
    /// rejected.
    pub fn properties(&self) -> Result<Properties> {
        let decoded = self.raw.properties().decode();
        decoded.map_err(|source| Error::Protocol { channel: self.channel.key.id, source })
    }

    /// Those of the properties that tell how to read the body, without a reference count touched.
    ///
    /// # Errors
    /// As [`properties`](Self::properties).
    pub fn content_properties(&self) -> Result<ContentProperties<'_>> {
        let decoded = ContentProperties::decode(self.raw.property_bytes());
        decoded.map_err(|source| Error::Protocol { channel: self.channel.key.id, source })
    }

    /// The properties as the bytes they are on the wire, to be passed on.
    pub fn encoded_properties(&self) -> EncodedProperties {
        self.raw.properties()
    }

    /// Puts other properties in the place of those that came.
    pub fn set_properties(&mut self, properties: &EncodedProperties) {
        self.raw.set_properties(properties);
    }

    /// The exchange it was published to; empty for the default exchange.
    pub fn exchange(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.raw.exchange())
    }

    /// The routing key it was published with.
    pub fn routing_key(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.raw.routing_key())
    }

    /// Its number on the channel.
    pub fn delivery_tag(&self) -> u64 {
        self.raw.tag
    }

    /// Whether it was delivered before, to anyone.
    pub fn redelivered(&self) -> bool {
        self.raw.redelivered
    }

    /// Messages left in the queue, when this one came by `get`.
    pub fn remaining(&self) -> Option<u32> {
        self.remaining
    }

    /// Copies the message out of the read buffer, which a small one to be kept for long would keep
    /// whole.
    pub fn detach(&mut self) {
        self.raw.detach();
    }

    /// The message, and what acks it: to hand the one on and keep the other.
    pub fn split(self) -> (Received, Acker) {
        let Delivery { raw, channel, .. } = self;
        let (tag, no_ack, number) = (raw.tag, raw.no_ack, channel.key.id);
        (Received { raw, channel: number }, Acker { tag, no_ack, channel })
    }

    /// Acknowledges it: processed. A run of acks leaves as one frame, at once when the connection
    /// is idle and within about a millisecond when it is busy. Nothing to do for a delivery without
    /// acknowledgement.
    ///
    /// # Errors
    /// Why the channel has ended: the message will be delivered again.
    pub async fn ack(self) -> Result<()> {
        self.split().1.ack().await
    }

    /// Refuses it: back to its queue, or dropped (dead-lettered where the queue says so). Of a
    /// stream nothing goes back or away, and RabbitMQ closes the connection for trying; a consumer
    /// that has a [`stream_offset`](crate::ConsumeOptions::stream_offset), or
    /// [resumes](crate::ConsumeOptions::resume_stream), acknowledges it instead.
    ///
    /// # Errors
    /// Why the channel has ended: the message will be delivered again.
    pub async fn nack(self, requeue: bool) -> Result<()> {
        self.split().1.nack(requeue).await
    }

    /// As [`nack`](Self::nack), by `basic.reject`, which brokers other than RabbitMQ know too.
    ///
    /// # Errors
    /// Why the channel has ended: the message will be delivered again.
    pub async fn reject(self, requeue: bool) -> Result<()> {
        self.split().1.reject(requeue).await
    }
}

/// The message of a delivery, without the means to ack it. Cloning shares its parts.
#[derive(Clone)]
pub struct Received {
    raw: RawDelivery,
    /// The number of the channel it came on, for errors.
    channel: u16,
}

impl Received {
    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.raw.body
    }

    /// The body alone.
    pub fn into_body(self) -> Bytes {
        self.raw.body
    }

    /// As [`Delivery::withheld`].
    pub fn withheld(&self) -> Option<u64> {
        self.raw.withheld()
    }

    /// The properties as the bytes they are on the wire, to be passed on.
    pub fn encoded_properties(&self) -> EncodedProperties {
        self.raw.properties()
    }

    /// Puts other properties in the place of those that came.
    pub fn set_properties(&mut self, properties: &EncodedProperties) {
        self.raw.set_properties(properties);
    }

    /// The properties, decoded now.
    ///
    /// # Errors
    /// [`Error::Protocol`] when the broker sent malformed ones.
    pub fn properties(&self) -> Result<Properties> {
        self.raw.properties().decode().map_err(|source| Error::Protocol { channel: self.channel, source })
    }

    /// Those of the properties that tell how to read the body, without a reference count touched.
    ///
    /// # Errors
    /// As [`Delivery::properties`].
    pub fn content_properties(&self) -> Result<ContentProperties<'_>> {
        let decoded = ContentProperties::decode(self.raw.property_bytes());
        decoded.map_err(|source| Error::Protocol { channel: self.channel, source })
    }

    /// The exchange it was published to; empty for the default exchange.
    pub fn exchange(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.raw.exchange())
    }

    /// The routing key it was published with.
    pub fn routing_key(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.raw.routing_key())
    }

    /// Whether it was delivered before, to anyone.
    pub fn redelivered(&self) -> bool {
        self.raw.redelivered
    }
}

/// What settles one delivery.
///
/// # On drop
/// Dropped unused, the delivery stays unacknowledged, as a dropped [`Delivery`] does.
pub struct Acker {
    channel: Arc<ChannelHandle>,
    tag: u64,
    no_ack: bool,
}

impl Acker {
    /// Tells whether there is nothing to be settled any more: the connection was lost or the
    /// channel has ended, so that the message is delivered again.
    pub fn is_stale(&self) -> bool {
        let status = &self.channel.status;
        !self.no_ack && (status.is_stale(self.tag) || status.ended.get().is_some())
    }

    /// The delivery that this was [split](Delivery::split) from, with a message that may have been
    /// changed since.
    pub fn join(self, message: Received) -> Delivery {
        let Acker { tag, no_ack, channel } = self;
        let mut raw = message.raw;
        (raw.tag, raw.no_ack) = (tag, no_ack);
        Delivery { raw, channel, remaining: None }
    }

    /// As [`Delivery::ack`].
    ///
    /// # Errors
    /// Why the channel has ended: the message will be delivered again.
    pub async fn ack(self) -> Result<()> {
        self.settle(|mut channel| channel.ack(self.tag))
    }

    /// As [`Delivery::nack`].
    ///
    /// # Errors
    /// Why the channel has ended: the message will be delivered again.
    pub async fn nack(self, requeue: bool) -> Result<()> {
        self.settle(|mut channel| channel.nack(self.tag, requeue))
    }

    /// As [`Delivery::reject`].
    ///
    /// # Errors
    /// Why the channel has ended: the message will be delivered again.
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
