//! Transport URLs, as kombu and oslo.messaging write them.
//!
//! `scheme://[user[:password]@]host[:port][,…][/vhost][?option=value&…]`

#[cfg(feature = "redis")]
use std::sync::Arc;

#[cfg(feature = "filesystem")]
use amqp_broker::filesystem::{Filesystem, FilesystemOptions};
#[cfg(feature = "redis")]
use amqp_broker::redis::{Redis, RedisOptions};
use amqp_client::Uri;

use crate::connection::brokers::Brokers;
#[cfg(feature = "redis")]
use crate::connection::metrics::TransportMetrics;
use crate::{
    error::url::UrlError,
    url::options::{self, Manner, decode},
};

/// The brokers of a transport.
#[derive(Clone, Debug)]
pub(crate) enum TransportUrl {
    /// The broker of this name in this process.
    #[cfg(feature = "memory")]
    Memory(String),
    /// A Redis that kombu and Celery use.
    #[cfg(feature = "redis")]
    Redis(Box<RedisOptions>),
    /// Folders with a file for each message.
    #[cfg(feature = "filesystem")]
    Filesystem(FilesystemOptions),
    /// Brokers on the network that are tried in turn; at least one.
    Amqp(Vec<Uri>),
}

impl From<TransportUrl> for Brokers {
    fn from(url: TransportUrl) -> Self {
        match url {
            TransportUrl::Amqp(uris) => Brokers::Network(uris),
            #[cfg(feature = "memory")]
            TransportUrl::Memory(name) => Brokers::in_memory(&name),
            #[cfg(feature = "redis")]
            TransportUrl::Redis(options) => {
                let (name, redis) = (options.address(), Redis::new(*options));
                let counted = redis.clone();
                Brokers::behind(
                    redis,
                    name,
                    Some(Arc::new(move || TransportMetrics::of_redis(counted.metrics()))),
                )
            }
            #[cfg(feature = "filesystem")]
            TransportUrl::Filesystem(options) => {
                Brokers::behind(Filesystem::new(options), "filesystem://".to_owned(), None)
            }
        }
    }
}

impl TransportUrl {
    /// Returns the login and the virtual host at the first of the brokers.
    #[cfg(feature = "memory")]
    pub(crate) fn into_uri(self) -> Uri {
        match self {
            TransportUrl::Amqp(uris) => uris.into_iter().next().unwrap_or_default(),
            _ => Uri::default(),
        }
    }

    /// Parses one URL, or several separated by `;`, of which the later ones may be bare hosts.
    pub(crate) fn parse(urls: &str) -> Result<Self, UrlError> {
        match Self::read(urls)? {
            TransportUrl::Amqp(uris) if cfg!(not(feature = "tls")) && uris.iter().any(|uri| uri.tls) => {
                Err(UrlError::NotCompiled { what: "TLS", feature: "tls" })
            }
            url => Ok(url),
        }
    }

    fn read(urls: &str) -> Result<Self, UrlError> {
        refuse_space(urls)?;
        // The semicolons of these are their own.
        match scheme(urls) {
            Some((scheme, _)) if matches!(scheme.as_str(), "redis" | "rediss" | "sentinel") => {
                return redis(urls);
            }
            Some((scheme, _)) if scheme == "filesystem" => return filesystem(urls),
            _ => {}
        }
        let mut all: Option<Self> = None;
        for url in alternatives(urls)? {
            let parsed = if url.contains("://") { one(url)? } else { amqp(url, false, Manner::Kombu)? };
            all = Some(match (all, parsed) {
                (None, parsed) => parsed,
                (Some(TransportUrl::Amqp(mut uris)), TransportUrl::Amqp(more)) => {
                    uris.extend(more);
                    TransportUrl::Amqp(uris)
                }
                #[cfg(feature = "memory")]
                _ => return Err(UrlError::AmongOthers("memory".to_owned())),
            });
        }
        all.ok_or(UrlError::NoScheme)
    }
}

/// Refuses white space: text from a file often ends with a newline, which would become part of a
/// name.
fn refuse_space(urls: &str) -> Result<(), UrlError> {
    if urls.ends_with(['\n', '\r']) {
        return Err(UrlError::Newline);
    }
    match urls.trim().len() < urls.len() || urls.contains(char::is_control) {
        true => Err(UrlError::Space),
        false => Ok(()),
    }
}

