//! The way to the brokers: a URL becomes connections, which everything else shares.

use std::{fmt, sync::Arc, time::Duration};

use amqp_client::{ConnectOptions, Exchange, Queue, Recovery};

use crate::{
    compress::Compression,
    consumer::{Subscription, WAIT_FOR_RELEASE},
    error::Error,
    lane::Lanes,
    link::Link,
    producer::Producer,
    reply::ReplyQueue,
    simple_queue::SimpleQueue,
    topology::Topology,
    trace_context::{TraceContext, TraceSource},
    traffic::Traffic,
    url::{TransportUrl, take_topology},
};

/// Connections to a broker, shared by all producers, consumers, clients and servers made from it.
///
/// There are two: one to publish, one to consume, so that a broker that blocks publishers does not stop acknowledgements.
/// Each is opened on first use. The one that consumes is recovered when it is lost, with its queues and consumers; the one that
/// publishes is opened again by whoever publishes next. Servers that read a [stream](Topology::stream_fanout) have a third.
///
/// ```
/// use messaging::{Exchange, Queue, Transport};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), messaging::Error> {
/// let transport = Transport::connect("memory://transport-example").await?;
/// let tasks = Exchange::topic("tasks");
///
/// let subscription = transport.consumer(Queue::new("sums")).bind(&tasks, "math.*");
/// let mut consumer = subscription.start::<(i64, i64)>().await?;
/// transport.producer(tasks).mandatory(true).ensure_publish("math.add", &(1, 2)).await?;
///
/// let delivery = consumer.next().await.expect("a message")?;
/// assert_eq!(delivery.body(), &(1, 2));
/// delivery.ack().await?;
/// transport.close().await
/// # }
/// ```
#[derive(Clone)]
pub struct Transport(Arc<Shared>);

struct Shared {
    publishing: Link,
    lanes: Lanes,
    consuming: Link,
    /// Not recovered: who reads a stream begins at another place each time.
    reading: Link,
    replies: ReplyQueue,
    topology: Topology,
    traffic: Traffic,
    drain: Duration,
    wait_for_release: Duration,
    trace: Option<TraceSource>,
}

/// How to connect, and how the entities of RPC and notifications are declared.
#[derive(Clone, Debug, Default)]
pub struct TransportOptions {
    name: Option<String>,
    connect_timeout: Option<Duration>,
    heartbeat: Option<Duration>,
    shuffle_hosts: bool,
    drain: Drain,
    wait_for_release: Option<Duration>,
    max_message_size: MaxMessageSize,
    trace: Option<TraceSource>,
    topology: Topology,
    traffic: Traffic,
}

/// The largest body, in bytes.
#[derive(Clone, Copy, Debug)]
struct MaxMessageSize(u64);

impl Default for MaxMessageSize {
    fn default() -> Self {
        MaxMessageSize(64 * 1024 * 1024)
    }
}

/// How long closing waits for what is under way.
#[derive(Clone, Copy, Debug)]
struct Drain(Duration);

impl Default for Drain {
    fn default() -> Self {
        Drain(Duration::from_secs(5))
    }
}

impl TransportOptions {
    /// All defaults.
    #[must_use]
    pub fn new() -> Self {
        TransportOptions::default()
    }

    /// A name for the connections, shown by the broker's tools.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The deadline for opening a connection: name look-up, TCP and handshake; default 10 s. A URL may say otherwise.
    #[must_use]
    pub fn connect_timeout(mut self, deadline: Duration) -> Self {
        self.connect_timeout = Some(deadline);
        self
    }

