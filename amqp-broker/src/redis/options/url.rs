//! URLs of Redis and of sentinels, as kombu reads them.

use std::iter;

use percent_encoding::percent_decode_str;

use super::{
    credentials::RedisLogin, error::RedisOptionsError, redis_options::RedisOptions, server::Server,
    settings::database,
};

use crate::backend::unsupported_scheme;

type Result<T> = std::result::Result<T, RedisOptionsError>;

/// The parts of a URL, still encoded.
struct Parts<'a> {
    scheme: String,
    login: Option<&'a str>,
    address: &'a str,
    /// What follows the first slash.
    path: Option<&'a str>,
    query: Option<&'a str>,
}

impl RedisOptions {
    /// Reads a URL, or the URLs of sentinels, separated by semicolons.
    ///
    /// # Errors
    /// What is wrong with it, without any part of a password.
    pub fn parse(url: &str) -> Result<Self> {
        if url.contains(char::is_control) || url.trim().len() < url.len() {
            return Err(RedisOptionsError::url("there is white space or a control character in it"));
        }
        let mut urls = url.split(';').filter(|url| !url.is_empty()).map(Parts::read);
        let first = urls.next().unwrap_or_else(|| Err(RedisOptionsError::url("it is empty")))?;
        let others: Vec<_> = urls.collect::<Result<_>>()?;
        let (login, server) = (first.read_login()?, first.server(&others)?);
        let mut options = RedisOptions { login, server, ..RedisOptions::default() };
        if first.scheme == "rediss" {
            options.tls = Some(Default::default());
        }
        if !first.is_socket() {
            options.database = first.database()?;
        }
        for query in iter::once(&first).chain(&others).filter_map(|url| url.query) {
            options.read_query(query)?;
        }
        if first.scheme == "rediss" && options.tls.is_none() {
            return Err(RedisOptionsError::url("rediss:// is TLS, and ssl says that there is to be none"));
        }
        Ok(options)
    }

    /// Where Redis is, without login, database and options: for errors and logs.
    pub fn address(&self) -> String {
        self.server.to_string()
    }

    fn read_query(&mut self, query: &str) -> Result<()> {
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode("name of an option", name)?;
            // As in forms, a plus sign stands for a space.
            self.set_in_place(&name, &decode("value of an option", &value.replace('+', " "))?)?;
        }
        Ok(())
    }

    /// Checks what only all options together tell. [`parse`](Self::parse) does not, because setters
    /// may follow; opening a connection does.
    ///
    /// # Errors
    /// Sentinel without the name of a master.
    pub fn check(&self) -> Result<()> {
        match (&self.server, &self.master_name) {
            (Server::Sentinels(_), None) => Err(RedisOptionsError::MissingMasterName),
            _ => Ok(()),
        }
    }
}

impl std::str::FromStr for RedisOptions {
    type Err = RedisOptionsError;

    fn from_str(url: &str) -> Result<Self> {
        RedisOptions::parse(url)
    }
}

