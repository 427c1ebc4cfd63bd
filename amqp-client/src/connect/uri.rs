//! The AMQP URI (<https://www.rabbitmq.com/docs/uri-spec>).

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use percent_encoding::percent_decode_str;

use crate::{
    error::{Error, Result},
    login::credentials::Password,
};

/// Where a broker is and who connects: `amqp://user:password@host:port/vhost?heartbeat=10`.
///
/// Defaults: user and password `guest`, host `localhost`, port 5672 (`amqps`: 5671), virtual host
/// `/`. A missing and an empty path (`amqp://host`, `amqp://host/`) both mean `/`: the
/// specification has an empty name for the latter, but no broker has such a virtual host, and pika,
/// kombu and oslo.messaging read it as `/` too. [`parse_list`](Uri::parse_list)
/// reads several hosts, as in `amqps://a.example,b.example:5673/prod`, which share one login,
/// virtual host and set of parameters. `Debug` and `Display` leave the password out.
///
/// The parameters are those of <https://www.rabbitmq.com/docs/uri-query-parameters>; each takes
/// precedence over the option of the same meaning. Any other parameter is an error that names it.
///
/// | parameter | value | default |
/// |---|---|---|
/// | `heartbeat` | the heartbeat interval in seconds, from 0 to 65535; 0 turns heartbeats off | as [`heartbeat`](crate::ConnectOptions::heartbeat) |
/// | `channel_max` | the highest channel number; 0 leaves it to the broker | as [`channel_max`](crate::ConnectOptions::channel_max) |
/// | `frame_max` | the largest frame in bytes; 0 leaves it to the broker | as [`frame_max`](crate::ConnectOptions::frame_max) |
/// | `connection_timeout` | the deadline for opening the connection, in milliseconds | as [`connect_timeout`](crate::ConnectOptions::connect_timeout) |
/// | `auth_mechanism` | `plain`, `amqplain`, `external` or the name of a custom mechanism; may be repeated, in order of preference | as [`mechanisms`](crate::ConnectOptions::mechanisms) |
/// | `cacertfile` | a PEM file with the certificate authorities to trust | those of the system |
/// | `certfile`, `keyfile` | PEM files with the client's certificate and its key; if only one is given, it holds both | no certificate |
/// | `server_name_indication` | the name to request from the broker, and to verify its certificate against; `disable` sends no name | the host |
/// | `verify` | `verify_peer`, or `verify_none`, which lets anyone pretend to be the broker | `verify_peer` |
///
/// The parameters from `cacertfile` on require `amqps`.
#[derive(Clone, PartialEq, Eq)]
pub struct Uri {
    /// Whether the scheme is `amqps`. Without the feature `tls` of this crate, connecting then
    /// fails with [`TlsError::NotCompiled`](crate::TlsError::NotCompiled).
    pub tls: bool,
    /// The user name.
    pub user: String,
    /// The password.
    pub password: Password,
    /// The host's name or address; IPv6 addresses are without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// The virtual host.
    pub vhost: String,
    /// The parameter `heartbeat`, in seconds.
    pub heartbeat: Option<u16>,
    /// The parameter `channel_max`.
    pub channel_max: Option<u16>,
    /// The parameter `frame_max`, in bytes.
    pub frame_max: Option<u32>,
    /// The parameter `connection_timeout`, which is in milliseconds in the URI.
    pub connection_timeout: Option<Duration>,
    /// The parameters `auth_mechanism`, in order of preference; if empty, the options apply.
    pub auth_mechanisms: Vec<String>,
    /// The parameter `cacertfile`.
    pub cacertfile: Option<PathBuf>,
    /// The parameter `certfile`.
    pub certfile: Option<PathBuf>,
    /// The parameter `keyfile`.
    pub keyfile: Option<PathBuf>,
    /// The parameter `server_name_indication`.
    pub server_name_indication: Option<String>,
    /// The parameter `verify`: whether the broker's certificate is verified.
    pub verify: Option<bool>,
}

impl Default for Uri {
    fn default() -> Self {
        Uri {
            tls: false,
            user: "guest".into(),
            password: "guest".into(),
            host: "localhost".into(),
            port: 5672,
            vhost: "/".into(),
            heartbeat: None,
            channel_max: None,
            frame_max: None,
            connection_timeout: None,
            auth_mechanisms: Vec::new(),
            cacertfile: None,
            certfile: None,
            keyfile: None,
            server_name_indication: None,
            verify: None,
        }
    }
}

