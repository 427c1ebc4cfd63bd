//! Transport URLs, as kombu and oslo.messaging write them.
//!
//! `scheme://[user[:password]@]host[:port][,…][/vhost][?option=value&…]`

use std::time::Duration;

use amqp_client::Uri;
use percent_encoding::percent_decode_str;

use crate::error::UrlError;

const DEFAULT_PORT: u16 = 5672;
const DEFAULT_TLS_PORT: u16 = 5671;

/// Where a transport's brokers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TransportUrl {
    /// The broker of this name in this process.
    Memory(String),
    /// Brokers on the network, to be tried in turn; at least one.
    Amqp(Vec<Uri>),
}

impl TransportUrl {
    pub(crate) fn parse(url: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::NoScheme)?;
        // oslo.messaging selects the driver by what stands before a `+`.
        match scheme.to_ascii_lowercase().split('+').next().unwrap_or_default() {
            "memory" => memory(rest),
            "amqp" | "pyamqp" | "rabbit" | "kombu" => amqp(rest, false),
            "amqps" | "pyamqps" => amqp(rest, true),
            _ => Err(UrlError::UnknownScheme(scheme.to_owned())),
        }
    }
}

fn memory(rest: &str) -> Result<TransportUrl, UrlError> {
    let name = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match decode("name", name)? {
        name if name.is_empty() => Err(UrlError::NoName),
        name => Ok(TransportUrl::Memory(name)),
    }
}

fn amqp(rest: &str, tls: bool) -> Result<TransportUrl, UrlError> {
    let rest = rest.split('#').next().unwrap_or_default();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, vhost) = rest.split_once('/').unwrap_or((rest, ""));
    let mut common = options(query, tls)?;
    // Absent, `/` and `//` all mean the broker's `/`, for oslo.messaging and for kombu.
    let vhost = decode("virtual host", vhost)?;
    if !vhost.is_empty() {
        common.vhost = vhost;
    }
    let hosts = hosts.split(',').filter(|item| !item.is_empty());
    let mut uris: Vec<_> = hosts.map(|item| host(item, &common)).collect::<Result<_, _>>()?;
    if uris.is_empty() {
        uris.push(common);
    }
    Ok(TransportUrl::Amqp(uris))
}

/// One host with its login. There is none to inherit from the host before it.
fn host(item: &str, common: &Uri) -> Result<Uri, UrlError> {
    // The last `@`, the first `:`: what oslo.messaging takes them for.
    let (login, address) = match item.rsplit_once('@') {
        Some((login, address)) => (login, address),
        None => ("", item),
    };
    let (host, port) = address_and_port(address, common.port)?;
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (user, password) = (decode("user", user)?, decode("password", password)?);
    let uri = Uri { host, port, ..common.clone() };
    // No name and no password is no login, `:@host` too: guest's then.
    let is_login = !user.is_empty() || !password.is_empty();
    Ok(if is_login { Uri { user, password: password.into(), ..uri } } else { uri })
}

fn address_and_port(address: &str, default_port: u16) -> Result<(String, u16), UrlError> {
    let (host, port) = match address.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) =
                bracketed.split_once(']').ok_or_else(|| UrlError::UnclosedBracket(address.to_owned()))?;
            (host, rest.strip_prefix(':').unwrap_or(rest))
        }
        None => address.split_once(':').unwrap_or((address, "")),
    };
    let number = match port {
        "" => default_port,
        digits => {
            digits.parse().map_err(|_| UrlError::BadPort { host: host.to_owned(), port: port.to_owned() })?
        }
    };
    let host = if host.is_empty() { "localhost" } else { host };
    Ok((host.to_owned(), number))
}

/// Percent-decodes once; `+` stays `+`.
fn decode(what: &'static str, text: &str) -> Result<String, UrlError> {
    match percent_decode_str(text).decode_utf8() {
        Ok(decoded) => Ok(decoded.into_owned()),
        Err(_) => Err(UrlError::NotUtf8(what)),
    }
}

