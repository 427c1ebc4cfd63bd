//! The program's settings: flags, and a TOML file whose keys are the flags' names. Flags take
//! precedence.

mod access;
mod certificate;
mod error;
mod file;
mod grant;
mod policy_setting;
mod redis;
mod size;
mod tagged_user;
mod topic_grant;
mod user;
mod version;

use std::{error::Error, fmt::Display, fs, path::PathBuf, time::Duration};

use clap::Args;
use serde::Deserialize;

use self::{
    access::{AccessSettings, DEFAULT_USER},
    certificate::Certificate,
    error::SettingsError,
    file::FileError,
    grant::Grant,
    policy_setting::PolicySetting,
    redis::{RedisUrl, RedisUrlParser},
    size::Size,
    tagged_user::TaggedUser,
    topic_grant::TopicGrant,
    user::{User, UserParser},
    version::RabbitMqVersion,
};
use crate::{
    broker::{Broker, BrokerBuilder},
    log::LogFormat,
    management::definitions::file::Definitions,
    redis::Redis,
    server::tls::Tls,
};

/// All settings, from flags or from the file.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// Where to accept connections, such as 0.0.0.0:5672 or [::]:5672; a name stands for all its
    /// addresses; port 0 chooses a free port; may be given several times [default: 127.0.0.1:5672,
    /// unless there is a --listen-tls]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Vec<String>,

    /// The folder in which durable exchanges and queues and persistent messages survive a restart
    /// or a crash [default: nothing survives]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// A file of definitions as RabbitMQ exports them, in JSON, which is loaded at each start:
    /// users, virtual hosts, permissions, policies, queues, exchanges and bindings [default: none]
    #[arg(long, value_name = "FILE")]
    load_definitions: Option<PathBuf>,

    /// Sets damaged parts of the folder aside, in a new folder next to it with a report of what was
    /// lost, and starts with the rest; otherwise a damaged folder is refused and not changed. Not
    /// allowed in the file
    #[arg(long)]
    #[serde(skip)]
    repair: bool,

    /// A Redis that kombu and Celery use, such as redis://localhost/0: its queues are those of the
    /// virtual host /, for any AMQP client. Process listings show a password in it: a file is safer
    #[arg(long, value_name = "URL", value_parser = RedisUrlParser)]
    redis: Option<RedisUrl>,

    /// Where to accept connections under TLS; may be given several times
    #[arg(long, value_name = "HOST:PORT", help_heading = "TLS")]
    pub(crate) listen_tls: Vec<String>,

    /// The broker's certificate, in PEM, followed by those between it and its authority
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    tls_certificate: Option<PathBuf>,

    /// The certificate's key, in PEM
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    tls_key: Option<PathBuf>,

    /// Requires of every TLS client a certificate of these authorities, in PEM; with it the client
    /// may log in by EXTERNAL as the user of its common name
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    tls_client_authorities: Option<PathBuf>,

    /// Where to serve HTTP: RabbitMQ's management API, a page for people, metrics and health; may
    /// be given several times. Passwords can be read on the way: see --http-tls [default: nowhere]
    #[arg(long, value_name = "HOST:PORT", help_heading = "HTTP")]
    pub(crate) http: Vec<String>,

    /// Where to serve HTTP under TLS; may be given several times
    #[arg(long, value_name = "HOST:PORT", help_heading = "HTTP")]
    pub(crate) http_tls: Vec<String>,

    /// Where to serve metrics for Prometheus and health alone; may be given several times
    #[arg(long, value_name = "HOST:PORT", help_heading = "HTTP")]
    pub(crate) metrics: Vec<String>,

    /// Demands for metrics the login of a user with the tag monitoring or administrator
    #[arg(long, help_heading = "HTTP")]
    pub(crate) metrics_login: bool,

    /// A user who may log in; may be given several times. Process listings show it: a file is safer
    /// [default: guest:guest]
    #[arg(long = "user", value_name = "NAME:PASSWORD", value_parser = UserParser, help_heading = "Users")]
    #[serde(rename = "user")]
    users: Vec<User>,

    /// A user without a password, who logs in by a certificate (EXTERNAL) only; may be given
    /// several times
    #[arg(long, value_name = "NAME", help_heading = "Users")]
    user_without_password: Vec<String>,

    /// A user's permissions in a virtual host: three regular expressions of names, as in
    /// rabbitmqctl set_permissions; may be given several times. The user and the virtual host have
    /// to exist. A user without any may do everything everywhere
    #[arg(
        long,
        num_args = 5,
        value_names = ["USER", "VHOST", "CONFIGURE", "WRITE", "READ"],
        help_heading = "Users"
    )]
    #[serde(skip)]
    permissions: Vec<String>,

    /// The permissions in the file.
    #[arg(skip)]
    #[serde(rename = "permissions")]
    permissions_in_file: Vec<Grant>,

    /// A user's permissions on the routing keys of a topic exchange in a virtual host: two regular
    /// expressions, as in rabbitmqctl set_topic_permissions; may be given several times. The user
    /// and the virtual host have to exist. Without any, every key is allowed
    #[arg(
        long,
        num_args = 5,
        value_names = ["USER", "VHOST", "EXCHANGE", "WRITE", "READ"],
        help_heading = "Users"
    )]
    #[serde(skip)]
    topic_permissions: Vec<String>,

    /// The topic permissions in the file.
    #[arg(skip)]
    #[serde(rename = "topic-permissions")]
    topic_permissions_in_file: Vec<TopicGrant>,

    /// A user's tags, separated by commas; may be given once for each user. An impersonator
    /// publishes messages with other user-ids than its name; management, policymaker, monitoring
    /// and administrator allow what they do in RabbitMQ over HTTP [default: guest, where no user is
    /// given, is an administrator]
    #[arg(long, num_args = 2, value_names = ["USER", "TAGS"], help_heading = "Users")]
    #[serde(skip)]
    user_tags: Vec<String>,

    /// The tags in the file.
    #[arg(skip)]
    #[serde(rename = "user-tags")]
    user_tags_in_file: Vec<TaggedUser>,

    /// The policies in the file.
    #[arg(skip)]
    #[serde(rename = "policy")]
    policies: Vec<PolicySetting>,

    /// The user of clients that log in with ANONYMOUS [default: they may not, or, with --like 4.0
    /// or later, guest while its password is guest]
    #[arg(long, value_name = "USER", help_heading = "Users")]
    anonymous: Option<String>,

    /// Users who may log in from this machine only (127.0.0.0/8, ::1), separated by commas; ''
    /// restricts nobody, as RabbitMQ's loopback_users = none [default: guest]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', help_heading = "Users")]
    loopback_users: Option<Vec<String>>,

    /// A virtual host; may be given several times [default: /]
    #[arg(long = "vhost", value_name = "NAME", help_heading = "Users")]
    #[serde(rename = "vhost")]
    vhosts: Vec<String>,

    /// The heartbeat interval offered to clients, in seconds; 0 is none [default: 60]
    #[arg(long, value_name = "SECONDS", help_heading = "Limits")]
    heartbeat: Option<u16>,

    /// The version of RabbitMQ whose behaviour the broker follows where versions differ, and which
    /// it announces: 3.10, 4.0, 4.2 or 4.3 [default: 3.10]
    #[arg(long, value_name = "VERSION")]
    like: Option<RabbitMqVersion>,

    /// The product name in the server properties, which some clients base decisions on [default:
    /// RabbitMQ]
    #[arg(long, value_name = "NAME")]
    product: Option<String>,

    /// The product's version, which is announced and changes nothing else [default: the patch of
    /// --like, such as 3.10.8]
    #[arg(long, value_name = "VERSION")]
    product_version: Option<String>,

    /// How long a client may take to log in [default: 10]
    #[arg(long, value_name = "SECONDS", help_heading = "Limits")]
    login_timeout: Option<u64>,

    /// Channels a connection may have [default: 2047]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    channel_max: Option<u16>,

    /// The largest frame; sizes are in bytes, or have a unit: k, M, G or KiB, MiB, GiB by 1024, kB,
    /// MB, GB by 1000 [default: 128k]
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    frame_max: Option<Size>,

    /// The largest body of a message [default: 128M, or 16M with --like 4.0 or later]
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    max_message_size: Option<Size>,

    /// Connections a virtual host may have [default: any number]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    max_connections: Option<usize>,

    /// Queues a virtual host may have [default: any number]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    max_queues: Option<usize>,

    /// Exchanges a virtual host may have, without the predeclared ones [default: any number]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    max_exchanges: Option<usize>,

    /// Bindings a virtual host may have [default: any number]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    max_bindings: Option<usize>,

    /// Consumers a channel may have [default: any number]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    max_consumers: Option<usize>,

    /// Unacknowledged deliveries a channel may have [default: any number]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    max_unacked: Option<u32>,

    /// Dead letters that may stem from one publish [default: 100000]
    #[arg(long, value_name = "COUNT", help_heading = "Limits")]
    max_dead_letters: Option<u32>,

    /// How long a delivery may stay unacknowledged before its channel is closed, as RabbitMQ's
    /// consumer_timeout; 0 is no limit [default: 1800000]
    #[arg(long, value_name = "MILLISECONDS", help_heading = "Limits")]
    consumer_timeout: Option<u64>,

    /// Memory for everything that clients make the broker hold, above which publishers are held
    /// back with connection.blocked; each virtual host has an equal part of it [default: two fifths
    /// of the machine's memory]
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    memory_limit: Option<Size>,

    /// Memory of each virtual host [default: an equal part]
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    vhost_memory_limit: Option<Size>,

    /// How long a connection that holds more than its share of the memory may be stalled; it is
    /// closed unless it moves a sixteenth of that in time; a client that is gone while it is held
    /// back is tolerated as long [default: 30000]
    #[arg(long, value_name = "MILLISECONDS", help_heading = "Limits")]
    stall_timeout: Option<u64>,

    /// Free space on the disk of the folder, below which publishers are held back with
    /// connection.blocked, as RabbitMQ's disk_free_limit [default: 50MB]
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    disk_free_limit: Option<Size>,

    /// How much later than a confirm the mark is synced; the mark records how far the journal is
    /// synced, and so reveals a loss of confirmed messages; 0 makes every confirm wait for it
    /// [default: 50]
    #[arg(long, value_name = "MILLISECONDS", help_heading = "Limits")]
    mark_delay: Option<u64>,

    /// How much to log, to standard error: error, warn, info, debug, trace, or a filter of
    /// tracing's such as amqp_broker=debug; with a level, the libraries of the store log their
    /// errors only [default: RUST_LOG, or info]
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,

    /// The format of the log: lines of text, or JSON with an object a line [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

