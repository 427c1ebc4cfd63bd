//! A queue to put values in and get them from.

use std::{fmt, time::Duration};

use amqp_client::{Channel, Exchange, Queue};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use crate::{
    connection::lazy_connection::LazyConnection,
    consume::{consumer::Delivery, consumer_builder::ConsumerBuilder, typed_consumer::Consumer},
    error::Error,
    publish::{options::PublishOptions, producer::Producer, publishing::Published},
};

/// A queue to put values in and get them from.
/// [`Transport::simple_queue`](crate::Transport::simple_queue) makes it; it is wire-compatible with
/// kombu's class of this name.
///
/// ```
/// use std::time::Duration;
/// use messaging::Transport;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), messaging::Error> {
/// let transport = Transport::connect("memory://simple-queue").await?;
/// let numbers = transport.simple_queue("numbers");
/// numbers.put(&7).await?;
/// let mut taker = numbers.taker::<u32>().await?;
/// let number = taker.get(Duration::from_secs(1)).await?.expect("a number");
/// assert_eq!(number.body(), &7);
/// number.ack().await?;
/// assert!(taker.get(Duration::ZERO).await?.is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SimpleQueue {
    name: String,
    link: LazyConnection,
    producer: Producer,
    consumer: ConsumerBuilder,
    options: PublishOptions,
}

/// Takes values from a [`SimpleQueue`], one at a time.
///
/// # On drop
/// Values that were taken and not settled go back to the queue.
pub struct Taker<T>(Consumer<T>);

impl SimpleQueue {
    pub(crate) fn new(
        link: LazyConnection,
        producer: impl Fn(Exchange) -> Producer,
        consumer: impl Fn(Queue) -> ConsumerBuilder,
        name: &str,
    ) -> Self {
        let (exchange, queue) = (Exchange::direct(name).durable(true), Queue::durable(name));
        SimpleQueue {
            name: name.to_owned(),
            link,
            consumer: consumer(queue.clone()).bind(&exchange, name).prefetch(1),
            producer: producer(exchange.clone()),
            options: PublishOptions::new().bind(&queue, &exchange, name),
        }
    }

    /// Puts a value in, and waits until the broker has it in the queue.
    ///
    /// # Errors
    /// As [`Producer::ensure_publish`].
    ///
    /// # Cancel safety
    /// When the future is dropped the value may or may not be put in.
    pub async fn put<T: Serialize + ?Sized>(&self, value: &T) -> Result<Published, Error> {
        self.producer.ensure_publish((&self.name, &self.options), value).await
    }

    /// Starts taking values out.
    ///
    /// # Errors
    /// As [`ConsumerBuilder::start`].
    pub async fn taker<T: DeserializeOwned>(&self) -> Result<Taker<T>, Error> {
        self.consumer.start().await.map(Taker)
    }

    /// Returns how many values wait, without those that were taken and not settled.
    ///
    /// # Errors
    /// When there is no connection, or no such queue yet.
    pub async fn len(&self) -> Result<u32, Error> {
        let declared = self.channel().await?.declare(Queue::new(&self.name).passive(true)).await;
        let info =
            declared.map_err(Error::broker(format_args!("count the messages in queue {:?}", self.name)))?;
        Ok(info.messages)
    }

    /// Whether no value waits.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub async fn is_empty(&self) -> Result<bool, Error> {
        self.len().await.map(|values| values == 0)
    }

    /// Drops all values that wait. Returns how many.
    ///
    /// # Errors
    /// As [`len`](Self::len).
    pub async fn clear(&self) -> Result<u32, Error> {
        let purged = self.channel().await?.purge(&self.name).await;
        purged.map_err(Error::broker(format_args!("purge queue {:?}", self.name)))
    }

    async fn channel(&self) -> Result<Channel, Error> {
        Ok(self.link.open_channel().await?)
    }
}

impl<T: DeserializeOwned> Taker<T> {
    /// Returns the next value, which is still to be settled; `None` when none came in time.
    ///
    /// # Errors
    /// As [`Consumer::recv`].
    ///
    /// # Cancel safety
    /// No value is lost.
    pub async fn get(&mut self, patience: Duration) -> Result<Option<Delivery<T>>, Error> {
        match timeout(patience, self.0.recv()).await {
            Ok(next) => next.transpose(),
            Err(_) => Ok(None),
        }
    }
}

impl<T> fmt::Debug for Taker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taker").finish_non_exhaustive()
    }
}

impl fmt::Debug for SimpleQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimpleQueue").field("name", &self.name).finish_non_exhaustive()
    }
}
