//! Handlers of messages: run side by side, settle what they were given.

use std::{fmt, marker::PhantomData, panic::AssertUnwindSafe, sync::Arc};

use amqp_client::{Message, Properties};
use futures_util::FutureExt as _;
use serde::de::DeserializeOwned;

use crate::{
    consumer::{Subscription, read},
    entity::Entities,
    error::{Error, Malformed},
    header,
    lane::Required,
    on_failure::{EXCHANGE, OnFailure, ROUTING_KEY, RetryLater, mark, retries},
    producer::Producer,
    serialize::Serializers,
    service::{Service, Turn},
};

/// Handlers at work on the messages of a queue. Made by [`Subscription::handle`].
///
/// # On drop
/// Those that run are aborted; their messages go back to the queue.
pub struct Worker {
    service: Service,
}

impl Worker {
    /// Takes no more messages, and waits for the handlers that run.
    ///
    /// # Cancel safety
    /// Dropped while pending, what runs is aborted, as by dropping the worker.
    pub async fn stop(self) {
        self.service.stop().await;
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

/// A message for a handler. It is settled by what the handler returns.
#[derive(Debug)]
pub struct Incoming<T> {
    body: T,
    properties: Properties,
    exchange: String,
    routing_key: String,
    redelivered: bool,
}

impl<T> Incoming<T> {
    /// The message.
    pub fn body(&self) -> &T {
        &self.body
    }

    /// The message alone.
    pub fn into_body(self) -> T {
        self.body
    }

    /// What it says of itself.
    pub fn properties(&self) -> &Properties {
        &self.properties
    }

    /// The exchange it was published to, at first.
    pub fn exchange(&self) -> &str {
        &self.exchange
    }

    /// The routing key it was published with, at first.
    pub fn routing_key(&self) -> &str {
        &self.routing_key
    }

    /// Whether it was delivered before, to whomever.
    pub fn redelivered(&self) -> bool {
        self.redelivered
    }

    /// How often a handler failed on it before, as [`RetryLater`] counts.
    pub fn retries(&self) -> u32 {
        retries(&self.properties)
    }
}

impl Subscription {
    /// Declares, binds, and has `handler` work on each message of type `T`, at most [`concurrency`](Self::concurrency) at once, until
    /// the worker is stopped. A message is acknowledged when its handler has succeeded; when it failed or panicked,
    /// [`on_failure`](Self::on_failure) says what becomes of it. One that is no `T` is set aside as a failed one that has been tried
    /// often enough, never left unsettled. A lost connection is recovered; a queue that was deleted is declared again.
    ///
    /// ```
    /// use std::time::Duration;
    /// use messaging::{Exchange, OnFailure, Queue, RetryLater, Transport};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), messaging::Error> {
    /// let transport = Transport::connect("memory://worker").await?;
    /// let later = RetryLater::after(Duration::from_secs(1)).limit(5).dead_letter(true);
    /// let worker = transport
    ///     .consumer(Queue::durable("mails"))
    ///     .concurrency(8)
    ///     .on_failure(OnFailure::Retry(later))
    ///     .handle(|mail: messaging::Incoming<String>| async move {
    ///         if mail.body().contains('@') { Ok(()) } else { Err("there is no address") }
    ///     })
    ///     .await?;
    /// transport.producer(Exchange::direct("")).ensure_publish("mails", "alice@example.com").await?;
    /// worker.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When there is no connection, or the broker refuses a declaration.
    pub async fn handle<T, H, Fut, E>(self, handler: H) -> Result<Worker, Error>
    where
        T: DeserializeOwned + Send + 'static,
        H: Fn(Incoming<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display + Send + 'static,
    {
        let concurrency = self.handlers();
        let shared = Arc::new(Shared {
            handler,
            queue: self.queue_name().to_owned(),
            on_failure: self.failure_policy().clone(),
            serializers: self.content().clone(),
            producer: self.producer.clone(),
            types: PhantomData,
        });
        // The broker sends no more than can be worked on.
        let subscription = self.prefetch(concurrency);
        let handle = move |delivery, turn, _| shared.clone().handle(delivery, turn);
        let service = Service::start(vec![subscription.into()], concurrency.into(), handle).await?;
        Ok(Worker { service })
    }
}

struct Shared<T, H> {
    handler: H,
    queue: String,
    on_failure: OnFailure,
    serializers: Serializers,
    producer: Option<Producer>,
    types: PhantomData<fn() -> T>,
}

impl<T, H, Fut, E> Shared<T, H>
where
    T: DeserializeOwned,
    H: Fn(Incoming<T>) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: fmt::Display,
{
    async fn handle(self: Arc<Self>, delivery: amqp_client::Delivery, _turn: Turn) {
        let settled = match incoming(&delivery, &self.serializers) {
            Ok(incoming) => match self.run(incoming).await {
                Ok(()) => delivery.ack().await,
                Err(failure) => self.failed(delivery, &failure).await,
            },
            Err(reason) => self.undecodable(delivery, &reason).await,
        };
        if let Err(error) = settled {
            tracing::debug!(queue = self.queue, %error, "a message was not settled; it comes again");
        }
    }

    async fn run(&self, incoming: Incoming<T>) -> Result<(), String> {
        // Called within, so that a handler that panics before its first await is caught as well.
        let running = AssertUnwindSafe(async { (self.handler)(incoming).await }).catch_unwind();
        match running.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(panic) => Err(format!("the handler panicked: {}", panic_text(panic.as_ref()))),
        }
    }

    async fn failed(&self, delivery: amqp_client::Delivery, failure: &str) -> amqp_client::Result<()> {
        tracing::warn!(queue = self.queue, failure, "a message could not be handled");
        match &self.on_failure {
            OnFailure::Requeue => delivery.nack(true).await,
            OnFailure::Reject => delivery.nack(false).await,
            OnFailure::Retry(later) => self.retry(delivery, later, failure).await,
        }
    }

    async fn retry(
        &self,
        delivery: amqp_client::Delivery,
        later: &RetryLater,
        failure: &str,
    ) -> amqp_client::Result<()> {
        let retries = retries(&delivery.properties()?);
        match later.next_queue(&self.queue, retries) {
            Some(queue) => self.move_to(delivery, queue, retries + 1, failure).await,
            None => delivery.nack(false).await,
        }
    }

    /// Whoever handles it will not read it any better.
    async fn undecodable(
        &self,
        delivery: amqp_client::Delivery,
        reason: &Malformed,
    ) -> amqp_client::Result<()> {
        tracing::warn!(queue = self.queue, %reason, "a message cannot be read");
        let dead = match &self.on_failure {
            OnFailure::Retry(later) => later.dead_queue(&self.queue),
            OnFailure::Requeue | OnFailure::Reject => None,
        };
        match (dead, delivery.properties()) {
            (Some(queue), Ok(properties)) => {
                self.move_to(delivery, queue, retries(&properties), &reason.to_string()).await
            }
            _ => delivery.nack(false).await,
        }
    }

    /// Publishes it to another queue, and acknowledges it when the broker has it there.
    async fn move_to(
        &self,
        delivery: amqp_client::Delivery,
        queue: amqp_client::Queue,
        retries: u32,
        failure: &str,
    ) -> amqp_client::Result<()> {
        let Some(producer) = &self.producer else { return delivery.nack(true).await };
        let (exchange, routing_key) = (delivery.exchange(), delivery.routing_key());
        let properties = mark(delivery.properties()?, retries, failure, &exchange, &routing_key);
        let message = Message::with_properties(delivery.body().clone(), properties);
        let definition = format!("{queue:?}");
        let name = queue.name().to_owned();
        let entities = || Entities { queues: vec![queue.clone()], ..Entities::default() };
        let required = Required { name: &definition, entities: &entities };
        match producer.deliver(&name, &message, Some(&required)).await {
            Ok(_) => delivery.ack().await,
            Err(error) => {
                tracing::warn!(queue = self.queue, to = name, %error, "a message could not be moved; it is requeued");
                delivery.nack(true).await
            }
        }
    }
}

fn incoming<T: DeserializeOwned>(
    delivery: &amqp_client::Delivery,
    serializers: &Serializers,
) -> Result<Incoming<T>, Malformed> {
    let body = read(delivery, serializers)?;
    let properties = delivery.properties().map_err(Malformed::Properties)?;
    let first = |key| header::text(&properties, key);
    Ok(Incoming {
        exchange: first(EXCHANGE).unwrap_or_else(|| delivery.exchange().into_owned()),
        routing_key: first(ROUTING_KEY).unwrap_or_else(|| delivery.routing_key().into_owned()),
        redelivered: delivery.redelivered(),
        body,
        properties,
    })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without words")
}