impl Settings {
    /// Reads a file.
    ///
    /// # Errors
    /// When it is not TOML, or has an unknown key.
    pub(crate) fn parse(text: &str) -> Result<Self, FileError> {
        file::parse(text)
    }

    /// These settings, completed by those of a file.
    pub(crate) fn or(self, file: Self) -> Self {
        let permissions_in_file =
            if self.permissions.is_empty() { file.permissions_in_file } else { Vec::new() };
        let topic_permissions_in_file =
            if self.topic_permissions.is_empty() { file.topic_permissions_in_file } else { Vec::new() };
        let user_tags_in_file = if self.user_tags.is_empty() { file.user_tags_in_file } else { Vec::new() };
        Settings {
            listen: either(self.listen, file.listen),
            data: self.data.or(file.data),
            load_definitions: self.load_definitions.or(file.load_definitions),
            repair: self.repair,
            redis: self.redis.or(file.redis),
            listen_tls: either(self.listen_tls, file.listen_tls),
            tls_certificate: self.tls_certificate.or(file.tls_certificate),
            tls_key: self.tls_key.or(file.tls_key),
            tls_client_authorities: self.tls_client_authorities.or(file.tls_client_authorities),
            http: either(self.http, file.http),
            http_tls: either(self.http_tls, file.http_tls),
            metrics: either(self.metrics, file.metrics),
            metrics_login: self.metrics_login || file.metrics_login,
            users: either(self.users, file.users),
            user_without_password: either(self.user_without_password, file.user_without_password),
            permissions: self.permissions,
            permissions_in_file,
            topic_permissions: self.topic_permissions,
            topic_permissions_in_file,
            user_tags: self.user_tags,
            user_tags_in_file,
            policies: file.policies,
            anonymous: self.anonymous.or(file.anonymous),
            loopback_users: self.loopback_users.or(file.loopback_users),
            vhosts: either(self.vhosts, file.vhosts),
            heartbeat: self.heartbeat.or(file.heartbeat),
            like: self.like.or(file.like),
            product: self.product.or(file.product),
            product_version: self.product_version.or(file.product_version),
            login_timeout: self.login_timeout.or(file.login_timeout),
            channel_max: self.channel_max.or(file.channel_max),
            frame_max: self.frame_max.or(file.frame_max),
            max_message_size: self.max_message_size.or(file.max_message_size),
            max_connections: self.max_connections.or(file.max_connections),
            max_queues: self.max_queues.or(file.max_queues),
            max_exchanges: self.max_exchanges.or(file.max_exchanges),
            max_bindings: self.max_bindings.or(file.max_bindings),
            max_consumers: self.max_consumers.or(file.max_consumers),
            max_unacked: self.max_unacked.or(file.max_unacked),
            max_dead_letters: self.max_dead_letters.or(file.max_dead_letters),
            consumer_timeout: self.consumer_timeout.or(file.consumer_timeout),
            memory_limit: self.memory_limit.or(file.memory_limit),
            vhost_memory_limit: self.vhost_memory_limit.or(file.vhost_memory_limit),
            stall_timeout: self.stall_timeout.or(file.stall_timeout),
            disk_free_limit: self.disk_free_limit.or(file.disk_free_limit),
            mark_delay: self.mark_delay.or(file.mark_delay),
            log: self.log.or(file.log),
            log_format: self.log_format.or(file.log_format),
        }
    }