/// Returns the URLs between the semicolons, without blank ones.
///
/// kombu splits at every semicolon, even within a password, and then fails. oslo.messaging does not
/// split at all: in its URLs a semicolon is a separator only if a scheme follows.
fn alternatives(urls: &str) -> Result<Vec<&str>, UrlError> {
    if !urls.contains(';') {
        return if urls.contains("://") { Ok(vec![urls]) } else { Err(UrlError::NoScheme) };
    }
    let mut alternatives = Vec::new();
    let mut rest = urls;
    while !rest.is_empty() {
        let is_oslo = manner(rest) == Some(Manner::Oslo);
        let divides = |(at, _): &(usize, &str)| {
            let next = rest.get(at + 1..).unwrap_or_default();
            !is_oslo || has_scheme(next)
        };
        let end = rest.match_indices(';').find(divides).map_or(rest.len(), |(at, _)| at);
        let (url, next) = rest.split_at(end);
        rest = next.strip_prefix(';').unwrap_or(next);
        if url.contains('@') && !url.contains("://") {
            // It is most likely the end of a password: it must not be taken for a host, and
            // repeated in an error.
            return Err(UrlError::Unescaped(';'));
        }
        if !url.is_empty() {
            alternatives.push(url);
        }
    }
    Ok(alternatives)
}

/// Whether the text begins with `scheme://`.
fn has_scheme(url: &str) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    scheme.is_some_and(|scheme| scheme.bytes().all(is_fit))
}

fn scheme(url: &str) -> Option<(String, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    // oslo.messaging selects the driver by the text before a `+`.
    Some((scheme.to_ascii_lowercase().split('+').next().unwrap_or_default().to_owned(), rest))
}

fn manner(url: &str) -> Option<Manner> {
    match scheme(url)?.0.as_str() {
        "rabbit" | "kombu" => Some(Manner::Oslo),
        _ => Some(Manner::Kombu),
    }
}

fn one(url: &str) -> Result<TransportUrl, UrlError> {
    // The text before `://` is repeated in an error only if it cannot be part of a login.
    let (scheme, rest) = scheme(url).filter(|_| has_scheme(url)).ok_or(UrlError::NoScheme)?;
    match scheme.as_str() {
        "memory" => memory(rest),
        // kombu's `librabbitmq` is another client of the same protocol.
        "amqp" | "pyamqp" | "librabbitmq" => amqp(rest, false, Manner::Kombu),
        "amqps" | "pyamqps" => amqp(rest, true, Manner::Kombu),
        "rabbit" | "kombu" => amqp(rest, false, Manner::Oslo),
        // What stands alone is read before the URLs are divided.
        "redis" | "rediss" | "sentinel" | "filesystem" => Err(UrlError::AmongOthers(scheme)),
        _ => Err(unknown(scheme)),
    }
}

/// The error of a scheme that is none of ours; it tells what a transport of kombu's is.
fn unknown(scheme: String) -> UrlError {
    #[cfg(feature = "memory")]
    if let Some(unsupported) = amqp_broker::backend::unsupported_scheme(&scheme) {
        return UrlError::Unsupported(unsupported);
    }
    UrlError::UnknownScheme(scheme)
}

#[cfg(not(feature = "memory"))]
fn memory(_: &str) -> Result<TransportUrl, UrlError> {
    Err(UrlError::NotCompiled { what: "memory://", feature: "memory" })
}

#[cfg(feature = "memory")]
fn memory(rest: &str) -> Result<TransportUrl, UrlError> {
    let rest = rest.split('#').next().unwrap_or_default();
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    // The options of a connection over the network have no effect here, but must be known.
    options::read(query, false, Manner::Kombu)?;
    let name = path.split('/').next().unwrap_or_default();
    // Without a name it is the broker that all of kombu's `memory://` share.
    decode("name", name).map(TransportUrl::Memory)
}

#[cfg(not(feature = "redis"))]
fn redis(_: &str) -> Result<TransportUrl, UrlError> {
    Err(UrlError::NotCompiled { what: "redis://", feature: "redis" })
}

#[cfg(feature = "redis")]
fn redis(url: &str) -> Result<TransportUrl, UrlError> {
    let options = RedisOptions::parse(url)?;
    options.check()?;
    Ok(TransportUrl::Redis(Box::new(options)))
}

#[cfg(not(feature = "filesystem"))]
fn filesystem(_: &str) -> Result<TransportUrl, UrlError> {
    Err(UrlError::NotCompiled { what: "filesystem://", feature: "filesystem" })
}