/// A URI with what the part after `?` asks for.
fn options(query: &str, tls: bool) -> Result<Uri, UrlError> {
    let port = if tls { DEFAULT_TLS_PORT } else { DEFAULT_PORT };
    let mut uri = Uri { tls, port, ..Uri::default() };
    for pair in query.split('&') {
        let (option, value) = pair.split_once('=').unwrap_or((pair, ""));
        // A blank value is no value, for oslo.messaging.
        if value.is_empty() {
            continue;
        }
        let bad =
            |expected| UrlError::BadOption { option: option.to_owned(), value: value.to_owned(), expected };
        let short = || value.parse::<u16>().map_err(|_| bad("a number from 0 to 65535"));
        let long = || value.parse::<u32>().map_err(|_| bad("a number from 0 to 4294967295"));
        match option {
            // kombu's and RabbitMQ's name, and oslo.messaging's.
            "heartbeat" | "heartbeat_timeout_threshold" => uri.heartbeat = Some(short()?),
            "channel_max" => uri.channel_max = Some(short()?),
            "frame_max" => uri.frame_max = Some(long()?),
            "connection_timeout" => uri.connection_timeout = Some(Duration::from_millis(long()?.into())),
            _ if tls => tls_option(&mut uri, option, decode("option", value)?)?,
            _ => return Err(UrlError::UnknownOption(option.to_owned())),
        }
    }
    Ok(uri)
}

