//! The broker: the handles that users of the library have.

pub(crate) mod accounts;
mod firehose;
pub(crate) mod inspection;
#[cfg(all(feature = "durable", feature = "management"))]
mod kept;
#[cfg(feature = "management")]
mod limits;
pub(crate) mod memory;
pub(crate) mod policies;
#[cfg(feature = "management")]
pub(crate) mod vhosts;

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::DuplexStream,
    net::{TcpListener, ToSocketAddrs},
    task::AbortHandle,
};

#[cfg(feature = "tls")]
use crate::server::tls::Tls;
#[cfg(feature = "durable")]
use crate::store::DataError;
use crate::{
    backend::Backend,
    config::Config,
    core::rabbitmq::{access::Permissions, version::RabbitMq},
    failure::Failure,
    gateway::Entrance,
    server::{
        Acceptor, accept,
        instance::{Gateways, Instance},
        origin::Origin,
        serve,
    },
};

/// The size of the buffer of an in-process stream in each direction, in octets.
const STREAM_BUFFER: usize = 256 << 10;

/// The longest finite duration; a longer one counts as unlimited.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A broker. Clones are handles of the same broker.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let broker = amqp_broker::Broker::builder().user("guest", "guest").vhost("/").build();
/// let listener = broker.listen("127.0.0.1:0").await?;
/// println!("amqp://guest:guest@{}/%2F", listener.local_addr());
/// broker.shutdown().await;
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # On drop
/// Nothing ends by dropping a handle: connections go on until either end closes them or
/// [`shutdown`](Broker::shutdown).
#[derive(Clone)]
pub struct Broker {
    pub(crate) inner: Arc<Instance>,
}

/// The configuration of a broker; see [`Broker::builder`].
#[derive(Clone, Default)]
#[must_use]
pub struct BrokerBuilder {
    config: Config,
    gateways: Gateways,
}

/// The configuration of a broker with persistent state; see [`BrokerBuilder::data_dir`].
#[cfg(feature = "durable")]
#[derive(Clone)]
#[must_use]
pub struct DurableBrokerBuilder {
    config: Config,
    gateways: Gateways,
    path: std::path::PathBuf,
    repairs: bool,
}

/// A listener of a broker.
///
/// # On drop
/// It stops listening. Accepted connections stay open.
#[derive(Debug)]
#[must_use = "it stops listening when dropped"]
pub struct Listener {
    local_addr: SocketAddr,
    task: AbortHandle,
}

impl Broker {
    /// Begins the configuration of a broker. Without users it has the user `guest` with the
    /// password `guest`, who may log in from this machine only; without virtual hosts it has `/`.
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder::default()
    }

    /// Accepts connections at `address`; port 0 chooses a free port, which [`Listener::local_addr`]
    /// returns. Each connection takes an open file. A broker with a folder reserves some of the
    /// process's open files for the store and for accepting; when the others are in use, new
    /// connections wait.
    ///
    /// # Errors
    /// When the address cannot be listened at, or the broker has [`failed`](Broker::failed).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn listen(&self, address: impl ToSocketAddrs) -> io::Result<Listener> {
        self.listen_with(TcpListener::bind(address).await?, None)
    }

    /// Accepts TLS connections, as [`listen`](Self::listen). With the feature `tls`.
    ///
    /// # Errors
    /// When the address cannot be listened at, or the broker has [`failed`](Broker::failed).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[cfg(feature = "tls")]
    pub async fn listen_tls(&self, address: impl ToSocketAddrs, tls: &Tls) -> io::Result<Listener> {
        self.listen_with(TcpListener::bind(address).await?, Some(tls.clone()))
    }

    fn listen_with(&self, listener: TcpListener, tls: Option<Acceptor>) -> io::Result<Listener> {
        if let Some(failure) = self.inner.failure() {
            return Err(io::Error::other(failure));
        }
        let local_addr = listener.local_addr()?;
        #[cfg(feature = "management")]
        let _listens =
            self.inner.listening.begin(local_addr, if tls.is_some() { "amqp/ssl" } else { "amqp" });
        let accepting = accept(listener, tls, Arc::clone(&self.inner));
        let task = tokio::spawn(async move {
            #[cfg(feature = "management")]
            let _listens = _listens;
            accepting.await;
        });
        let task = task.abort_handle();
        Ok(Listener { local_addr, task })
    }

    /// Opens a connection inside the process; returns the client's end of it. The session runs as a
    /// task of the current runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect(&self) -> DuplexStream {
        let (client, server) = tokio::io::duplex(STREAM_BUFFER);
        serve(server, Origin::here(), None, &self.inner);
        client
    }

    /// Waits until the broker fails, for example because the disk is full and persistent messages
    /// cannot be stored; returns the first cause. A failed broker closes all connections with 541
    /// and accepts no new ones. Whoever started it should [`shut it down`](Broker::shutdown) and,
    /// once the cause is gone, start another.
    ///
    /// A broker without a folder never fails.
    ///
    /// # Cancel safety
    /// It can be awaited again.
    pub async fn failed(&self) -> Failure {
        self.inner.failed().await
    }

    /// Ends the broker: it stops listening, confirms what has been published, and closes every
    /// connection with 320 CONNECTION_FORCED. It returns when all connections have ended, at the
    /// latest after 3 s for those that do not answer, and persistent state is on disk.
    ///
    /// # Cancel safety
    /// The broker ends all the same.
    pub async fn shutdown(&self) {
        self.inner.end().await;
    }
}

