//! Content that arrives on a channel: deliveries, fetched messages, returned messages.

use amqp_codec::{
    Content, ContentHeader, Error as CodecError, FrameRef, Frames, ReplyCode, ShortString, borrowed,
    method::{basic, channel},
};
use bytes::Bytes;

use super::{Channel, Incoming, Phase};
use crate::{
    error::{Error, Result},
    event::Event,
    proto::{
        calls::Reply,
        consuming::{
            delivery::{RawDelivery, check_exchange_and_key, exchange_at, join_head},
            holders::Holder,
        },
        expects::Expects,
        link::Link,
        publishing::returns::RawReturn,
    },
};

/// While more bytes than this wait to be sent, deliveries to a consumer that is gone are not
/// requeued one by one: the broker requeues them when the channel ends.
const MOST_GIVEN_BACK: usize = 4 * 1024 * 1024;

impl Channel {
    /// Takes a `basic.deliver` in `chunk`, which `frames` walks over. In the usual case header and
    /// body are in the same chunk, and the delivery consists of two slices of it.
    pub(crate) fn deliver(
        &mut self,
        link: &mut Link,
        chunk: &Bytes,
        frame: &FrameRef<'_>,
        frames: &mut Frames<'_>,
    ) -> Result<()> {
        if self.is_discarding {
            return Ok(());
        }
        self.incoming.expect_method().map_err(|error| self.broken(error))?;
        let deliver = match borrowed::Deliver::decode(frame.payload) {
            Ok(Some(deliver)) => deliver,
            Ok(None) => return Ok(()),
            Err(error) => return Err(self.broken(error)),
        };
        let Some((consumer, withhold_over)) = self.consumers.find(deliver.consumer_tag) else {
            return Err(self.broken(CodecError::UnexpectedFrame {
                expected: "a delivery to a consumer of this channel",
                got: "a delivery with an unknown consumer tag",
            }));
        };
        // The offset is class 2, method 2, the tag's length octet 1, delivery tag 8, bits 1.
        let exchange_at = 14 + deliver.consumer_tag.len();
        let payload = frame.payload_range();
        if let Some(content) = frames.next_content(self.id) {
            let size = content.body.len() as u64;
            let is_over = size > withhold_over.unwrap_or(link.max_message_size);
            if is_over && withhold_over.is_none() {
                self.refuse_content(link, size);
                return Ok(());
            }
            let properties = content.properties_range();
            let head = payload.start..properties.end;
            // A delivery without its body must not keep the whole read buffer alive.
            let head = match is_over {
                true => Bytes::copy_from_slice(chunk.get(head).unwrap_or_default()),
                false => chunk.slice(head),
            };
            let properties_at = properties.start - payload.start;
            link.metrics.frames_received += if content.body.is_empty() { 1 } else { 2 };
            let body = if is_over { Bytes::new() } else { chunk.slice(content.body_range()) };
            let (tag, redelivered) = (deliver.delivery_tag, deliver.redelivered);
            self.receive(link, consumer, head, exchange_at, properties_at, body, tag, redelivered);
            return Ok(());
        }
        let incoming = Incoming::Deliver {
            consumer,
            exchange_at,
            tag: deliver.delivery_tag,
            redelivered: deliver.redelivered,
            payload: chunk.slice(payload),
        };
        self.incoming.method(incoming).map_err(|error| self.broken(error))?;
        self.withhold_over = withhold_over;
        Ok(())
    }

    pub(crate) fn header(&mut self, link: &mut Link, payload: &Bytes) -> Result<()> {
        if self.is_discarding {
            return Ok(());
        }
        let header = ContentHeader::decode(payload).map_err(|error| self.broken(error))?;
        if header.class_id != basic::CLASS_ID {
            let (expected, got) = ("a content header of class basic", "a content header of another class");
            return Err(self.broken(CodecError::UnexpectedFrame { expected, got }));
        }
        let size = header.body_size;
        let content = self.incoming.header(header).map_err(|error| self.broken(error))?;
        match self.withhold_over {
            Some(limit) if size > limit => self.incoming.discard_body(),
            None if size > link.max_message_size => {
                self.refuse_content(link, size);
                return Ok(());
            }
            _ => {}
        }
        self.complete(link, content)
    }