#[cfg(feature = "filesystem")]
fn filesystem(url: &str) -> Result<TransportUrl, UrlError> {
    Ok(TransportUrl::Filesystem(FilesystemOptions::from_url(url)?))
}

fn amqp(rest: &str, tls: bool, manner: Manner) -> Result<TransportUrl, UrlError> {
    // If an `@` follows later, what looks like a host, a port, a virtual host or an option is part
    // of the password: it must be neither resolved nor repeated.
    let behind = rest.find(['/', '?', '#']).and_then(|end| rest.get(end..)).unwrap_or_default();
    match behind.chars().next().filter(|_| behind.contains('@')) {
        Some(cut_by) => Err(UrlError::Unescaped(cut_by)),
        None => uris(rest, tls, manner).map(TransportUrl::Amqp),
    }
}

fn uris(rest: &str, tls: bool, manner: Manner) -> Result<Vec<Uri>, UrlError> {
    let rest = rest.split('#').next().unwrap_or_default();
    let (authority, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, vhost) = authority.split_once('/').unwrap_or((authority, ""));
    let mut common = options::read(query, tls, manner)?;
    // A missing virtual host, `/` and `//` all mean the broker's `/`, as for oslo.messaging and
    // kombu.
    let vhost = decode("virtual host", vhost)?;
    if !vhost.is_empty() {
        common.vhost = vhost;
    }
    let mut uris = Vec::new();
    let mut rest = hosts;
    while !rest.is_empty() {
        let (item, behind) = rest.split_once(',').unwrap_or((rest, ""));
        rest = behind;
        if !item.is_empty() {
            let is_cut = !item.contains('@') && behind.contains('@');
            let uri = host(item, &common, manner);
            uris.push(uri.map_err(|error| if is_cut { UrlError::Unescaped(',') } else { error })?);
        }
    }
    if uris.is_empty() {
        uris.push(common);
    }
    Ok(uris)
}

