//! The settings of a broker.

#[cfg(feature = "management")]
pub(crate) mod parameters;
pub(crate) mod vhosts;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use amqp_codec::Tune;

use self::vhosts::Vhosts;
use crate::{
    core::{
        limits::Limits,
        rabbitmq::{access::tags::UserTag, policies::policy::Policy, profile::Profile, version::RabbitMq},
    },
    users::Users,
};

/// The memory limit where the system does not tell how much memory there is.
const MEMORY_UNKNOWN: u64 = 2 << 30;

/// The default user, whose name and password everybody knows.
pub(crate) const DEFAULT_USER: &str = "guest";

/// The product that is announced by default.
const PRODUCT: &str = "RabbitMQ";

/// Users, virtual hosts and limits.
#[derive(Clone)]
pub(crate) struct Config {
    /// The version whose behaviour it follows.
    pub(crate) like: RabbitMq,
    pub(crate) users: Users,
    /// The user of clients that log in with ANONYMOUS.
    pub(crate) anonymous: Option<String>,
    /// The users who may log in from this machine only.
    pub(crate) loopback_users: BTreeSet<String>,
    pub(crate) vhosts: Vhosts,
    /// Policies, each with its virtual host.
    pub(crate) policies: Vec<(String, Policy)>,
    /// The names of the backends of virtual hosts that have one.
    pub(crate) backends: BTreeMap<String, String>,
    pub(crate) channel_max: u16,
    pub(crate) frame_max: u32,
    heartbeat: u16,
    /// The largest body in bytes; the version's own if it is not set.
    pub(crate) max_message_size: Option<u64>,
    /// The most connections of each virtual host.
    pub(crate) max_connections: usize,
    pub(crate) limits: Limits,
    /// The memory limits of the broker and of each virtual host, in bytes.
    pub(crate) memory_limit: Option<u64>,
    pub(crate) vhost_memory_limit: Option<u64>,
    /// How long a connection that holds too much memory may be stalled.
    pub(crate) stall_timeout: Duration,
    /// How many bytes must stay free on the disk.
    pub(crate) disk_free_limit: u64,
    /// How much later than the journal the mark may be synced.
    pub(crate) mark_delay: Duration,
    pub(crate) login_timeout: Duration,
    /// The announced value; the version's own if it is not set.
    pub(crate) product: Option<String>,
    pub(crate) product_version: Option<String>,
}

// The output is short, and shows no password.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("like", &self.like)
            .field("users", &self.users)
            .field("anonymous", &self.anonymous)
            .field("loopback_users", &self.loopback_users)
            .field("vhosts", &self.vhosts)
            .field("policies", &self.policies)
            .field("backends", &self.backends)
            .field("channel_max", &self.channel_max)
            .field("frame_max", &self.frame_max)
            .field("heartbeat", &self.heartbeat)
            .field("max_message_size", &self.max_message_size())
            .field("max_connections", &self.max_connections)
            .field("limits", &self.limits)
            .field("memory_limit", &self.memory_limit)
            .field("vhost_memory_limit", &self.vhost_memory_limit)
            .field("stall_timeout", &self.stall_timeout)
            .field("disk_free_limit", &self.disk_free_limit)
            .field("mark_delay", &self.mark_delay)
            .field("login_timeout", &self.login_timeout)
            .field("product", &self.product())
            .field("product_version", &self.product_version())
            .finish()
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            like: RabbitMq::default(),
            users: Users::default(),
            anonymous: None,
            loopback_users: BTreeSet::from([DEFAULT_USER.to_owned()]),
            vhosts: Vhosts::default(),
            policies: Vec::new(),
            backends: BTreeMap::new(),
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat: 60,
            max_message_size: None,
            max_connections: usize::MAX,
            limits: Limits::default(),
            memory_limit: None,
            vhost_memory_limit: None,
            stall_timeout: Duration::from_secs(30),
            disk_free_limit: 50_000_000,
            mark_delay: Duration::from_millis(50),
            login_timeout: Duration::from_secs(10),
            product: None,
            product_version: None,
        }
    }
}

impl Config {
    /// Returns the facts of the version.
    pub(crate) const fn profile(&self) -> &'static Profile {
        self.like.profile()
    }

    pub(crate) fn product(&self) -> &str {
        self.product.as_deref().unwrap_or(PRODUCT)
    }

    pub(crate) fn product_version(&self) -> &str {
        self.product_version.as_deref().unwrap_or(self.profile().patch)
    }

    /// The largest body of a message, in bytes.
    pub(crate) fn max_message_size(&self) -> u64 {
        self.max_message_size.unwrap_or(self.profile().max_message_size)
    }

    pub(crate) fn add_vhost(&mut self, name: String) {
        self.vhosts.add(name);
    }

    /// Adds the defaults: user `guest` with password `guest`, virtual host `/`.
    pub(crate) fn fill_in(&mut self) {
        self.users.are_configured();
        if self.users.is_empty() {
            self.users.add_default(DEFAULT_USER, DEFAULT_USER, UserTag::Administrator);
        }
        if self.vhosts.count() == 0 {
            self.add_vhost("/".to_owned());
        }
    }

    pub(crate) fn set_heartbeat(&mut self, heartbeat: Duration) {
        self.heartbeat = u16::try_from(heartbeat.as_secs()).unwrap_or(u16::MAX);
    }

    /// The policies of a virtual host.
    pub(crate) fn policies_of(&self, vhost: &str) -> impl Iterator<Item = &Policy> {
        self.policies.iter().filter(move |(of, _)| of == vhost).map(|(_, policy)| policy)
    }

    /// The memory limit of each virtual host, in bytes.
    pub(crate) fn vhost_memory(&self) -> u64 {
        let all = || machine_memory().map_or(MEMORY_UNKNOWN, |bytes| bytes / 5 * 2);
        let part = || self.memory_limit.unwrap_or_else(all) / (self.vhosts.count() as u64).max(1);
        self.vhost_memory_limit.unwrap_or_else(part)
    }

    /// The limits of each virtual host.
    pub(crate) fn limits(&self) -> Limits {
        Limits { memory: self.vhost_memory(), ..self.limits }
    }

    /// The limits offered to clients.
    pub(crate) fn tune(&self) -> Tune {
        Tune { channel_max: self.channel_max, frame_max: self.frame_max, heartbeat: self.heartbeat }
    }
}

/// The machine's memory in bytes, where the system tells.
fn machine_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}
