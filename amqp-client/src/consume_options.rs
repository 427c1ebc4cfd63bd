//! The options of a consumer.

use std::time::Duration;

use amqp_codec::{Table, Value};

use crate::{
    error::{Error, Result},
    runtime::backoff::Backoff,
};

/// The options of a consumer.
#[derive(Clone, Debug, Default)]
pub struct ConsumeOptions {
    pub(crate) tag: String,
    pub(crate) prefetch: Option<u16>,
    pub(crate) no_ack: bool,
    pub(crate) exclusive: bool,
    pub(crate) arguments: Table,
    pub(crate) resubscribe: Option<Backoff>,
    pub(crate) resume_stream: bool,
    pub(crate) withhold_over: Option<u64>,
}

/// The prefetch of a consumer for which none was given.
pub(crate) const DEFAULT_PREFETCH: u16 = 256;

impl ConsumeOptions {
    /// Makes options with acknowledgements, a prefetch of 256, and a tag made by the client.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the consumer's tag. If it is empty, the client makes one that is unique on its
    /// connection.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tag = tag.into();
        self
    }

    /// Sets how many unacknowledged deliveries the consumer may have before the broker sends no
    /// more. Default 256; 0 is no limit.
    ///
    /// The prefetch bounds the memory of waiting deliveries: at most so many messages, each at most
    /// [`max_message_size`](crate::ConnectOptions::max_message_size).
    /// [`inbox_limit`](crate::ConnectOptions::inbox_limit) bounds the bytes that wait for all
    /// consumers together; at that limit the connection stops reading, because RabbitMQ has no
    /// limit by bytes (it refuses `prefetch_size` with 540). That also delays the answers which the
    /// code that processes the deliveries may be waiting for. With large messages, set a small
    /// prefetch.
    ///
    /// If a broker ignores the prefetch, and more than twice as many and 64 deliveries are
    /// unsettled, the consumer ends with [`Error::PrefetchExceeded`]. Streams, which are sent in
    /// chunks, are exempt.
    pub fn prefetch(mut self, deliveries: u16) -> Self {
        self.prefetch = Some(deliveries);
        self
    }

    /// Sets whether the broker treats each message as acknowledged when it is sent. A message that
    /// is lost on the way is then lost for good.
    pub fn no_ack(mut self, no_ack: bool) -> Self {
        self.no_ack = no_ack;
        self
    }

    /// Sets whether this consumer excludes any other from the queue.
    pub fn exclusive(mut self, exclusive: bool) -> Self {
        self.exclusive = exclusive;
        self
    }

    /// Restarts the consumer, after pauses, when the broker cancels it because the queue was
    /// deleted or its node went down. The same applies when the consumer cannot be restarted as its
    /// connection [recovers](crate::Recovery), because the node of the queue is still down or the
    /// queue is still locked for the lost connection. If the connection recovers, the queue is
    /// declared and bound as it was over this connection; otherwise the consumer waits until the
    /// queue exists. The restart makes progress only while the consumer is polled. Default: the
    /// consumer ends with [`Error::ConsumerCancelled`], or with the broker's refusal.
    pub fn resubscribe(mut self, backoff: Backoff) -> Self {
        self.resubscribe = Some(backoff);
        self
    }

    /// Drops the bodies of messages over this size, in bytes. Such a message is delivered without
    /// its body, so that it can be settled, and [`Delivery::withheld`](crate::Delivery::withheld)
    /// returns the size. This limit replaces
    /// [`max_message_size`](crate::ConnectOptions::max_message_size) for this consumer. Default: a
    /// message over that ends the channel.
    pub fn withhold_bodies_over(mut self, bytes: u64) -> Self {
        self.withhold_over = Some(bytes);
        self
    }

    /// Sets the priority (`x-priority`): messages go to the consumers of the highest priority that
    /// have room. Default 0.
    pub fn priority(self, priority: i32) -> Self {
        self.set("x-priority", priority)
    }

    /// Sets where to begin in a stream (`x-stream-offset`). Default: with the messages that arrive
    /// from now on.
    pub fn stream_offset(self, offset: StreamOffset) -> Self {
        let value = match offset {
            StreamOffset::First => "first".into(),
            StreamOffset::Last => "last".into(),
            StreamOffset::Next => "next".into(),
            StreamOffset::Offset(number) => Value::I64(i64::try_from(number).unwrap_or(i64::MAX)),
            StreamOffset::Timestamp(seconds) => Value::Timestamp(seconds),
            StreamOffset::Ago(age) => format!("{}s", age.as_secs()).into(),
        };
        self.set("x-stream-offset", value)
    }

    /// Sets whether a consumer of a stream resumes after the last delivery that was handed out when
    /// it is restarted, as its connection [recovers](crate::Recovery) or because of
    /// [`resubscribe`](Self::resubscribe). If none was handed out, or if it was cancelled and its
    /// stream no longer exists, it begins where [`stream_offset`](Self::stream_offset) says.
    /// Default: it begins there each time, so that messages that reached the stream meanwhile may
    /// be missed, or delivered twice.
    pub fn resume_stream(mut self, resume: bool) -> Self {
        self.resume_stream = resume;
        self
    }

    /// Sets any other argument.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a key over 255 bytes or nesting over 32.
    pub fn arg(mut self, key: &str, value: impl Into<Value>) -> Result<Self> {
        self.arguments.insert(key, value).map_err(Error::Invalid)?;
        Ok(self)
    }

    fn set(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        let set = self.arguments.insert(key, value);
        debug_assert!(set.is_ok(), "a short key and a flat value always fit");
        self
    }
}

/// A place in a stream (<https://www.rabbitmq.com/docs/streams#consuming>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamOffset {
    /// The oldest message that the stream keeps.
    First,
    /// The last chunk of messages.
    Last,
    /// Messages that arrive from now on.
    Next,
    /// The message with this offset; deliveries have theirs in the header `x-stream-offset`.
    Offset(u64),
    /// The chunk with the messages of this time: seconds since 1970-01-01 UTC.
    Timestamp(u64),
    /// The messages of this much time before now, in whole seconds.
    Ago(Duration),
}
