//! A transport: the connections that a URL describes, which everything else shares.

use std::{fmt, sync::Arc, time::Duration};

#[cfg(feature = "memory")]
use amqp_broker::Broker;
use amqp_client::{ConnectOptions, Connection, Exchange};
#[cfg(feature = "oslo")]
use amqp_client::{DeleteOptions, Queue};
use futures_util::future::join_all;
use tokio::time::Instant;

#[cfg(feature = "memory")]
use crate::connection::brokers::Streams;
#[cfg(feature = "oslo")]
use crate::{
    compress::Budget,
    oslo::{
        rpc::waiting::reply_queue::ReplyQueue,
        settings::{topology::Topology, traffic::Traffic},
    },
    url::take_oslo_options,
};
use crate::{
    connection::{
        brokers::Brokers,
        event::{ConnectionEvents, Teller},
        health::{
            check::{check, check_if_used},
            status::{ConnectionStatus, TransportStatus},
        },
        lazy_connection::{ConnectionSettings, LazyConnection},
        metrics::TransportMetrics,
        state::{ConnectionState, Role},
    },
    consume::{
        bound_queue::BoundQueue,
        consumer_builder::ConsumerBuilder,
        subscription::{Subscription, WAIT_FOR_RELEASE},
        worker_builder::WorkerBuilder,
    },
    error::Error,
    publish::{producer::Producer, publish_channel::PublishChannels, slow::SlowConnections, traced::Tracing},
    simple_queue::SimpleQueue,
    telemetry::observer::Observer,
    trace_context::TraceSource,
    transport_options::TransportOptions,
    url::TransportUrl,
};

/// The most connections for messages that the broker does not answer while it answers others.
const SLOW_LINKS: usize = 8;

/// Connections to a broker, shared by all producers, consumers, clients and servers made from it.
///
/// There are two, one for publishing and one for consuming, so that a broker that blocks publishers
/// does not hold up acknowledgements. Each is opened on first use. The consuming connection is
/// recovered when it is lost, with its queues and consumers. The publishing connection is opened
/// again by the next publish. While the broker does not answer some messages, up to eight further
/// connections are opened for them, so that they do not hold up others. Servers that read a
/// [stream](Topology::stream_fanout) have another connection.
///
/// ```
/// use messaging::{Exchange, Queue, Transport};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), messaging::Error> {
/// let transport = Transport::connect("memory://transport-example").await?;
/// let tasks = Exchange::topic("tasks");
///
/// let sums = transport.consumer(Queue::new("sums")).bind(&tasks, "math.*");
/// let mut consumer = sums.start::<(i64, i64)>().await?;
/// transport.producer(tasks).mandatory(true).ensure_publish("math.add", &(1, 2)).await?;
///
/// let delivery = consumer.recv().await.expect("a message")?;
/// assert_eq!(delivery.body(), &(1, 2));
/// delivery.ack().await?;
/// transport.close().await
/// # }
/// ```
#[derive(Clone)]
pub struct Transport(Arc<Inner>);

struct Inner {
    publishing: LazyConnection,
    /// Connections for messages that the broker does not answer, opened when they are needed.
    slow: SlowConnections,
    publish_channels: PublishChannels,
    consuming: LazyConnection,
    /// The connection for streams. It is not recovered, because a reader continues at another
    /// offset each time.
    reading: LazyConnection,
    #[cfg(feature = "oslo")]
    replies: ReplyQueue,
    #[cfg(feature = "oslo")]
    topology: Topology,
    #[cfg(feature = "oslo")]
    traffic: Traffic,
    drain: Duration,
    wait_for_release: Duration,
    trace: Option<TraceSource>,
    observer: Observer,
    teller: Teller,
}

