//! What a broker is set up with.

use std::{collections::BTreeMap, collections::BTreeSet, fmt, time::Duration};

use amqp_codec::Tune;

/// Users, virtual hosts and limits.
#[derive(Clone)]
pub(crate) struct Config {
    users: BTreeMap<String, String>,
    vhosts: BTreeSet<String>,
    channel_max: u16,
    frame_max: u32,
    heartbeat: u16,
    pub(crate) max_message_size: u64,
    pub(crate) login_timeout: Duration,
}

// Passwords do not show.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("users", &self.users.keys())
            .field("vhosts", &self.vhosts)
            .field("channel_max", &self.channel_max)
            .field("frame_max", &self.frame_max)
            .field("heartbeat", &self.heartbeat)
            .field("max_message_size", &self.max_message_size)
            .field("login_timeout", &self.login_timeout)
            .finish()
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            users: BTreeMap::new(),
            vhosts: BTreeSet::new(),
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat: 60,
            max_message_size: 128 << 20,
            login_timeout: Duration::from_secs(10),
        }
    }
}

impl Config {
    pub(crate) fn add_user(&mut self, name: String, password: String) {
        self.users.insert(name, password);
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
        let Some(expected) = self.users.get(user) else { return false };
        let differing = expected.bytes().zip(password.bytes()).fold(0, |bits, (a, b)| bits | (a ^ b));
        expected.len() == password.len() && differing == 0
    }

    /// The limits offered to clients.
    pub(crate) fn tune(&self) -> Tune {
        Tune { channel_max: self.channel_max, frame_max: self.frame_max, heartbeat: self.heartbeat }
    }
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
}
