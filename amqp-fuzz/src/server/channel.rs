//! A channel as its broker sees it.

use std::collections::{BTreeMap, BTreeSet};

use amqp_codec::{ContentHeader, Frame, method::basic};
use bytes::Bytes;

/// A message that a client has published, to be delivered or returned.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) publish: basic::Publish,
    pub(crate) header: ContentHeader,
    pub(crate) body: Vec<Bytes>,
}

impl Stored {
    /// The frames of the content.
    pub(crate) fn content(&self, channel: u16) -> impl Iterator<Item = Frame> {
        let body = self.body.iter().map(move |part| Frame::Body(channel, part.clone()));
        [Frame::Header(channel, self.header.clone())].into_iter().chain(body)
    }
}

/// A message of which a part is still to come.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) publish: basic::Publish,
    pub(crate) header: Option<ContentHeader>,
    pub(crate) body: Vec<Bytes>,
    pub(crate) received: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Consumer {
    pub(crate) no_ack: bool,
    /// The most unsettled deliveries; 0 is no limit.
    pub(crate) prefetch: u16,
    pub(crate) unsettled: BTreeSet<u64>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Channel {
    pub(crate) incoming: Option<Incoming>,
    pub(crate) consumers: BTreeMap<amqp_codec::ShortString, Consumer>,
    pub(crate) prefetch: u16,
    pub(crate) global_prefetch: u16,
    pub(crate) confirms: bool,
    pub(crate) published: u64,
    pub(crate) unconfirmed: BTreeSet<u64>,
    pub(crate) last_delivery: u64,
    /// Set while the broker's own close is not answered.
    pub(crate) is_closing: bool,
}

impl Channel {
    /// Forgets deliveries that are settled.
    pub(crate) fn settle(&mut self, tag: u64, multiple: bool) {
        let is_settled = |it: u64| if multiple { tag == 0 || it <= tag } else { it == tag };
        for consumer in self.consumers.values_mut() {
            consumer.unsettled.retain(|it| !is_settled(*it));
        }
    }

    /// Returns whether one more message may be delivered to this consumer.
    pub(crate) fn has_room(&self, consumer: &Consumer) -> bool {
        let all: usize = self.consumers.values().map(|consumer| consumer.unsettled.len()).sum();
        let is_below = |limit: u16, count: usize| limit == 0 || count < usize::from(limit);
        consumer.no_ack
            || (is_below(consumer.prefetch, consumer.unsettled.len()) && is_below(self.global_prefetch, all))
    }
}
