//! The options of a Redis transport.

use std::time::Duration;

use redis::{ProtocolVersion, io::tcp::TcpSettings};

use super::{
    credentials::{Credentials, RedisLogin},
    error::RedisOptionsError,
    keep_alive::KeepAlive,
    periods::Periods,
    server::{RedisTls, Server},
};
use crate::{
    backend::QueueOrder,
    kombu::{
        envelope::{BodyEncoding, EnvelopeEncoder},
        priorities::{PriorityOrder, PrioritySteps},
    },
    redis::wire::KeyOptions,
};

/// How often lapsed claims are looked for by default, before the throttle.
const RESTORE_INTERVAL: Duration = Duration::from_secs(10);

macro_rules! options {
    ($($(#[$doc:meta])* $name:ident: $type:ty [$argument:ty] = $default:expr;)*) => {
        /// Where Redis is, who logs in, and kombu's options.
        ///
        /// A URL tells all of it: `redis://user:password@host:6379/3?visibility_timeout=600`. Each
        /// part is percent-decoded. The path is the database, 0 when it is absent.
        ///
        /// | URL | |
        /// |---|---|
        /// | `redis://host:port/db` | port 6379 by default; host `127.0.0.1` |
        /// | `rediss://host:port/db` | TLS. Unlike in kombu, certificates are verified unless `ssl_cert_reqs=none` |
        /// | `redis+socket:///path?virtual_host=db` | a Unix domain socket |
        /// | `sentinel://host:port/db;sentinel://host:port?master_name=name` | port 26379 by default; login and database are those of the first URL |
        ///
        /// The query sets options by the names that they have in kombu's `transport_options`, which
        /// are those of the setters here, and these further ones; times are in seconds. Any other
        /// name is an error.
        ///
        /// | option | value |
        /// |---|---|
        /// | `virtual_host` | the database |
        /// | `ssl`, `ssl_cert_reqs`, `ssl_ca_certs`, `ssl_ca_data`, `ssl_certfile`, `ssl_keyfile`, `ssl_check_hostname` | TLS, which each of them turns on: `none`, `optional` or `required`, which are both strict; PEM files, and PEM itself |
        /// | `sentinel_kwargs` | a JSON object with `username`, `password`, `socket_timeout` (after so many seconds without an answer the next sentinel is asked), `ssl` and the other options of TLS for the sentinels themselves; files that it does not name are those of the master's TLS |
        /// | `socket_keepalive_options` | a JSON object with `TCP_KEEPIDLE`, `TCP_KEEPINTVL` and `TCP_KEEPCNT`, or their numbers on Linux 4, 5 and 6: the times of `socket_keepalive` |
        /// | `protocol` | 3, the default, or 2: the version of Redis's protocol |
        /// | `body_encoding` | `base64`, the default, or `utf-8`: how bodies are written |
        /// | `polling_interval`, `brpop_timeout` | accepted without effect: nothing here polls |
        /// | `ack_emulation` | only true: messages are always claimed |
        /// | `max_retries`, `interval_start`, `interval_step`, `interval_max`, `connect_timeout`, `connect_retries_timeout` | accepted without effect: the clients of the gateway connect again as they see fit, `messaging` by its `Recovery` and `RetryPolicy`; `socket_connect_timeout` ends an attempt |
        /// | `heartbeat`, `insist`, `login_method`, `failover_strategy` | accepted without effect, as by kombu's Redis transport; `health_check_interval` takes the place of heartbeats |
        /// | `ssl_validate_ocsp`, `ssl_validate_ocsp_stapled` | only false |
        /// | `credential_provider`, `errback`, `callback`, `retry`, `retry_on_error`, and the other `ssl_…` of redis-py | an error that says why, and what takes their place: for `credential_provider` it is [`credentials`](Self::credentials) |
        ///
        /// Booleans are `true` or `false`, `1` or `0`, `yes` or `no`, `on` or `off`; `None` stands
        /// for no value. `priority_steps` are numbers with commas between them.
        ///
        /// ```
        /// use amqp_broker::redis::RedisOptions;
        ///
        /// let options = RedisOptions::parse("redis://:secret@localhost/3?visibility_timeout=600")?
        ///     .global_keyprefix("{shop}:");
        /// assert!(!format!("{options:?}").contains("secret"));
        /// # Ok::<(), amqp_broker::redis::RedisOptionsError>(())
        /// ```
        #[derive(Clone, Debug)]
        pub struct RedisOptions {
            pub(crate) server: Server,
            pub(crate) login: RedisLogin,
            pub(crate) credentials: Option<Credentials>,
            pub(crate) sentinel_login: RedisLogin,
            /// The time that a sentinel may take, until the next is asked.
            pub(crate) sentinel_timeout: Option<Duration>,
            pub(crate) tls: Option<RedisTls>,
            /// TLS with sentinels, if there is any.
            pub(crate) sentinel_ssl: RedisTls,
            pub(crate) keep_alive: KeepAlive,
            pub(crate) body_encoding: BodyEncoding,
            pub(crate) priority_steps: PrioritySteps,
            pub(crate) client_name: Option<String>,
            pub(crate) deadletter_queue: Option<String>,
            pub(crate) master_name: Option<String>,
            pub(crate) periods: Periods,
            $(pub(crate) $name: $type,)*
        }

        impl Default for RedisOptions {
            fn default() -> Self {
                RedisOptions {
                    server: Server::Tcp("127.0.0.1".to_owned(), Server::PORT),
                    login: RedisLogin::default(),
                    credentials: None,
                    sentinel_login: RedisLogin::default(),
                    sentinel_timeout: None,
                    tls: None,
                    sentinel_ssl: RedisTls::default(),
                    keep_alive: KeepAlive::default(),
                    body_encoding: BodyEncoding::default(),
                    priority_steps: PrioritySteps::default(),
                    client_name: None,
                    deadletter_queue: None,
                    master_name: None,
                    periods: Periods::default(),
                    $($name: $default,)*
                }
            }
        }

        impl RedisOptions {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $name(mut self, $name: $argument) -> Self {
                    self.$name = $name.into();
                    self
                }
            )*
        }
    };
}

options! {
    /// Sets the number of the database. The default is 0.
    database: u32 [u32] = 0;
    /// Sets how long a claim holds that is not renewed: afterwards anyone may return the message to
    /// its queue. The default is an hour. All that share the queues should have the same.
    visibility_timeout: Duration [Duration] = Duration::from_secs(3600);
    /// Sets the key of the hash of claimed messages. The default is `unacked`.
    unacked_key: String [impl Into<String>] = "unacked".to_owned();
    /// Sets the key of the sorted set of claims by time. The default is `unacked_index`.
    unacked_index_key: String [impl Into<String>] = "unacked_index".to_owned();
    /// Sets the key of the lock of whoever returns lapsed claims. The default is `unacked_mutex`.
    unacked_mutex_key: String [impl Into<String>] = "unacked_mutex".to_owned();
    /// Sets when that lock expires whose holder is gone. The default is 5 minutes, as in kombu, but
    /// more than 10 s count as 10 s here: the lock is renewed while it is held.
    unacked_mutex_expire: Duration [Duration] = Duration::from_secs(300);
    /// Sets how often lapsed claims are looked for, together with
    /// [`unacked_restore_throttle`](Self::unacked_restore_throttle): the period is their product.
    /// The default is 10 s, and zero means the default.
    unacked_restore_interval: Duration [Duration] = RESTORE_INTERVAL;
    /// Sets what multiplies [`unacked_restore_interval`](Self::unacked_restore_interval). 0 counts
    /// as 1. The default is 10.
    unacked_restore_throttle: u32 [u32] = 10;
    /// Sets how many lapsed claims are looked at in one round at most. `None`, the default, means
    /// 10,000.
    unacked_restore_limit: Option<u32> [Option<u32>] = None;
    /// Sets what stands between a queue's name and a priority, and between the columns of a
    /// binding. The default is `\x06\x16`.
    sep: String [impl Into<String>] = "\x06\x16".to_owned();
    /// Sets the order in which the queues are emptied that a connection consumes from. The default
    /// is round robin. It matters where they share a prefetch, and for which messages come first.
    /// As in kombu, priorities come before it.
    queue_order_strategy: QueueOrder [QueueOrder] = QueueOrder::default();
    /// Sets the prefix of fanout channels; `{db}` in it stands for the database, and an empty text
    /// means none. The default is `/{db}.`.
    fanout_prefix: String [impl Into<String>] = "/{db}.".to_owned();
    /// Sets whether a fanout message's routing key is part of its channel. The default is true.
    fanout_patterns: bool [bool] = true;
    /// Sets what precedes all keys and channels. The default is nothing.
    global_keyprefix: String [impl Into<String>] = String::new();
    /// Sets how long a command may take; then the connection counts as lost. `None`, the default,
    /// means 10 s.
    socket_timeout: Option<Duration> [Option<Duration>] = None;
    /// Sets how long connecting may take. `None`, the default, means 5 s, and twice that for each
    /// sentinel.
    socket_connect_timeout: Option<Duration> [Option<Duration>] = None;
    /// Sets whether TCP's keep-alive is on, with the times of the option
    /// `socket_keepalive_options`. The default is false: health checks notice a dead connection
    /// sooner.
    socket_keepalive: bool [bool] = false;
    /// Sets how often connections are checked. It is done every 10 s at least, so that a longer
    /// time and zero mean 10 s. The default is 25 s.
    health_check_interval: Duration [Duration] = Duration::from_secs(25);
    /// Sets whether a command that took too long is sent once again before the connection counts as
    /// lost, if it only reads or renews claims. The default is false.
    retry_on_timeout: bool [bool] = false;
    /// Sets how many connections there are at most for publishes that wait for replicas, each of
    /// which has one to itself: further publishes wait. The default is 10, and 0 counts as 1. It
    /// does not count the two connections that all clients share, nor those that wait for messages
    /// with the second version of the protocol.
    max_connections: u32 [u32] = 10;
    /// Sets whether the third version of Redis's protocol is spoken (in URLs `protocol`, 3 or 2).
    /// The default is true. With the second, further connections wait for messages.
    resp3: bool [bool] = true;
    /// Sets how often [`credentials`](Self::credentials) are asked again while a connection lasts.
    /// The default is 10 s.
    reauth_check_interval: Duration [Duration] = Duration::from_secs(10);
    /// Sets how many other sentinels a sentinel must know to be believed; else the next one is
    /// asked. The default is 0.
    min_other_sentinels: u32 [u32] = 0;
    /// Sets whether TLS is spoken with the sentinels, with the certificates that TLS with the
    /// master has; `sentinel_kwargs` may name others. The default is false.
    sentinel_tls: bool [bool] = false;
    /// Sets whether fanout messages also use the channels of kombu before 5.4 under Sentinel. The
    /// default is false.
    sentinel_fanout_compat: bool [bool] = false;
    /// Sets whether priorities are turned round on their way to Redis, so that 9 is delivered
    /// first, as in AMQP. The default is false: as for kombu, 0 is first.
    higher_first: bool [bool] = false;
    /// Sets how many replicas must have a message before its publish is confirmed. The default is
    /// 0. Redis does not guarantee that a replica which becomes the master has it.
    wait_replicas: u32 [u32] = 0;
    /// Sets how long replicas are waited for; too few by then mean that it is unknown what became
    /// of the message. The default is 1 s.
    wait_replicas_timeout: Duration [Duration] = Duration::from_secs(1);
    /// Sets whether scripts are used. Without them each claim takes more round trips. The default
    /// is true.
    scripting: bool [bool] = true;
}

impl RedisOptions {
    /// Sets the name that connections have in Redis's client list. The default is none. With the
    /// second version of the protocol and TLS, the connection that listens to channels has none;
    /// nor has it, with a name, the keep-alive of [`socket_keepalive`](Self::socket_keepalive): it
    /// is tried by health checks.
    #[must_use]
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.client_name = Some(name.into());
        self
    }

    /// Sets the queue of messages that no other queue takes. The default is none: they are
    /// unroutable.
    #[must_use]
    pub fn deadletter_queue(mut self, queue: impl Into<String>) -> Self {
        self.deadletter_queue = Some(queue.into());
        self
    }

    /// Sets the name under which sentinels watch the master. Sentinel requires it.
    #[must_use]
    pub fn master_name(mut self, name: impl Into<String>) -> Self {
        self.master_name = Some(name.into());
        self
    }

    /// Sets the login. The default is none.
    #[must_use]
    pub fn login(mut self, login: RedisLogin) -> Self {
        self.login = login;
        self
    }

    /// Sets what is asked for the login of each new connection, and again at each
    /// [`reauth_check_interval`](Self::reauth_check_interval), so that credentials may change while
    /// connections last. It takes the place of [`login`](Self::login), and must not block.
    #[must_use]
    pub fn credentials(mut self, ask: impl Fn() -> RedisLogin + Send + Sync + 'static) -> Self {
        self.credentials = Some(Credentials::new(ask));
        self
    }

    /// Sets the login at the sentinels themselves. The default is none.
    #[must_use]
    pub fn sentinel_login(mut self, login: RedisLogin) -> Self {
        self.sentinel_login = login;
        self
    }

    /// Sets the priorities that a queue has a list for, from 0 to 9. The default is 0, 3, 6 and 9.
    /// All that share the queues need the same.
    ///
    /// # Errors
    /// There is none, or one over 9.
    pub fn priority_steps(mut self, steps: &[u8]) -> Result<Self, RedisOptionsError> {
        let valid = steps.iter().all(|step| *step <= 9);
        let steps = PrioritySteps::new(steps.to_vec()).filter(|_| valid);
        self.priority_steps =
            steps.ok_or(RedisOptionsError::value("priority_steps", "numbers from 0 to 9, as in 0,3,6,9"))?;
        Ok(self)
    }

    /// Who logs in at Redis now.
    pub(crate) fn current_login(&self) -> RedisLogin {
        self.credentials.as_ref().map_or_else(|| self.login.clone(), Credentials::login)
    }

    /// What the names of keys are made of.
    pub(crate) fn key_options(&self) -> KeyOptions {
        KeyOptions {
            global_keyprefix: self.global_keyprefix.clone(),
            database: self.database,
            separator: self.sep.clone(),
            priority_steps: self.priority_steps.clone(),
            unacked: self.unacked_key.clone(),
            unacked_index: self.unacked_index_key.clone(),
            unacked_mutex: self.unacked_mutex_key.clone(),
            fanout_prefix: self.fanout_prefix.clone(),
            fanout_patterns: self.fanout_patterns,
        }
    }

    /// TLS with sentinels: the files are those of TLS with the master where none are named.
    pub(crate) fn tls_to_sentinels(&self) -> Option<RedisTls> {
        let master = self.tls.clone().unwrap_or_default();
        self.sentinel_tls.then(|| self.sentinel_ssl.clone().with_files_of(master))
    }

    /// Returns how sockets behave, those to sentinels too.
    pub(crate) fn tcp_settings(&self) -> TcpSettings {
        if self.socket_keepalive { self.keep_alive.settings() } else { TcpSettings::default() }
    }

    /// The version of Redis's protocol.
    pub(crate) fn protocol(&self) -> ProtocolVersion {
        if self.resp3 { ProtocolVersion::RESP3 } else { ProtocolVersion::RESP2 }
    }

    /// Which priority is delivered first.
    pub(crate) fn priority_order(&self) -> PriorityOrder {
        if self.higher_first { PriorityOrder::HigherFirst } else { PriorityOrder::LowerFirst }
    }

    /// What writes envelopes.
    pub(crate) fn encoder(&self) -> EnvelopeEncoder {
        EnvelopeEncoder::new(self.body_encoding, self.priority_order())
    }

    /// How long after one look for lapsed claims the next one comes.
    pub(crate) fn restore_period(&self) -> Duration {
        let interval = match self.unacked_restore_interval {
            Duration::ZERO => RESTORE_INTERVAL,
            interval => interval,
        };
        interval.saturating_mul(self.unacked_restore_throttle.max(1))
    }
}
