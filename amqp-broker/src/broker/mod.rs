//! The broker: what users of the library hold.

pub(crate) mod accounts;
pub(crate) mod inspection;
pub(crate) mod memory;

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
    config::Config,
    core::rabbitmq::access::Permissions,
    failure::Failure,
    server::{Acceptor, accept, instance::Instance, origin::Origin, serve},
};

/// The octets that an in-process stream holds in each direction.
const STREAM_BUFFER: usize = 256 << 10;

/// The longest time that is told from for ever.
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

/// A broker in the making: see [`Broker::builder`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct BrokerBuilder {
    config: Config,
}

/// A broker in the making that keeps what is to survive: see [`BrokerBuilder::data_dir`].
#[cfg(feature = "durable")]
#[derive(Clone, Debug)]
#[must_use]
pub struct DurableBrokerBuilder {
    config: Config,
    path: std::path::PathBuf,
    repairs: bool,
}

/// A listener of a broker.
///
/// # On drop
/// It stops listening. Connections that were accepted go on.
#[derive(Debug)]
#[must_use = "it stops listening when dropped"]
pub struct Listener {
    local_addr: SocketAddr,
    task: AbortHandle,
}

impl Broker {
    /// Starts to describe a broker. Where no user is added there is the user `guest` with the
    /// password `guest`, who logs in from this machine only, and where no virtual host is, there is
    /// `/`.
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder::default()
    }

    /// Accepts connections at `address`; port 0 takes a free port, which [`Listener::local_addr`]
    /// tells. Each connection is an open file: with a folder some of what the process may have is
    /// kept free for the store and for accepting, and while the rest is in use connections wait.
    ///
    /// # Errors
    /// When the address cannot be listened at, or the broker has [`failed`](Broker::failed).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn listen(&self, address: impl ToSocketAddrs) -> io::Result<Listener> {
        self.listen_with(TcpListener::bind(address).await?, None)
    }

    /// The same under TLS. With the feature `tls`.
    ///
    /// # Errors
    /// When the address cannot be listened at, or the broker has [`failed`](Broker::failed).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[cfg(feature = "tls")]
    pub async fn listen_tls(&self, address: impl ToSocketAddrs, tls: &Tls) -> io::Result<Listener> {
        self.listen_with(TcpListener::bind(address).await?, Some(tls.acceptor()))
    }

    fn listen_with(&self, listener: TcpListener, tls: Option<Acceptor>) -> io::Result<Listener> {
        if let Some(failure) = self.inner.failure() {
            return Err(io::Error::other(failure));
        }
        let local_addr = listener.local_addr()?;
        let task = tokio::spawn(accept(listener, tls, Arc::clone(&self.inner))).abort_handle();
        Ok(Listener { local_addr, task })
    }

    /// A connection inside the process: the client's end of it. The session runs as a task of the
    /// current runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect(&self) -> DuplexStream {
        let (client, server) = tokio::io::duplex(STREAM_BUFFER);
        serve(server, Origin::here(), None, &self.inner);
        client
    }

    /// Waits until the broker can go on no more, such as where the disk is full and what was
    /// published cannot be kept: the first cause. Then everybody is closed with 541 and no one is
    /// let in any more. Whoever started the broker is to [`shut it down`](Broker::shutdown) and,
    /// once the cause is gone, to start another.
    ///
    /// A broker without a folder never fails.
    ///
    /// # Cancel safety
    /// It can be waited for again.
    pub async fn failed(&self) -> Failure {
        self.inner.failed().await
    }

    /// Ends the broker: stops listening, confirms what it has been published and closes every
    /// connection with 320 CONNECTION_FORCED. Returns when all have ended, those that do not answer
    /// within 3 s included, and what is to survive is on disk.
    ///
    /// # Cancel safety
    /// The broker ends all the same.
    pub async fn shutdown(&self) {
        self.inner.end().await;
    }
}

impl BrokerBuilder {
    /// Lets a user log in with this password. As with RabbitMQ nobody logs in with an empty one.
    pub fn user(self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.config.users.add(name.into(), Some(password.into()));
        self
    }

    /// Adds a user who has no password, and so logs in by a certificate only, with the mechanism
    /// EXTERNAL: see `Tls`. Of [`user`](Self::user) and this the last one said of a user counts.
    /// The user of [`anonymous`](Self::anonymous) needs no password either.
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
    /// login is refused as one with a wrong password is. Default: `guest`, whose password everybody
    /// knows; none by an empty list. RabbitMQ calls it `loopback_users`
    /// (<https://www.rabbitmq.com/docs/access-control#loopback-users>).
    pub fn loopback_users(mut self, names: impl IntoIterator<Item: Into<String>>) -> Self {
        self.config.loopback_users = names.into_iter().map(Into::into).collect();
        self
    }

    /// Says what a user may do in a virtual host: there, and from now on nowhere else but where it
    /// is said too. A user of whom nothing is said may do everything everywhere.
    ///
    /// It does not add the user: who is not added has no password, but may log in by certificate,
    /// and where nobody is added `guest` is there still.
    ///
    /// All else is refused as RabbitMQ refuses it: 403 on the channel for a name, 530 on the
    /// connection for the virtual host.
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