    /// The broker that they describe.
    ///
    /// # Errors
    /// When they contradict each other, a permission is not a regular expression, or the folder
    /// cannot be used.
    pub(crate) fn broker(&self) -> Result<Broker, Box<dyn Error>> {
        let builder = self.builder()?;
        Ok(match &self.data {
            Some(folder) => builder.data_dir(folder).repair(self.repair).build()?,
            None if self.repair => return Err(SettingsError::NothingToRepair.into()),
            None => builder.build(),
        })
    }

    /// Checks the settings, and the files of the certificate, without building a broker.
    ///
    /// # Errors
    /// As [`broker`](Self::broker) and [`tls`](Self::tls), except that the folder is not accessed.
    pub(crate) fn check(&self) -> Result<(), Box<dyn Error>> {
        if self.repair && self.data.is_none() {
            return Err(SettingsError::NothingToRepair.into());
        }
        drop(self.builder()?);
        self.tls()?;
        self.definitions().map(drop)
    }

    /// The broker that they describe, without its folder.
    ///
    /// # Errors
    /// As [`broker`](Self::broker), except that the folder is not accessed.
    pub(crate) fn builder(&self) -> Result<BrokerBuilder, SettingsError> {
        let builder = self.access().tell(Broker::builder())?;
        let builder = given(builder, self.redis.clone(), |builder, RedisUrl(options)| {
            builder.backend("/", Redis::new(options))
        });
        self.with_limits(builder)
    }

