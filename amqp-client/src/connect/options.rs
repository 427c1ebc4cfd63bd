//! The options of a connection. Nothing here connects.

use std::{sync::Arc, time::Duration};

use amqp_codec::{Table, Tune, Value};
use tracing::warn;

use crate::{
    connect::{recovery::Recovery, tls::TlsOptions, uri::Uri},
    error::{Error, Result},
    login::{
        credentials::{CredentialsProvider, Provider},
        sasl::{Mechanism, SaslMechanism},
    },
    proto::{connection::Limits, link::Window},
};

/// The smallest frame_max that every version of RabbitMQ accepts, in bytes
/// (<https://github.com/rabbitmq/rabbitmq-server/releases/tag/v4.1.0>).
const LEAST_FRAME_MAX: u32 = 8192;

/// The options of a connection. Every option has a default; see its setter.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    pub(crate) name: Option<String>,
    pub(crate) client_properties: Table,
    pub(crate) heartbeat: Duration,
    pub(crate) channel_max: u16,
    pub(crate) frame_max: u32,
    pub(crate) connect_timeout: Duration,
    pub(crate) call_timeout: Duration,
    /// The TLS options; `None` unless they were set.
    pub(crate) tls: Option<TlsOptions>,
    pub(crate) mechanisms: Vec<Mechanism>,
    pub(crate) credentials: Option<Provider>,
    pub(crate) shuffle_hosts: bool,
    pub(crate) recovery: Option<Recovery>,
    pub(crate) limits: Limits,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        ConnectOptions {
            name: None,
            client_properties: Table::new(),
            heartbeat: Duration::from_secs(60),
            channel_max: 2047,
            frame_max: 131_072,
            connect_timeout: Duration::from_secs(10),
            call_timeout: Duration::from_secs(30),
            tls: None,
            mechanisms: vec![Mechanism::Plain, Mechanism::AmqPlain],
            credentials: None,
            shuffle_hosts: false,
            recovery: None,
            limits: Limits {
                write_buffer: 256 * 1024,
                window: Window { publishes: 65_536, bytes: 64 * 1024 * 1024 },
                delivery_buffer: 16 * 1024 * 1024,
                inboxes: 128 * 1024 * 1024,
                max_message_size: 64 * 1024 * 1024,
                warn_unacked_after: Duration::from_secs(25 * 60),
            },
        }
    }
}

impl ConnectOptions {
    /// Makes options with all defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a name for the connection, which the broker's tools show.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets another property that describes this client to the broker, whose tools show it.
    /// `product`, `version` and `platform` describe this library unless they are set.
    /// `capabilities` are always those of this library, and `connection_name` is
    /// [`name`](Self::name).
    ///
    /// # Errors
    /// [`Error::Invalid`] for a key over 255 bytes or nesting over 32.
    pub fn client_property(mut self, key: &str, value: impl Into<Value>) -> Result<Self> {
        self.client_properties.insert(key, value).map_err(Error::Invalid)?;
        Ok(self)
    }

