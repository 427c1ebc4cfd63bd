//! Exchanges and queues as values: declared, published to, consumed from, and declared again after
//! a reconnect.

use std::time::Duration;

use amqp_codec::{Table, Value};

use crate::error::{Error, Result};

/// An exchange: its name, type and options.
///
/// Options' defaults: not durable, not auto-delete, not internal, not passive, waiting for the
/// answer, no arguments. `Exchange::default()` is the default exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) internal: bool,
    pub(crate) passive: bool,
    pub(crate) no_wait: bool,
    pub(crate) arguments: Table,
}

impl Exchange {
    /// Of a type given by name, for types a plugin adds.
    pub fn new(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Exchange {
            name: name.into(),
            kind: kind.into(),
            durable: false,
            auto_delete: false,
            internal: false,
            passive: false,
            no_wait: false,
            arguments: Table::new(),
        }
    }

    /// Routes to the queues bound with exactly the routing key.
    pub fn direct(name: impl Into<String>) -> Self {
        Self::new(name, "direct")
    }

    /// Routes to all queues bound.
    pub fn fanout(name: impl Into<String>) -> Self {
        Self::new(name, "fanout")
    }

    /// Routes by patterns: words between dots, `*` for one word, `#` for any number.
    pub fn topic(name: impl Into<String>) -> Self {
        Self::new(name, "topic")
    }

    /// Routes by the message's headers.
    pub fn headers(name: impl Into<String>) -> Self {
        Self::new(name, "headers")
    }

    /// Whether it outlives a restart of the broker.
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Whether it goes with its last binding.
    pub fn auto_delete(mut self, auto_delete: bool) -> Self {
        self.auto_delete = auto_delete;
        self
    }

    /// Whether only exchanges may publish to it.
    pub fn internal(mut self, internal: bool) -> Self {
        self.internal = internal;
        self
    }

    /// Whether to declare it is to ask only whether there is one of this name: nothing is created,
    /// and what else is said of it does not matter. One that does not exist is refused with 404.
    pub fn passive(mut self, passive: bool) -> Self {
        self.passive = passive;
        self
    }

    /// Whether to declare it is not to wait for the broker's answer: a refusal ends the channel at
    /// some later time.
    pub fn no_wait(mut self, no_wait: bool) -> Self {
        self.no_wait = no_wait;
        self
    }

    /// Where messages go that it cannot route (`alternate-exchange`).
    pub fn alternate(mut self, exchange: impl AsRef<str>) -> Self {
        let set = self.arguments.insert("alternate-exchange", exchange.as_ref());
        debug_assert!(set.is_ok(), "a short key and a flat value always fit");
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

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type's name.
    pub fn kind(&self) -> &str {
        &self.kind
    }
}

/// The default exchange: it has no name, is there on every broker, and routes to the queue that is
/// named as the routing key (specification 3.1.3.1). It cannot be declared, bound to or deleted.
impl Default for Exchange {
    fn default() -> Self {
        Self::direct("")
    }
}

impl AsRef<str> for Exchange {
    fn as_ref(&self) -> &str {
        &self.name
    }
}

/// A queue: its name and options.
///
/// Defaults: not durable, not exclusive, not auto-delete, not passive, waiting for the answer, no
/// arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    pub(crate) name: String,
    pub(crate) durable: bool,
    pub(crate) exclusive: bool,
    pub(crate) auto_delete: bool,
    pub(crate) passive: bool,
    pub(crate) no_wait: bool,
    pub(crate) arguments: Table,
}

impl Queue {
    /// A transient queue; with an empty name the broker gives one.
    pub fn new(name: impl Into<String>) -> Self {
        Queue {
            name: name.into(),
            durable: false,
            exclusive: false,
            auto_delete: false,
            passive: false,
            no_wait: false,
            arguments: Table::new(),
        }
    }

    /// A queue that outlives a restart of the broker.
    pub fn durable(name: impl Into<String>) -> Self {
        Queue { durable: true, ..Self::new(name) }
    }

    /// Whether only this connection may use it; it goes with the connection.
    pub fn exclusive(mut self, exclusive: bool) -> Self {
        self.exclusive = exclusive;
        self
    }

    /// Tells whether it goes with its last consumer.
    pub fn auto_delete(mut self, auto_delete: bool) -> Self {
        self.auto_delete = auto_delete;
        self
    }