    /// The definitions to load, if there are any.
    ///
    /// # Errors
    /// When the file cannot be read, or is not in JSON. The message names it.
    pub(crate) fn definitions(&self) -> Result<Option<Definitions>, Box<dyn Error>> {
        let Some(file) = &self.load_definitions else { return Ok(None) };
        let about = |error: &dyn Display| format!("{}: {error}", file.display());
        let text = fs::read(file).map_err(|error| about(&error))?;
        Ok(Some(Definitions::parse(&text).map_err(|error| about(&error))?))
    }

    /// Loads the definitions. As in RabbitMQ, there is no default user when they name users, and
    /// the settings do not.
    ///
    /// # Errors
    /// As [`definitions`](Self::definitions), or when an entry cannot be loaded.
    pub(crate) async fn load_definitions(&self, broker: &Broker) -> Result<(), Box<dyn Error>> {
        let Some(definitions) = self.definitions()? else { return Ok(()) };
        let names_users = !self.users.is_empty() || !self.user_without_password.is_empty();
        let replaces_default = !names_users && definitions.users().next().is_some();
        if replaces_default && !definitions.users().any(|user| user == DEFAULT_USER) {
            broker.delete_user(DEFAULT_USER);
        }
        broker.load_definitions(&definitions).await?;
        Ok(())
    }

