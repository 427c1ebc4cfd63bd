//! Exchanges, queues and bindings as values: they can be declared, published to and consumed from.

pub(crate) mod declare;

use std::time::Duration;

use amqp_codec::{Table, Value};

use crate::error::{Error, Result};

/// An exchange: its name, type and options.
///
/// The defaults of the options: not durable, not auto-delete, not internal, not passive, waiting
/// for the answer, no arguments. `Exchange::default()` is the default exchange.
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
    /// Makes an exchange of a type given by name, such as one of a plugin.
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

    /// Makes an exchange that routes to the queues bound with exactly the routing key.
    pub fn direct(name: impl Into<String>) -> Self {
        Self::new(name, "direct")
    }

    /// Makes an exchange that routes to all bound queues.
    pub fn fanout(name: impl Into<String>) -> Self {
        Self::new(name, "fanout")
    }

    /// Makes an exchange that routes by patterns: words between dots, `*` for one word, `#` for any
    /// number.
    pub fn topic(name: impl Into<String>) -> Self {
        Self::new(name, "topic")
    }

    /// Makes an exchange that routes by the message's headers.
    pub fn headers(name: impl Into<String>) -> Self {
        Self::new(name, "headers")
    }

    /// Sets whether the exchange survives a restart of the broker.
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Sets whether the exchange is deleted with its last binding.
    pub fn auto_delete(mut self, auto_delete: bool) -> Self {
        self.auto_delete = auto_delete;
        self
    }

    /// Sets whether only other exchanges may publish to it.
    pub fn internal(mut self, internal: bool) -> Self {
        self.internal = internal;
        self
    }

    /// Sets whether a declaration only checks that an exchange of this name exists: nothing is
    /// created, and the other properties do not matter. If there is none, the broker refuses with
    /// 404.
    pub fn passive(mut self, passive: bool) -> Self {
        self.passive = passive;
        self
    }

    /// Sets whether a declaration does not wait for the broker's answer: a refusal then ends the
    /// channel some time later.
    pub fn no_wait(mut self, no_wait: bool) -> Self {
        self.no_wait = no_wait;
        self
    }

    /// Sets the exchange that gets the messages which cannot be routed (`alternate-exchange`).
    pub fn alternate(mut self, exchange: impl AsRef<str>) -> Self {
        let set = self.arguments.insert("alternate-exchange", exchange.as_ref());
        debug_assert!(set.is_ok(), "a short key and a flat value always fit");
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

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the type's name.
    pub fn kind(&self) -> &str {
        &self.kind
    }
}

