//! The server: answering calls.

pub(crate) mod access;
pub(crate) mod acknowledge;
pub(crate) mod dispatch;
pub(crate) mod endpoint;
pub(crate) mod methods;
pub(crate) mod metrics;
pub(crate) mod replies;
pub(crate) mod request;
pub(crate) mod vanished;

use std::sync::Arc;

use amqp_client::Exchange;
use serde::de::IgnoredAny;

use crate::{
    compress::{Budget, Compression},
    consume::{
        handlers::inline_executor::InlineExecutor,
        service::{Service, Stopper},
        source::Source,
        subscription::Subscription,
    },
    error::Error,
    oslo::{
        rpc::server::{
            access::AccessPolicy, acknowledge::Acknowledge, dispatch::Dispatcher, endpoint::Endpoint,
            metrics::ServerMetrics, replies::Replies, request::RequestHandler,
        },
        settings::topology::Topology,
        wire::{
            duplicates::RepeatWindow,
            entity_serializer::{Conversion, EntitySerializer},
            target::Target,
        },
    },
    transport::Transport,
};

/// The method with which a server answers that it is alive.
const PING: &str = "oslo_rpc_server_ping";

/// The most fallbacks of a start: the exchange, the queues and the fanout exchange may each exist
/// with other properties.
const FALLBACKS: usize = 3;

/// A server of a topic that is about to start.
/// [`Transport::rpc_server`](crate::Transport::rpc_server) makes it. See
/// [`Client`](crate::rpc::Client) for an example.
///
/// Requests are acknowledged when their method is about to run, unless
/// [`acknowledge`](Self::acknowledge) says otherwise. A request that comes again, recognised by its
/// id among the [last ones](Self::repeats), is not run again. A reply is always sent, even if the
/// method panics or does not exist, or its result has no JSON form.
#[derive(Debug)]
pub struct Server {
    transport: Transport,
    target: Target,
    dispatcher: Dispatcher,
    concurrency: u16,
    prefetch: Option<u16>,
    acknowledge: Acknowledge,
    repeats: RepeatWindow,
    compression: Option<Compression>,
    ping: bool,
}

impl Server {
    pub(crate) fn new(transport: &Transport, target: Target) -> Self {
        Server {
            transport: transport.clone(),
            target,
            dispatcher: Dispatcher::default(),
            concurrency: 64,
            prefetch: transport.traffic().prefetch,
            acknowledge: Acknowledge::default(),
            repeats: RepeatWindow::default(),
            compression: transport.traffic().compression,
            ping: false,
        }
    }

    /// Adds an endpoint with methods. Endpoints are asked in the order they are added.
    #[must_use]
    pub fn endpoint(mut self, endpoint: Endpoint) -> Self {
        self.dispatcher.add(endpoint);
        self
    }

    /// Sets how many methods run at once, at least 1; further requests wait at the broker. Default
    /// 64.
    #[must_use]
    pub fn concurrency(mut self, methods: u16) -> Self {
        self.concurrency = methods.max(1);
        self
    }

    /// Sets how many requests the broker sends to each of the server's queues before they are
    /// acknowledged: `rabbit_qos_prefetch_count`; 0 means no limit. Default: the
    /// [transport's](crate::TransportOptions::oslo_prefetch).
    #[must_use]
    pub fn prefetch(mut self, requests: u16) -> Self {
        self.prefetch = Some(requests);
        self
    }

    /// Sets when requests are acknowledged; default before their methods run.
    #[must_use]
    pub fn acknowledge(mut self, when: Acknowledge) -> Self {
        self.acknowledge = when;
        self
    }

    /// Sets how many requests are remembered, and for how long, so that one that comes again is not
    /// run again; default the last 16,384.
    #[must_use]
    pub fn repeats(mut self, window: RepeatWindow) -> Self {
        self.repeats = window;
        self
    }

    /// Sets which methods may be called; default all but those whose name begins with `_`.
    #[must_use]
    pub fn access_policy(mut self, policy: AccessPolicy) -> Self {
        self.dispatcher.policy = policy;
        self
    }

    /// Sets the conversion of arguments, contexts and results. The clients have to use the same.
    /// Default: they are received and sent unchanged.
    #[must_use]
    pub fn serializer(mut self, serializer: impl EntitySerializer) -> Self {
        self.dispatcher.conversion = Conversion::by(serializer);
        self
    }

    /// Compresses replies, which all clients can read, Python's included: `kombu_compression`.
    /// Default: as the [transport](crate::TransportOptions::oslo_compression) says.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// Sets whether the server answers `oslo_rpc_server_ping` with `pong`, under every access
    /// policy; default false. This is Python's `rpc_ping_enabled`.
    #[must_use]
    pub fn ping(mut self, ping: bool) -> Self {
        self.ping = ping;
        self
    }