    /// The addresses to listen at, as they are written.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &String> {
        [&self.listen, &self.listen_tls, &self.http, &self.http_tls, &self.metrics].into_iter().flatten()
    }

    fn access(&self) -> AccessSettings<'_> {
        let topic_grants = TopicGrant::from_words(&self.topic_permissions);
        AccessSettings {
            users: &self.users,
            without_password: &self.user_without_password,
            has_certificates: self.tls_client_authorities.is_some(),
            anonymous: self.anonymous.as_deref(),
            loopback_users: self.loopback_users.as_deref(),
            vhosts: &self.vhosts,
            grants: [Grant::from_words(&self.permissions), self.permissions_in_file.clone()].concat(),
            topic_grants: [topic_grants, self.topic_permissions_in_file.clone()].concat(),
            policies: &self.policies,
            like: self.like.map_or_else(Default::default, |RabbitMqVersion(like)| like),
            has_redis: self.redis.is_some(),
            tagged: [TaggedUser::from_words(&self.user_tags), self.user_tags_in_file.clone()].concat(),
        }
    }

    fn with_limits(&self, mut builder: BrokerBuilder) -> Result<BrokerBuilder, SettingsError> {
        builder =
            given(builder, self.heartbeat.map(u64::from).map(Duration::from_secs), BrokerBuilder::heartbeat);
        builder = given(builder, self.like, |builder, RabbitMqVersion(like)| builder.like(like));
        builder = given(builder, self.product.as_ref(), BrokerBuilder::product);
        builder = given(builder, self.product_version.as_ref(), BrokerBuilder::product_version);
        builder = given(builder, self.login_timeout()?, BrokerBuilder::login_timeout);
        builder = given(builder, self.channel_max()?, BrokerBuilder::channel_max);
        builder = given(builder, self.frame_max()?, BrokerBuilder::frame_max);
        builder = given(builder, bytes(self.max_message_size), BrokerBuilder::max_message_size);
        builder = given(builder, self.max_connections, BrokerBuilder::max_connections);
        builder = given(builder, self.max_queues, BrokerBuilder::max_queues);
        builder = given(builder, self.max_exchanges, BrokerBuilder::max_exchanges);
        builder = given(builder, self.max_bindings, BrokerBuilder::max_bindings);
        builder = given(builder, self.max_consumers, BrokerBuilder::max_consumers);
        builder = given(builder, self.max_unacked, BrokerBuilder::max_unacked);
        builder = given(builder, self.max_dead_letters, BrokerBuilder::max_dead_letters);
        let consumer_timeout = self.consumer_timeout.map(Duration::from_millis);
        builder = given(builder, consumer_timeout, BrokerBuilder::consumer_timeout);
        builder = given(builder, bytes(self.memory_limit), BrokerBuilder::memory_limit);
        builder = given(builder, bytes(self.vhost_memory_limit), BrokerBuilder::vhost_memory_limit);
        let stall_timeout = self.stall_timeout.map(Duration::from_millis);
        builder = given(builder, stall_timeout, BrokerBuilder::stall_timeout);
        builder = given(builder, bytes(self.disk_free_limit), BrokerBuilder::disk_free_limit);
        let mark_delay = self.mark_delay.map(Duration::from_millis);
        builder = given(builder, mark_delay, BrokerBuilder::mark_delay);
        Ok(builder)
    }

    fn login_timeout(&self) -> Result<Option<Duration>, SettingsError> {
        let seconds = self
            .login_timeout
            .map(|seconds| at_least(1, "login-timeout", seconds, ", for nobody could log in"));
        Ok(seconds.transpose()?.map(Duration::from_secs))
    }

    fn channel_max(&self) -> Result<Option<u16>, SettingsError> {
        let Some(channels) = self.channel_max else { return Ok(None) };
        at_least(1, "channel-max", channels.into(), "")?;
        Ok(Some(channels))
    }

    /// The largest frame, which is at least 4096 bytes (spec section 2.3.5) and has 32 bits in the
    /// protocol.
    fn frame_max(&self) -> Result<Option<u32>, SettingsError> {
        let Some(Size(bytes)) = self.frame_max else { return Ok(None) };
        at_least(amqp_codec::FRAME_MIN_SIZE.into(), "frame-max", bytes, ", in bytes")?;
        let too_high = SettingsError::TooHigh { flag: "frame-max", value: bytes, most: u32::MAX.into() };
        u32::try_from(bytes).map(Some).map_err(|_| too_high)
    }

    /// The broker's certificate, if there is one.
    ///
    /// # Errors
    /// When it cannot be used, or a part of it is missing.
    pub(crate) fn tls(&self) -> Result<Option<Tls>, Box<dyn Error>> {
        let certificate = Certificate {
            certificate: self.tls_certificate.as_deref(),
            key: self.tls_key.as_deref(),
            client_authorities: self.tls_client_authorities.as_deref(),
        };
        match self.listen_tls.is_empty() && self.http_tls.is_empty() {
            true => certificate.refuse().map(|()| None).map_err(Into::into),
            false => certificate.read().map(Some),
        }
    }
}

/// The first list, or the second if the first is empty.
fn either<T>(first: Vec<T>, second: Vec<T>) -> Vec<T> {
    if first.is_empty() { second } else { first }
}

fn at_least(least: u64, flag: &'static str, value: u64, why: &'static str) -> Result<u64, SettingsError> {
    match value < least {
        true => Err(SettingsError::TooLow { flag, value, least, why }),
        false => Ok(value),
    }
}

fn bytes(size: Option<Size>) -> Option<u64> {
    size.map(|Size(bytes)| bytes)
}

/// Passes a setting to a builder, if it is given.
fn given<T>(
    builder: BrokerBuilder,
    value: Option<T>,
    say: impl FnOnce(BrokerBuilder, T) -> BrokerBuilder,
) -> BrokerBuilder {
    match value {
        Some(value) => say(builder, value),
        None => builder,
    }
}

#[cfg(test)]
mod tests;
