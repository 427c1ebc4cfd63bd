//! A consumer of typed messages from one queue.

use std::{
    fmt,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use serde::de::DeserializeOwned;

use crate::{
    consume::{
        consumer::{Delivery, RawConsumer, decode},
        consumer_builder::ConsumerBuilder,
        source::Source,
    },
    error::Error,
    serialize::Serializers,
    telemetry::observer::{ObservedQueue, Waiting},
};

/// Typed messages from one queue: a [`Stream`], which can also be read with [`recv`](Self::recv).
///
/// The consumer survives a lost connection: unsettled messages are delivered again. When it ends
/// for another reason, such as a deleted queue, it declares the queue anew and starts again, after
/// pauses that grow from up to 100 ms to 10 s. That happens while it is polled, and is logged. A
/// stream continues after the last message that was handed out.
///
/// It ends with an error when the transport is closed, when its user may no longer consume from the
/// queue, and when another connection has the queue for longer than
/// [`wait_for_release`](crate::TransportOptions::wait_for_release).
///
/// # On drop
/// Messages that are not settled go back to the queue.
pub struct Consumer<T> {
    source: Source,
    raw: RawConsumer,
    state: State,
    serializers: Serializers,
    observed: ObservedQueue,
    /// The time since which its user waits for the next message.
    waiting: Option<Waiting>,
    types: PhantomData<fn() -> T>,
}

type Starting = Pin<Box<dyn Future<Output = (Source, Result<RawConsumer, Error>)> + Send>>;

enum State {
    Consuming,
    /// The consumer ended for this reason, and is started again.
    Restarting(Error, Starting),
    Ended,
}

impl ConsumerBuilder {
    /// Declares and binds the queue, and begins to consume messages of type `T`, on a channel of
    /// its own.
    ///
    /// # Errors
    /// When there is no connection, or the broker refuses a declaration: [`Error::QueueTaken`] for
    /// a queue that belongs to another connection.
    ///
    /// # Cancel safety
    /// What was declared stays declared.
    pub async fn start<T: DeserializeOwned>(&self) -> Result<Consumer<T>, Error> {
        let serializers = self.serializers.clone();
        let mut source = Source::from(self.subscription.clone());
        let raw = source.start_first().await?;
        let (state, observed) = (State::Consuming, self.subscription.observed());
        Ok(Consumer { source, raw, state, serializers, observed, waiting: None, types: PhantomData })
    }
}

impl<T: DeserializeOwned> Consumer<T> {
    /// Returns the next message; `None` after the end.
    ///
    /// # Errors
    /// [`Error::Undecodable`] holds a message that is not a `T`: it is still to be settled, and the
    /// consumer goes on. [`Error::ConsumerEnded`] is the end, and so is every other error.
    ///
    /// # Cancel safety
    /// No message is lost.
    pub async fn recv(&mut self) -> Option<Result<Delivery<T>, Error>> {
        self.waiting = None;
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// Returns the queue's name; the broker chose it if the queue was declared without one.
    #[must_use]
    pub fn queue(&self) -> &str {
        self.raw.queue()
    }

    /// Stops consuming. Messages that are not settled go back to the queue.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn close(self) -> Result<(), Error> {
        self.raw.close().await
    }

    /// Polls for the next undecoded message. The reason of the end is the last item.
    fn poll_raw(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<amqp_client::Delivery, Error>>> {
        loop {
            match &mut self.state {
                State::Consuming => match ready!(self.raw.poll_next(context)) {
                    Ok(delivery) => {
                        self.source.read(&delivery);
                        return Poll::Ready(Some(Ok(delivery)));
                    }
                    Err(error) if error.ends_consuming() => {
                        self.state = State::Ended;
                        return Poll::Ready(Some(Err(error)));
                    }
                    Err(error) => self.restart(error),
                },
                State::Restarting(_, starting) => {
                    let (source, started) = ready!(starting.as_mut().poll(context));
                    self.source = source;
                    let state = std::mem::replace(&mut self.state, State::Ended);
                    match (started, state) {
                        (Ok(raw), _) => {
                            self.raw = raw;
                            self.state = State::Consuming;
                        }
                        // Closing the transport prevented the restart; the reason of the end is the
                        // earlier one.
                        (Err(Error::Closed), State::Restarting(reason, _)) => {
                            return Poll::Ready(Some(Err(reason)));
                        }
                        (Err(error), _) => return Poll::Ready(Some(Err(error))),
                    }
                }
                State::Ended => return Poll::Ready(None),
            }
        }
    }

    fn restart(&mut self, reason: Error) {
        self.source.log_end(&reason);
        self.source.ended(&reason);
        let mut source = self.source.clone();
        let starting = async move {
            let started = source.start_again().await;
            (source, started)
        };
        self.state = State::Restarting(reason, Box::pin(starting));
    }
}

impl<T: DeserializeOwned> Stream for Consumer<T> {
    type Item = Result<Delivery<T>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let waiting = *this.waiting.get_or_insert_with(|| this.observed.wait());
        let next = ready!(this.poll_raw(context));
        this.waiting = None;
        Poll::Ready(next.map(|next| {
            let delivery = next?;
            let receiving = this.observed.receive(&delivery, waiting);
            decode(delivery, &this.serializers, receiving)
        }))
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("queue", &self.raw.queue()).finish_non_exhaustive()
    }
}