    pub(crate) fn body(&mut self, link: &mut Link, payload: Bytes) -> Result<()> {
        if self.is_discarding {
            return Ok(());
        }
        let content = self.incoming.body(payload).map_err(|error| self.broken(error))?;
        self.complete(link, content)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one delivery, on the hot path")]
    #[inline]
    fn receive(
        &mut self,
        link: &mut Link,
        consumer: usize,
        head: Bytes,
        exchange_at: usize,
        properties_at: usize,
        body: Bytes,
        tag: u64,
        redelivered: bool,
    ) {
        link.metrics.messages_received += 1;
        let tag = tag.saturating_add(self.tags_before);
        let Some(receiver) = self.consumers.slots.get_mut(consumer) else { return };
        let no_ack = receiver.subscription.consume.no_ack;
        if self.recovering > 0 && !no_ack {
            self.acks.delivered(tag, None, link.now);
            return;
        }
        let unsettled = self.acks.delivered(tag, receiver.holder, link.now);
        let delivery = RawDelivery::new(head, exchange_at, properties_at, body, tag, redelivered, no_ack);
        if receiver.dropped {
            // Otherwise a peer that sends and never reads would make the outgoing buffer grow
            // without bound.
            if delivery.may_be_given_back() && self.is_live() && link.output.len() < MOST_GIVEN_BACK {
                self.nack(link, tag, true);
            }
            return;
        }
        if receiver.batch.is_empty() {
            self.consumers.touched.push(consumer);
        }
        receiver.batch_bytes += delivery.size();
        receiver.batch.push_back(delivery);
        if unsettled > receiver.unsettled_limit {
            self.over_prefetch(link, consumer, unsettled);
        }
    }

    /// Ends a consumer to which the broker sends far more than its prefetch allows, so that it
    /// holds no more memory; the channel goes on. The reason follows the deliveries that had
    /// arrived. Also called for the first delivery to a consumer that may be of a stream, to find
    /// out whether it is.
    #[cold]
    fn over_prefetch(&mut self, link: &mut Link, index: usize, unsettled: u32) {
        // With a prefetch for the whole channel, as in the specification, each consumer sets that
        // of all.
        let loosest = if link.has_consumer_qos { 0 } else { self.loosest_limit };
        let Some(consumer) = self.consumers.slots.get_mut(index) else { return };
        // A stream is sent in whole chunks (https://www.rabbitmq.com/docs/streams#consuming), which
        // may hold thousands of messages.
        if consumer.batch.back().is_some_and(|delivery| delivery.stream_offset().is_some()) {
            consumer.unsettled_limit = u32::MAX;
            if let Some(holder) = consumer.holder.filter(|_| consumer.subscription.is_of_stream()) {
                self.acks.holders.set_of_stream(holder);
            }
            return;
        }
        let limit = consumer.subscription.unsettled_limit().unwrap_or(u32::MAX).max(loosest);
        if unsettled <= limit {
            consumer.unsettled_limit = limit;
            return;
        }
        let (tag, prefetch) = (consumer.subscription.tag().clone(), consumer.subscription.prefetch);
        let error = Error::PrefetchExceeded { channel: self.id, tag: tag.to_string(), prefetch, unsettled };
        consumer.dropped = true;
        self.consumers.put_batches(&mut link.wakes);
        if let Some(consumer) = self.consumers.slots.get(index) {
            link.wakes.extend(consumer.inbox.end(Some(error)));
        }
        self.cancel_consumer(link, &tag);
    }

    /// Takes content that arrived in pieces, or over several reads, once it is complete.
    fn complete(&mut self, link: &mut Link, content: Option<Content<Incoming>>) -> Result<()> {
        let Some(Content { method, header, body }) = content else { return Ok(()) };
        let body = body.into_bytes();
        match method {
            Incoming::Deliver { consumer, payload, exchange_at, tag, redelivered } => {
                let (head, properties_at) = join_head(&payload, &header);
                self.receive(link, consumer, head, exchange_at, properties_at, body, tag, redelivered);
            }
            Incoming::Get { payload, ok, no_ack } => {
                let (head, properties_at) = join_head(&payload, &header);
                let tag = ok.delivery_tag.saturating_add(self.tags_before);
                let redelivered = ok.redelivered;
                let at = exchange_at::GET_OK;
                link.metrics.messages_received += 1;
                let got = RawDelivery::new(head, at, properties_at, body, tag, redelivered, no_ack);
                let is_settled = no_ack || self.recovering > 0;
                self.acks.delivered(tag, (!is_settled).then_some(Holder::NOBODY), link.now);
                let call = self.getting.take();
                self.finish(link, call, Ok(Reply::Got(Box::new(got), ok.message_count)));
            }
            Incoming::Return { payload, exchange_at, code, text } => {
                let (head, properties_at) = join_head(&payload, &header);
                let content = RawDelivery::new(head, exchange_at, properties_at, body, 0, false, true);
                link.metrics.messages_returned += 1;
                let returned = RawReturn { code, text, content };
                let unclaimed = match &mut self.confirms {
                    Some(confirms) => confirms.returned(returned),
                    None => Some(returned),
                };
                link.events.extend(unclaimed.map(|returned| returned.event(self.id)));
            }
        }
        Ok(())
    }

    pub(super) fn begin_return(&mut self, payload: &Bytes, returned: &basic::Return) -> Result<()> {
        // The offset is class 2, method 2, code 2, the text's length octet 1.
        let exchange_at = 7 + returned.reply_text.len();
        check_exchange_and_key(payload, exchange_at).map_err(|error| self.broken(error))?;
        let incoming = Incoming::Return {
            payload: payload.clone(),
            exchange_at,
            code: returned.reply_code,
            text: returned.reply_text.to_string(),
        };
        self.withhold_over = None;
        self.incoming.method(incoming).map_err(|error| self.broken(error))
    }

    /// Ends the channel because content is over the limit. The connection and its other channels go
    /// on, as with RabbitMQ's `max_message_size` for publishes. If the channel is closing already,
    /// the content is only dropped.
    #[cold]
    fn refuse_content(&mut self, link: &mut Link, size: u64) {
        self.is_discarding = true;
        self.incoming.clear();
        if matches!(self.phase, Phase::Closing) {
            return;
        }
        let error = Error::MessageTooLarge { channel: self.id, size, limit: link.max_message_size };
        let close = channel::Close {
            reply_code: ReplyCode::CONTENT_TOO_LARGE.0,
            reply_text: ShortString::new("reply text", &error.to_string()).unwrap_or_default(),
            ..Default::default()
        };
        link.events.push(Event::ChannelClosed { channel: self.id, reason: error.clone() });
        self.end(link, &error);
        if self.request(link, close.into(), Expects::Close, None).is_ok() {
            self.phase = Phase::Closing;
        }
    }
}