impl BrokerBuilder {
    /// Adds a user with this password. As in RabbitMQ, nobody logs in with an empty one.
    pub fn user(self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.config.users.add(name.into(), Some(password.into()));
        self
    }

    /// Adds a user without a password, who logs in by a certificate only, with the mechanism
    /// EXTERNAL; see `Tls`. If [`user`](Self::user) names the same user, the later call counts. The
    /// user of [`anonymous`](Self::anonymous) needs no password either.
    ///
    /// ```
    /// # fn main() -> Result<(), amqp_broker::InvalidPattern> {
    /// use amqp_broker::{Broker, Permissions};
    ///
    /// let broker = Broker::builder()
    ///     .user_without_password("sensor")
    ///     .permissions("sensor", "/", Permissions::new("", "^readings$", "")?)
    ///     .build();
    /// # Ok(())
    /// # }
    /// ```
    pub fn user_without_password(self, name: impl Into<String>) -> Self {
        self.config.users.add(name.into(), None);
        self
    }

    /// Lets these users log in from this machine only: by a connection from a loopback address
    /// (127.0.0.0/8, `::1`, also as `::ffff:127.0.0.1`) or inside the process. From elsewhere the
    /// login is refused like one with a wrong password. Default: `guest`, whose password everybody
    /// knows; an empty list restricts nobody. RabbitMQ calls it `loopback_users`
    /// (<https://www.rabbitmq.com/docs/access-control#loopback-users>).
    pub fn loopback_users(mut self, names: impl IntoIterator<Item: Into<String>>) -> Self {
        self.config.loopback_users = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets a user's permissions in a virtual host. A user with permissions set anywhere has none
    /// elsewhere; a user without any may do everything everywhere.
    ///
    /// This does not add the user. A user who is not added has no password but may log in by
    /// certificate, and if no user is added, `guest` still exists.
    ///
    /// Refusals are RabbitMQ's: 403 on the channel for a name, 530 on the connection for the
    /// virtual host.
    ///
    /// ```
    /// # fn main() -> Result<(), amqp_broker::InvalidPattern> {
    /// use amqp_broker::{Broker, Permissions};
    ///
    /// let broker = Broker::builder()
    ///     .user("admin", "secret")
    ///     .user("reader", "secret")
    ///     .permissions("reader", "/", Permissions::new("", "", "^events")?)
    ///     .build();
    /// # Ok(())
    /// # }
    /// ```
    pub fn permissions(
        self,
        user: impl Into<String>,
        vhost: impl Into<String>,
        permissions: Permissions,
    ) -> Self {
        self.config.users.permit(user.into(), vhost.into(), permissions);
        self
    }

    /// Lets clients log in without a password, by the mechanism ANONYMOUS, as this user. Default:
    /// they may not, or, when the broker is [`like`](Self::like) RabbitMQ 4.0 or later, as `guest`
    /// while that user has the password `guest`.
    pub fn anonymous(mut self, user: impl Into<String>) -> Self {
        self.config.anonymous = Some(user.into());
        self
    }

    /// Adds a virtual host.
    pub fn vhost(mut self, name: impl Into<String>) -> Self {
        self.config.add_vhost(name.into());
        self
    }

    /// Adds a virtual host whose other side is a [`Backend`], such as a Redis: AMQP clients that
    /// open it work on the backend's queues. Users, their permissions and tags, TLS, and the limits
    /// of connections, channels, frames and message sizes are this broker's; queues and messages
    /// are the backend's, so that [`Broker::queues`] and similar methods do not show them. Every
    /// client is told the virtual host's name and the [backend's](Backend::name), before it logs
    /// in: in the server property `backends`, a table of the latter by the former.
    pub fn backend(mut self, vhost: impl Into<String>, backend: impl Backend) -> Self {
        let vhost = vhost.into();
        self.config.add_vhost(vhost.clone());
        self.config.backends.insert(vhost.clone(), backend.name().to_owned());
        self.gateways.insert(vhost.clone(), Arc::new(Entrance::new(vhost, backend)));
        self
    }

    /// The heartbeat interval offered to clients, in whole seconds; zero is none. Default 60 s.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.config.set_heartbeat(interval);
        self
    }

