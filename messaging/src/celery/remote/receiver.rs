//! Receives the events of workers.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use amqp_client::{Queue, Report};
use futures_core::Stream;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    celery::remote::{control::Control, event::Event},
    consume::typed_consumer::Consumer,
    error::Error,
};

/// Celery's `event_queue_prefix`.
const QUEUE_PREFIX: &str = "celeryev";

/// Celery's `event_queue_ttl`.
const TTL: Duration = Duration::from_secs(5);

/// Celery's `event_queue_expires`.
const EXPIRES: Duration = Duration::from_secs(60);

/// The settings of a receiver of events that is about to start. [`Control::events`] makes it.
#[derive(Clone, Debug)]
#[must_use = "a receiver is started by `start`"]
pub struct EventReceiverBuilder {
    control: Control,
    routing_key: String,
}

impl Control {
    /// Returns the builder of a receiver of the events of workers and tasks.
    pub fn events(&self) -> EventReceiverBuilder {
        EventReceiverBuilder { control: self.clone(), routing_key: "#".to_owned() }
    }
}

impl EventReceiverBuilder {
    /// Sets the routing key of the events to receive, for example `worker.#` or `task.failed`.
    /// Default: all events.
    pub fn routing_key(mut self, key: impl Into<String>) -> Self {
        self.routing_key = key.into();
        self
    }

    /// Declares a queue of its own, and begins to receive events. An event waits there for 5 s at
    /// most, as in Celery.
    ///
    /// # Errors
    /// When there is no connection, or the broker refuses a declaration.
    ///
    /// # Cancel safety
    /// What was declared stays declared until its connection closes.
    pub async fn start(self) -> Result<EventReceiver, Error> {
        let queue = Queue::new(format!("{QUEUE_PREFIX}.{}", Uuid::new_v4()));
        let queue = queue.exclusive(true).auto_delete(true).message_ttl(TTL).expires(EXPIRES);
        let exchange = self.control.events_exchange().await?;
        let consumer = self.control.transport.consumer(queue).bind(&exchange, self.routing_key);
        let consumer = consumer.prefetch(1000).start().await?;
        Ok(EventReceiver { control: self.control, consumer, received: VecDeque::new() })
    }
}

/// The events of workers and tasks, a [`Stream`] of them. [`EventReceiverBuilder::start`] makes it.
///
/// A lost connection is recovered; events of the time between are lost. The stream ends when the
/// transport is closed.
///
/// # On drop
/// Its queue is deleted.
pub struct EventReceiver {
    control: Control,
    consumer: Consumer<Value>,
    /// The events of a message that are still to be handed out: workers send several together.
    received: VecDeque<Event>,
}

impl EventReceiver {
    /// Returns the next event, or `None` after the end.
    ///
    /// # Cancel safety
    /// No event is lost.
    pub async fn recv(&mut self) -> Option<Event> {
        std::future::poll_fn(|context| self.poll_event(context)).await
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        loop {
            if let Some(event) = self.received.pop_front() {
                return Poll::Ready(Some(event));
            }
            match ready!(Pin::new(&mut self.consumer).poll_next(context)) {
                Some(Ok(delivery)) => {
                    self.read(delivery.body().clone());
                    settle(delivery.ack());
                }
                Some(Err(Error::Undecodable(undecodable))) => {
                    tracing::warn!(error = %Report(&undecodable.reason), "an event cannot be decoded; it is dropped");
                    settle(undecodable.delivery.ack());
                }
                // The consumer has logged why it ended.
                Some(Err(_)) | None => return Poll::Ready(None),
            }
        }
    }

    /// Reads a message with one event or a list of them.
    fn read(&mut self, body: Value) {
        let events = match body {
            Value::Array(events) => events,
            event => vec![event],
        };
        for event in events {
            match Event::read(event) {
                Some(event) => {
                    self.control.mailbox.namespace.receive_time(event.fields.get("clock"));
                    self.received.push_back(event);
                }
                None => tracing::warn!("an event is not an object with a type; it is dropped"),
            }
        }
    }
}

/// Acknowledges a message, which does not wait: the frame is written at the next occasion.
fn settle<E>(acknowledging: impl Future<Output = Result<(), E>>) {
    use futures_util::FutureExt as _;
    // A message that is not acknowledged comes again or goes with its queue.
    let _ = acknowledging.now_or_never();
}

impl Stream for EventReceiver {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_event(context)
    }
}

impl fmt::Debug for EventReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventReceiver").field("queue", &self.consumer.queue()).finish_non_exhaustive()
    }
}
