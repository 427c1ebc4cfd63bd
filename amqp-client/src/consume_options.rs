//! How to consume.

use std::time::Duration;

use amqp_codec::{Table, Value};

use crate::{
    error::{Error, Result},
    runtime::backoff::Backoff,
};

/// How to consume.
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

/// Unacknowledged deliveries of a consumer for which no prefetch was given.
pub(crate) const DEFAULT_PREFETCH: u16 = 256;

impl ConsumeOptions {
    /// With acknowledgements, a prefetch of 256, a tag made by the client.
    pub fn new() -> Self {
        Self::default()
    }

    /// The consumer's tag; empty has the client make one, unique on its connection.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tag = tag.into();
        self
    }

    /// Unacknowledged deliveries over which the broker sends this consumer no more. Default 256; 0
    /// is no limit.
    ///
    /// This bounds what waits in memory for the consumer: so many messages, each at most
    /// [`max_message_size`](crate::ConnectOptions::max_message_size). By bytes
    /// [`inbox_limit`](crate::ConnectOptions::inbox_limit) bounds what waits for all consumers;
    /// there the connection stops reading, for AMQP has no such bound that RabbitMQ honours
    /// (`prefetch_size` is refused with 540), and that holds up the answers that whoever processes
    /// the deliveries may be waiting for. With large messages, set a small prefetch.
    ///
    /// A broker that ignores it is not put up with: with more than twice as many and 64 unsettled
    /// the consumer ends with [`Error::PrefetchExceeded`]. Streams, which are sent in chunks, are
    /// exempt.
    pub fn prefetch(mut self, deliveries: u16) -> Self {
        self.prefetch = Some(deliveries);
        self
    }

    /// The broker takes each message as acknowledged when it is sent. What is lost on the way is
    /// lost.
    pub fn no_ack(mut self, no_ack: bool) -> Self {
        self.no_ack = no_ack;
        self
    }

    /// No other consumer on this queue.
    pub fn exclusive(mut self, exclusive: bool) -> Self {
        self.exclusive = exclusive;
        self
    }

    /// Begins it again, after pauses, when the broker cancels it: because the queue was deleted, or
    /// its node went down; and when it cannot begin again as its connection
    /// [recovers](crate::Recovery), because the node of the queue is still down or the queue is
    /// still locked for the connection that was lost. The queue is declared and bound as it was
    /// over this connection, when that recovers; or else it is waited for. It happens while the
    /// consumer is polled. Default: the consumer ends with [`Error::ConsumerCancelled`], or with
    /// the broker's refusal.
    pub fn resubscribe(mut self, backoff: Backoff) -> Self {
        self.resubscribe = Some(backoff);
        self
    }

    /// A message whose body is over this size, in bytes, is delivered without it, to be settled:
    /// the body is dropped as it comes, and [`Delivery::withheld`](crate::Delivery::withheld) tells
    /// its size. This takes the place of
    /// [`max_message_size`](crate::ConnectOptions::max_message_size) for this consumer. Default: a
    /// message over that ends the channel.
    pub fn withhold_bodies_over(mut self, bytes: u64) -> Self {
        self.withhold_over = Some(bytes);
        self
    }

    /// Messages go to the consumers of the highest priority that have room (`x-priority`). Default
    /// 0.
    pub fn priority(self, priority: i32) -> Self {
        self.set("x-priority", priority)
    }

    /// Where in a stream to begin (`x-stream-offset`). Default: what comes from now on.
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

    /// Tells whether a consumer of a stream that begins again, as its connection
    /// [recovers](crate::Recovery) or its options [say](Self::resubscribe), goes on behind the last
    /// delivery that was handed out. One that has handed out none begins where
    /// [`stream_offset`](Self::stream_offset) says, and so does one that was cancelled and whose
    /// stream is found to have gone. Default: it begins there each time, so that what came to the
    /// stream meanwhile may be missed or come once more.
    pub fn resume_stream(mut self, resume: bool) -> Self {
        self.resume_stream = resume;
        self
    }

    /// Any further argument.
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
    /// The oldest message kept.
    First,
    /// The last chunk of messages.
    Last,
    /// What comes from now on.
    Next,
    /// This message; deliveries tell theirs in the header `x-stream-offset`.
    Offset(u64),
    /// The chunk that held this time: seconds since 1970-01-01 UTC.
    Timestamp(u64),
    /// What came in this time until now, in whole seconds.
    Ago(Duration),
}