    /// Makes the broker like a version of RabbitMQ: it announces that version's patch, copyright
    /// and
    /// login mechanisms, and follows it where versions differ. Other settings of this builder take
    /// precedence over the version's defaults, in whatever order they are made. Default
    /// [`RabbitMq::V3_10`]. A [`backend`](Self::backend) is what it is; of the version its virtual
    /// host has what concerns connections.
    ///
    /// ```
    /// use amqp_broker::{Broker, RabbitMq};
    ///
    /// let broker = Broker::builder().like(RabbitMq::V4_3).build();
    /// # drop(broker);
    /// ```
    pub fn like(mut self, version: RabbitMq) -> Self {
        self.config.like = version;
        self
    }

    /// The `product` and `version` in the server properties, which some clients base decisions on.
    /// They are cut to 255 octets. Default `RabbitMQ`, because this broker behaves like it;
    /// `platform` always names this library.
    pub fn product(mut self, name: impl Into<String>) -> Self {
        self.config.product = Some(name.into());
        self
    }

    /// The version of the [`product`](Self::product), cut to 255 octets. Default: that of the
    /// version
    /// that the broker is [`like`](Self::like). It changes what is announced, and nothing else.
    pub fn product_version(mut self, version: impl Into<String>) -> Self {
        self.config.product_version = Some(version.into());
        self
    }

    /// Limits the channels of a connection, to 1 or more. Default 2047. One more closes the
    /// connection with 530.
    pub fn channel_max(mut self, channels: u16) -> Self {
        self.config.channel_max = channels.max(1);
        self
    }

    /// Sets the largest frame, in bytes, at least 4096. Default 131,072. A larger frame closes the
    /// connection with 501.
    pub fn frame_max(mut self, bytes: u32) -> Self {
        self.config.frame_max = bytes.max(amqp_codec::FRAME_MIN_SIZE);
        self
    }

