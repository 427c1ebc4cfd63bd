//! The options of a connection. Nothing here connects.

use std::{sync::Arc, time::Duration};

use amqp_codec::{Table, Tune, Value};

use crate::{
    connect::{recovery::Recovery, tls::TlsOptions, uri::Uri},
    error::{Error, Result},
    login::{
        credentials::{CredentialsProvider, Provider},
        sasl::{Mechanism, SaslMechanism},
    },
    proto::{connection::Limits, link::Window},
};

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
    /// `None` unless it was set.
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
    /// All defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// A name for the connection, shown by the broker's tools.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Anything else to tell the broker of this client, shown by its tools; `product`, `version`
    /// and `platform` stand for this library unless they are set. `capabilities` are always this
    /// library's, and `connection_name` is [`name`](Self::name).
    ///
    /// # Errors
    /// [`Error::Invalid`] for a key over 255 bytes or nesting over 32.
    pub fn client_property(mut self, key: &str, value: impl Into<Value>) -> Result<Self> {
        self.client_properties.insert(key, value).map_err(Error::Invalid)?;
        Ok(self)
    }

    /// Signs of life are sent after half of this, and two of it without any from the broker end the
    /// connection. Whole seconds, rounded up; zero is off. Default 60 s; the smaller of this and
    /// the broker's wish holds.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = interval;
        self
    }

    /// The highest channel number. Default 2047; the smaller of this and the broker's holds; 0
    /// leaves it to the broker.
    pub fn channel_max(mut self, channels: u16) -> Self {
        self.channel_max = channels;
        self
    }

    /// The largest frame in bytes. Default 131072; the smaller of this and the broker's holds; 0
    /// leaves it to the broker. Headers of messages are read up to 1 MiB in any case, for RabbitMQ
    /// sends them as large as they were published.
    pub fn frame_max(mut self, bytes: u32) -> Self {
        self.frame_max = bytes;
        self
    }

    /// Deadline for everything until the connection is open: name look-up, TCP, TLS and handshake,
    /// of all hosts together. Default 10 s.
    pub fn connect_timeout(mut self, deadline: Duration) -> Self {
        self.connect_timeout = deadline;
        self
    }

    /// Deadline of each call that the broker answers. Default 30 s.
    pub fn call_timeout(mut self, deadline: Duration) -> Self {
        self.call_timeout = deadline;
        self
    }

    /// How to speak TLS with `amqps`. Default: as [`TlsOptions::new`]. Without the feature `tls` of
    /// this crate every attempt to connect to a host with these is
    /// [`TlsError::NotCompiled`](crate::TlsError::NotCompiled).
    pub fn tls(mut self, tls: TlsOptions) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The mechanisms to log in with, in order of preference: the first that the broker offers is
    /// taken. Default PLAIN, then AMQPLAIN. The `auth_mechanism` of a URI comes before these.
    pub fn mechanisms(mut self, mechanisms: impl IntoIterator<Item = Mechanism>) -> Self {
        self.mechanisms = mechanisms.into_iter().collect();
        self
    }

    /// Asks for user and password at each connect, instead of taking them from the URI; and when
    /// they expire, again in time, to give the broker the new password with
    /// `connection.update-secret`. A provider that fails then is asked again, after a twentieth of
    /// the time they were good for, 1 s to 60 s. Default: the URI's.
    pub fn credentials_from(mut self, provider: impl CredentialsProvider) -> Self {
        self.credentials = Some(Provider(Arc::new(provider)));
        self
    }

    /// Tries several hosts in random order, so that many clients spread over them. Default: in the
    /// order given.
    pub fn shuffle_hosts(mut self, shuffle: bool) -> Self {
        self.shuffle_hosts = shuffle;
        self
    }

    /// Recovers the connection when it was lost, with all that belongs to it. Default: it ends.
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

    /// Outgoing bytes over which publishes wait. Default 256 KiB. As much again may be on its way
    /// to the socket.
    pub fn write_buffer(mut self, bytes: usize) -> Self {
        self.limits.write_buffer = bytes.max(1);
        self
    }

    /// Unconfirmed publishes of one channel over which publishes wait. Default 65536. Each that the
    /// broker has not answered counts, in whatever order it answers; one whose
    /// [`Confirm`](crate::Confirm) was given up does not.
    pub fn confirm_window(mut self, publishes: usize) -> Self {
        self.limits.window.publishes = publishes.max(1);
        self
    }

    /// Bytes of unconfirmed bodies of one channel over which publishes wait. Default 64 MiB. One
    /// message may always be under way, however large.
    pub fn confirm_window_bytes(mut self, bytes: u64) -> Self {
        self.limits.window.bytes = bytes.max(1);
        self
    }

    /// After so long with a delivery that is not acked,
    /// [`Event::DeliveryHeld`](crate::Event::DeliveryHeld) tells of it. Default 25 minutes, five
    /// before RabbitMQ closes the channel.
    pub fn warn_unacked_after(mut self, held: Duration) -> Self {
        self.limits.warn_unacked_after = held;
        self
    }

    /// Bytes of deliveries to consumers without acknowledgement or prefetch that may wait for their
    /// user. Default 16 MiB.
    ///
    /// Over that the connection reads no more until some are taken, so the broker waits too; so do
    /// the answers to calls and confirms behind them, of all channels. Who processes such
    /// deliveries must not wait for an answer on the same connection meanwhile. Deliveries to
    /// consumers with a prefetch count in [`inbox_limit`](Self::inbox_limit) alone.
    pub fn delivery_buffer(mut self, bytes: usize) -> Self {
        self.limits.delivery_buffer = bytes;
        self
    }

    /// Bytes of deliveries that may wait for their user, of all consumers together, those that
    /// [`delivery_buffer`](Self::delivery_buffer) is for among them. Default 128 MiB.
    ///
    /// Over that the connection reads no more until some are taken, while heartbeats go on; so the
    /// answers to calls and confirms wait too. A broker that keeps to the prefetch need never get
    /// there: who waits for answers on the same connection while a delivery is processed sets a
    /// prefetch with which less than this can wait, or a higher limit.
    pub fn inbox_limit(mut self, bytes: usize) -> Self {
        self.limits.inboxes = bytes;
        self
    }

    /// The largest body in either direction, in bytes. Default 64 MiB.
    ///
    /// One to be published that is larger is refused with [`Error::PublishTooLarge`] before a byte
    /// of it is queued; the channel is intact. One that the broker sends is judged by its content
    /// header, before any of it is kept: it ends its channel with [`Error::MessageTooLarge`], and
    /// the other channels go on. Unacknowledged, it stays in its queue, and the next consumer is
    /// offered it again; one that [wants no body](crate::ConsumeOptions::withhold_bodies_over) over
    /// a limit can settle it. A broker has a limit of its own, which closes the channel with 406.
    pub fn max_message_size(mut self, bytes: u64) -> Self {
        self.limits.max_message_size = bytes;
        self
    }

    /// The mechanisms to try with this URI, each begun.
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

    /// The limits to propose, where the URI's parameters come before the options.
    pub(crate) fn tune(&self, uri: &Uri) -> Tune {
        let whole = self.heartbeat.as_secs() + u64::from(self.heartbeat.subsec_nanos() > 0);
        Tune {
            channel_max: uri.channel_max.unwrap_or(self.channel_max),
            frame_max: uri.frame_max.unwrap_or(self.frame_max),
            heartbeat: uri.heartbeat.unwrap_or(u16::try_from(whole).unwrap_or(u16::MAX)),
        }
    }

    /// What `connection.start-ok` tells of this client; capabilities as
    /// <https://www.rabbitmq.com/docs/connections#capabilities> lists them.
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