impl TransportOptions {
    /// Opens a transport and its first connection. The URL has the form that kombu and
    /// oslo.messaging use, and the scheme `amqp`, `amqps`, `pyamqp`, `pyamqps`, `rabbit` or
    /// `kombu`; `memory://NAME` is a broker in this process. Redis and folders have URLs of their
    /// own; see below. A URL of a broker is
    ///
    /// `scheme://[user[:password]@]host[:port][,…][/vhost][?option=value&…][;…]`
    ///
    /// Commas separate several hosts, and semicolons several URLs, of which the later ones may be
    /// bare hosts. They are tried in turn. The defaults are `guest` for the user and the password,
    /// 5672 for the port (5671 with `amqps`), and `/` for the virtual host, which a path of `/` or
    /// `//` means too.
    ///
    /// These are the options, with the project that an option is taken from. Those that begin with
    /// `ssl`, and those from `amqp_durable_queues` on, work only with the schemes of their project:
    /// `rabbit` and `kombu` are oslo.messaging's, the others kombu's. The rest work with all.
    ///
    #[doc = include_str!("url/options.md")]
    ///
    /// An option takes precedence over the setter of the same meaning. A boolean is `true` or
    /// `false`, `1` or `0`, `yes` or `no`, `on` or `off`. An empty value counts as missing. Any
    /// other option is an error that names it. `memory://` takes the options that `amqp://` takes,
    /// but they have no effect.
    ///
    /// With feature `redis`, `redis://[[user]:password@]host[:port][/database]`, `rediss://`,
    /// `redis+socket:///path` and `sentinel://host[:port][/database];…?master_name=NAME` are a
    /// Redis that kombu and Celery use; their options are those of
    /// `amqp_broker::redis::RedisOptions`, which `on_redis` takes. With feature `filesystem`,
    /// `filesystem://?data_folder_in=DIR&data_folder_out=DIR` are folders that kombu uses. Neither
    /// can be among several URLs. Every other name of kombu's transports is an error that says how
    /// to write one.
    ///
    /// Any `ssl_…` option of kombu turns TLS on; all other options of TLS require that it is on.
    /// The broker's certificate is verified unless the URL says otherwise, while Python's
    /// libraries do not always verify it.
    ///
    /// # Errors
    /// [`Error::Url`], and [`Error::Connect`] when no host accepts the connection.
    pub async fn connect(self, url: &str) -> Result<Transport, Error> {
        let transport = self.lazy(url)?;
        transport.0.publishing.patient().connection().await?;
        Ok(transport)
    }

    /// Returns a transport to this broker in memory, as `guest` in the virtual host `/`; it
    /// connects when it is first used. For another login or virtual host see
    /// [`broker`](Self::broker).
    #[cfg(feature = "memory")]
    #[must_use]
    pub fn on(self, broker: &Broker) -> Transport {
        let here = Brokers::here(Streams::to(broker.clone()), amqp_client::Uri::default());
        self.made(&here)
    }