    /// Limits the connections of a virtual host. Default: any number. Further connections are
    /// refused with 530. Besides, at most 4096 clients may be connected without having logged in;
    /// the broker does not read from others.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.config.max_connections = connections;
        self
    }

    /// Limits the queues of a virtual host. Default: any number. Further declarations are refused
    /// with 406 on the channel.
    pub fn max_queues(mut self, queues: usize) -> Self {
        self.config.limits.queues = queues;
        self
    }

    /// Limits the exchanges of a virtual host, without the predeclared ones. Default: any number.
    /// Further declarations are refused with 406 on the channel.
    pub fn max_exchanges(mut self, exchanges: usize) -> Self {
        self.config.limits.exchanges = exchanges;
        self
    }

    /// Limits the bindings of a virtual host, without those of every queue to the default exchange.
    /// Default: any number. Further bindings are refused with 406 on the channel.
    pub fn max_bindings(mut self, bindings: usize) -> Self {
        self.config.limits.bindings = bindings;
        self
    }

    /// Limits the consumers of a channel. Default: any number. A further one closes the connection
    /// with 530, as RabbitMQ's `consumer_max_per_channel` does.
    pub fn max_consumers(mut self, consumers: usize) -> Self {
        self.config.limits.consumers = consumers;
        self
    }

    /// Limits the unacknowledged deliveries of a channel, whatever its prefetch. Default: any
    /// number. Consumers wait at this limit as at a prefetch; `basic.get` is refused with 406 on
    /// the channel.
    pub fn max_unacked(mut self, deliveries: u32) -> Self {
        self.config.limits.unacked = deliveries;
        self
    }

    /// Limits how long a delivery may stay unacknowledged, in whole milliseconds; zero is no limit.
    /// Default 30 minutes. Then its channel is closed with 406, and all its deliveries are
    /// requeued.
    pub fn consumer_timeout(mut self, timeout: Duration) -> Self {
        let milliseconds = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.config.limits.ack_timeout = if timeout.is_zero() { u64::MAX } else { milliseconds };
        self
    }

    /// Limits the dead letters that stem from one publish, including those that stem from its dead
    /// letters. Default 100,000. Further messages that die get no dead letter, which is logged once
    /// a second.
    pub fn max_dead_letters(mut self, letters: u32) -> Self {
        self.config.limits.letters = letters;
        self
    }

    /// Limits the memory for everything that clients make the broker hold, in bytes. Default: two
    /// fifths of the machine's memory, or 2 GiB where the system does not tell. Each of n virtual
    /// hosts has one n-th of it, unless [`vhost_memory_limit`](Self::vhost_memory_limit) is set. A
    /// virtual host at its limit holds back its own publishers only.
    ///
    /// These count: messages in queues, with consumers and on their way as dead letters, where a
    /// body counts once however many queues hold it; incomplete content and unread output; what
    /// waits for the disk; transactions; queues, exchanges, bindings, consumers, channels and
    /// connections with their arguments. Above the limit a publisher is held back with
    /// `connection.blocked` from its next publish on, until consumers have made room; declarations
    /// and bindings are refused with 406 on the channel.
    ///
    /// While a virtual host is short of memory, a connection is not read if it holds more than its
    /// share, in incomplete content or in answers and deliveries that it does not read. If it then
    /// moves less than a sixteenth of what it holds within a
    /// [`stall_timeout`](Self::stall_timeout), it is closed with 506, so that the others do not
    /// wait for that memory for ever.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.config.memory_limit = Some(bytes);
        self
    }

    /// Limits the memory of each virtual host, in bytes. Default: its part of the
    /// [`memory_limit`](Self::memory_limit).
    pub fn vhost_memory_limit(mut self, bytes: u64) -> Self {
        self.config.vhost_memory_limit = Some(bytes);
        self
    }

    /// Sets how long a connection may be stalled that holds more than its share while memory is
    /// short: it is closed if it moves less than a sixteenth of what it holds within this time, in
    /// whole milliseconds. Default 30 s. See [`memory_limit`](Self::memory_limit).
    ///
    /// A client that disconnects while it is held back is closed this long after its end is
    /// noticed. Until then its earlier publishes are still handled if publishers may continue;
    /// after that its unacknowledged deliveries, which the others may be waiting for, are requeued.
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.config.stall_timeout = timeout.min(LONGEST);
        self
    }

    /// Sets how many bytes must stay free on the disk of `data_dir`.
    /// Default 50 MB, as RabbitMQ's `disk_free_limit`. Below it a publisher is held back with
    /// `connection.blocked` from its next publish on, until there is room; consumers continue.
    pub fn disk_free_limit(mut self, bytes: u64) -> Self {
        self.config.disk_free_limit = bytes;
        self
    }

    /// Sets how much later than a confirm the mark may be synced that tells how far the journal is
    /// synced. Default 50 ms.
    ///
    /// Everything that is confirmed is synced in any case. The mark serves to detect a later loss:
    /// a journal that ends before the mark is damaged, one that ends behind it was being written.
    /// When the process ends, in whatever way, the mark is exact. When the power fails, the mark
    /// lags by at most this time: if the disk then loses what it had reported as synced, a loss of
    /// confirms from that time goes unnoticed.
    ///
    /// With zero a confirm waits until the mark is synced too, so that no loss of a confirmed
    /// message goes unnoticed. That means two syncs in sequence: a client that publishes one
    /// message at a time waits about twice as long, one that publishes many at once less so.
    pub fn mark_delay(mut self, delay: Duration) -> Self {
        self.config.mark_delay = delay.min(LONGEST);
        self
    }

    /// Sets the largest body of a message, in bytes. Default 128 MiB, or 16 MiB when the broker is
    /// [`like`](Self::like) RabbitMQ 4.0 or later. A larger one is refused with 406 on the channel
    /// before any of it is stored.
    pub fn max_message_size(mut self, bytes: u64) -> Self {
        self.config.max_message_size = Some(bytes);
        self
    }

    /// Limits how long a client may take to log in. Default 10 s.
    pub fn login_timeout(mut self, timeout: Duration) -> Self {
        self.config.login_timeout = timeout;
        self
    }

    /// Keeps durable exchanges, queues and bindings and persistent messages in a folder, from which
    /// the next broker restores them after an orderly end as well as after a crash, such as by
    /// SIGKILL. The folder is created if necessary; only one broker can use it. With the feature
    /// `durable`.
    ///
    /// The confirm of a persistent message in a durable queue is sent when the message is on disk.
    /// The answers to other persistent changes wait in the same way: declarations, bindings,
    /// deletions, commits. Changes that gather while the disk writes are written together. All
    /// messages are in memory too: the folder adds safety, not capacity.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = std::env::temp_dir().join(format!("amqp-broker-doc-{}", std::process::id()));
    /// # let path = folder.clone();
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let broker = amqp_broker::Broker::builder().user("guest", "guest").data_dir(path).build()?;
    /// broker.shutdown().await;
    /// # Ok::<(), amqp_broker::DataError>(())
    /// # })?;
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "durable")]
    pub fn data_dir(self, path: impl Into<std::path::PathBuf>) -> DurableBrokerBuilder {
        let BrokerBuilder { config, gateways } = self;
        DurableBrokerBuilder { config, gateways, path: path.into(), repairs: false }
    }

    /// Builds the broker on a simulated disk, and restores what is synced there. With the feature
    /// `simulation`, which is for tests.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[cfg(feature = "simulation")]
    pub fn build_on(self, disk: &crate::simulated_disk::SimulatedDisk) -> Broker {
        let mut config = self.config;
        config.fill_in();
        Broker { inner: Arc::new(Instance::simulated(config, self.gateways, disk)) }
    }

    /// Builds the broker. It does nothing yet; see [`Broker::listen`] and [`Broker::connect`].
    pub fn build(self) -> Broker {
        let mut config = self.config;
        config.fill_in();
        Broker { inner: Arc::new(Instance::new(config, self.gateways)) }
    }
}