    /// The heartbeat interval to propose; default 60 s. A URL may say otherwise.
    #[must_use]
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = Some(interval);
        self
    }

    /// Tries several hosts in random order each time, so that many clients spread over them. Default: in the order given, from
    /// the first.
    #[must_use]
    pub fn shuffle_hosts(mut self, shuffle: bool) -> Self {
        self.shuffle_hosts = shuffle;
        self
    }

    /// How long [`Transport::close`] waits for publishes to be confirmed; default 5 s.
    #[must_use]
    pub fn drain_timeout(mut self, deadline: Duration) -> Self {
        self.drain = Drain(deadline);
        self
    }

    /// For how long what a consumer, worker, server or listener had to itself before its connection was lost is tried again, when the broker
    /// keeps it for the lost one, or somebody else has it: an exclusive queue, or the [exclusive](Subscription::exclusive) use of one.
    /// After that they end with [`Error::QueueTaken`] or [`Error::ConsumerEnded`]. Default 5 minutes.
    #[must_use]
    pub fn wait_for_release(mut self, deadline: Duration) -> Self {
        self.wait_for_release = Some(deadline);
        self
    }

    /// The largest body in either direction, in bytes; default 64 MiB. One to be published that is larger is refused. One that comes is
    /// not kept: see [`Subscription::max_message_size`], which takes the place of this for one queue. Servers and listeners treat it
    /// as any that cannot be read.
    #[must_use]
    pub fn max_message_size(mut self, bytes: u64) -> Self {
        self.max_message_size = MaxMessageSize(bytes);
        self
    }

    /// Where the trace comes from that each message is to carry in its headers (`traceparent`, `tracestate`), those of RPC and
    /// notifications among them: the glue to OpenTelemetry, say. It is asked for each message that carries none yet.
    /// Default: none is carried.
    #[must_use]
    pub fn trace_context(
        mut self,
        current: impl Fn() -> Option<TraceContext> + Send + Sync + 'static,
    ) -> Self {
        self.trace = Some(TraceSource::new(current));
        self
    }

    /// How the entities of RPC and notifications are declared; default as Python does.
    #[must_use]
    pub fn topology(mut self, topology: Topology) -> Self {
        self.topology = topology;
        self
    }

    /// How many messages of a queue the broker sends to servers of RPC and listeners of notifications ahead of their acknowledgement,
    /// unless they say otherwise themselves; 0 is without limit, where they have none of their own. Default: as many as they work
    /// on at once.
    #[must_use]
    pub fn prefetch(mut self, messages: u16) -> Self {
        self.traffic.prefetch = Some(messages);
        self
    }

    /// How the messages of RPC and notifications are compressed, unless clients, servers and drivers say otherwise themselves.
    /// Who reads them need not know. Default: they are not compressed.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.traffic.compression = Some(compression);
        self
    }

    /// How many bytes compressed messages of RPC and notifications may have together when they are decompressed, for as long as a server or
    /// listener works on them; each of those has as much for itself. The next message waits until there is room, and one that would
    /// have more alone is refused as unreadable. A value of JSON counts as what it may become. Default
    /// [`DECOMPRESSED_TOTAL`](crate::DECOMPRESSED_TOTAL), 256 MiB; no message has over [`DECOMPRESSED_LIMIT`](crate::DECOMPRESSED_LIMIT).
    #[must_use]
    pub fn decompressed_total(mut self, bytes: u64) -> Self {
        self.traffic.decompressed = bytes;
        self
    }

    /// Opens a transport and its first connection: `amqp://`, `amqps://`, `pyamqp://`, `rabbit://`, `kombu://` or `memory://NAME`, as kombu
    /// and oslo.messaging write them:
    ///
    /// `scheme://[user[:password]@]host[:port][,…][/vhost][?option=value&…][;…]`
    ///
    /// Several hosts, with commas between them, and several URLs with semicolons, of which the later ones may be bare hosts, are tried in
    /// turn. A part of the login that is not there is `guest`. No virtual host, `/` and `//` are `/`. The options:
    ///
    /// | option | of whom | meaning |
    /// |---|---|---|
    /// | `heartbeat` | RabbitMQ, kombu | seconds, a fraction counts as a whole one; 0 is off |
    /// | `heartbeat_timeout_threshold` | oslo.messaging | the same |
    /// | `connection_timeout` | RabbitMQ | milliseconds until the connection is open |
    /// | `connect_timeout` | kombu | the same in seconds |
    /// | `channel_max`, `frame_max` | RabbitMQ | the highest channel number; bytes |
    /// | `auth_mechanism` | RabbitMQ | `plain`, `amqplain`, `external`; repeated, in order of preference |
    /// | `login_method` | kombu | the same, one of them |
    /// | `ssl` | kombu | `1` or `true`: TLS, by default on port 5671 |
    /// | `ssl` | oslo.messaging | a boolean: TLS, by default on port 5672 |
    /// | `cacertfile`, `ssl_ca_certs`, `ssl_ca_file` | RabbitMQ, kombu, oslo.messaging | PEM file of the certificate authorities to trust |
    /// | `certfile`, `ssl_certfile`, `ssl_cert_file` | | PEM file of the client's certificate |
    /// | `keyfile`, `ssl_keyfile`, `ssl_key_file` | | PEM file of its key |
    /// | `server_name_indication`, `ssl_server_hostname` | RabbitMQ, kombu | the name to ask for and to verify |
    /// | `verify` | RabbitMQ | `verify_peer` or `verify_none` |
    /// | `ssl_cert_reqs` | kombu | `required`, `optional`, which is the same for a client, or `none`; `CERT_REQUIRED` and so on too |
    /// | `ssl_check_hostname` | kombu | `true`; `false` only where nothing is verified |
    /// | `amqp_durable_queues`, `amqp_auto_delete`, `rabbit_quorum_queue`, `rabbit_quorum_delivery_limit`, `rabbit_quorum_max_memory_length`, `rabbit_quorum_max_memory_bytes`, `rabbit_transient_quorum_queue`, `rabbit_stream_fanout`, `rabbit_ha_queues`, `enable_cancel_on_failover`, `rabbit_transient_queues_ttl`, `use_queue_manager` beside `hostname` and `processname` | oslo.messaging | as the setters of [`Topology`] that name them, over what [`topology`](Self::topology) says |
    /// | `rabbit_qos_prefetch_count`, `kombu_compression` | oslo.messaging | as [`prefetch`](Self::prefetch) and [`compression`](Self::compression) |
    ///
    /// Any `ssl_…` turns TLS on in kombu's URLs; elsewhere those of TLS want TLS. A broker is verified unless the URL says otherwise,
    /// which Python's libraries do not always do. Every other option is refused by its name.
    ///
    /// # Errors
    /// [`Error::Url`], and [`Error::Connect`] when no host lets us in.
    pub async fn connect(self, url: &str) -> Result<Transport, Error> {
        let transport = self.lazy(url)?;
        transport.0.publishing.connection().await?;
        Ok(transport)
    }

    /// A transport that connects when it is first used: the broker need not be there yet.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn lazy(self, url: &str) -> Result<Transport, Error> {
        let (url, topology, traffic) = take_topology(url, self.topology.clone(), self.traffic)?;
        let url = TransportUrl::parse(&url)?;
        // Who consumes goes on where a connection was lost; who publishes has retries of its own, which tell what became of each.
        let wait_for_release = self.wait_for_release.unwrap_or(WAIT_FOR_RELEASE);
        let recovery = Recovery::new().wait_for_release(wait_for_release);
        let consuming = self.connect_options("consume").recovery(recovery);
        let consuming = Link::new(url.clone(), consuming, self.max_message_size.0);
        let (queue, options) = (topology.reply_queue(), topology.consume_options());
        let replies = ReplyQueue::new(consuming.clone(), queue, options);
        let publishing = Link::new(url.clone(), self.connect_options("publish"), self.max_message_size.0);
        let reading = Link::new(url, self.connect_options("stream"), self.max_message_size.0);
        let shared = Shared {
            lanes: Lanes::new(publishing.clone()),
            publishing,
            consuming,
            reading,
            replies,
            topology,
            traffic,
            drain: self.drain.0,
            wait_for_release,
            trace: self.trace,
        };
        Ok(Transport(Arc::new(shared)))
    }

    fn connect_options(&self, role: &str) -> ConnectOptions {
        let mut options = ConnectOptions::new().shuffle_hosts(self.shuffle_hosts);
        if let Some(name) = &self.name {
            options = options.name(format!("{name} ({role})"));
        }
        if let Some(deadline) = self.connect_timeout {
            options = options.connect_timeout(deadline);
        }
        if let Some(interval) = self.heartbeat {
            options = options.heartbeat(interval);
        }
        options
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

    /// A producer for an exchange, which it declares before the first message. The default exchange has the name `""`; it
    /// and the broker's own, `amq.…`, are not declared.
    #[must_use]
    pub fn producer(&self, exchange: Exchange) -> Producer {
        Producer::new(self.0.lanes.of(exchange), self.0.trace.clone())
    }

    /// A queue to put values in and get them from, as kombu's `SimpleQueue`: a durable queue `name` of a durable direct exchange
    /// `name`.
    #[must_use]
    pub fn simple_queue(&self, name: &str) -> SimpleQueue {
        SimpleQueue::new(
            self.0.consuming.clone(),
            |exchange| self.producer(exchange),
            |queue| self.consumer(queue),
            name,
        )
    }

    /// Messages that every such subscription gets, as kombu's `Broadcast`: a queue of its own, bound to a durable fanout
    /// exchange. The queue goes with its connection, where kombu's is durable and stays when nobody ever consumes from it.
    #[must_use]
    pub fn broadcast(&self, exchange: &str) -> Subscription {
        let queue = Queue::new(format!("bcast.{}", uuid::Uuid::new_v4())).exclusive(true).auto_delete(true);
        self.consumer(queue).bind(&Exchange::fanout(exchange).durable(true), "")
    }

    /// What to consume from; [`Subscription::start`] begins.
    #[must_use]
    pub fn consumer(&self, queue: Queue) -> Subscription {
        // What is wrong with a message that could not be handled is no matter of those who publish, on whose channel it would be.
        let producer = Producer::new(self.0.lanes.apart(Exchange::direct("")), None);
        Subscription::new(self.0.consuming.clone(), queue)
            .with_producer(producer)
            .with_wait_for_release(self.0.wait_for_release)
    }

    /// Waits for what is being published to be confirmed ([`TransportOptions::drain_timeout`]), deletes the reply queue and closes
    /// the connections; acknowledgements made before leave before. Servers, listeners and workers are to be stopped by their
    /// own `stop` first, if what they run is to be finished. Everything made from this transport fails with
    /// [`Error::Closed`] from then on.
    ///
    /// # Errors
    /// When a connection does not close in good order.
    pub async fn close(&self) -> Result<(), Error> {
        self.0.replies.close().await;
        let published = self.0.publishing.drain(self.0.drain).await;
        let read = self.0.reading.close().await;
        self.0.consuming.close().await.and(read).and(published)
    }

    /// A stream to read, on a connection of streams: it ends when that is lost.
    pub(crate) fn stream(&self, stream: Queue) -> Subscription {
        Subscription::new(self.0.reading.clone(), stream)
    }

    pub(crate) fn topology(&self) -> &Topology {
        &self.0.topology
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.0.traffic
    }

    pub(crate) fn replies(&self) -> &ReplyQueue {
        &self.0.replies
    }

    /// Deletes a queue of our own, which is not waited for when there is no connection: it expires, or has gone with it.
    pub(crate) async fn delete_queue(&self, queue: &str) -> Result<(), Error> {
        if !self.0.consuming.is_connected() {
            return Ok(());
        }
        let channel = self.0.consuming.open_channel().await?;
        let deleted = channel.delete_queue(queue).await;
        deleted.map_err(Error::broker(format_args!("delete queue {queue:?}"))).map(drop)
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("topology", &self.0.topology).finish_non_exhaustive()
    }
}