/// The names that RabbitMQ gives these in its URIs.
fn tls_option(uri: &mut Uri, option: &str, value: String) -> Result<(), UrlError> {
    match (option, value.as_str()) {
        ("cacertfile", _) => uri.cacertfile = Some(value.into()),
        ("certfile", _) => uri.certfile = Some(value.into()),
        ("keyfile", _) => uri.keyfile = Some(value.into()),
        ("server_name_indication", _) => uri.server_name_indication = Some(value),
        ("verify", "verify_peer") => uri.verify = Some(true),
        ("verify", "verify_none") => uri.verify = Some(false),
        ("verify", _) => {
            let expected = "verify_peer or verify_none";
            return Err(UrlError::BadOption { option: option.to_owned(), value, expected });
        }
        _ => return Err(UrlError::UnknownOption(option.to_owned())),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uris(url: &str) -> Vec<Uri> {
        match TransportUrl::parse(url).unwrap() {
            TransportUrl::Amqp(uris) => uris,
            TransportUrl::Memory(name) => panic!("memory {name}"),
        }
    }

    /// `user password host port vhost`
    fn shown(uri: &Uri) -> String {
        format!("{} {} {} {} {}", uri.user, uri.password.expose(), uri.host, uri.port, uri.vhost)
    }

    fn one(url: &str) -> String {
        let uris = uris(url);
        assert_eq!(uris.len(), 1, "{url}");
        shown(&uris[0])
    }

    #[test]
    fn urls_mean_what_they_mean_to_oslo_messaging() {
        for (url, parts) in [
            ("rabbit://", "guest guest localhost 5672 /"),
            ("rabbit:///", "guest guest localhost 5672 /"),
            ("rabbit://host", "guest guest host 5672 /"),
            ("RABBIT://host//", "guest guest host 5672 /"),
            ("rabbit://host//vh", "guest guest host 5672 /vh"),
            ("rabbit://h/a%2Fb", "guest guest h 5672 a/b"),
            ("rabbit://u%40x:p%3A%2F%23@host", "u@x p:/# host 5672 /"),
            ("rabbit://u@x:p@host", "u@x p host 5672 /"),
            ("rabbit://u:p:q@host", "u p:q host 5672 /"),
            ("rabbit://u:a+b@host:1/v#fragment", "u a+b host 1 v"),
            ("rabbit://:@host", "guest guest host 5672 /"),
            ("rabbit://u:p@[::1]:7/v", "u p ::1 7 v"),
            ("rabbit://[::1]", "guest guest ::1 5672 /"),
            ("kombu+pyamqp://h", "guest guest h 5672 /"),
        ] {
            assert_eq!(one(url), parts, "{url}");
        }
    }

    #[test]
    fn urls_mean_what_they_mean_to_kombu() {
        for (url, vhost) in [
            ("amqp://h", "/"),
            ("amqp://h/", "/"),
            ("amqp://h//", "/"),
            ("amqp://h//vh", "/vh"),
            ("amqp://h/%2Fvh", "/vh"),
            ("pyamqp://h/vh", "vh"),
        ] {
            assert_eq!(one(url), format!("guest guest h 5672 {vhost}"), "{url}");
        }
        assert_eq!(one("amqp://u:p%40ss@h:1234/vh"), "u p@ss h 1234 vh");
    }

    #[test]
    fn several_hosts_are_kept_in_order_and_inherit_no_login() {
        let hosts: Vec<_> = uris("rabbit://u:p@h1:1,,h2,w:x@h3:3/v").iter().map(shown).collect();
        assert_eq!(hosts, ["u p h1 1 v", "guest guest h2 5672 v", "w x h3 3 v"]);
    }

    #[test]
    fn amqps_is_tls_on_its_own_port_with_options_of_its_own() {
        let uris = uris("amqps://a,b:7/v?cacertfile=/etc/ca.pem&verify=verify_none");
        assert_eq!(uris.iter().map(|uri| (uri.tls, uri.port)).collect::<Vec<_>>(), [(true, 5671), (true, 7)]);
        assert_eq!((uris[0].cacertfile.clone(), uris[0].verify), (Some("/etc/ca.pem".into()), Some(false)));
        let error = TransportUrl::parse("amqps://a?verify=no").unwrap_err();
        assert!(matches!(error, UrlError::BadOption { expected: "verify_peer or verify_none", .. }));
    }

    #[test]
    fn memory_brokers_have_names() {
        assert_eq!(TransportUrl::parse("memory://tests/"), Ok(TransportUrl::Memory("tests".into())));
        assert_eq!(TransportUrl::parse("memory://"), Err(UrlError::NoName));
    }

    #[test]
    fn options_hold_for_every_host_and_unknown_ones_are_refused_by_name() {
        for uri in uris("amqp://h,i/?heartbeat=5&ssl=&connection_timeout=1500") {
            assert_eq!(uri.heartbeat, Some(5));
            assert_eq!(uri.connection_timeout, Some(Duration::from_millis(1500)));
        }
        assert_eq!(uris("rabbit://h?heartbeat_timeout_threshold=6")[0].heartbeat, Some(6));
        assert_eq!(TransportUrl::parse("rabbit://h?ssl=1"), Err(UrlError::UnknownOption("ssl".into())));
        assert!(matches!(TransportUrl::parse("amqp://h?heartbeat=-1"), Err(UrlError::BadOption { .. })));
    }

    #[test]
    fn what_is_wrong_is_named_and_no_password_shown() {
        for (url, error) in [
            ("", UrlError::NoScheme),
            ("h:5672", UrlError::NoScheme),
            ("redis://h", UrlError::UnknownScheme("redis".into())),
            ("amqp://h?cacertfile=/ca", UrlError::UnknownOption("cacertfile".into())),
            ("rabbit://u:secret@h:abc/", UrlError::BadPort { host: "h".into(), port: "abc".into() }),
            ("amqp://h:65536", UrlError::BadPort { host: "h".into(), port: "65536".into() }),
            ("amqp://u:secret@[::1", UrlError::UnclosedBracket("[::1".into())),
            ("amqp://u:%ff@h", UrlError::NotUtf8("password")),
        ] {
            assert_eq!(TransportUrl::parse(url), Err(error), "{url}");
        }
        let url = TransportUrl::parse("amqp://u:secret@h").unwrap();
        assert!(!format!("{url:?}").contains("secret"));
    }
}
