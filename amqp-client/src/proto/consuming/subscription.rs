//! How a consumer was started, and is started again on a new connection.

use std::sync::Arc;

use amqp_codec::{ShortString, Value, method::basic};

use crate::proto::consuming::delivery::OFFSET;
use crate::sync::atomic::{AtomicU64, Ordering};

#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) consume: basic::Consume,
    pub(crate) prefetch: u16,
    /// The position in a stream, if the consumer resumes there.
    pub(crate) place: Option<Arc<Place>>,
    /// Larger bodies are not kept. Without this, a body over the connection's limit ends the
    /// channel.
    pub(crate) withhold_over: Option<u64>,
}

/// The position in a stream, shared with the consumer's handle, which updates it.
#[derive(Debug)]
pub(crate) struct Place(AtomicU64);

impl Default for Place {
    fn default() -> Self {
        Place(AtomicU64::new(Self::NOWHERE))
    }
}

impl Place {
    /// The position when nothing has been read. No message has this offset, because offsets are
    /// signed on the wire.
    const NOWHERE: u64 = u64::MAX;

    /// Notes that the message with this offset was handed out.
    pub(crate) fn read(&self, offset: u64) {
        self.0.store(offset.saturating_add(1).min(Self::NOWHERE - 1), Ordering::Release);
    }

    /// Forgets the position, because the stream is a new one: reading begins where the options say.
    pub(crate) fn forget(&self) {
        self.0.store(Self::NOWHERE, Ordering::Release);
    }

    /// Returns the offset to resume at; `None` when nothing was read.
    pub(crate) fn next(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Acquire)).filter(|next| *next != Self::NOWHERE)
    }
}

impl Subscription {
    pub(crate) fn tag(&self) -> &ShortString {
        &self.consume.consumer_tag
    }

    /// Returns the most unsettled deliveries of a broker that respects the prefetch, allowing for
    /// messages in flight; `None` without acknowledgements or prefetch.
    pub(crate) fn unsettled_limit(&self) -> Option<u32> {
        let is_bounded = self.prefetch > 0 && !self.consume.no_ack;
        is_bounded.then(|| 2 * u32::from(self.prefetch) + 64)
    }

    /// Tells whether the user takes the queue for a stream.
    pub(crate) fn is_of_stream(&self) -> bool {
        self.place.is_some() || self.consume.arguments.contains_key(OFFSET)
    }

    /// Returns the method that starts the consumer now: a stream is resumed where it was.
    pub(crate) fn consume_now(&self) -> basic::Consume {
        let mut consume = self.consume.clone();
        if let Some(next) = self.place.as_ref().and_then(|place| place.next()) {
            let next = i64::try_from(next).unwrap_or(i64::MAX);
            let set = consume.arguments.insert(OFFSET, Value::I64(next));
            debug_assert!(set.is_ok(), "a short key and a flat value always fit");
        }
        consume
    }

    /// Returns the prefetch method that precedes it, which applies to later consumers.
    pub(crate) fn qos(&self) -> basic::Qos {
        basic::Qos { prefetch_count: self.prefetch, ..Default::default() }
    }
}