    /// Lets clients log in without a password, with the mechanism ANONYMOUS, and be this user then.
    /// Default: they may not.
    pub fn anonymous(mut self, user: impl Into<String>) -> Self {
        self.config.anonymous = Some(user.into());
        self
    }

    /// Adds a virtual host.
    pub fn vhost(mut self, name: impl Into<String>) -> Self {
        self.config.add_vhost(name.into());
        self
    }

    /// The heartbeat interval offered to clients, in whole seconds; zero is none. Default 60 s.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.config.set_heartbeat(interval);
        self
    }

    /// The `product` that clients are told of, and its `version`: some do one thing or another by
    /// them. What comes after 255 octets is cut. Default `RabbitMQ`, as it is its ways that are
    /// followed here; `platform` always names this library.
    pub fn product(mut self, name: impl Into<String>) -> Self {
        self.config.product = name.into();
        self
    }

    /// The version of the [`product`](Self::product). What comes after 255 octets is cut. Default
    /// `3.10.8`.
    pub fn product_version(mut self, version: impl Into<String>) -> Self {
        self.config.product_version = version.into();
        self
    }

    /// Limits the channels of a connection, to 1 or more. Default 2047. One more closes the
    /// connection with 530.
    pub fn channel_max(mut self, channels: u16) -> Self {
        self.config.channel_max = channels.max(1);
        self
    }

    /// The largest frame, in bytes, of at least 4096. Default 131,072. A larger one closes the
    /// connection with 501.
    pub fn frame_max(mut self, bytes: u32) -> Self {
        self.config.frame_max = bytes.max(amqp_codec::FRAME_MIN_SIZE);
        self
    }

    /// Limits the connections of a virtual host. Default: any number. One more is refused with 530.
    /// Besides, of the clients that have not logged in yet, those over 4096 are not listened to.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.config.max_connections = connections;
        self
    }

    /// Limits the queues of a virtual host. Default: any number. To declare one more is refused
    /// with 406 on the channel.
    pub fn max_queues(mut self, queues: usize) -> Self {
        self.config.limits.queues = queues;
        self
    }

    /// Limits the exchanges of a virtual host, the predeclared ones not counted. Default: any
    /// number. To declare one more is refused with 406 on the channel.
    pub fn max_exchanges(mut self, exchanges: usize) -> Self {
        self.config.limits.exchanges = exchanges;
        self
    }

    /// Limits the bindings of a virtual host, those of every queue to the default exchange not
    /// counted. Default: any number. One more is refused with 406 on the channel.
    pub fn max_bindings(mut self, bindings: usize) -> Self {
        self.config.limits.bindings = bindings;
        self
    }

    /// Limits the consumers of a channel. Default: any number. One more closes the connection with
    /// 530, as RabbitMQ's `consumer_max_per_channel` does.
    pub fn max_consumers(mut self, consumers: usize) -> Self {
        self.config.limits.consumers = consumers;
        self
    }

    /// Limits the unacknowledged deliveries of a channel, whatever prefetch it asks for. Default:
    /// any number. Consumers wait at this limit, as at a prefetch; to get one more is refused with
    /// 406 on the channel.
    pub fn max_unacked(mut self, deliveries: u32) -> Self {
        self.config.limits.unacked = deliveries;
        self
    }

    /// Limits the time for which a delivery may be out unacknowledged, in whole milliseconds; zero
    /// is for ever. Default 30 minutes. Then its channel is closed with 406, and all its deliveries
    /// return to their queues.
    pub fn consumer_timeout(mut self, timeout: Duration) -> Self {
        let milliseconds = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        self.config.limits.ack_timeout = if timeout.is_zero() { u64::MAX } else { milliseconds };
        self
    }

    /// Limits the dead letters that come of one publish, those included that come of its dead
    /// letters. Default 100,000. A message that dies beyond that gets no letter, which the log says
    /// once a second.
    pub fn max_dead_letters(mut self, letters: u32) -> Self {
        self.config.limits.letters = letters;
        self
    }

    /// Limits the memory that the broker takes for all that clients make it hold, in bytes.
    /// Default: two fifths of the machine's memory, or 2 GiB where the system does not tell. Each
    /// of n virtual hosts has one n-th of it, unless
    /// [`vhost_memory_limit`](Self::vhost_memory_limit) says otherwise, and one at its limit holds
    /// back its own publishers and nobody else.
    ///
    /// These count: messages in queues, with consumers and on their way as dead letters, a body
    /// once however many queues it is in; what is received in part and what is not read by who
    /// asked for it; what waits for the disk; transactions; queues, exchanges, bindings, consumers,
    /// channels and connections with their arguments. Above the limit publishers are held back with
    /// `connection.blocked`, each from its next publish on, until consumers have made room; to
    /// declare or bind more is refused with 406 on the channel.
    ///
    /// A connection that holds more than its share of a virtual host that is short of memory, in
    /// content that it has begun to send or in answers and deliveries that it does not read, is not
    /// read from. One that then moves less than a sixteenth of what it holds within a
    /// [`stall_timeout`](Self::stall_timeout) is closed with 506, so that nobody waits for ever for
    /// what it holds.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.config.memory_limit = Some(bytes);
        self
    }

    /// Limits the part of that which each virtual host takes, in bytes. Default: its part of the
    /// [`memory_limit`](Self::memory_limit).
    pub fn vhost_memory_limit(mut self, bytes: u64) -> Self {
        self.config.vhost_memory_limit = Some(bytes);
        self
    }

    /// Closes a connection that holds more than its share of the memory while that is short and
    /// moves less than a sixteenth of what it holds within this time, in whole milliseconds.
    /// Default 30 s. See [`memory_limit`](Self::memory_limit).
    ///
    /// A client that closes its end while it is held back is closed too, this long after that is
    /// seen: until then what it had published before is still handled if publishers may go on, but
    /// what it has not acknowledged may be what they wait for.
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.config.stall_timeout = timeout.min(LONGEST);
        self
    }

    /// Keeps so many bytes free where [`data_dir`](BrokerBuilder::data_dir) is. Default 50 MB, as
    /// RabbitMQ's `disk_free_limit`. Below it publishers are held back with `connection.blocked`,
    /// each from its next publish on, until there is room; everybody else goes on.
    pub fn disk_free_limit(mut self, bytes: u64) -> Self {
        self.config.disk_free_limit = bytes;
        self
    }

    /// Lets the mark that tells how far the journal is synced be on the disk by so much later than
    /// a confirm. Default 50 ms.
    ///
    /// All that was confirmed is synced in any case. The mark is there to tell a loss of it: a
    /// journal that ends before the mark is damaged, one that ends behind it was being written.
    /// When the process ends, however it does, the mark is exact. When the power fails it lags by
    /// as much as is said here; what was confirmed in that time is not missed if the disk then has
    /// lost it although it had said that it was synced.
    ///
    /// With zero a confirm waits until the mark is synced too, so that nothing that was confirmed
    /// is lost unseen. That is one sync after the other: who publishes one message at a time waits
    /// about twice as long, who publishes many at once less so.
    pub fn mark_delay(mut self, delay: Duration) -> Self {
        self.config.mark_delay = delay.min(LONGEST);
        self
    }

    /// The largest body a message may have, in bytes. Default 128 MiB. A larger one is refused with
    /// 406 on the channel before any of it is kept.
    pub fn max_message_size(mut self, bytes: u64) -> Self {
        self.config.max_message_size = bytes;
        self
    }

    /// Limits the time that a client may take to log in. Default 10 s.
    pub fn login_timeout(mut self, timeout: Duration) -> Self {
        self.config.login_timeout = timeout;
        self
    }

    /// Keeps durable exchanges, queues and bindings and persistent messages in a folder, from which
    /// the next broker has them: after a clean end, and after one that was not, such as by SIGKILL.
    /// The folder is made where there is none; it is one broker's alone. With the feature
    /// `durable`.
    ///
    /// A publish of a persistent message to a durable queue is confirmed when it is on disk, and so
    /// is answered what else changes what survives: declarations, bindings, deletions, commits.
    /// Everything that gathers while the disk writes is written together. All messages are in
    /// memory too: the folder is there for safety, not for more than fits.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = std::env::temp_dir().join(format!("amqp-broker-doc-{}", std::process::id()));
    /// # let path = folder.clone();
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let broker = amqp_broker::Broker::builder().user("guest", "guest").vhost("/").data_dir(path).build()?;
    /// broker.shutdown().await;
    /// # Ok::<(), amqp_broker::DataError>(())
    /// # })?;
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "durable")]
    pub fn data_dir(self, path: impl Into<std::path::PathBuf>) -> DurableBrokerBuilder {
        DurableBrokerBuilder { config: self.config, path: path.into(), repairs: false }
    }

    /// The broker, which does nothing yet: see [`Broker::listen`] and [`Broker::connect`].
    pub fn build(self) -> Broker {
        let mut config = self.config;
        config.fill_in();
        Broker { inner: Arc::new(Instance::new(config)) }
    }
}

#[cfg(feature = "durable")]
impl DurableBrokerBuilder {
    /// Sets what is damaged in the folder aside, in a folder `damaged-` with the time beside it,
    /// where a file `report` says what was lost, and goes on with the rest. Everything is read to
    /// its end for that. Default: a damaged folder is refused and nothing in it is changed.
    pub fn repair(mut self, repairs: bool) -> Self {
        self.repairs = repairs;
        self
    }

    /// The broker, with what survived. It reads all of it before it returns.
    ///
    /// # Errors
    /// When the folder is another broker's, cannot be made or read, is damaged or of a newer
    /// version.
    pub fn build(self) -> Result<Broker, DataError> {
        let DurableBrokerBuilder { mut config, path, repairs } = self;
        config.fill_in();
        Ok(Broker { inner: Arc::new(Instance::restored(config, &path, repairs)?) })
    }
}

impl Listener {
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

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("config", &self.inner.config).finish_non_exhaustive()
    }
}
