//! Queues together with the exchanges they are bound to.

use amqp_client::{Exchange, Queue};

use crate::connection::binding::BindingKey;

/// A queue, and the exchanges that it is bound to. A [`Queue`] alone becomes one.
///
/// ```
/// use messaging::{BoundQueue, Exchange, Transport};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), messaging::Error> {
/// let transport = Transport::connect("memory://broadcast").await?;
/// let mut one = transport.consumer(BoundQueue::broadcast("news")).start::<String>().await?;
/// let mut other = transport.consumer(BoundQueue::broadcast("news")).start::<String>().await?;
/// transport.producer(Exchange::fanout("news").durable(true)).ensure_publish("", "hello").await?;
/// assert_eq!(one.recv().await.expect("a message")?.body(), "hello");
/// assert_eq!(other.recv().await.expect("a message")?.body(), "hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct BoundQueue {
    pub(super) queue: Queue,
    /// The exchanges, each with a key.
    pub(super) bindings: Vec<(Exchange, BindingKey)>,
}

impl BoundQueue {
    /// Returns a queue that makes every consumer and worker get all messages, as kombu's
    /// `Broadcast` does: each has its own queue, bound to a durable fanout exchange. The queue is
    /// deleted with its connection. kombu's queue is durable and remains when nobody ever consumes
    /// from it.
    #[must_use]
    pub fn broadcast(exchange: &str) -> Self {
        let queue = Queue::new(format!("bcast.{}", uuid::Uuid::new_v4())).exclusive(true).auto_delete(true);
        BoundQueue {
            queue,
            bindings: vec![(Exchange::fanout(exchange).durable(true), BindingKey::default())],
        }
    }

    /// Binds it to an exchange too, which is declared with it, by a routing key or by arguments.
    #[must_use]
    pub fn bind(mut self, exchange: &Exchange, key: impl Into<BindingKey>) -> Self {
        self.bindings.push((exchange.clone(), key.into()));
        self
    }
}

impl From<Queue> for BoundQueue {
    fn from(queue: Queue) -> Self {
        BoundQueue { queue, bindings: Vec::new() }
    }
}