impl Uri {
    /// Reads a URI with one host.
    ///
    /// # Errors
    /// [`Error::InvalidUri`] that names the invalid part, without repeating the password.
    pub fn parse(uri: &str) -> Result<Self> {
        let mut uris = Self::parse_list(uri)?;
        match (uris.pop(), uris.is_empty()) {
            (Some(only), true) => Ok(only),
            _ => Err(invalid("it names several hosts; expected one")),
        }
    }

    /// Reads a URI with one host or several, separated by commas. Returns a URI for each, in order;
    /// at least one.
    ///
    /// # Errors
    /// The same as for [`parse`](Self::parse).
    pub fn parse_list(uri: &str) -> Result<Vec<Self>> {
        refuse_space(uri)?;
        let (scheme, rest) =
            uri.split_once("://").ok_or_else(|| invalid("it has no scheme; expected amqp:// or amqps://"))?;
        let mut parsed = Uri::default();
        parsed.tls = match scheme.to_ascii_lowercase().as_str() {
            "amqp" => false,
            "amqps" => true,
            other if is_scheme(other) => {
                return Err(invalid(format!("the scheme is {other:?}, not amqp or amqps")));
            }
            _ => return Err(invalid("it does not begin with the scheme amqp:// or amqps://")),
        };
        parsed.port = if parsed.tls { 5671 } else { 5672 };

        let (rest, query) = split_once_or_end(rest, '?');
        let (authority, path) = split_once_or_end(rest, '/');
        // Otherwise a part of a password would be taken for a host, a port or the path, and be
        // resolved or shown in an error.
        if [path, query].into_iter().flatten().any(|part| part.contains('@')) {
            return Err(invalid(
                "there is an @ after a / or ?: in a user name or password write / as %2F and ? as %3F, \
                 and in a virtual host or parameter write @ as %40",
            ));
        }
        let hosts = parsed.read_login(authority)?;
        if let Some(path) = path {
            if path.contains('/') {
                return Err(invalid(
                    "the path contains a second /: write a / in the name of a virtual host as %2F",
                ));
            }
            if !path.is_empty() {
                parsed.vhost = decode("virtual host", path)?;
            }
        }
        if let Some(query) = query {
            parsed.read_query(query)?;
        }
        let is_one = !hosts.contains(',');
        hosts.split(',').map(|host| parsed.clone().with_host(host, is_one)).collect()
    }

    /// Returns host and port, written like a socket address.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Takes the login off the front; returns the hosts.
    fn read_login<'a>(&mut self, authority: &'a str) -> Result<&'a str> {
        let Some((userinfo, hosts)) = authority.rsplit_once('@') else { return Ok(authority) };
        // Otherwise a host would be taken for part of a password.
        if userinfo.contains('@') && userinfo.contains(',') {
            return Err(invalid(
                "there are several logins: all hosts share one login, before the first host: user:password@host,host",
            ));
        }
        let (user, password) = split_once_or_end(userinfo, ':');
        self.user = decode("user", user)?;
        if let Some(password) = password {
            self.password = decode("password", password)?.into();
        }
        Ok(hosts)
    }

    fn with_host(mut self, address: &str, may_be_empty: bool) -> Result<Self> {
        let (host, port) = split_port(address)?;
        if !host.is_empty() {
            self.host = decode("host", host)?;
        } else if !may_be_empty {
            return Err(invalid("a host in the list is empty"));
        }
        // An empty port is the scheme's default (RFC 3986, section 3.2.3). An invalid port may be a
        // password whose host is missing, so it is not shown.
        if let Some(port) = port.filter(|port| !port.is_empty()) {
            self.port = port.parse().map_err(|_| invalid("the port is not a number from 0 to 65535"))?;
        }
        Ok(self)
    }

    fn read_query(&mut self, query: &str) -> Result<()> {
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            self.read_parameter(key, decode(key, value)?)?;
        }
        Ok(())
    }

    fn read_parameter(&mut self, key: &str, value: String) -> Result<()> {
        match key {
            "heartbeat" => self.heartbeat = Some(number(key, &value)?),
            "channel_max" => self.channel_max = Some(number(key, &value)?),
            "frame_max" => self.frame_max = Some(number(key, &value)?),
            "connection_timeout" => {
                self.connection_timeout = Some(Duration::from_millis(number(key, &value)?));
            }
            "auth_mechanism" => self.auth_mechanisms.push(value),
            _ => return self.read_tls_parameter(key, value),
        }
        Ok(())
    }

    fn read_tls_parameter(&mut self, key: &str, value: String) -> Result<()> {
        match key {
            "cacertfile" => self.cacertfile = Some(value.into()),
            "certfile" => self.certfile = Some(value.into()),
            "keyfile" => self.keyfile = Some(value.into()),
            "server_name_indication" => self.server_name_indication = Some(value),
            "verify" => {
                self.verify = Some(match value.as_str() {
                    "verify_peer" => true,
                    "verify_none" => false,
                    other => {
                        return Err(invalid(format!("verify is {other:?}, not verify_peer or verify_none")));
                    }
                });
            }
            other => return Err(invalid(format!("unknown query parameter {other:?}"))),
        }
        if self.tls {
            Ok(())
        } else {
            // A user who sets one believes that the connection is private.
            Err(invalid(format!("the parameter {key} requires amqps://, and the scheme is amqp://")))
        }
    }
}

