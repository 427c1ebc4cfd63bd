//! Direct reply-to: replies go straight to the channel that made the request, without a queue
//! (<https://www.rabbitmq.com/direct-reply-to.html>).

use amqp_codec::{ShortString, method::basic};

use super::Vhost;
use crate::{
    core::{
        content::{
            message::{Draft, Parts},
            properties::Changes,
        },
        effects::{
            lost_replies::LostReplies,
            sink::{Delivery, Sink},
        },
        entities::{ids::ChannelId, reply_consumer::ReplyConsumer},
        rabbitmq::refusal::Refusal,
    },
    shown::shown,
};

/// The queue name that a client consumes from and gives as `reply-to`.
const NAME: &[u8] = b"amq.rabbitmq.reply-to";
/// The `reply-to` of delivered requests begins with this; a unique part follows.
const PREFIX: &str = "amq.rabbitmq.reply-to.";

/// Tells whether the name stands for direct replies and not for a queue.
pub(crate) fn is_reply_name(queue: &ShortString) -> bool {
    queue.as_bytes() == NAME
}

impl Vhost {
    /// Starts the channel's one consumer of replies; `unique` completes its reply name.
    ///
    /// # Errors
    /// The tag is in use, the consumer would acknowledge, or the channel has such a consumer
    /// already.
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
        self.routes_version += 1;
        Ok(())
    }

    /// Ends a channel's consumer of replies, if it has this tag; returns whether it had.
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
            self.routes_version += 1;
        }
    }

    /// Tells whether a channel still waits for replies under this name; `None` when it is a queue's
    /// name.
    pub(super) fn has_replies(&self, queue: &ShortString) -> Option<bool> {
        let rest = queue.as_bytes().strip_prefix(NAME)?;
        Some(rest.is_empty() || self.reply_names.contains_key(queue))
    }

    /// The channel that waits for replies with this routing key.
    pub(super) fn reply_channel(&mut self, key: &[u8]) -> Option<ChannelId> {
        if !key.starts_with(PREFIX.as_bytes()) {
            return None;
        }
        let channel = self.reply_names.get(key).copied();
        self.lost_replies.too_late += u64::from(channel.is_none());
        channel
    }

    /// The replacement for a `reply-to` that asks for direct replies; `None` for any other.
    ///
    /// # Errors
    /// The channel has no consumer of replies.
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

    /// Delivers a direct reply.
    pub(super) fn deliver_reply(&mut self, id: ChannelId, parts: Parts<'_>, sink: &mut impl Sink) {
        let channel = self.channels.get(id);
        let Some((channel, consumer)) =
            channel.and_then(|channel| Some((channel, channel.replies.as_ref()?)))
        else {
            self.lost_replies.too_late += 1;
            return;
        };
        self.budget.spend(1);
        self.budget.spend_octets(parts.header.len() + parts.small.len());
        let delivery = Delivery {
            channel: channel.number,
            consumer_tag: &consumer.tag,
            // A direct reply is not acknowledged. As in RabbitMQ it carries the tag that the next
            // delivery carries too.
            tag: channel.last_tag() + 1,
            redelivered: false,
            parts,
        };
        self.lost_replies.unread += u64::from(!sink.reply(channel.connection, delivery));
    }

    /// Logs that replies were dropped.
    pub(super) fn tell_lost_replies(&mut self) {
        let LostReplies { unread, too_late } = std::mem::take(&mut self.lost_replies);
        let vhost = shown(&self.name);
        if unread > 0 {
            tracing::warn!(
                vhost,
                unread,
                too_late,
                "direct replies are dropped: requesters do not read them, or are gone"
            );
        } else if too_late > 0 {
            tracing::info!(vhost, too_late, "direct replies are dropped: requesters are gone");
        }
    }
}

/// Replaces the `reply-to` of a message.
///
/// # Errors
/// Properties that cannot be read.
pub(crate) fn set_reply_to(draft: &mut Draft, name: &ShortString) -> Result<(), Refusal> {
    let changes = Changes { reply_to: Some(name.as_bytes()), ..Default::default() };
    let header = changes.apply(draft.parts().header).map_err(Refusal::Syntax)?;
    draft.replace_header(&header);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        entities::ids::ConnectionId,
        rabbitmq::access::Access,
        vhost::operations::publish::{Publisher, Route},
    };

    /// A connection that accepts this many replies.
    struct Takes(usize);

    impl Sink for Takes {
        fn deliver(&mut self, _: ConnectionId, _: Delivery<'_>) -> bool {
            true
        }
        fn reply(&mut self, _: ConnectionId, _: Delivery<'_>) -> bool {
            self.0.checked_sub(1).map(|left| self.0 = left).is_some()
        }
        fn close_channel(&mut self, _: ConnectionId, _: u16, _: &Refusal) {}
        fn cancel(&mut self, _: ConnectionId, _: u16, _: &ShortString) {}
        fn return_unroutable(&mut self, _: ConnectionId, _: u16, _: Parts<'_>) {}
        fn wake(&mut self, _: ConnectionId) {}
    }

    #[test]
    fn replies_that_nobody_gets_are_counted_until_that_is_told() {
        let mut vhost = Vhost::new("/", Default::default());
        let connection = vhost.connect("c".into(), Access::unlimited("guest"), true);
        let channel = vhost.open_channel(connection, 1);
        let consume = basic::Consume {
            consumer_tag: ShortString::from_static("t"),
            no_ack: true,
            ..basic::Consume::default()
        };
        vhost.consume_replies(channel, &consume, "one").unwrap();
        let (mut sink, publisher) = (Takes(1), Publisher { connection, channel });
        for key in ["one", "one", "one", "other", ""] {
            let mut draft = Draft::default();
            draft.start(b"", format!("{PREFIX}{key}").as_bytes());
            draft.header(&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            vhost.publish(0, publisher, &mut Route::default(), &mut draft, &mut sink).unwrap();
        }
        assert_eq!(vhost.lost_replies, LostReplies { unread: 2, too_late: 2 });
        assert_eq!(vhost.next_deadline(), 0);
        vhost.advance(5, &mut sink);
        assert!(vhost.lost_replies.are_none() && vhost.next_deadline() > 5);
    }
}