#[cfg(feature = "durable")]
impl DurableBrokerBuilder {
    /// Sets damaged parts of the folder aside, in a folder next to it named `damaged-` and the
    /// time, where a file `report` lists what was lost, and continues with the rest. This reads
    /// everything to its end. Default: a damaged folder is refused and not changed.
    pub fn repair(mut self, repairs: bool) -> Self {
        self.repairs = repairs;
        self
    }

    /// Builds the broker and restores its persistent state, all of which is read before this
    /// returns.
    ///
    /// # Errors
    /// When the folder is in use by another broker, cannot be created or read, is damaged or of a
    /// newer version.
    pub fn build(self) -> Result<Broker, DataError> {
        let DurableBrokerBuilder { mut config, gateways, path, repairs } = self;
        config.fill_in();
        let broker = Broker { inner: Arc::new(Instance::restored(config, gateways, (&path, repairs))?) };
        #[cfg(feature = "management")]
        broker.restore_administration()?;
        Ok(broker)
    }
}

impl Listener {
    /// The handle of a task that accepts connections at an address.
    #[cfg(feature = "management")]
    pub(crate) fn new(local_addr: SocketAddr, task: AbortHandle) -> Self {
        Listener { local_addr, task }
    }

    /// The address it listens at.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for BrokerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

#[cfg(feature = "durable")]
impl fmt::Debug for DurableBrokerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("DurableBrokerBuilder");
        shown.field("config", &self.config).field("path", &self.path).finish_non_exhaustive()
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("config", &self.inner.config).finish_non_exhaustive()
    }
}
