//! A consumer that is about to start.

use crate::{
    consume::subscription::{Subscription, subscription_setters},
    serialize::Serializers,
};

/// A consumer about to start. Made by [`Transport::consumer`](crate::Transport::consumer).
#[derive(Clone)]
pub struct ConsumerBuilder {
    pub(super) subscription: Subscription,
    pub(super) serializers: Serializers,
}

subscription_setters!(ConsumerBuilder);

impl ConsumerBuilder {
    pub(crate) fn new(subscription: Subscription) -> Self {
        ConsumerBuilder { subscription, serializers: Serializers::new() }
    }

    /// How many messages the broker sends ahead of their acknowledgement; default 64, 0 is without
    /// limit. Those that wait to be received are bounded by 128 MiB over all consumers of a
    /// transport, or 16 MiB without limit: beyond that it reads no more, which holds up the replies
    /// of RPC as well.
    #[must_use]
    pub fn prefetch(mut self, messages: u16) -> Self {
        self.subscription = self.subscription.prefetch(messages);
        self
    }

    /// The largest body that is taken, in bytes. A message with a larger one comes without it, as
    /// [`Error::Undecodable`](crate::Error::Undecodable) with
    /// [`Malformed::Withheld`](crate::Malformed::Withheld), to be settled. Default: [that of the
    /// transport](crate::TransportOptions::max_message_size).
    #[must_use]
    pub fn max_message_size(mut self, bytes: u64) -> Self {
        self.subscription = self.subscription.max_message_size(bytes);
        self
    }
}