/// The default exchange: it has no name, exists on every broker, and routes to the queue whose name
/// is the routing key (specification 3.1.3.1). It cannot be declared, bound to or deleted.
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
/// The defaults of the options: not durable, not exclusive, not auto-delete, not passive, waiting
/// for the answer, no arguments.
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
    /// Makes a transient queue. If the name is empty, the broker generates one.
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

    /// Makes a queue that survives a restart of the broker.
    pub fn durable(name: impl Into<String>) -> Self {
        Queue { durable: true, ..Self::new(name) }
    }

    /// Sets whether only this connection may use the queue, which is then deleted with the
    /// connection.
    pub fn exclusive(mut self, exclusive: bool) -> Self {
        self.exclusive = exclusive;
        self
    }

    /// Sets whether the queue is deleted with its last consumer.
    pub fn auto_delete(mut self, auto_delete: bool) -> Self {
        self.auto_delete = auto_delete;
        self
    }

    /// Sets whether a declaration only checks that a queue of this name exists: nothing is created,
    /// and the other properties do not matter. If there is none, the broker refuses with 404.
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

    /// Sets whether a declaration does not wait for the broker's answer: a refusal then ends the
    /// channel some time later. The queue needs a name, because nobody would learn the one that the
    /// broker generates: without one the declaration fails with
    /// [`Error::UnnamedQueue`](crate::Error::UnnamedQueue), and nothing is sent. The numbers in its
    /// [`QueueInfo`] are 0, because the broker does not send them.
    pub fn no_wait(mut self, no_wait: bool) -> Self {
        self.no_wait = no_wait;
        self
    }

    /// Makes a replicated queue (`x-queue-type` `quorum`), which is durable
    /// (<https://www.rabbitmq.com/docs/quorum-queues>).
    pub fn quorum(name: impl Into<String>) -> Self {
        Self::durable(name).set("x-queue-type", "quorum")
    }

    /// Makes an append-only log (`x-queue-type` `stream`), which is durable
    /// (<https://www.rabbitmq.com/docs/streams>). Its consumers need a prefetch and acks, and may
    /// begin anywhere: [`ConsumeOptions::stream_offset`](crate::ConsumeOptions::stream_offset).
    pub fn stream(name: impl Into<String>) -> Self {
        Self::durable(name).set("x-queue-type", "stream")
    }

    /// Sets how long a message may wait in the queue (`x-message-ttl`), in whole milliseconds.
    pub fn message_ttl(self, ttl: Duration) -> Self {
        self.set("x-message-ttl", milliseconds(ttl))
    }

    /// Sets how long the queue lives without consumers, gets and declarations (`x-expires`), in
    /// whole milliseconds; not zero.
    pub fn expires(self, unused: Duration) -> Self {
        self.set("x-expires", milliseconds(unused))
    }

    /// Sets how many ready messages the queue holds at most (`x-max-length`).
    /// [`overflow`](Self::overflow) sets what happens to more.
    pub fn max_length(self, messages: u32) -> Self {
        self.set("x-max-length", i64::from(messages))
    }

    /// Sets how many bytes of ready messages the queue holds at most (`x-max-length-bytes`).
    pub fn max_length_bytes(self, bytes: i64) -> Self {
        self.set("x-max-length-bytes", bytes)
    }

    /// Sets what happens when the queue is over its length (`x-overflow`).
    pub fn overflow(self, overflow: Overflow) -> Self {
        let name = match overflow {
            Overflow::DropHead => "drop-head",
            Overflow::RejectPublish => "reject-publish",
            Overflow::RejectPublishDeadLetter => "reject-publish-dlx",
        };
        self.set("x-overflow", name)
    }

    /// Sets the exchange that gets the messages which are rejected, expired, over the length or
    /// delivered too often (`x-dead-letter-exchange`).
    pub fn dead_letter(self, exchange: impl AsRef<str>) -> Self {
        self.set("x-dead-letter-exchange", exchange.as_ref())
    }

    /// Sets the routing key of dead-lettered messages, instead of their own
    /// (`x-dead-letter-routing-key`).
    pub fn dead_letter_routing_key(self, routing_key: &str) -> Self {
        self.set("x-dead-letter-routing-key", routing_key)
    }

    /// Makes it a priority queue with this highest priority (`x-max-priority`); RabbitMQ advises at
    /// most 10.
    pub fn max_priority(self, highest: u8) -> Self {
        self.set("x-max-priority", i32::from(highest))
    }

    /// Sets whether only one consumer gets messages at a time, and the next one when that one ends
    /// (`x-single-active-consumer`).
    pub fn single_active_consumer(self, single: bool) -> Self {
        self.set("x-single-active-consumer", single)
    }

    /// Sets how often a quorum queue delivers a message before it is dropped or dead-lettered
    /// (`x-delivery-limit`).
    pub fn delivery_limit(self, deliveries: u32) -> Self {
        self.set("x-delivery-limit", i64::from(deliveries))
    }

    /// Sets how long a message that failed waits in a quorum queue before it is delivered again
    /// (`x-delayed-retry-type` `failed`, `x-delayed-retry-min`, `x-delayed-retry-max`), in whole
    /// milliseconds: the shortest time after its first failure, twice that after its second, and so
    /// on up to the longest. A message has failed when it was [rejected](crate::Delivery::reject)
    /// back to its queue, and when its channel ended. RabbitMQ does that from version 4.3 on;
    /// earlier ones ignore it (<https://www.rabbitmq.com/docs/quorum-queues#delayed-retry>).
    pub fn delayed_retry(self, shortest: Duration, longest: Duration) -> Self {
        let queue = self.set("x-delayed-retry-type", "failed");
        let queue = queue.set("x-delayed-retry-min", milliseconds(shortest));
        queue.set("x-delayed-retry-max", milliseconds(longest))
    }

    /// Sets how long a stream keeps messages (`x-max-age`), in whole seconds.
    pub fn max_age(self, age: Duration) -> Self {
        let seconds = age.as_secs();
        self.set("x-max-age", format!("{seconds}s"))
    }

    /// Sets any other argument.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a key over 255 bytes or nesting over 32.
    pub fn arg(mut self, key: &str, value: impl Into<Value>) -> Result<Self> {
        self.arguments.insert(key, value).map_err(Error::Invalid)?;
        Ok(self)
    }

    /// Returns all arguments.
    pub fn arguments(&self) -> &Table {
        &self.arguments
    }

    /// Tells whether the queue is for its connection alone.
    pub fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    /// Tells whether the queue is deleted with its last consumer.
    pub fn is_auto_delete(&self) -> bool {
        self.auto_delete
    }

    fn set(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        let set = self.arguments.insert(key, value);
        debug_assert!(set.is_ok(), "a short key and a flat value always fit");
        self
    }

    /// Returns the name; empty when the broker is to generate one.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// What a queue does when it is over its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Drops, or dead-letters, the oldest message. This is the default.
    DropHead,
    /// Refuses the new message: a publish with confirms is nacked.
    RejectPublish,
    /// Refuses the new message like `RejectPublish`, and dead-letters it.
    RejectPublishDeadLetter,
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// A binding, by which an exchange passes messages to a queue or to another exchange.
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

/// The destination of a [`Binding`]. A plain name is that of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The queue of this name; if it is empty, the queue last declared on the channel.
    Queue(String),
    /// The exchange of this name (an extension of RabbitMQ: <https://www.rabbitmq.com/docs/e2e>).
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
    /// Makes a binding of a queue or an exchange to the exchange that it gets messages from.
    pub fn new(destination: impl Into<Destination>, source: impl AsRef<str>) -> Self {
        Binding {
            destination: destination.into(),
            source: source.as_ref().to_owned(),
            routing_key: String::new(),
            arguments: Table::new(),
        }
    }

    /// Sets the routing key of the binding, or the pattern of keys.
    pub fn routing_key(mut self, routing_key: impl Into<String>) -> Self {
        self.routing_key = routing_key.into();
        self
    }

    /// Sets all arguments at once, in place of those set before.
    pub fn args(mut self, arguments: Table) -> Self {
        self.arguments = arguments;
        self
    }

    /// Sets any argument: those that a headers exchange compares, `x-match` among them.
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

/// What the broker reports about a declared queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueInfo {
    /// The name; if an empty one was declared, the one that the broker generated.
    pub name: String,
    /// How many messages are ready to be delivered.
    pub messages: u32,
    /// How many consumers the queue has.
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