    /// Declares the topic's queues and starts serving. After a lost connection it starts again by
    /// itself.
    ///
    /// # Errors
    /// When there is no connection, or the broker refuses a declaration; [`Error::Compression`]
    /// when the compression's feature is off.
    pub async fn start(mut self) -> Result<RunningServer, Error> {
        if self.ping {
            let pong = |_, _: IgnoredAny| async { Ok("pong") };
            self.dispatcher.add(Endpoint::new().method(PING, pong).expose(PING));
        }
        if let Some(compression) = self.compression {
            compression.compress(b"")?;
        }
        let producer = self.transport.producer(Exchange::default()).mandatory(true);
        let replies = Replies::new(producer, self.compression);
        let dispatcher = std::mem::take(&mut self.dispatcher);
        let budget = Budget::new(self.transport.traffic().decompressed);
        let handler = Arc::new(RequestHandler::new(
            dispatcher,
            self.acknowledge,
            self.repeats,
            replies,
            budget,
            self.transport.observer(),
        ));
        let served = handler.clone();
        let serve = move |delivery, permit| served.serve(delivery, permit);
        let start = async |topology: &Topology| {
            let (sources, fanout_queue) = self.sources(topology);
            let service =
                Service::start(sources, self.concurrency.into(), InlineExecutor::new, serve.clone()).await?;
            let fanout_queue = topology.deletes_fanout_queue().then_some(fanout_queue);
            Ok(RunningServer {
                service,
                transport: self.transport.clone(),
                fanout_queue,
                handler: handler.clone(),
            })
        };
        let mut topology = self.transport.topology().clone();
        for _ in 0..FALLBACKS {
            let started: Result<_, Error> = start(&topology).await;
            match started.as_ref().err().and_then(|error| topology.fallback(error, &self.target)) {
                None => return started,
                Some(fallback) => topology = fallback,
            }
            let topic = self.target.topic_name();
            tracing::warn!(
                topic,
                "the exchange or queues exist and are not durable; they are used as they are"
            );
        }
        start(&topology).await
    }

    /// Returns the sources: the topic's queue, the server's own, and the one for fanouts; also the
    /// name of the last.
    fn sources(&self, topology: &Topology) -> (Vec<Source>, String) {
        let target = &self.target;
        let exchange = topology.request_exchange(target);
        let own = match target.server_name() {
            Some(_) => target.routing_key(),
            None => target.clone().server(crate::oslo::wire::id::Id::new().to_string()).routing_key(),
        };
        let shared = |key: &str| {
            let subscription = self.transport.subscription(topology.request_queue(target, key));
            let subscription = subscription.bind(&exchange, key).prefetch(self.ahead());
            Source::from(subscription.options(topology.consume_options()))
        };
        let fanout_queue = topology.fanout_queue(target);
        let fanout_name = fanout_queue.name().to_owned();
        let fanout_exchange = topology.fanout_exchange(target);
        let fanout = |subscription: Subscription| {
            subscription
                .bind(&fanout_exchange, target.topic_name())
                .options(topology.fanout_consume_options())
        };
        let fanout = if topology.reads_stream() {
            // A stream cannot be consumed without a prefetch.
            Source::stream(fanout(self.transport.stream(fanout_queue)).prefetch(match self.ahead() {
                0 => self.concurrency,
                some => some,
            }))
        } else {
            fanout(self.transport.subscription(fanout_queue)).prefetch(self.ahead()).into()
        };
        (vec![shared(target.topic_name()), shared(&own), fanout], fanout_name)
    }

    /// Returns how many requests the broker sends before they are acknowledged.
    fn ahead(&self) -> u16 {
        self.prefetch.unwrap_or(self.concurrency)
    }
}

/// A running server.
///
/// # On drop
/// It stops at once: methods are dropped at their next await point, and their callers get no reply.
#[must_use = "a server stops when this is dropped"]
pub struct RunningServer {
    service: Service,
    transport: Transport,
    /// The name of the fanout queue, if it is deleted with the server.
    fanout_queue: Option<String>,
    handler: Arc<RequestHandler>,
}

impl RunningServer {
    /// Stops taking requests, waits for running methods and their replies, and deletes the queue
    /// that only this server uses. The other queues stay, with the requests in them, for the next
    /// server.
    ///
    /// # Errors
    /// When the queue cannot be deleted; the server has stopped all the same.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.stopper().stop();
        self.wait().await
    }

    /// Returns the counts of its requests so far.
    #[must_use]
    pub fn metrics(&self) -> ServerMetrics {
        self.handler.metrics()
    }

    /// Returns a handle that stops the server from elsewhere, for example while
    /// [`wait`](Self::wait) is pending.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.service.stopper()
    }

    /// Waits until the server is stopped. Like [`stop`](Self::stop), it then waits for running
    /// methods and deletes the server's own queue.
    ///
    /// # Errors
    /// When one of its queues could not be consumed from any more, because its user may not; when
    /// its own queue cannot be deleted. The server has stopped all the same.
    ///
    /// # Cancel safety
    /// When the future is dropped the server goes on, and can be waited for again.
    pub async fn wait(&mut self) -> Result<(), Error> {
        let served = self.service.wait().await;
        let deleted = match &self.fanout_queue {
            Some(queue) => self.transport.delete_queue(queue).await,
            None => Ok(()),
        };
        served.and(deleted)
    }
}
