//! How a consumer began, and begins again on a new connection.

use amqp_codec::{ShortString, method::basic};

#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) consume: basic::Consume,
    pub(crate) prefetch: u16,
}

impl Subscription {
    pub(crate) fn tag(&self) -> &ShortString {
        &self.consume.consumer_tag
    }

    /// The limit that goes before it: it is for the consumers that begin after it.
    pub(crate) fn qos(&self) -> basic::Qos {
        basic::Qos { prefetch_count: self.prefetch, ..Default::default() }
    }
}
