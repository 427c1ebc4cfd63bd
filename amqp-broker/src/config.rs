//! What a broker is set up with.

use std::{collections::BTreeMap, collections::BTreeSet, fmt, time::Duration};

use amqp_codec::Tune;

use crate::core::{
    access::{Access, Permissions},
    limits::Limits,
};

/// What messages may take where nobody knows how much memory there is.
const MEMORY_UNKNOWN: u64 = 2 << 30;

/// Users, virtual hosts and limits.
#[derive(Clone)]
pub(crate) struct Config {
    users: BTreeMap<String, User>,
    /// Who a client is that logs in with ANONYMOUS.
    pub(crate) anonymous: Option<String>,
    vhosts: BTreeSet<String>,
    pub(crate) channel_max: u16,
    pub(crate) frame_max: u32,
    heartbeat: u16,
    pub(crate) max_message_size: u64,
    /// Connections of each virtual host.
    pub(crate) max_connections: usize,
    pub(crate) limits: Limits,
    /// Bytes that the messages of each virtual host may take.
    pub(crate) memory_limit: Option<u64>,
    pub(crate) login_timeout: Duration,
}

/// A user.
#[derive(Clone, Default)]
struct User {
    /// Without one nobody logs in by it.
    password: Option<String>,
    /// By virtual host; `None` allows everything everywhere.
    permissions: Option<BTreeMap<String, Permissions>>,
}

// Passwords do not show.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("users", &self.users.keys())
            .field("anonymous", &self.anonymous)
            .field("vhosts", &self.vhosts)
            .field("channel_max", &self.channel_max)
            .field("frame_max", &self.frame_max)
            .field("heartbeat", &self.heartbeat)
            .field("max_message_size", &self.max_message_size)
            .field("max_connections", &self.max_connections)
            .field("limits", &self.limits)
            .field("memory_limit", &self.memory_limit)
            .field("login_timeout", &self.login_timeout)
            .finish()
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            users: BTreeMap::new(),
            anonymous: None,
            vhosts: BTreeSet::new(),
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat: 60,
            max_message_size: 128 << 20,
            max_connections: usize::MAX,
            limits: Limits::default(),
            memory_limit: None,
            login_timeout: Duration::from_secs(10),
        }
    }
}

impl Config {
    pub(crate) fn add_user(&mut self, name: String, password: String) {
        self.users.entry(name).or_default().password = Some(password);
    }

    pub(crate) fn add_permissions(&mut self, user: String, vhost: String, permissions: Permissions) {
        let user = self.users.entry(user).or_default();
        user.permissions.get_or_insert_default().insert(vhost, permissions);
    }

    pub(crate) fn add_vhost(&mut self, name: String) {
        self.vhosts.insert(name);
    }

    /// What everybody expects where nothing was said: user `guest` with password `guest`, virtual host `/`.
    pub(crate) fn fill_in(&mut self) {
        if self.users.is_empty() {
            self.add_user("guest".to_owned(), "guest".to_owned());
        }
        if self.vhosts.is_empty() {
            self.add_vhost("/".to_owned());
        }
    }

    pub(crate) fn set_heartbeat(&mut self, heartbeat: Duration) {
        self.heartbeat = u16::try_from(heartbeat.as_secs()).unwrap_or(u16::MAX);
    }

    pub(crate) fn vhosts(&self) -> impl Iterator<Item = &String> {
        self.vhosts.iter()
    }

    pub(crate) fn has_vhost(&self, name: &str) -> bool {
        self.vhosts.contains(name)
    }

    /// Whether user and password go together. How long it takes does not tell how much of a password was right.
    pub(crate) fn may_log_in(&self, user: &str, password: &str) -> bool {
        let Some(expected) = self.users.get(user).and_then(|user| user.password.as_ref()) else {
            return false;
        };
        let differing = expected.bytes().zip(password.bytes()).fold(0, |bits, (a, b)| bits | (a ^ b));
        expected.len() == password.len() && differing == 0
    }

    pub(crate) fn has_user(&self, name: &str) -> bool {
        self.users.contains_key(name)
    }

    /// What a user may do in a virtual host; `None` when it may not enter.
    pub(crate) fn access(&self, name: &str, vhost: &str) -> Option<Access> {
        let user = self.users.get(name)?;
        let permissions = match &user.permissions {
            None => None,
            Some(by_vhost) => Some(by_vhost.get(vhost)?.clone()),
        };
        Some(Access { user: name.to_owned(), permissions })
    }

    /// Bytes that the messages of each virtual host may take.
    pub(crate) fn memory(&self) -> u64 {
        self.memory_limit.unwrap_or_else(|| machine_memory().map_or(MEMORY_UNKNOWN, |bytes| bytes / 5 * 2))
    }

    /// The limits offered to clients.
    pub(crate) fn tune(&self) -> Tune {
        Tune { channel_max: self.channel_max, frame_max: self.frame_max, heartbeat: self.heartbeat }
    }
}

/// How much memory the machine has, in bytes, where the system tells.
fn machine_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_logs_in() {
        let mut config = Config::default();
        config.fill_in();
        assert!(config.may_log_in("guest", "guest"));
        for (user, password) in [("guest", ""), ("guest", "guestx"), ("guest", "Guest"), ("", "")] {
            assert!(!config.may_log_in(user, password), "{user}:{password}");
        }
        assert!(!format!("{config:?}").contains("\"guest\": \"guest\""));
    }

    #[test]
    fn a_user_with_permissions_somewhere_has_none_elsewhere_and_needs_a_password_still() {
        let mut config = Config::default();
        let permissions = Permissions::new("", "", ".*").unwrap();
        config.add_permissions("limited".to_owned(), "a".to_owned(), permissions);
        config.add_user("all".to_owned(), "x".to_owned());
        assert!(config.access("limited", "a").is_some() && config.access("limited", "b").is_none());
        assert!(config.access("all", "b").is_some() && config.access("nobody", "a").is_none());
        assert!(!config.may_log_in("limited", ""));
    }
}