/// Refuses white space: text from a file often ends with a newline, which would become part of a
/// name.
fn refuse_space(uri: &str) -> Result<()> {
    if uri.ends_with(['\n', '\r']) {
        return Err(invalid("it ends with a newline: trim text that is read from a file"));
    }
    if uri.trim().len() < uri.len() {
        return Err(invalid("there is white space around it"));
    }
    match uri.contains(char::is_control) {
        true => Err(invalid("there is a control character in it")),
        false => Ok(()),
    }
}

/// Tells whether this may be shown: it is a scheme, and not part of a login (RFC 3986, section
/// 3.1).
fn is_scheme(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// Splits an address into host and port; the host of `[::1]:5672` is without brackets.
fn split_port(address: &str) -> Result<(&str, Option<&str>)> {
    if let Some(rest) = address.strip_prefix('[') {
        let (host, after) =
            rest.split_once(']').ok_or_else(|| invalid("the IPv6 address lacks its closing bracket"))?;
        return match (after.is_empty(), after.strip_prefix(':')) {
            (true, _) => Ok((host, None)),
            (_, Some(port)) => Ok((host, Some(port))),
            _ => Err(invalid("the IPv6 address is followed by neither a port nor a path")),
        };
    }
    match address.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Err(invalid("an IPv6 address must be in brackets")),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((address, None)),
    }
}

fn split_once_or_end(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn decode(what: &str, text: &str) -> Result<String> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(invalid(format!("the {what} is not UTF-8"))),
    }
}

fn number<T: FromStr>(what: &str, text: &str) -> Result<T> {
    text.parse().map_err(|_| invalid(format!("the {what} is {text:?}, which is not a number in its range")))
}

fn invalid(reason: impl Into<String>) -> Error {
    Error::InvalidUri(reason.into())
}

impl FromStr for Uri {
    type Err = Error;