/// Parses one host with its login. It inherits no login from the host before it.
fn host(item: &str, common: &Uri, manner: Manner) -> Result<Uri, UrlError> {
    // The last `@` and the first `:` are the separators, as in oslo.messaging.
    let (login, address) = match item.rsplit_once('@') {
        Some((login, address)) => (login, address),
        None => ("", item),
    };
    let (host, port) = address_and_port(address, common.port)?;
    let host = if manner == Manner::Kombu { decode("host", &host)? } else { host };
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (user, password) = (decode("user", user)?, decode("password", password)?);
    let uri = Uri { host, port, ..common.clone() };
    // A missing part is `guest` for kombu, and thus for oslo.messaging, which uses kombu.
    let user = if user.is_empty() { uri.user.clone() } else { user };
    let password = if password.is_empty() { uri.password.clone() } else { password.into() };
    Ok(Uri { user, password, ..uri })
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
        digits => digits.parse().map_err(|_| UrlError::BadPort { host: host.to_owned() })?,
    };
    let host = if host.is_empty() { "localhost" } else { host };
    Ok((host.to_owned(), number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uris(url: &str) -> Vec<Uri> {
        match TransportUrl::read(url).unwrap() {
            TransportUrl::Amqp(uris) => uris,
            #[cfg(feature = "memory")]
            other => panic!("{other:?}"),
        }
    }

    fn refused(url: &str) -> UrlError {
        TransportUrl::parse(url).unwrap_err()
    }

    #[cfg(feature = "memory")]
    fn name_in_memory(url: &str) -> String {
        match TransportUrl::parse(url).unwrap() {
            TransportUrl::Memory(name) => name,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_transport_whose_feature_is_off_is_refused_by_the_name_of_that() {
        for (url, feature, is_on) in [
            ("redis://localhost", "redis", cfg!(feature = "redis")),
            ("sentinel://a;sentinel://b?master_name=m", "redis", cfg!(feature = "redis")),
            ("filesystem://", "filesystem", cfg!(feature = "filesystem")),
        ] {
            match TransportUrl::parse(url) {
                Ok(_) => assert!(is_on, "{url}"),
                Err(error) => {
                    let text = format!("feature `{feature}` of `messaging` is off");
                    assert!(!is_on && error.to_string().ends_with(&text), "{url}: {error}");
                }
            }
        }
    }

    #[test]
    #[cfg(feature = "memory")]
    fn other_transports_of_kombu_point_to_the_seam() {
        for url in ["sqs://", "mongodb://host", "zookeeper://a;b", "sqla+sqlite:///x"] {
            let error = refused(url);
            assert!(matches!(error, UrlError::Unsupported(_)), "{url}: {error}");
        }
    }

    /// Returns `user password host port vhost`.
    fn shown(uri: &Uri) -> String {
        format!("{} {} {} {} {}", uri.user, uri.password.expose(), uri.host, uri.port, uri.vhost)
    }

    fn one(url: &str) -> String {
        let uris = uris(url);
        assert_eq!(uris.len(), 1, "{url}");
        shown(&uris[0])
    }

    #[test]
    fn an_error_repeats_no_part_of_a_password_that_is_not_escaped() {
        for (password, by) in [
            ("se/cret", '/'),
            ("se?cret", '?'),
            ("se#cret", '#'),
            ("se/%zz", '/'),
            ("se,cret", ','),
            ("s@cr/et", '/'),
            ("s@cr?et", '?'),
            ("s@cr#et", '#'),
        ] {
            let error = TransportUrl::parse(&format!("amqp://u:{password}@h/v")).unwrap_err();
            assert_eq!(error, UrlError::Unescaped(by), "{password}");
        }
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
            ("librabbitmq://h/vh", "vh"),
            ("amqp://h/a/b", "a/b"),
            ("amqp://h/v#fragment", "v"),
        ] {
            assert_eq!(one(url), format!("guest guest h 5672 {vhost}"), "{url}");
        }
        for (url, parts) in [
            ("amqp://u:p%40ss@h:1234/vh", "u p@ss h 1234 vh"),
            ("amqp://u@h", "u guest h 5672 /"),
            ("amqp://:p@h", "guest p h 5672 /"),
            ("amqp://u+x:p+y@h:", "u+x p+y h 5672 /"),
            ("amqp://u:p@h:/v", "u p h 5672 v"),
            ("amqp://u:p@ss@h", "u p@ss h 5672 /"),
            ("amqp://h/v%40w", "guest guest h 5672 v@w"),
            ("amqp:///vh", "guest guest localhost 5672 vh"),
            ("amqp://%68ost", "guest guest host 5672 /"),
            ("amqp://[::1]:7/v", "guest guest ::1 7 v"),
            ("amqps://h", "guest guest h 5671 /"),
            ("amqp://h?ssl=1", "guest guest h 5671 /"),
        ] {
            assert_eq!(one(url), parts, "{url}");
        }
    }

    #[test]
    fn alternatives_between_semicolons_are_urls_of_their_own_or_bare_hosts() {
        let shown = |url| uris(url).iter().map(shown).collect::<Vec<_>>();
        for (url, hosts) in [
            ("h1;h2", ["guest guest h1 5672 /", "guest guest h2 5672 /"]),
            ("amqp://u:p@a//v;amqps://b/w", ["u p a 5672 /v", "guest guest b 5671 w"]),
            ("amqp://u:p@a/v;;b:7", ["u p a 5672 v", "guest guest b 7 /"]),
            ("rabbit://u:p;q@a;amqp://b;", ["u p;q a 5672 /", "guest guest b 5672 /"]),
            ("amqp://a?heartbeat=5;rabbit://u:p;@b/v;w", ["guest guest a 5672 /", "u p; b 5672 v;w"]),
        ] {
            assert_eq!(shown(url), hosts, "{url}");
        }
        assert_eq!(refused(";"), UrlError::NoScheme);
        assert_eq!(refused("amqp://a;http://b"), UrlError::UnknownScheme("http".into()));
        assert_eq!(refused("amqp://a;redis://b"), UrlError::AmongOthers("redis".into()));
        #[cfg(feature = "redis")]
        assert_eq!(
            refused("sentinel://a;sentinel://b"),
            UrlError::Redis(amqp_broker::redis::RedisOptionsError::MissingMasterName)
        );
    }

    #[test]
    fn a_password_that_is_cut_by_what_should_be_encoded_is_not_repeated() {
        for url in [
            "amqp://u:se/cret@h",
            "amqp://u:se?cret@h",
            "amqp://u:se;cret@h",
            "rabbit://u:se/cret@h",
            "a;u:cret@h",
        ] {
            let error = TransportUrl::parse(url).unwrap_err();
            assert!(matches!(error, UrlError::Unescaped(_)), "{url}: {error}");
        }
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
    #[cfg(not(feature = "tls"))]
    fn without_its_feature_whatever_asks_for_tls_is_refused_by_the_name_of_that() {
        for url in [
            "amqps://h",
            "pyamqps://u:secret@h/v",
            "amqp://h?ssl=1",
            "amqp://h?ssl_ca_certs=/ca.pem",
            "rabbit://h?ssl=true",
            "amqp://a;amqps://b",
        ] {
            let error = TransportUrl::parse(url).unwrap_err();
            assert_eq!(error, UrlError::NotCompiled { what: "TLS", feature: "tls" }, "{url}");
            assert_eq!(error.to_string(), "TLS is not in this build: feature `tls` of `messaging` is off");
        }
        TransportUrl::parse("rabbit://h?ssl=false").unwrap();
    }

    #[test]
    #[cfg(not(feature = "memory"))]
    fn without_its_feature_a_memory_url_is_refused_by_the_name_of_that() {
        let error = TransportUrl::parse("memory://tests").unwrap_err();
        assert_eq!(
            error.to_string(),
            "memory:// is not in this build: feature `memory` of `messaging` is off"
        );
    }

    #[test]
    #[cfg(feature = "memory")]
    fn memory_brokers_take_the_options_of_amqp_and_no_others() {
        for known in ["heartbeat=5&connect_timeout=1.5", "ssl=1&ssl_cert_reqs=none", "", "login_method=plain"]
        {
            let url = format!("memory://tests/?{known}#fragment");
            assert_eq!(name_in_memory(&url), "tests", "{url}");
        }
        for (option, error) in [
            ("hartbeat=5", UrlError::UnknownOption("hartbeat".into())),
            ("amqp_durable_queues=true", UrlError::UnknownOption("amqp_durable_queues".into())),
            ("verify=verify_none", UrlError::UnknownOption("verify".into())),
            ("connect_timeout=%ff", UrlError::NotUtf8("option")),
        ] {
            for name in ["tests", "", "tests/vhost"] {
                assert_eq!(refused(&format!("memory://{name}?{option}")), error);
            }
        }
        let refused = refused("memory://tests?heartbeat=-1");
        assert!(matches!(refused, UrlError::BadOption { option, .. } if option == "heartbeat"));
    }

    #[test]
    #[cfg(feature = "memory")]
    fn memory_brokers_have_names() {
        assert_eq!(name_in_memory("memory://tests/"), "tests");
        assert_eq!(name_in_memory("memory://"), "");
        assert_eq!(refused("amqp://a;memory://b"), UrlError::AmongOthers("memory".into()));
    }

    #[test]
    fn options_hold_for_every_host_and_unknown_ones_are_refused_by_name() {
        for uri in uris("amqp://h,i/?heartbeat=5&ssl=&connection_timeout=1500") {
            assert_eq!(uri.heartbeat, Some(5));
            assert_eq!(uri.connection_timeout, Some(std::time::Duration::from_millis(1500)));
        }
        assert_eq!(uris("rabbit://h?heartbeat_timeout_threshold=6")[0].heartbeat, Some(6));
        assert_eq!(refused("rabbit://h?sslx=1"), UrlError::UnknownOption("sslx".into()));
        assert!(matches!(TransportUrl::parse("amqp://h?heartbeat=-1"), Err(UrlError::BadOption { .. })));
    }

    #[test]
    fn what_is_wrong_is_named_and_no_password_shown() {
        for (url, error) in [
            ("", UrlError::NoScheme),
            ("h:5672", UrlError::NoScheme),
            ("http://h", UrlError::UnknownScheme("http".into())),
            ("amqp://h?cacertfile=/ca", UrlError::UnknownOption("cacertfile".into())),
            ("rabbit://u:secret@h:abc/", UrlError::BadPort { host: "h".into() }),
            ("amqp://h:65536", UrlError::BadPort { host: "h".into() }),
            ("rabbit://u:secret", UrlError::BadPort { host: "u".into() }),
            ("u:secret://x@h", UrlError::NoScheme),
            ("rabbit://u:secret@h\n", UrlError::Newline),
            ("amqp://h/v\r\n", UrlError::Newline),
            (" amqp://h", UrlError::Space),
            ("amqp://u:\t@h", UrlError::Space),
            ("amqp://u:secret@[::1", UrlError::UnclosedBracket("[::1".into())),
            ("amqp://u:%ff@h", UrlError::NotUtf8("password")),
        ] {
            assert_eq!(refused(url), error, "{url}");
        }
        let url = TransportUrl::parse("amqp://u:secret@h").unwrap();
        assert!(!format!("{url:?}").contains("secret"));
    }
}
