//! A transport URL, of which the password is never shown.

use std::{fmt, ops::Range};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// The sign that stands for a password.
const HIDDEN: &str = "***";

/// A transport URL. `Display` and `Debug` show no password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ConnectionUrl(String);

impl ConnectionUrl {
    pub(crate) fn new(url: impl Into<String>) -> Self {
        ConnectionUrl(url.into())
    }

    /// The URL with its passwords, to connect with.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Tells whether a password is in it.
    pub(crate) fn has_password(&self) -> bool {
        self.to_string() != self.0
    }

    /// Adds a password to each login that has none.
    pub(crate) fn with_password(&self, password: &str) -> Self {
        let password = utf8_percent_encode(password, NON_ALPHANUMERIC).to_string();
        let mut url = String::new();
        let mut done = 0;
        for authority in authorities(&self.0) {
            url.push_str(&self.0[done..authority.start]);
            let hosts = self.0[authority.clone()].split(',');
            let with: Vec<String> = hosts.map(|host| host_with(host, &password)).collect();
            url.push_str(&with.join(","));
            done = authority.end;
        }
        url.push_str(&self.0[done..]);
        ConnectionUrl(url)
    }
}

fn host_with(host: &str, password: &str) -> String {
    match host.rsplit_once('@') {
        Some((login, _)) if login.contains(':') => host.to_owned(),
        Some((user, address)) => format!("{user}:{password}@{address}"),
        None => format!(":{password}@{host}"),
    }
}

/// The ranges of the logins and hosts of each URL: from behind `://` to the first of `/?#;`.
fn authorities(urls: &str) -> Vec<Range<usize>> {
    let starts = urls.match_indices("://").map(|(at, mark)| at + mark.len());
    starts
        .map(|start| {
            let rest = &urls[start..];
            start..start + rest.find(['/', '?', '#', ';']).unwrap_or(rest.len())
        })
        .collect()
}

impl fmt::Display for ConnectionUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = &self.0;
        // An option may hold a password, such as those of Redis's sentinels, and so may whatever
        // is behind an @ that no authority ends with: an unescaped password.
        let (url, query) = url.split_once('?').map_or((url.as_str(), ""), |(url, query)| (url, query));
        let mut done = 0;
        for authority in authorities(url) {
            f.write_str(&url[done..authority.start])?;
            let mut separator = "";
            for host in url[authority.clone()].split(',') {
                f.write_str(separator)?;
                separator = ",";
                match host.rsplit_once('@') {
                    Some((login, address)) => match login.split_once(':') {
                        Some((user, _)) => write!(f, "{user}:{HIDDEN}@{address}")?,
                        None => write!(f, "{login}@{address}")?,
                    },
                    None => f.write_str(host)?,
                }
            }
            done = authority.end;
        }
        let rest = &url[done..];
        match rest.contains('@') {
            true => f.write_str(HIDDEN)?,
            false => f.write_str(rest)?,
        }
        match query {
            "" => Ok(()),
            query if query.contains("password") || query.contains('@') => write!(f, "?{HIDDEN}"),
            query => write!(f, "?{query}"),
        }
    }
}

impl fmt::Debug for ConnectionUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            ("amqp://localhost", "amqp://localhost"),
            ("amqp://u:p@h:1/v?heartbeat=5", "amqp://u:***@h:1/v?heartbeat=5"),
            ("amqp://u@h", "amqp://u@h"),
            ("amqp://u:p@a,w:q@b,c/v", "amqp://u:***@a,w:***@b,c/v"),
            ("amqp://u:p@a/v;amqps://u:q@b/w", "amqp://u:***@a/v;amqps://u:***@b/w"),
            ("redis://:secret@h/1", "redis://:***@h/1"),
            ("amqp://u:se/cret@h/v", "amqp://u:se***"),
            ("sentinel://h?sentinel_kwargs={\"password\":\"p\"}", "sentinel://h?***"),
        ] {
            assert_eq!(ConnectionUrl::new(url).to_string(), shown);
            assert_eq!(format!("{:?}", ConnectionUrl::new(url)), shown);
        }
    }

    #[test]
    fn a_password_is_added_where_none_is() {
        for (url, with) in [
            ("amqp://h/v", "amqp://:p%40@h/v"),
            ("amqp://u@h:1", "amqp://u:p%40@h:1"),
            ("amqp://u@a,w:q@b/v?x=1", "amqp://u:p%40@a,w:q@b/v?x=1"),
        ] {
            assert_eq!(ConnectionUrl::new(url).with_password("p@").expose(), with);
        }
    }
}
