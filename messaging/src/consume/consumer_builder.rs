//! The builder of a consumer.

use crate::{
    consume::subscription::{Subscription, subscription_setters},
    serialize::Serializers,
};

/// The settings of a consumer that is about to start.
/// [`Transport::consumer`](crate::Transport::consumer) makes it.
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

    /// Sets how many messages the broker sends before they are acknowledged. The default is 64; 0
    /// means no limit. Messages that wait to be received take up to 128 MiB over all consumers of a
    /// transport, or 16 MiB if there is no limit. Beyond that the transport stops reading, which
    /// delays the replies of RPC as well.
    #[must_use]
    pub fn prefetch(mut self, messages: u16) -> Self {
        self.subscription = self.subscription.prefetch(messages);
        self
    }

    /// Sets the largest body that is accepted, in bytes. A message with a larger body comes without
    /// it, as [`Error::Undecodable`](crate::Error::Undecodable) with
    /// [`Malformed::Withheld`](crate::Malformed::Withheld), and is still to be settled. Default:
    /// [that of the transport](crate::TransportOptions::max_message_size).
    #[must_use]
    pub fn max_message_size(mut self, bytes: u64) -> Self {
        self.subscription = self.subscription.max_message_size(bytes);
        self
    }
}
