//! Queues, and where their messages come from.

use amqp_client::{Exchange, Queue};

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
    /// With routing keys.
    pub(super) bindings: Vec<(Exchange, String)>,
}

impl BoundQueue {
    /// Messages that every consumer and worker gets, as kombu's `Broadcast`: a queue of its own,
    /// bound to a durable fanout exchange. The queue goes with its connection, where kombu's is
    /// durable and stays when nobody ever consumes from it.
    #[must_use]
    pub fn broadcast(exchange: &str) -> Self {
        let queue = Queue::new(format!("bcast.{}", uuid::Uuid::new_v4())).exclusive(true).auto_delete(true);
        BoundQueue { queue, bindings: vec![(Exchange::fanout(exchange).durable(true), String::new())] }
    }
}

impl From<Queue> for BoundQueue {
    fn from(queue: Queue) -> Self {
        BoundQueue { queue, bindings: Vec::new() }
    }
}