    /// Whether to declare it is to ask only for the queue of this name: nothing is created, and
    /// what else is said of it does not matter. One that does not exist is refused with 404.
    ///
    /// ```no_run
    /// # async fn run(channel: amqp_client::Channel) -> amqp_client::Result<()> {
    /// use amqp_client::Queue;
    ///
    /// let waiting = channel.declare(Queue::new("jobs").passive(true)).await?.messages;
    /// # Ok(())
    /// # }
    /// ```
    pub fn passive(mut self, passive: bool) -> Self {
        self.passive = passive;
        self
    }

    /// Whether to declare it is not to wait for the broker's answer: a refusal ends the channel at
    /// some later time. It needs a name then, and the numbers in its [`QueueInfo`] are 0, for
    /// nobody tells them.
    pub fn no_wait(mut self, no_wait: bool) -> Self {
        self.no_wait = no_wait;
        self
    }

    /// A replicated queue (`x-queue-type` `quorum`); it is durable
    /// (<https://www.rabbitmq.com/docs/quorum-queues>).
    pub fn quorum(name: impl Into<String>) -> Self {
        Self::durable(name).set("x-queue-type", "quorum")
    }

    /// An append-only log (`x-queue-type` `stream`); it is durable
    /// (<https://www.rabbitmq.com/docs/streams>). Its consumers need a prefetch and acks, and may
    /// begin anywhere: [`ConsumeOptions::stream_offset`](crate::ConsumeOptions::stream_offset).
    pub fn stream(name: impl Into<String>) -> Self {
        Self::durable(name).set("x-queue-type", "stream")
    }

    /// How long a message may wait in it (`x-message-ttl`), in whole milliseconds.
    pub fn message_ttl(self, ttl: Duration) -> Self {
        self.set("x-message-ttl", milliseconds(ttl))
    }

    /// How long it lives without consumers, gets and declarations (`x-expires`), in whole
    /// milliseconds; not zero.
    pub fn expires(self, unused: Duration) -> Self {
        self.set("x-expires", milliseconds(unused))
    }

    /// The most ready messages it holds (`x-max-length`); what happens to more is for
    /// [`overflow`](Self::overflow) to say.
    pub fn max_length(self, messages: u32) -> Self {
        self.set("x-max-length", i64::from(messages))
    }

    /// The most bytes of ready messages it holds (`x-max-length-bytes`).
    pub fn max_length_bytes(self, bytes: i64) -> Self {
        self.set("x-max-length-bytes", bytes)
    }

    /// What happens to messages over its length (`x-overflow`).
    pub fn overflow(self, overflow: Overflow) -> Self {
        let name = match overflow {
            Overflow::DropHead => "drop-head",
            Overflow::RejectPublish => "reject-publish",
            Overflow::RejectPublishDeadLetter => "reject-publish-dlx",
        };
        self.set("x-overflow", name)
    }

    /// Where messages go that are rejected, expired, over the length or delivered too often
    /// (`x-dead-letter-exchange`).
    pub fn dead_letter(self, exchange: impl AsRef<str>) -> Self {
        self.set("x-dead-letter-exchange", exchange.as_ref())
    }

    /// The routing key they go with instead of their own (`x-dead-letter-routing-key`).
    pub fn dead_letter_routing_key(self, routing_key: &str) -> Self {
        self.set("x-dead-letter-routing-key", routing_key)
    }

    /// It is a priority queue with this many priorities (`x-max-priority`); RabbitMQ advises at
    /// most 10.
    pub fn max_priority(self, highest: u8) -> Self {
        self.set("x-max-priority", i32::from(highest))
    }

    /// Only one of its consumers gets messages at a time, the next when that one goes
    /// (`x-single-active-consumer`).
    pub fn single_active_consumer(self, single: bool) -> Self {
        self.set("x-single-active-consumer", single)
    }

    /// Of a quorum queue: how often a message may be delivered before it is dropped or
    /// dead-lettered (`x-delivery-limit`).
    pub fn delivery_limit(self, deliveries: u32) -> Self {
        self.set("x-delivery-limit", i64::from(deliveries))
    }

    /// Of a stream: how long it keeps messages (`x-max-age`), in whole seconds.
    pub fn max_age(self, age: Duration) -> Self {
        let seconds = age.as_secs();
        self.set("x-max-age", format!("{seconds}s"))
    }

    /// Any further argument.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a key over 255 bytes or nesting over 32.
    pub fn arg(mut self, key: &str, value: impl Into<Value>) -> Result<Self> {
        self.arguments.insert(key, value).map_err(Error::Invalid)?;
        Ok(self)
    }

    /// All arguments.
    pub fn arguments(&self) -> &Table {
        &self.arguments
    }

    /// Tells whether it goes with its last consumer.
    pub fn is_auto_delete(&self) -> bool {
        self.auto_delete
    }

