//! Publishes: they gather while input is read, and are stored together.

use amqp_codec::{EncodedProperties, Error, Frame, Properties, ReplyCode, content::Content, method::basic};
use bytes::Bytes;

use crate::{
    backend::{BackendError, Link, Message, Published},
    core::{
        rabbitmq::{access::Act, refusal::Refusal},
        vhost::operations::publish::expiration,
    },
};

use super::{
    fault::Fault,
    session::{Pending, Session, text},
};

/// How many publishes, or octets of their bodies, gather before they are stored.
const MOST_PENDING: usize = 1024;
const MOST_PENDING_OCTETS: usize = 4 << 20;

impl<L: Link> Session<L> {
    /// Takes a frame of content; returns whether enough publishes have gathered.
    ///
    /// # Errors
    /// When it cannot come now, or what it completes is refused.
    pub(super) fn content(&mut self, number: u16, frame: Frame) -> Result<bool, Fault> {
        let limit = self.terms.max_message_size;
        let Some(channel) = self.channels.get_mut(&number) else {
            return Err(Refusal::ChannelError("expected 'channel.open'").into());
        };
        if channel.is_closing {
            return Ok(false);
        }
        let complete = match frame {
            Frame::Header(_, header) => {
                channel.is_excessive = header.body_size > limit;
                let complete = channel.incoming.header(header)?;
                // As in RabbitMQ, an excessive body is refused when it is complete. None of it is
                // kept.
                if channel.is_excessive {
                    channel.incoming.discard_body();
                }
                complete
            }
            Frame::Body(_, part) => {
                channel.arrived += if channel.is_excessive { 0 } else { part.len() as u64 };
                // A part of a large body must not keep the whole read buffer.
                channel.incoming.body(detached(part))?
            }
            Frame::Method(..) | Frame::Heartbeat(_) => None,
        };
        if let Some(content) = complete {
            channel.arrived = 0;
            let size = content.header.body_size;
            if size > limit {
                return Err(Refusal::MessageTooLarge { size, limit }.into());
            }
            self.publish(number, content)?;
        }
        self.check_arriving()?;
        Ok(self.pending.len() >= MOST_PENDING || self.pending_octets >= MOST_PENDING_OCTETS)
    }

    /// Checks that the incomplete bodies of all channels together are not too large.
    fn check_arriving(&self) -> Result<(), Fault> {
        let limit = self.terms.max_message_size.saturating_mul(2);
        match self.channels.values().map(|channel| channel.arrived).sum::<u64>() {
            arriving if arriving > limit => Err(Refusal::TooMuchUnpublished { limit }.into()),
            _ => Ok(()),
        }
    }

    /// Takes a complete message.
    fn publish(&mut self, number: u16, content: Content<basic::Publish>) -> Result<(), Fault> {
        let Content { method: publish, header, body } = content;
        if publish.immediate {
            return Err(Refusal::NotImplemented("immediate=true".to_owned()).into());
        }
        let exchange = text(&publish.exchange)?;
        self.permit(Act::Write, "exchange", if exchange.is_empty() { "amq.default" } else { &exchange })?;
        self.permit_topic(Act::Write, &exchange, &publish.routing_key)?;
        let properties = decoded(&header.properties)?;
        if let Some(claimed) = &properties.user_id
            && !self.terms.access.may_be(claimed.as_bytes())
        {
            let (claimed, user) = (claimed.to_text().into_owned(), self.terms.access.user.clone());
            return Err(Refusal::WrongUserId { claimed, user }.into());
        }
        if let Some(text) = &properties.expiration {
            expiration(text.as_bytes())?;
        }
        let message = Message {
            exchange: publish.exchange,
            routing_key: publish.routing_key,
            properties,
            body: body.into_bytes(),
        };
        self.pending_octets += message.body.len();
        self.pending.push(Pending { channel: number, mandatory: publish.mandatory, message });
        Ok(())
    }

    /// Stores the publishes that have gathered, and answers them.
    ///
    /// # Errors
    /// The fault and the channel that it belongs to; 0 is the whole connection.
    pub(super) async fn flush_publishes(&mut self) -> Result<(), (u16, Fault)> {
        self.pending_octets = 0;
        while let Some(number) = self.pending.first().map(|pending| pending.channel) {
            let (own, others) =
                std::mem::take(&mut self.pending).into_iter().partition(|pending| pending.channel == number);
            self.pending = others;
            self.store(number, own).await.map_err(|fault| match fault.closes_connection {
                true => (0, fault),
                false => (number, fault),
            })?;
        }
        Ok(())
    }

    /// Stores publishes of one channel, and answers them.
    async fn store(&mut self, number: u16, pending: Vec<Pending>) -> Result<(), Fault> {
        let mandatory: Vec<_> = pending.iter().map(|pending| pending.mandatory).collect();
        let messages: Vec<_> = pending.into_iter().map(|pending| pending.message).collect();
        let outcomes = self.link.publish(&messages).await?;
        let mut acked = None;
        for ((outcome, message), mandatory) in outcomes.into_iter().zip(&messages).zip(mandatory) {
            let tag = self.next_confirm(number);
            match outcome {
                Published::Routed => acked = tag,
                Published::Unroutable => {
                    if mandatory {
                        self.confirm(number, acked.take());
                        self.give_back(number, message);
                    }
                    acked = tag;
                }
                Published::Rejected => {
                    self.confirm(number, acked.take());
                    let nack = |tag| basic::Nack { delivery_tag: tag, multiple: false, requeue: false };
                    tag.map(nack).into_iter().for_each(|nack| self.output.method(number, &nack));
                }
                Published::Refused(error) => {
                    self.confirm(number, acked.take());
                    return Err(error.into());
                }
            }
        }
        self.confirm(number, acked);
        Ok(())
    }

    /// Counts a publish; returns its tag in confirm mode.
    fn next_confirm(&mut self, number: u16) -> Option<u64> {
        let confirmed = self.channel(number)?.confirmed.as_mut()?;
        *confirmed += 1;
        Some(*confirmed)
    }

    /// Confirms all publishes up to this one. All that were answered otherwise are below it, and
    /// `multiple` names none of them again.
    fn confirm(&mut self, number: u16, tag: Option<u64>) {
        if let Some(delivery_tag) = tag {
            self.output.method(number, &basic::Ack { delivery_tag, multiple: true });
        }
    }

    /// Returns a message that no queue takes.
    fn give_back(&mut self, number: u16, message: &Message) {
        let returned = basic::Return {
            reply_code: ReplyCode::NO_ROUTE.0,
            reply_text: amqp_codec::ShortString::from_static("NO_ROUTE"),
            exchange: message.exchange.clone(),
            routing_key: message.routing_key.clone(),
        };
        self.send_content(number, &returned, (&message.properties, &message.body));
    }
}

/// The properties that a backend gets, decoded.
///
/// # Errors
/// When they are malformed (502), or nest too deeply to be decoded, which closes only the channel
/// (406): an AMQP broker would pass them on.
fn decoded(properties: &EncodedProperties) -> Result<Properties, Fault> {
    properties.decode().map_err(|error| match error {
        Error::TooDeep { .. } => BackendError::PreconditionFailed(error.to_string()).into(),
        malformed => malformed.into(),
    })
}

/// A part of a body in memory of its own, unless it is worth sharing the read buffer.
fn detached(part: Bytes) -> Bytes {
    const SHARED: usize = 32 << 10;
    if part.len() < SHARED { Bytes::copy_from_slice(&part) } else { part }
}
