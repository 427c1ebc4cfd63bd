//! Bindings of queues to exchanges.

use amqp_client::Table;

/// What an exchange compares messages with, to pass them on to a queue: a routing key, or for a
/// topic exchange a pattern of keys; for a headers exchange arguments, `x-match` among them.
///
/// A text becomes one, a [`Table`] of arguments, or a pair of both.
///
/// ```
/// use messaging::{Exchange, PublishOptions, Producer, Queue, Table, Transport};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let transport = Transport::connect("memory://binding-key").await?;
/// let (exchange, mut large) = (Exchange::headers("images"), Table::new());
/// large.insert("size", "large")?;
/// let images = transport.consumer(Queue::new("large")).bind(&exchange, large);
/// let mut images = images.start::<String>().await?;
///
/// let producer = transport.producer(exchange);
/// let size = |size| PublishOptions::new().header("size", size);
/// producer.ensure_publish(("", &size("small")?), "cat.png").await?;
/// producer.ensure_publish(("", &size("large")?), "dog.png").await?;
/// assert_eq!(images.recv().await.expect("an image")?.body(), "dog.png");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindingKey {
    pub(crate) routing_key: String,
    pub(crate) arguments: Table,
}

impl From<&str> for BindingKey {
    fn from(routing_key: &str) -> Self {
        routing_key.to_owned().into()
    }
}

impl From<&String> for BindingKey {
    fn from(routing_key: &String) -> Self {
        routing_key.clone().into()
    }
}

impl From<String> for BindingKey {
    fn from(routing_key: String) -> Self {
        BindingKey { routing_key, ..Self::default() }
    }
}

impl From<Table> for BindingKey {
    fn from(arguments: Table) -> Self {
        BindingKey { arguments, ..Self::default() }
    }
}

impl<K: Into<String>> From<(K, Table)> for BindingKey {
    fn from((routing_key, arguments): (K, Table)) -> Self {
        BindingKey { routing_key: routing_key.into(), arguments }
    }
}

impl BindingKey {
    /// Returns the client's binding.
    pub(crate) fn binding(&self, queue: &str, exchange: &str) -> amqp_client::Binding {
        let binding = amqp_client::Binding::new(queue, exchange).routing_key(&self.routing_key);
        binding.args(self.arguments.clone())
    }
}

/// A binding: messages to the exchange that match the key go to the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    pub(crate) queue: String,
    pub(crate) exchange: String,
    pub(crate) key: BindingKey,
}