impl<'a> Parts<'a> {
    fn read(url: &'a str) -> Result<Self> {
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| RedisOptionsError::url("it has no scheme; expected redis://, for example"))?;
        let scheme = read_scheme(scheme)?;
        let (rest, query) = split_or_end(rest, '?');
        let (authority, path) = split_or_end(rest, '/');
        // Otherwise a part of a password would be taken for a host or an option, and be resolved or
        // shown in an error.
        if [path, query].into_iter().flatten().any(|part| part.contains('@')) {
            return Err(RedisOptionsError::url(
                "there is an @ after a / or ?: in a user name or password write / as %2F and ? as %3F, \
                 and in a path or option write @ as %40",
            ));
        }
        let (login, address) = match authority.rsplit_once('@') {
            Some((login, address)) => (Some(login), address),
            None => (None, authority),
        };
        Ok(Parts { scheme, login, address, path, query })
    }

    fn is_socket(&self) -> bool {
        self.scheme == "redis+socket"
    }

    fn read_login(&self) -> Result<RedisLogin> {
        let Some(login) = self.login else { return Ok(RedisLogin::default()) };
        let (user, password) = split_or_end(login, ':');
        let user = decode("user", user)?;
        let password = decode("password", password.unwrap_or_default())?;
        // As in kombu, what is empty is absent.
        let given = |text: String| (!text.is_empty()).then_some(text);
        Ok(RedisLogin { user: given(user), password: given(password) })
    }

    fn server(&self, others: &[Parts<'_>]) -> Result<Server> {
        if self.scheme == "sentinel" {
            let sentinels = iter::once(self).chain(others).map(Parts::sentinel);
            others.iter().try_for_each(|other| other.check_further(self))?;
            return Ok(Server::Sentinels(sentinels.collect::<Result<_>>()?));
        }
        if !others.is_empty() {
            return Err(RedisOptionsError::url("only sentinels can be several"));
        }
        if self.is_socket() {
            let path = decode("path", self.path.unwrap_or_default())?;
            if path.is_empty() {
                return Err(RedisOptionsError::url(
                    "it has no path of a socket, as in redis+socket:///run/redis.sock",
                ));
            }
            return Ok(Server::Socket(["/", &path].concat().into()));
        }
        let (host, port) = self.host(Server::PORT)?;
        Ok(Server::Tcp(host, port))
    }

    fn sentinel(&self) -> Result<(String, u16)> {
        if self.scheme != "sentinel" {
            return Err(RedisOptionsError::url("sentinels and other servers are mixed"));
        }
        self.host(Server::SENTINEL_PORT)
    }

    /// From a further sentinel's URL kombu reads nothing but the address. A login or database that
    /// differs from the first would have no effect.
    fn check_further(&self, first: &Parts<'_>) -> Result<()> {
        let same_login = self.login.is_none() || self.login == first.login;
        if same_login && (self.path.is_none() || self.database()? == first.database()?) {
            return Ok(());
        }
        Err(RedisOptionsError::url("login and database belong into the URL of the first sentinel"))
    }

    fn database(&self) -> Result<u32> {
        database(&decode("database", self.path.unwrap_or_default())?)
    }

    fn host(&self, default_port: u16) -> Result<(String, u16)> {
        let (host, port) = split_port(self.address)?;
        let host = match host {
            "" => "127.0.0.1".to_owned(),
            host => decode("host", host)?,
        };
        // An invalid port may be a password whose host is missing, so it is not shown.
        let port = match port {
            None | Some("") => default_port,
            Some(port) => port
                .parse()
                .map_err(|_| RedisOptionsError::url("the port is not a number from 0 to 65535"))?,
        };
        Ok((host, port))
    }
}

/// Checks that a scheme is one of Redis's.
fn read_scheme(scheme: &str) -> Result<String> {
    // Anything else may be a part of a login.
    if !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')) {
        return Err(RedisOptionsError::url("it does not begin with a scheme"));
    }
    if let Some(unsupported) = unsupported_scheme(scheme) {
        return Err(unsupported.into());
    }
    let scheme = scheme.to_ascii_lowercase();
    match scheme.as_str() {
        "redis" | "rediss" | "redis+socket" | "sentinel" => Ok(scheme),
        _ => Err(RedisOptionsError::url(format!(
            "the scheme is {scheme:?}, not redis, rediss, redis+socket or sentinel"
        ))),
    }
}

/// Splits an address into host and port; the host of `[::1]:6379` is without brackets.
fn split_port(address: &str) -> Result<(&str, Option<&str>)> {
    if let Some(rest) = address.strip_prefix('[') {
        let (host, after) = rest
            .split_once(']')
            .ok_or_else(|| RedisOptionsError::url("the IPv6 address lacks its closing bracket"))?;
        return match (after.is_empty(), after.strip_prefix(':')) {
            (true, _) => Ok((host, None)),
            (_, Some(port)) => Ok((host, Some(port))),
            _ => Err(RedisOptionsError::url("the IPv6 address is followed by neither a port nor a path")),
        };
    }
    match address.split_once(':') {
        Some((_, rest)) if rest.contains(':') => {
            Err(RedisOptionsError::url("an IPv6 address must be in brackets"))
        }
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((address, None)),
    }
}

fn split_or_end(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn decode(what: &str, text: &str) -> Result<String> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(RedisOptionsError::url(format!("the {what} is not UTF-8"))),
    }
}