    fn set(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        let set = self.arguments.insert(key, value);
        debug_assert!(set.is_ok(), "a short key and a flat value always fit");
        self
    }

    /// The name; empty when the broker is to give one.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// What a queue does with messages over its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Drops, or dead-letters, the oldest: the default.
    DropHead,
    /// Refuses the new: a publish with confirms is nacked.
    RejectPublish,
    /// As `RejectPublish`, and dead-letters the refused.
    RejectPublishDeadLetter,
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// What ties a queue, or an exchange, to an exchange: how messages come from the one to the other.
///
/// Defaults: an empty routing key, no arguments.
///
/// ```
/// use amqp_client::{Binding, Exchange, Queue};
///
/// let events = Exchange::topic("events");
/// let jobs = Binding::new(&Queue::new("jobs"), &events).routing_key("job.#");
/// let audit = Binding::new(&Exchange::fanout("audit"), &events).routing_key("#");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub(crate) destination: Destination,
    pub(crate) source: String,
    pub(crate) routing_key: String,
    pub(crate) arguments: Table,
}

/// What a [`Binding`] leads to. A name alone is a queue's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The queue of this name; the channel's last declared one when it is empty.
    Queue(String),
    /// The exchange of this name (of RabbitMQ: <https://www.rabbitmq.com/docs/e2e>).
    Exchange(String),
}

impl From<&Queue> for Destination {
    fn from(queue: &Queue) -> Self {
        Destination::Queue(queue.name.clone())
    }
}

impl From<&QueueInfo> for Destination {
    fn from(queue: &QueueInfo) -> Self {
        Destination::Queue(queue.name.clone())
    }
}

impl From<&Exchange> for Destination {
    fn from(exchange: &Exchange) -> Self {
        Destination::Exchange(exchange.name.clone())
    }
}

impl From<&str> for Destination {
    fn from(queue: &str) -> Self {
        Destination::Queue(queue.to_owned())
    }
}

impl From<&String> for Destination {
    fn from(queue: &String) -> Self {
        Destination::Queue(queue.clone())
    }
}

impl Binding {
    /// Of a queue or an exchange, as its value or a queue's name says, to the exchange it gets
    /// messages from.
    pub fn new(destination: impl Into<Destination>, source: impl AsRef<str>) -> Self {
        Binding {
            destination: destination.into(),
            source: source.as_ref().to_owned(),
            routing_key: String::new(),
            arguments: Table::new(),
        }
    }

    /// The key, or pattern of keys, it is for.
    pub fn routing_key(mut self, routing_key: impl Into<String>) -> Self {
        self.routing_key = routing_key.into();
        self
    }

    /// Any argument: what a headers exchange compares, `x-match` among them.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a key over 255 bytes or nesting over 32.
    pub fn arg(mut self, key: &str, value: impl Into<Value>) -> Result<Self> {
        self.arguments.insert(key, value).map_err(Error::Invalid)?;
        Ok(self)
    }
}

impl AsRef<str> for Queue {
    fn as_ref(&self) -> &str {
        &self.name
    }
}

/// What the broker tells of a queue when it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueInfo {
    /// The name, the broker's own when an empty one was declared.
    pub name: String,
    /// Messages ready to be delivered.
    pub messages: u32,
    /// Consumers.
    pub consumers: u32,
}

impl AsRef<str> for QueueInfo {
    fn as_ref(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_arguments_are_those_that_rabbitmq_documents() {
        let queue = Queue::quorum("jobs")
            .message_ttl(Duration::from_secs(30))
            .expires(Duration::from_secs(3600))
            .max_length(10)
            .max_length_bytes(1 << 40)
            .overflow(Overflow::RejectPublish)
            .dead_letter(Exchange::direct("dead"))
            .dead_letter_routing_key("jobs.dead")
            .single_active_consumer(true)
            .delivery_limit(5);
        let shown = queue.arguments().to_string();
        let expected = r#"{x-queue-type: "quorum", x-message-ttl: 30000, x-expires: 3600000, x-max-length: 10, x-max-length-bytes: 1099511627776, x-overflow: "reject-publish", x-dead-letter-exchange: "dead", x-dead-letter-routing-key: "jobs.dead", x-single-active-consumer: true, x-delivery-limit: 5}"#;
        assert_eq!(shown, expected);
        assert!(queue.durable);
        let stream = Queue::stream("log").max_age(Duration::from_secs(1800)).arguments().to_string();
        assert_eq!(stream, r#"{x-queue-type: "stream", x-max-age: "1800s"}"#);
    }
}