    /// Returns a transport that connects when it is first used: the broker need not run yet.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn lazy(self, url: &str) -> Result<Transport, Error> {
        let (options, url) = self.with_options_of(url)?;
        let brokers = options.brokers(url);
        Ok(options.made(&brokers))
    }

    /// Applies the URL's options for entities and messages, which take precedence over what was
    /// set.
    #[cfg(feature = "oslo")]
    fn with_options_of(self, url: &str) -> Result<(Self, TransportUrl), Error> {
        let (topology, traffic) = (self.topology.clone(), self.traffic);
        let (url, topology, traffic) = take_oslo_options(url, topology, traffic)?;
        Ok((self.with(topology, traffic), TransportUrl::parse(&url)?))
    }

    #[cfg(not(feature = "oslo"))]
    fn with_options_of(self, url: &str) -> Result<(Self, TransportUrl), Error> {
        Ok((self, TransportUrl::parse(url)?))
    }

    #[cfg(feature = "memory")]
    fn brokers(&self, url: TransportUrl) -> Brokers {
        match &self.streams {
            Some(streams) => Brokers::here(streams.clone(), url.into_uri()),
            None => url.into(),
        }
    }

    #[cfg(not(feature = "memory"))]
    fn brokers(&self, url: TransportUrl) -> Brokers {
        url.into()
    }

    #[cfg(feature = "opentelemetry")]
    fn observer(&self, brokers: &Brokers) -> Observer {
        Observer::new(self.telemetry.clone(), brokers.only())
    }

    #[cfg(not(feature = "opentelemetry"))]
    fn observer(&self, _brokers: &Brokers) -> Observer {
        Observer::default()
    }

    pub(crate) fn made(self, brokers: &Brokers) -> Transport {
        let drain = self.drains_for();
        let wait_for_release = self.wait_for_release.unwrap_or(WAIT_FOR_RELEASE);
        let observer = self.observer(brokers);
        let teller = Teller::new(observer.clone());
        let link = |role| {
            let settings = ConnectionSettings {
                brokers: brokers.clone(),
                options: self.connect_options(role),
                max_message_size: self.largest_body(),
                recovery: self.recovery.clone(),
            };
            LazyConnection::new(role, settings, teller.clone())
        };
        let (publishing, consuming, reading) = (link(Role::Publish), link(Role::Consume), link(Role::Stream));
        let slow = SlowConnections::new((0..SLOW_LINKS).map(|_| link(Role::Publish)));
        #[cfg(feature = "oslo")]
        let replies = {
            let (queue, options) = (self.topology.reply_queue(), self.topology.consume_options());
            ReplyQueue::new(consuming.clone(), queue, options, Budget::new(self.traffic.decompressed))
        };
        let shared = Inner {
            publish_channels: PublishChannels::new(publishing.clone(), slow.clone()),
            publishing,
            slow,
            consuming,
            reading,
            #[cfg(feature = "oslo")]
            replies,
            #[cfg(feature = "oslo")]
            topology: self.topology,
            #[cfg(feature = "oslo")]
            traffic: self.traffic,
            drain,
            wait_for_release,
            trace: self.trace,
            observer,
            teller,
        };
        Transport(Arc::new(shared))
    }
}

impl Transport {
    /// Opens a transport with default options; see [`TransportOptions::connect`].
    ///
    /// # Errors
    /// As [`TransportOptions::connect`].
    pub async fn connect(url: &str) -> Result<Self, Error> {
        TransportOptions::new().connect(url).await
    }

    /// Opens one connection of `amqp_client` to the brokers of a URL, for what a transport does not
    /// do: single gets, deletions, or consumers with settings of their own. The URL is that of
    /// [`TransportOptions::connect`], whose options for RPC and notifications have no effect on it.
    ///
    /// # Errors
    /// [`Error::Url`], and [`Error::Connect`] when no host accepts the connection.
    pub async fn open_connection(url: &str, options: &ConnectOptions) -> Result<Connection, Error> {
        let (_, url) = TransportOptions::new().with_options_of(url)?;
        Ok(Brokers::from(url).connect(options).await?)
    }

    /// Returns a transport to this broker in memory, as `guest` in the virtual host `/`: for tests.
    /// See [`TransportOptions::broker`] for more.
    ///
    /// ```
    /// use amqp_broker::Broker;
    /// use messaging::{Exchange, Queue, Transport};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), messaging::Error> {
    /// let broker = Broker::builder().build();
    /// let transport = Transport::on(&broker);
    /// let mut jobs = transport.consumer(Queue::new("jobs")).start::<u32>().await?;
    /// broker.faults().nack_publishes(1);
    /// let published = transport.producer(Exchange::default()).ensure_publish("jobs", &7).await?;
    /// assert_eq!(published.attempts, 2);
    /// assert_eq!(jobs.recv().await.expect("a job")?.body(), &7);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "memory")]
    #[must_use]
    pub fn on(broker: &Broker) -> Self {
        TransportOptions::new().on(broker)
    }

