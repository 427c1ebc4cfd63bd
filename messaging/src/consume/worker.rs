//! Handlers of messages, which run concurrently and settle their messages.

use std::{
    any::Any,
    fmt, io,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
};

use amqp_client::{Properties, Received, Report};
use futures_util::{
    FutureExt as _,
    future::{Either, ready},
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

#[cfg(feature = "mailbox")]
use crate::consume::service::Stopper;
use crate::{
    compress::{self, Budget},
    consume::{
        consumer::decode_plain,
        handlers::{handling::Handling, inline_executor::InlineExecutor, permits::Permit},
        header,
        service::Service,
        settle::{
            acker::Acker,
            on_failure::{EXCHANGE, ROUTING_KEY, retries},
            on_undecodable::OnUndecodable,
            settling::Settling,
            stowed,
            stuck::{Patience, Stuck},
        },
        worker_builder::WorkerBuilder,
        worker_status::{WorkerMonitor, WorkerStatus},
    },
    error::{Error, Malformed, words},
    serialize::{BoxError, Serializers},
    telemetry::observer::{HANDLER_FAILED, HANDLER_PANICKED, Operation},
};

/// Handlers at work on the messages of a queue. [`WorkerBuilder::start`] makes it.
///
/// # On drop
/// Handlers that run are aborted; their messages go back to the queue.
pub struct Worker {
    service: Service,
    monitor: WorkerMonitor,
}

impl Worker {
    /// Takes no more messages, and waits for the handlers that run.
    ///
    /// # Cancel safety
    /// If the future is dropped while pending, running handlers are aborted, as when the worker is
    /// dropped.
    pub async fn stop(self) {
        self.service.stop().await;
    }

    /// Returns what is known of it without asking the broker: whether it consumes and since when,
    /// the last failure, and what is in flight. This is cheap.
    #[must_use]
    pub fn status(&self) -> WorkerStatus {
        self.monitor.status()
    }

    /// Returns a handle that tells its status from elsewhere, also after it has stopped. The handle
    /// keeps nothing running.
    #[must_use]
    pub fn monitor(&self) -> WorkerMonitor {
        self.monitor.clone()
    }

    /// Waits until the worker cannot continue: its transport is closed, its user may no longer
    /// consume from the queue, or another connection has the queue. The worker survives everything
    /// else.
    ///
    /// # Errors
    /// The reason, except for a transport that was closed.
    ///
    /// # Cancel safety
    /// When the future is dropped the worker goes on, and can be waited for again.
    pub async fn wait(&mut self) -> Result<(), Error> {
        self.service.wait().await
    }
}

#[cfg(feature = "mailbox")]
impl Worker {
    /// Returns a handle that stops the worker from elsewhere.
    pub(crate) fn stopper(&self) -> Stopper {
        self.service.stopper()
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

/// A message for a handler. The handler's result settles it.
#[derive(Debug)]
pub struct Incoming<T> {
    body: T,
    received: Received,
    /// The number of times that the message has failed and returned to its queue.
    returns: u32,
    /// The properties, decoded when they are first asked for.
    properties: OnceLock<Box<Properties>>,
    origin: OnceLock<Box<Origin>>,
}

/// The exchange and the routing key of the first publish of a message.
#[derive(Debug)]
struct Origin {
    exchange: String,
    routing_key: String,
}

impl<T> Incoming<T> {
    fn new(body: T, received: Received, returns: u32) -> Self {
        Incoming { body, received, returns, properties: OnceLock::new(), origin: OnceLock::new() }
    }

    /// Returns the decoded body.
    pub fn body(&self) -> &T {
        &self.body
    }

    /// Returns the decoded body alone.
    pub fn into_body(self) -> T {
        self.body
    }

    /// Returns the message's properties.
    pub fn properties(&self) -> &Properties {
        // The properties were checked when the message was received.
        self.properties.get_or_init(|| {
            let encoded = self.received.encoded_properties();
            let encoded = stowed::restored(&encoded).unwrap_or(encoded);
            Box::new(encoded.decode().unwrap_or_default())
        })
    }

    /// Returns the exchange that the message was first published to.
    pub fn exchange(&self) -> &str {
        &self.origin().exchange
    }

    /// Returns the routing key that the message was first published with.
    pub fn routing_key(&self) -> &str {
        &self.origin().routing_key
    }

    /// Whether the message was delivered before, to any consumer.
    pub fn redelivered(&self) -> bool {
        self.received.redelivered()
    }

    /// Returns how often a handler failed on the message before, as
    /// [`RetryLater`](crate::RetryLater) counts.
    pub fn retries(&self) -> u32 {
        retries(self.properties()).saturating_add(self.returns)
    }

    fn origin(&self) -> &Origin {
        self.origin.get_or_init(|| {
            let first = |key| header::text(self.properties(), key);
            Box::new(Origin {
                exchange: first(EXCHANGE).unwrap_or_else(|| self.received.exchange().into_owned()),
                routing_key: first(ROUTING_KEY).unwrap_or_else(|| self.received.routing_key().into_owned()),
            })
        })
    }
}

impl WorkerBuilder {
    /// Declares and binds the queue, and has `handler` work on each message of type `T`, at most
    /// [`concurrency`](Self::concurrency) at once, until the worker is stopped.
    ///
    /// A message is acknowledged when its handler has succeeded; when it failed or panicked,
    /// [`on_failure`](Self::on_failure) says what happens to it. A message that is not a `T` goes
    /// to [`on_undecodable`](Self::on_undecodable), or is set aside like one whose retries are used
    /// up; it is never left unsettled.
    ///
    /// A lost connection is recovered, and a queue that was deleted is declared again. When
    /// something else ends the consumer, it starts again after pauses. See [`Worker::wait`] for
    /// what the worker does not survive.
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
    ///     .worker(Queue::durable("mails"))
    ///     .concurrency(8)
    ///     .on_failure(OnFailure::Retry(later))
    ///     .start(|mail: messaging::Incoming<String>| async move {
    ///         if mail.body().contains('@') { Ok(()) } else { Err("there is no address") }
    ///     })
    ///     .await?;
    /// transport.producer(Exchange::default()).ensure_publish("mails", "alice@example.com").await?;
    /// worker.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When there is no connection, or the broker refuses a declaration.
    pub async fn start<T, H, Fut, E>(self, handler: H) -> Result<Worker, Error>
    where
        T: DeserializeOwned + Send + 'static,
        H: Fn(Incoming<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError> + Send + 'static,
    {
        let WorkerBuilder { subscription, serializers, concurrency, on_failure, on_undecodable } = self;
        let shared = Arc::new(MessageHandler {
            handler,
            settling: subscription.settling(on_failure),
            on_undecodable,
            budget: Budget::new(serializers.total()),
            serializers,
            types: PhantomData,
        });
        // The broker sends no more messages than can be handled at once.
        let subscription = subscription.prefetch(concurrency);
        let (queue, link) = (subscription.queue_name().to_owned(), subscription.link().clone());
        let handle = move |delivery, permit| shared.handle(delivery, permit);
        let service =
            Service::start(vec![subscription.into()], concurrency.into(), InlineExecutor::new, handle)
                .await?;
        let monitor = WorkerMonitor::new(queue, link, service.progress());
        Ok(Worker { service, monitor })
    }
}

struct MessageHandler<T, H> {
    handler: H,
    settling: Settling,
    on_undecodable: Option<OnUndecodable>,
    serializers: Serializers,
    budget: Budget,
    types: PhantomData<fn() -> T>,
}

impl<T, H, Fut, E> MessageHandler<T, H>
where
    T: DeserializeOwned,
    H: Fn(Incoming<T>) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    /// Handles a message. Decoding and calling the handler happen at once, outside the future,
    /// because their intermediate values would make the future larger. For the same reason the
    /// futures are chained: a future that awaits another one has room for it twice.
    fn handle(
        self: Arc<Self>,
        delivery: amqp_client::Delivery,
        mut permit: Permit,
    ) -> impl Future<Output = Permit> {
        let (received, acker) = delivery.split();
        let acker = Acker::new(acker, self.settling.observed.process(&received));
        let is_kept =
            self.on_undecodable.is_some() || self.settling.publishes() || received.withheld().is_some();
        let kept = is_kept.then(|| Box::new(Kept { received: received.clone(), since: Instant::now() }));
        let handling = match self.call(received, None, acker.operation()) {
            Ok(handling) => Either::Left(handling),
            Err(trouble) => Either::Right(ready(Err(trouble))),
        };
        handling.then(|handled| match handled {
            Ok(()) => {
                self.settling.done(acker);
                Either::Left(ready(permit))
            }
            Err(trouble) => Either::Right(Box::pin(async move {
                self.handle_trouble(trouble, kept, acker, &mut permit).await;
                permit
            })),
        })
    }

    /// Handles a compressed message, and settles one that failed.
    async fn handle_trouble(
        &self,
        trouble: Trouble,
        kept: Option<Box<Kept>>,
        acker: Acker,
        permit: &mut Permit,
    ) {
        match self.decompress_and_handle(trouble, acker.operation()).await {
            Ok(()) => self.settling.done(acker),
            Err(trouble) => self.not_handled(trouble, kept, acker, permit).await,
        }
    }

    /// Awaits the handler that was called, or decompresses the message first.
    async fn handled(
        &self,
        called: Result<impl Future<Output = Result<(), Trouble>>, Trouble>,
        operation: &Operation,
    ) -> Result<(), Trouble> {
        match called {
            Ok(handling) => handling.await,
            Err(trouble) => self.decompress_and_handle(trouble, operation).await,
        }
    }

    /// Handles the message if the only trouble is that it is compressed.
    async fn decompress_and_handle(&self, trouble: Trouble, operation: &Operation) -> Result<(), Trouble> {
        match trouble {
            Trouble::Compressed(received) => {
                Box::pin(self.call_when_there_is_room(*received, operation)).await
            }
            trouble => Err(trouble),
        }
    }

    /// Decompresses and handles a message. The memory for its body is reserved until it is handled.
    async fn call_when_there_is_room(
        &self,
        received: Received,
        operation: &Operation,
    ) -> Result<(), Trouble> {
        let message = received.clone();
        let properties = message.content_properties();
        let properties = properties.map_err(|error| Trouble::Unreadable(Malformed::Properties(error)))?;
        let compression = compress::named(&properties).map_err(Trouble::Unreadable)?;
        let body = self.budget.decompress(compression, message.body(), self.serializers.limit()).await;
        let (body, _room) = body.map_err(Trouble::Unreadable)?;
        let handling = self.call(received, Some(&body), operation)?;
        drop(body);
        handling.await
    }

    /// Decodes the body and calls the handler. The body's type, the handler and its error are the
    /// user's, and may panic.
    fn call(
        &self,
        received: Received,
        decompressed: Option<&[u8]>,
        operation: &Operation,
    ) -> Result<impl Future<Output = Result<(), Trouble>> + use<T, H, Fut, E>, Trouble> {
        let calling = || {
            if let Some(size) = received.withheld() {
                return Err(Trouble::Unreadable(Malformed::Withheld { size }));
            }
            let properties = received.content_properties();
            let handling = Handling::of_message(&self.settling.queue, properties.as_ref().ok(), operation);
            let properties = properties.map_err(Malformed::Properties).map_err(Trouble::Unreadable)?;
            let compression = || compress::named(&properties).map_err(Trouble::Unreadable);
            if decompressed.is_none() && compression()?.is_some() {
                return Err(Trouble::Compressed(Box::new(received)));
            }
            let body = decompressed.unwrap_or(received.body());
            let body = decode_plain(&properties, body, &self.serializers).map_err(Trouble::Unreadable)?;
            let returns = self.settling.returns(&received);
            let handler = handling.enter(|| (self.handler)(Incoming::new(body, received, returns)));
            let contained = AssertUnwindSafe(handler).catch_unwind();
            Ok(handling.around(contained.map(Trouble::of)))
        };
        catch_unwind(AssertUnwindSafe(calling)).unwrap_or_else(|panic| Err(Trouble::panic(&*panic)))
    }

    /// Settles a message that was not handled; it is `kept` if settling may need it. A message that
    /// is stuck is retried after a pause, again and again.
    async fn not_handled(
        &self,
        mut trouble: Trouble,
        kept: Option<Box<Kept>>,
        mut acker: Acker,
        permit: &mut Permit,
    ) {
        let mut patience = Patience::new(kept.as_ref().map_or_else(Instant::now, |kept| kept.since));
        let received = kept.as_deref().map(|kept| &kept.received);
        loop {
            let Err(stuck) = self.settle(trouble, received, acker).await else { return };
            let queue = &self.settling.queue;
            let Some(again) = patience.keep(stuck, queue, received, permit).await else { return };
            acker = again;
            // Only messages that were to be published elsewhere get stuck, and those are kept.
            let Some(received) = received else { return };
            let called = self.call(received.clone(), None, acker.operation());
            match self.handled(called, acker.operation()).await {
                Ok(()) => return self.settling.done(acker),
                Err(again) => trouble = again,
            }
        }
    }

    async fn settle(&self, trouble: Trouble, received: Option<&Received>, acker: Acker) -> Result<(), Stuck> {
        let reason = match trouble {
            // A compressed message does not get here: it was decompressed before.
            Trouble::Compressed(_) => Malformed::Compression(io::ErrorKind::Unsupported.into()),
            Trouble::Unreadable(reason) => reason,
            Trouble::Failed { failure, class, span } => {
                acker.operation().end_as(Some(class));
                return self.settling.failed(received, acker, &failure).instrument(span).await;
            }
        };
        let properties = received.and_then(|received| received.content_properties().ok());
        let handling = Handling::of_message(&self.settling.queue, properties.as_ref(), acker.operation());
        handling.around(self.settle_unreadable(reason, received, acker)).await
    }

    /// Settles a message that cannot be decoded.
    async fn settle_unreadable(
        &self,
        reason: Malformed,
        received: Option<&Received>,
        acker: Acker,
    ) -> Result<(), Stuck> {
        let failure = match (&self.on_undecodable, received) {
            (Some(handler), Some(received)) => match handler.handle(restored(received), reason).await {
                Ok(()) => {
                    self.settling.done(acker);
                    return Ok(());
                }
                Err(failure) => failure,
            },
            _ => Report(&reason).to_string(),
        };
        self.settling.unreadable(received, acker, &failure).await
    }
}

/// The copy of a message that is kept while it is handled.
struct Kept {
    received: Received,
    /// The time of its delivery.
    since: Instant,
}

/// Returns the message with all headers under their own names.
fn restored(received: &Received) -> Received {
    let mut received = received.clone();
    if let Some(properties) = stowed::restored(&received.encoded_properties()) {
        received.set_properties(&properties);
    }
    received
}

/// The reason why a message was not handled.
enum Trouble {
    /// The message has to be decompressed first.
    Compressed(Box<Received>),
    Unreadable(Malformed),
    Failed {
        failure: String,
        class: &'static str,
        /// The span of the handler.
        span: Span,
    },
}

impl Trouble {
    /// Returns a failure with the current span, which is the handler's if this is called in it.
    fn failed(failure: String, class: &'static str) -> Self {
        Trouble::Failed { failure, class, span: Span::current() }
    }

    /// Converts the result of a handler. The text of its error comes from the user's code as well,
    /// and may panic.
    fn of<E: Into<BoxError>>(handled: std::thread::Result<Result<(), E>>) -> Result<(), Self> {
        let error = match handled {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(panic) => return Err(Trouble::panic(&*panic)),
        };
        let text = catch_unwind(AssertUnwindSafe(|| words(error)));
        Err(text.map_or_else(|panic| Trouble::panic(&*panic), |text| Trouble::failed(text, HANDLER_FAILED)))
    }

    fn panic(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let failure = format!("the handler panicked: {}", text.unwrap_or("no message"));
        Trouble::failed(failure, HANDLER_PANICKED)
    }
}
