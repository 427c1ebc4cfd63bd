//! Direct reply-to: answers go straight to the channel that asked, without a queue
//! (<https://www.rabbitmq.com/direct-reply-to.html>).

use amqp_codec::{ShortString, method::basic};

use super::{
    ids::ChannelId,
    message::{Draft, Parts},
    properties::Changes,
    refusal::Refusal,
    reply_consumer::ReplyConsumer,
    sink::{Delivery, Sink},
    vhost::Vhost,
};

/// What a client consumes from, and gives as `reply-to`.
const NAME: &[u8] = b"amq.rabbitmq.reply-to";
/// What its requests carry: this and what tells it from all others.
const PREFIX: &str = "amq.rabbitmq.reply-to.";

/// Whether replies are meant, not a queue.
pub(crate) fn is_reply_name(queue: &ShortString) -> bool {
    queue.as_bytes() == NAME
}

impl Vhost {
    /// Starts a channel's one consumer of replies, known to the others by `unique`.
    ///
    /// # Errors
    /// A tag that is taken, a consumer that would acknowledge, a second one.
    pub(crate) fn consume_replies(
        &mut self,
        id: ChannelId,
        consume: &basic::Consume,
        unique: &str,
    ) -> Result<(), Refusal> {
        let Some(channel) = self.channels.get_mut(id) else { return Ok(()) };
        if channel.consumers.contains_key(&consume.consumer_tag) {
            return Err(Refusal::ConsumerTagReused(consume.consumer_tag.clone()));
        }
        if !consume.no_ack {
            return Err(Refusal::Replies("reply consumer cannot acknowledge"));
        }
        if channel.replies.is_some() {
            return Err(Refusal::Replies("reply consumer already set"));
        }
        let name = ShortString::try_from(format!("{PREFIX}{unique}")).unwrap_or_default();
        channel.replies = Some(ReplyConsumer { tag: consume.consumer_tag.detach(), name: name.clone() });
        self.reply_names.insert(name, id);
        self.topology += 1;
        Ok(())
    }

    /// Ends a channel's consumer of replies, if it has this tag; tells whether it had.
    pub(super) fn cancel_replies(&mut self, id: ChannelId, tag: &ShortString) -> bool {
        let consumer = self.channels.get(id).and_then(|channel| channel.replies.as_ref());
        let is_it = consumer.is_some_and(|consumer| consumer.tag == *tag);
        if is_it {
            self.end_replies(id);
        }
        is_it
    }

    /// Ends a channel's consumer of replies.
    pub(super) fn end_replies(&mut self, id: ChannelId) {
        if let Some(consumer) = self.channels.get_mut(id).and_then(|channel| channel.replies.take()) {
            self.reply_names.remove(&consumer.name);
            self.topology += 1;
        }
    }

    /// Whether somebody waits for replies under what may be the name of a queue; `None` when no replies are meant.
    pub(super) fn has_replies(&self, queue: &ShortString) -> Option<bool> {
        let rest = queue.as_bytes().strip_prefix(NAME)?;
        Some(rest.is_empty() || self.reply_names.contains_key(queue))
    }

    /// The channel that waits for replies by this routing key.
    pub(super) fn reply_channel(&self, key: &[u8]) -> Option<ChannelId> {
        if key.starts_with(PREFIX.as_bytes()) { self.reply_names.get(key).copied() } else { None }
    }

    /// What takes the place of a `reply-to` that means direct replies; `None` where it means anything else.
    ///
    /// # Errors
    /// A channel without a consumer of replies.
    #[inline]
    pub(super) fn reply_name(
        &self,
        id: ChannelId,
        reply_to: Option<&[u8]>,
    ) -> Result<Option<ShortString>, Refusal> {
        if reply_to != Some(NAME) {
            return Ok(None);
        }
        let consumer = self.channels.get(id).and_then(|channel| channel.replies.as_ref());
        let consumer = consumer.ok_or(Refusal::Replies("fast reply consumer does not exist"))?;
        Ok(Some(consumer.name.clone()))
    }

    /// Delivers a reply.
    pub(super) fn deliver_reply(&mut self, id: ChannelId, parts: Parts<'_>, sink: &mut impl Sink) {
        let Some(channel) = self.channels.get(id) else { return };
        let Some(consumer) = &channel.replies else { return };
        self.budget.spend(1);
        self.budget.spend_octets(parts.header.len() + parts.small.len());
        let delivery = Delivery {
            channel: channel.number,
            consumer_tag: &consumer.tag,
            // Not to be acknowledged, and so, as with RabbitMQ, of the next delivery's tag.
            tag: channel.last_tag() + 1,
            redelivered: false,
            parts,
        };
        sink.reply(channel.connection, delivery);
    }
}

/// Puts another `reply-to` into a message.
///
/// # Errors
/// Properties that cannot be read.
pub(crate) fn set_reply_to(draft: &mut Draft, name: &ShortString) -> Result<(), Refusal> {
    let changes = Changes { reply_to: Some(name.as_bytes()), ..Default::default() };
    let header = changes.apply(draft.parts().header).map_err(Refusal::Syntax)?;
    draft.replace_header(&header);
    Ok(())
}