    /// Tells whether the messages are in a Redis. It connects, because only the broker knows that.
    #[cfg(feature = "mailbox")]
    pub(crate) async fn is_on_redis(&self) -> Result<bool, Error> {
        self.0.consuming.patient().connection().await?;
        Ok(self.0.consuming.is_on_redis())
    }

    /// Returns a producer for an exchange, which it declares before the first message. The default
    /// exchange, [`Exchange::default`], and the broker's own, `amq.…`, are not declared.
    #[must_use]
    pub fn producer(&self, exchange: Exchange) -> Producer {
        let tracing = Tracing::new(self.0.trace.clone(), &self.0.observer, exchange.name());
        Producer::new(self.0.publish_channels.of(exchange), tracing)
    }

    /// Returns a queue to put values in and get them from, as kombu's `SimpleQueue`: a durable
    /// queue `name` of a durable direct exchange `name`.
    #[must_use]
    pub fn simple_queue(&self, name: &str) -> SimpleQueue {
        SimpleQueue::new(
            self.0.consuming.clone(),
            |exchange| self.producer(exchange),
            |queue| self.consumer(queue),
            name,
        )
    }

    /// Returns the builder of a consumer of a queue; [`ConsumerBuilder::start`] starts it.
    #[must_use]
    pub fn consumer(&self, queue: impl Into<BoundQueue>) -> ConsumerBuilder {
        ConsumerBuilder::new(self.subscription(queue))
    }

    /// Returns the builder of a worker, which runs a handler on each message of a queue;
    /// [`WorkerBuilder::start`] starts it.
    #[must_use]
    pub fn worker(&self, queue: impl Into<BoundQueue>) -> WorkerBuilder {
        WorkerBuilder::new(self.subscription(queue))
    }

    /// Waits until publishes in progress are confirmed ([`TransportOptions::drain_timeout`]),
    /// deletes the reply queue and closes the connections. Acknowledgements made before are sent
    /// first. Stop servers, listeners and workers by their own `stop` first if their running
    /// handlers are to finish. From then on, everything made from this transport fails with
    /// [`Error::Closed`].
    ///
    /// # Errors
    /// When a connection does not close properly.
    pub async fn close(&self) -> Result<(), Error> {
        #[cfg(feature = "oslo")]
        self.0.replies.close().await;
        let slow = join_all(self.0.slow.all().iter().map(|link| link.drain(self.0.drain)));
        let (published, slow) = tokio::join!(self.0.publishing.drain(self.0.drain), slow);
        let read = self.0.reading.close().await;
        let consumed = self.0.consuming.close().await;
        self.0.teller.end();
        consumed.and(read).and(published)?;
        slow.into_iter().collect()
    }

    /// Checks whether the broker answers, and returns how long the slowest answer took. It sends a
    /// request over the publishing connection, which is opened if needed, and over the others that
    /// are in use. This suits a readiness probe; a liveness probe needs no check, because lost
    /// connections are recovered by themselves.
    ///
    /// # Errors
    /// When there is no connection; when the broker blocks publishers, with its reason;
    /// [`Error::Timeout`] when there is no answer by the deadline, counted from now.
    ///
    /// # Cancel safety
    /// Dropping the pending future changes nothing.
    pub async fn health(&self, deadline: Duration) -> Result<Duration, Error> {
        let begun = Instant::now();
        let until = begun + deadline;
        let (published, consumed, read) = tokio::join!(
            check(&self.0.publishing, until, begun),
            check_if_used(&self.0.consuming, until, begun),
            check_if_used(&self.0.reading, until, begun),
        );
        Ok(published?.max(consumed?).max(read?))
    }

    /// Returns what is known of its connections, without asking the broker: connected or not and
    /// since when, the last failure, whether the broker blocks and why, and what is in flight. This
    /// suits a liveness probe, and takes the lock of each connection once; [`health`](Self::health)
    /// asks.
    #[must_use]
    pub fn status(&self) -> TransportStatus {
        TransportStatus { connections: self.links().map(ConnectionStatus::of).collect() }
    }