    /// Sets the heartbeat interval. A heartbeat is sent after half an interval without output, and
    /// the connection ends after two intervals without input. Whole seconds, rounded up; zero is
    /// off. Default 60 s; the smaller of this and the broker's value applies.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = interval;
        self
    }

    /// Sets the highest channel number. Default 2047; the smaller of this and the broker's value
    /// applies; 0 leaves it to the broker.
    pub fn channel_max(mut self, channels: u16) -> Self {
        self.channel_max = channels;
        self
    }

    /// Sets the largest frame in bytes. Default 131072; the smaller of this and the broker's value
    /// applies; 0 leaves it to the broker. Less than 8192 is raised to it, with a line in the log:
    /// RabbitMQ 4.1 and later ends the connection otherwise. Headers of messages are accepted up to
    /// 1 MiB in any case, because RabbitMQ sends them as large as they were published.
    pub fn frame_max(mut self, bytes: u32) -> Self {
        self.frame_max = bytes;
        self
    }

    /// Sets the deadline for everything until the connection is open: name look-up, TCP, TLS and
    /// handshake, for all hosts together. Default 10 s.
    pub fn connect_timeout(mut self, deadline: Duration) -> Self {
        self.connect_timeout = deadline;
        self
    }

    /// Sets the deadline of each call that the broker answers. Default 30 s.
    pub fn call_timeout(mut self, deadline: Duration) -> Self {
        self.call_timeout = deadline;
        self
    }

    /// Sets how to use TLS with `amqps`. Default: [`TlsOptions::new`]. Without the feature `tls` of
    /// this crate, every attempt to connect to a host with these options fails with
    /// [`TlsError::NotCompiled`](crate::TlsError::NotCompiled).
    pub fn tls(mut self, tls: TlsOptions) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets the mechanisms to log in with, in order of preference: the first that the broker offers
    /// is used. Default PLAIN, then AMQPLAIN. The `auth_mechanism` of a URI takes precedence.
    pub fn mechanisms(mut self, mechanisms: impl IntoIterator<Item = Mechanism>) -> Self {
        self.mechanisms = mechanisms.into_iter().collect();
        self
    }

    /// Asks a provider for user and password at each connect, instead of taking them from the URI.
    /// If they expire, the provider is asked again in time, and the broker is given the new
    /// password with `connection.update-secret`. If the provider fails then, it is asked again
    /// after a twentieth of the time for which they were valid, but at least 1 s and at most 60 s.
    /// Default: the URI's.
    pub fn credentials_from(mut self, provider: impl CredentialsProvider) -> Self {
        self.credentials = Some(Provider(Arc::new(provider)));
        self
    }

    /// Sets whether several hosts are tried in random order, so that many clients spread over them.
    /// Default: in the order given.
    pub fn shuffle_hosts(mut self, shuffle: bool) -> Self {
        self.shuffle_hosts = shuffle;
        self
    }

    /// Recovers the connection when it is lost, with everything that belongs to it. Default: it
    /// ends.
    ///
    /// ```no_run
    /// # async fn example() -> amqp_client::Result<()> {
    /// use amqp_client::{ConnectOptions, Recovery};
    ///
    /// let options = ConnectOptions::new().recovery(Recovery::new().first_connect(true));
    /// let connection = options.connect("amqp://a.example,b.example/prod").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn recovery(mut self, recovery: Recovery) -> Self {
        self.recovery = Some(recovery);
        self
    }

    /// Sets how many outgoing bytes may be queued before publishes wait. Default 256 KiB. As much
    /// again may be on its way to the socket.
    pub fn write_buffer(mut self, bytes: usize) -> Self {
        self.limits.write_buffer = bytes.max(1);
        self
    }

    /// Sets how many publishes of one channel may be unconfirmed before publishes wait. Default
    /// 65536. Each one that the broker has not answered counts, in whatever order it answers; one
    /// whose [`Confirm`](crate::Confirm) was given up does not.
    pub fn confirm_window(mut self, publishes: usize) -> Self {
        self.limits.window.publishes = publishes.max(1);
        self
    }

    /// Sets how many bytes of unconfirmed bodies one channel may have before publishes wait.
    /// Default 64 MiB. A single message is always allowed, however large.
    pub fn confirm_window_bytes(mut self, bytes: u64) -> Self {
        self.limits.window.bytes = bytes.max(1);
        self
    }

    /// Sets how long a delivery may be unsettled before it is reported with
    /// [`Event::DeliveryHeld`](crate::Event::DeliveryHeld). Default 25 minutes, five less than
    /// RabbitMQ waits before it closes the channel.
    pub fn warn_unacked_after(mut self, held: Duration) -> Self {
        self.limits.warn_unacked_after = held;
        self
    }

    /// Sets how many bytes of deliveries may wait for consumers without acknowledgement or
    /// prefetch. Default 16 MiB.
    ///
    /// Above that the connection reads nothing more until some are taken, so the broker has to
    /// wait. So do the answers to calls and the confirms of all channels. Code that processes such
    /// deliveries must therefore not wait for an answer on the same connection. Deliveries to
    /// consumers with a prefetch count only towards [`inbox_limit`](Self::inbox_limit).
    pub fn delivery_buffer(mut self, bytes: usize) -> Self {
        self.limits.delivery_buffer = bytes;
        self
    }

    /// Sets how many bytes of deliveries may wait for all consumers together, including those that
    /// [`delivery_buffer`](Self::delivery_buffer) limits. Default 128 MiB.
    ///
    /// Above that the connection reads nothing more until some are taken, although heartbeats go
    /// on; so the answers to calls and confirms wait too. If a broker respects the prefetch, this
    /// can be avoided: code that waits for answers on the same connection while it processes a
    /// delivery should set a prefetch with which less than this can wait, or a higher limit.
    pub fn inbox_limit(mut self, bytes: usize) -> Self {
        self.limits.inboxes = bytes;
        self
    }

    /// Sets the largest body in either direction, in bytes. Default 64 MiB.
    ///
    /// A larger message is refused with [`Error::PublishTooLarge`] before any of it is queued,
    /// which leaves the channel intact. A larger message from the broker is recognised by its
    /// content header, before any of it is kept: it ends its channel with
    /// [`Error::MessageTooLarge`], and the other channels go on. Unless it was consumed without
    /// acknowledgement, it stays in its queue and is delivered to the next consumer. A consumer
    /// that [drops bodies](crate::ConsumeOptions::withhold_bodies_over) over a limit can settle it.
    /// A broker has a limit of its own, and closes the channel with 406 above it.
    pub fn max_message_size(mut self, bytes: u64) -> Self {
        self.limits.max_message_size = bytes;
        self
    }

    /// Returns the mechanisms to try with this URI, each with its login begun.
    pub(crate) fn begin_login(&self, uri: &Uri) -> Result<Vec<Box<dyn SaslMechanism>>> {
        if uri.auth_mechanisms.is_empty() {
            return Ok(self.mechanisms.iter().map(Mechanism::begin).collect());
        }
        let by_name = |name: &String| {
            let mut own = self.mechanisms.iter().map(Mechanism::begin);
            own.find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
                .or_else(|| Mechanism::by_name(name).map(|mechanism| mechanism.begin()))
                .ok_or_else(|| Error::InvalidUri(format!("unknown auth_mechanism {name:?}")))
        };
        uri.auth_mechanisms.iter().map(by_name).collect()
    }

    /// Returns the limits to propose. The URI's parameters take precedence over the options.
    pub(crate) fn tune(&self, uri: &Uri) -> Tune {
        let whole = self.heartbeat.as_secs() + u64::from(self.heartbeat.subsec_nanos() > 0);
        Tune {
            channel_max: uri.channel_max.unwrap_or(self.channel_max),
            frame_max: usable_frame_max(uri.frame_max.unwrap_or(self.frame_max)),
            heartbeat: uri.heartbeat.unwrap_or(u16::try_from(whole).unwrap_or(u16::MAX)),
        }
    }

    /// Returns the description of this client for `connection.start-ok`; the capabilities are those
    /// of <https://www.rabbitmq.com/docs/connections#capabilities>.
    pub(crate) fn client_properties(&self) -> Result<Table> {
        let mut capabilities = Table::new();
        for name in [
            "publisher_confirms",
            "exchange_exchange_bindings",
            "basic.nack",
            "consumer_cancel_notify",
            "connection.blocked",
            "authentication_failure_close",
        ] {
            capabilities.push(name, true).map_err(Error::Invalid)?;
        }
        let mut properties = self.client_properties.clone();
        for (key, value) in [
            ("product", env!("CARGO_PKG_NAME")),
            ("version", env!("CARGO_PKG_VERSION")),
            ("platform", "Rust"),
        ] {
            if properties.get(key).is_none() {
                properties.push(key, value).map_err(Error::Invalid)?;
            }
        }
        properties.insert("capabilities", capabilities).map_err(Error::Invalid)?;
        if let Some(name) = &self.name {
            properties.insert("connection_name", name.as_str()).map_err(Error::Invalid)?;
        }
        Ok(properties)
    }
}

fn usable_frame_max(wanted: u32) -> u32 {
    if wanted == 0 || wanted >= LEAST_FRAME_MAX {
        return wanted;
    }
    warn!(wanted, raised_to = LEAST_FRAME_MAX, "a frame_max that RabbitMQ may refuse is raised");
    LEAST_FRAME_MAX
}
