//! How a consumer began, and begins again on a new connection.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use amqp_codec::{ShortString, Value, method::basic};

use crate::proto::consuming::delivery::OFFSET;

#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) consume: basic::Consume,
    pub(crate) prefetch: u16,
    /// How far the stream was read, when it is to be gone on with from there.
    pub(crate) place: Option<Arc<Place>>,
    /// Bodies over this size are not kept; without it, they end the channel over the connection's limit.
    pub(crate) withhold_over: Option<u64>,
}

/// How far a stream was read: shared with the consumer's handle, which notes it.
#[derive(Debug)]
pub(crate) struct Place(AtomicU64);

impl Default for Place {
    fn default() -> Self {
        Place(AtomicU64::new(Self::NOWHERE))
    }
}

impl Place {
    /// Nothing was read. No message has this offset, for offsets are signed on the wire.
    const NOWHERE: u64 = u64::MAX;

    /// The message with this offset was handed out.
    pub(crate) fn read(&self, offset: u64) {
        self.0.store(offset.saturating_add(1).min(Self::NOWHERE - 1), Ordering::Release);
    }

    /// The stream is another one: it begins where the options say.
    pub(crate) fn forget(&self) {
        self.0.store(Self::NOWHERE, Ordering::Release);
    }

    /// The offset to go on with; `None` when nothing was read.
    pub(crate) fn next(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Acquire)).filter(|next| *next != Self::NOWHERE)
    }
}

impl Subscription {
    pub(crate) fn tag(&self) -> &ShortString {
        &self.consume.consumer_tag
    }

    /// The most unsettled deliveries by which the broker may be said to keep to the prefetch, with room for what crosses on the way;
    /// `None` where nothing is to be settled, or there is no prefetch.
    pub(crate) fn unsettled_limit(&self) -> Option<u32> {
        let is_bounded = self.prefetch > 0 && !self.consume.no_ack;
        is_bounded.then(|| 2 * u32::from(self.prefetch) + 64)
    }

    /// Tells whether its user takes the queue for a stream.
    pub(crate) fn is_of_stream(&self) -> bool {
        self.place.is_some() || self.consume.arguments.contains_key(OFFSET)
    }

    /// How to begin now: a stream that was read in part is gone on with.
    pub(crate) fn consume_now(&self) -> basic::Consume {
        let mut consume = self.consume.clone();
        if let Some(next) = self.place.as_ref().and_then(|place| place.next()) {
            let next = i64::try_from(next).unwrap_or(i64::MAX);
            let set = consume.arguments.insert(OFFSET, Value::I64(next));
            debug_assert!(set.is_ok(), "a short key and a flat value always fit");
        }
        consume
    }

    /// The limit that goes before it: it is for the consumers that begin after it.
    pub(crate) fn qos(&self) -> basic::Qos {
        basic::Qos { prefetch_count: self.prefetch, ..Default::default() }
    }
}