    /// Returns the state of the transport, which is that of its worst connection. See
    /// [`state_of`](Self::state_of) for each.
    #[must_use]
    pub fn state(&self) -> ConnectionState {
        ConnectionState::worst(self.links().map(LazyConnection::state))
    }

    /// Returns the state of one connection. The one for streams is idle if no stream is read.
    #[must_use]
    pub fn state_of(&self, connection: Role) -> ConnectionState {
        match connection {
            Role::Publish => self.0.publishing.state(),
            Role::Consume => self.0.consuming.state(),
            Role::Stream => self.0.reading.state(),
        }
    }

    /// Returns the events of its connections from now on: opened, lost, each attempt to open or
    /// recover them, blocked, closed. The events end when the transport is closed.
    #[must_use]
    pub fn events(&self) -> ConnectionEvents {
        self.0.teller.listen(matches!(self.0.publishing.state(), ConnectionState::Closed))
    }

    /// Returns counts of what it has done so far. This is cheap: it takes the lock of each
    /// connection once.
    #[must_use]
    pub fn metrics(&self) -> TransportMetrics {
        let redis = self.0.consuming.redis_metrics();
        self.links().chain(self.0.slow.all()).map(LazyConnection::metrics).fold(redis, TransportMetrics::and)
    }

    fn links(&self) -> impl Iterator<Item = &LazyConnection> {
        [&self.0.publishing, &self.0.consuming, &self.0.reading].into_iter()
    }

    /// Returns what to consume from, on the consuming connection.
    pub(crate) fn subscription(&self, queue: impl Into<BoundQueue>) -> Subscription {
        // Failed messages are moved on a channel of their own: a message that the broker refuses
        // must not close the channel on which others publish. A message is acknowledged only when
        // it is in the queue it was moved to.
        let (exchange, observer) = (Exchange::default(), &self.0.observer);
        let tracing = Tracing::new(None, observer, exchange.name());
        let producer = Producer::new(self.0.publish_channels.apart(exchange), tracing).mandatory(true);
        Subscription::new(self.0.consuming.patient(), queue)
            .with_producer(producer)
            .with_wait_for_release(self.0.wait_for_release)
            .with_observer(observer.clone())
    }

    /// Returns a stream to read, on the connection for streams: it ends when that is lost.
    #[cfg(feature = "oslo")]
    pub(crate) fn stream(&self, stream: Queue) -> Subscription {
        Subscription::new(self.0.reading.patient(), stream)
    }

    #[cfg(feature = "oslo")]
    pub(crate) fn observer(&self) -> &Observer {
        &self.0.observer
    }

    #[cfg(feature = "oslo")]
    pub(crate) fn topology(&self) -> &Topology {
        &self.0.topology
    }

    #[cfg(feature = "oslo")]
    pub(crate) fn traffic(&self) -> Traffic {
        self.0.traffic
    }

    #[cfg(feature = "oslo")]
    pub(crate) fn replies(&self) -> &ReplyQueue {
        &self.0.replies
    }

    /// Deletes one of the transport's own queues. Without a connection this does nothing: the queue
    /// expires, or was deleted with the connection.
    #[cfg(feature = "oslo")]
    pub(crate) async fn delete_queue(&self, queue: &str) -> Result<(), Error> {
        if !self.0.consuming.is_connected() {
            return Ok(());
        }
        let channel = self.0.consuming.open_channel().await?;
        let deleted = channel.delete_queue(queue, DeleteOptions::new()).await;
        deleted.map_err(Error::broker(format_args!("delete queue {queue:?}"))).map(drop)
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Transport");
        #[cfg(feature = "oslo")]
        shown.field("topology", &self.0.topology);
        shown.finish_non_exhaustive()
    }
}