    fn from_str(uri: &str) -> Result<Self> {
        Uri::parse(uri)
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "amqps" } else { "amqp" };
        write!(f, "{scheme}://{}:***@{}/{}", self.user, self.address(), self.vhost.replace('/', "%2F"))
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uri({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(uri: &str) -> Uri {
        Uri::parse(uri).unwrap()
    }

    /// These are the examples in appendix A of the specification.
    #[test]
    fn the_examples_of_the_uri_specification_read_as_it_says() {
        let full = parse("amqp://user:pass@host:10000/vhost");
        assert_eq!((full.user.as_str(), full.password.expose()), ("user", "pass"));
        assert_eq!((full.host.as_str(), full.port, full.vhost.as_str()), ("host", 10000, "vhost"));

        let encoded = parse("amqp://user%61:%61pass@ho%61st:10000/v%2fhost");
        assert_eq!((encoded.user.as_str(), encoded.password.expose()), ("usera", "apass"));
        assert_eq!((encoded.host.as_str(), encoded.vhost.as_str()), ("hoast", "v/host"));

        assert_eq!(parse("amqp://"), Uri::default());
        assert_eq!(parse("amqp://host").vhost, "/");
        assert_eq!(parse("amqp://host/%2f").vhost, "/");
        assert_eq!(parse("amqp://:@/").user, "");
        assert_eq!(parse("amqp://:@/").password.expose(), "");
        assert_eq!(parse("amqp://user@").password.expose(), "guest");
        assert_eq!(parse("amqp://[::1]").host, "::1");
        assert_eq!(parse("amqp://[::1]:7/x").address(), "[::1]:7");
        assert_eq!(parse("amqps://host").port, 5671);
    }

    #[test]
    fn an_empty_port_is_the_default_one() {
        for (uri, address) in [
            ("amqp://host:/", "host:5672"),
            ("amqps://u:p@host:", "host:5671"),
            ("amqp://[::1]:/v", "[::1]:5672"),
        ] {
            assert_eq!(parse(uri).address(), address, "{uri}");
        }
    }

    #[test]
    fn an_at_sign_in_a_password_belongs_to_it() {
        let uri = parse("amqp://u:p@ss@h/v");
        assert_eq!((uri.password.expose(), uri.host.as_str(), uri.vhost.as_str()), ("p@ss", "h", "v"));
    }

    #[test]
    fn an_empty_path_is_the_default_virtual_host() {
        assert_eq!(parse("amqp://host/").vhost, "/");
    }

    #[test]
    fn query_parameters_are_read_and_unknown_ones_refused() {
        let uri = parse("amqp://h/v?heartbeat=5&channel_max=10&frame_max=8192&connection_timeout=1500");
        assert_eq!((uri.heartbeat, uri.channel_max, uri.frame_max), (Some(5), Some(10), Some(8192)));
        assert_eq!(uri.connection_timeout, Some(Duration::from_millis(1500)));
        let error = Uri::parse("amqp://h?heartbeats=5").unwrap_err().to_string();
        assert_eq!(error, "the AMQP URI is invalid: unknown query parameter \"heartbeats\"");
    }

    #[test]
    fn the_parameters_of_tls_and_login_are_read() {
        let uri = parse(
            "amqps://h?cacertfile=/etc/ca%20s.pem&certfile=/c.pem&keyfile=/k.pem&verify=verify_none\
             &server_name_indication=b.example&auth_mechanism=external&auth_mechanism=plain",
        );
        assert_eq!(uri.cacertfile, Some("/etc/ca s.pem".into()));
        assert_eq!((uri.certfile, uri.keyfile), (Some("/c.pem".into()), Some("/k.pem".into())));
        assert_eq!((uri.verify, uri.server_name_indication.as_deref()), (Some(false), Some("b.example")));
        assert_eq!(uri.auth_mechanisms, ["external", "plain"]);
        assert_eq!(parse("amqps://h?verify=verify_peer").verify, Some(true));
    }

    #[test]
    fn several_hosts_share_login_virtual_host_and_parameters() {
        let uris = Uri::parse_list("amqps://u:p@a.example,[::1]:7,b%61.example:5673/v?heartbeat=5").unwrap();
        let addresses: Vec<_> = uris.iter().map(Uri::address).collect();
        assert_eq!(addresses, ["a.example:5671", "[::1]:7", "ba.example:5673"]);
        for uri in &uris {
            assert_eq!((uri.user.as_str(), uri.password.expose(), uri.vhost.as_str()), ("u", "p", "v"));
            assert_eq!((uri.tls, uri.heartbeat), (true, Some(5)));
        }
        assert_eq!(Uri::parse_list("amqp://").unwrap(), [Uri::default()]);
    }

    #[test]
    fn what_is_wrong_is_named_and_the_password_is_not() {
        for (uri, part) in [
            ("host:5672", "scheme"),
            ("http://h", "scheme"),
            ("amqp://u:hunter2@h:99999", "port"),
            ("amqp://u:hunter2@h:x/", "port"),
            ("amqp://::1/", "brackets"),
            ("amqp://[::1", "closing bracket"),
            ("amqp://h/a/b", "%2F"),
            ("amqp://h/%ff", "virtual host"),
            ("amqp://u:hunter2/x@h", "%2F"),
            ("amqp://u:hunter2?x@h", "%3F"),
            ("amqp://u:x?hunter2=y@h", "%3F"),
            ("amqp://u:x@hunter2/y@h", "%2F"),
            ("amqp://u:x@hunter2?y@h", "%3F"),
            ("amqp://u:x@y/hunter2@h/v", "%2F"),
            ("amqp://u:p@h/v@w", "%40"),
            ("amqp://u:hunter2", "port"),
            ("amqp://u:hunter2/x", "port"),
            ("u:hunter2://x@h", "scheme"),
            ("amqp://u:hunter2@h:5672\n", "newline"),
            ("amqp://u:hunter2@h/v\r\n", "newline"),
            (" amqp://u:hunter2@h", "white space"),
            ("amqp://u:hunter2\t@h", "control character"),
            ("amqp://u:hunter2@a,b", "several"),
            ("amqp://u:hunter2@a,u:hunter2@b", "share one login"),
            ("amqp://a,,b", "empty"),
            ("amqp://h?cacertfile=/ca.pem", "amqps"),
            ("amqps://h?verify=no", "verify_peer"),
        ] {
            let error = Uri::parse(uri).unwrap_err().to_string();
            assert!(error.contains(part), "{uri}: {error}");
            assert!(!error.contains("hunter2"), "{uri}: {error}");
        }
        assert!(
            !format!("{:?} {}", parse("amqp://u:hunter2@h"), parse("amqp://u:hunter2@h")).contains("hunter2")
        );
    }
}
