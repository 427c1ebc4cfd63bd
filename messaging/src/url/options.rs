//! The options after the `?` of a transport URL.
//!
//! `TransportOptions::connect` has a table of them.

use std::{path::PathBuf, time::Duration};

use amqp_client::Uri;
use percent_encoding::percent_decode_str;

use crate::error::url::UrlError;

const DEFAULT_PORT: u16 = 5672;
const DEFAULT_TLS_PORT: u16 = 5671;

/// The library whose conventions a URL follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// `amqp`, `pyamqp`: RabbitMQ's and kombu's.
    Kombu,
    /// `rabbit`, `kombu`: oslo.messaging's.
    Oslo,
}

/// One option with a value that is not blank.
pub(super) struct Given<'a> {
    pub(super) option: &'a str,
    pub(super) value: String,
}

impl Given<'_> {
    pub(super) fn bad(&self, expected: &'static str) -> UrlError {
        UrlError::BadOption { option: self.option.to_owned(), value: self.value.clone(), expected }
    }

    pub(super) fn short(&self) -> Result<u16, UrlError> {
        self.value.parse().map_err(|_| self.bad("a number from 0 to 65535"))
    }

    pub(super) fn long(&self) -> Result<u32, UrlError> {
        self.value.parse().map_err(|_| self.bad("a number from 0 to 4294967295"))
    }

    /// Parses seconds; for kombu, a fraction is allowed.
    fn seconds(&self) -> Result<Duration, UrlError> {
        let seconds = self.value.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        seconds
            .filter(|seconds| seconds.as_secs() < u16::MAX.into())
            .ok_or_else(|| self.bad("seconds, from 0 to 65535"))
    }

    fn whole_seconds(&self) -> Result<u16, UrlError> {
        let seconds = self.seconds()?;
        let whole = seconds.as_secs() + u64::from(seconds.subsec_nanos() > 0);
        u16::try_from(whole).map_err(|_| self.bad("seconds, from 0 to 65535"))
    }

    pub(super) fn boolean(&self) -> Result<bool, UrlError> {
        match self.value.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" | "t" | "y" => Ok(true),
            "0" | "false" | "no" | "off" | "f" | "n" => Ok(false),
            _ => Err(self.bad("true or false")),
        }
    }
}

/// Returns a URI with the options of the part after `?`; `tls` is what the scheme says.
pub(super) fn read(query: &str, tls: bool, manner: Manner) -> Result<Uri, UrlError> {
    let mut given = Vec::new();
    for pair in query.split('&') {
        let (option, value) = pair.split_once('=').unwrap_or((pair, ""));
        // A blank value counts as missing, as for kombu and oslo.messaging.
        if !value.is_empty() {
            given.push(Given { option, value: decode("option", value)? });
        }
    }
    let tls = tls || asks_for_tls(&given, manner)?;
    let port = if tls && manner == Manner::Kombu { DEFAULT_TLS_PORT } else { DEFAULT_PORT };
    let mut uri = Uri { tls, port, ..Uri::default() };
    for given in &given {
        apply(&mut uri, given, manner)?;
    }
    check_hostname(&uri, &given)?;
    Ok(uri)
}

/// Percent-decodes once; `+` stays `+`.
pub(super) fn decode(what: &'static str, text: &str) -> Result<String, UrlError> {
    match percent_decode_str(text).decode_utf8() {
        Ok(decoded) => Ok(decoded.into_owned()),
        Err(_) => Err(UrlError::NotUtf8(what)),
    }
}

fn asks_for_tls(given: &[Given<'_>], manner: Manner) -> Result<bool, UrlError> {
    let mut tls = false;
    for given in given {
        tls |= match (given.option, manner) {
            ("ssl", Manner::Oslo) => given.boolean()?,
            // For kombu any text means true, even `false`. That would surprise, so `false` is
            // refused.
            ("ssl", Manner::Kombu) if given.boolean()? => true,
            ("ssl", Manner::Kombu) => return Err(given.bad("true, or leave the option out")),
            (option, Manner::Kombu) => option.starts_with("ssl_"),
            _ => false,
        };
    }
    Ok(tls)
}

fn apply(uri: &mut Uri, given: &Given<'_>, manner: Manner) -> Result<(), UrlError> {
    match given.option {
        "heartbeat" | "heartbeat_timeout_threshold" => uri.heartbeat = Some(given.whole_seconds()?),
        "connection_timeout" => uri.connection_timeout = Some(Duration::from_millis(given.long()?.into())),
        "connect_timeout" => uri.connection_timeout = Some(given.seconds()?),
        "channel_max" => uri.channel_max = Some(given.short()?),
        "frame_max" => uri.frame_max = Some(given.long()?),
        "auth_mechanism" | "login_method" => uri.auth_mechanisms.push(given.value.clone()),
        "ssl" => {}
        _ if uri.tls => return apply_tls(uri, given, manner),
        option => return Err(unknown(option, manner)),
    }
    Ok(())
}

/// The options of oslo.messaging's URLs for entities and messages; they need the feature `oslo`.
pub(super) const OF_OSLO: [&str; 16] = [
    "amqp_durable_queues",
    "amqp_auto_delete",
    "rabbit_quorum_queue",
    "rabbit_quorum_delivery_limit",
    "rabbit_quorum_max_memory_length",
    "rabbit_quorum_max_memory_bytes",
    "rabbit_transient_quorum_queue",
    "rabbit_stream_fanout",
    "rabbit_ha_queues",
    "enable_cancel_on_failover",
    "rabbit_transient_queues_ttl",
    "use_queue_manager",
    "hostname",
    "processname",
    "rabbit_qos_prefetch_count",
    "kombu_compression",
];

fn unknown(option: &str, manner: Manner) -> UrlError {
    let not_compiled = OF_OSLO.iter().find(|known| **known == option);
    match not_compiled.filter(|_| manner == Manner::Oslo && cfg!(not(feature = "oslo"))) {
        Some(what) => UrlError::NotCompiled { what, feature: "oslo" },
        None => UrlError::UnknownOption(option.to_owned()),
    }
}

fn apply_tls(uri: &mut Uri, given: &Given<'_>, manner: Manner) -> Result<(), UrlError> {
    let file = || Some(PathBuf::from(&given.value));
    match (given.option, manner) {
        ("cacertfile", _) | ("ssl_ca_certs", Manner::Kombu) | ("ssl_ca_file", Manner::Oslo) => {
            uri.cacertfile = file();
        }
        ("certfile", _) | ("ssl_certfile", Manner::Kombu) | ("ssl_cert_file", Manner::Oslo) => {
            uri.certfile = file();
        }
        ("keyfile", _) | ("ssl_keyfile", Manner::Kombu) | ("ssl_key_file", Manner::Oslo) => {
            uri.keyfile = file();
        }
        ("server_name_indication", _) | ("ssl_server_hostname", Manner::Kombu) => {
            uri.server_name_indication = Some(given.value.clone());
        }
        ("verify", _) => {
            uri.verify = Some(match given.value.as_str() {
                "verify_peer" => true,
                "verify_none" => false,
                _ => return Err(given.bad("verify_peer or verify_none")),
            });
        }
        ("ssl_cert_reqs", Manner::Kombu) => {
            uri.verify = Some(match given.value.as_str() {
                // A client with an "optional" requirement verifies the certificate it gets, and a
                // broker always sends one.
                "required" | "CERT_REQUIRED" | "optional" | "CERT_OPTIONAL" => true,
                "none" | "CERT_NONE" => false,
                _ => return Err(given.bad("required, optional or none")),
            });
        }
        ("ssl_check_hostname", Manner::Kombu) => drop(given.boolean()?),
        (option, _) => return Err(unknown(option, manner)),
    }
    Ok(())
}

/// Refuses to verify a certificate without the host name.
fn check_hostname(uri: &Uri, given: &[Given<'_>]) -> Result<(), UrlError> {
    let wants_less = |given: &&Given<'_>| {
        given.option == "ssl_check_hostname" && given.boolean() == Ok(false) && uri.verify != Some(false)
    };
    match given.iter().find(wants_less) {
        Some(given) => Err(given.bad("true, or false together with ssl_cert_reqs=none")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kombu(query: &str) -> Result<Uri, UrlError> {
        read(query, false, Manner::Kombu)
    }

    fn oslo(query: &str) -> Result<Uri, UrlError> {
        read(query, false, Manner::Oslo)
    }

    #[test]
    fn times_are_read_in_the_units_of_each() {
        for (query, seconds) in
            [("heartbeat=5", 5), ("heartbeat=5.5", 6), ("heartbeat=0", 0), ("heartbeat=5.0", 5)]
        {
            assert_eq!(kombu(query).unwrap().heartbeat, Some(seconds), "{query}");
        }
        assert_eq!(oslo("heartbeat_timeout_threshold=6").unwrap().heartbeat, Some(6));
        assert_eq!(
            kombu("connection_timeout=1500").unwrap().connection_timeout,
            Some(Duration::from_millis(1500))
        );
        assert_eq!(
            kombu("connect_timeout=1.5").unwrap().connection_timeout,
            Some(Duration::from_millis(1500))
        );
        for query in [
            "heartbeat=-1",
            "heartbeat=NaN",
            "heartbeat=65536",
            "connect_timeout=inf",
            "frame_max=x",
            "channel_max=65536",
        ] {
            assert!(matches!(kombu(query), Err(UrlError::BadOption { .. })), "{query}");
        }
    }

    #[test]
    fn mechanisms_are_kept_in_order() {
        let uri = kombu("login_method=EXTERNAL&auth_mechanism=plain").unwrap();
        assert_eq!(uri.auth_mechanisms, ["EXTERNAL", "plain"]);
    }

    #[test]
    fn ssl_is_tls_on_the_port_that_each_takes() {
        for query in
            ["ssl=1", "ssl=True", "ssl_cert_reqs=required", "ssl_ca_certs=/ca.pem", "ssl_check_hostname=true"]
        {
            let uri = kombu(query).unwrap();
            assert_eq!((uri.tls, uri.port), (true, 5671), "{query}");
        }
        let uri = oslo("ssl=true&ssl_ca_file=/ca.pem").unwrap();
        assert_eq!((uri.tls, uri.port, uri.verify), (true, 5672, None));
        assert!(!oslo("ssl=false").unwrap().tls);
        assert!(matches!(kombu("ssl=false"), Err(UrlError::BadOption { .. })));
        assert!(matches!(oslo("ssl=maybe"), Err(UrlError::BadOption { .. })));
    }

    #[test]
    fn files_and_names_of_tls_go_by_three_names_each() {
        let named = |query: &str, manner| {
            let uri = read(query, true, manner).unwrap();
            [uri.cacertfile, uri.certfile, uri.keyfile].map(|file| file.unwrap().display().to_string())
        };
        for (query, manner) in [
            ("cacertfile=/a&certfile=/b&keyfile=/c%20d", Manner::Kombu),
            ("ssl_ca_certs=/a&ssl_certfile=/b&ssl_keyfile=/c%20d", Manner::Kombu),
            ("ssl=1&ssl_ca_file=/a&ssl_cert_file=/b&ssl_key_file=/c%20d", Manner::Oslo),
        ] {
            assert_eq!(named(query, manner), ["/a", "/b", "/c d"]);
        }
        let name = kombu("ssl_server_hostname=broker.example").unwrap().server_name_indication;
        assert_eq!(name.as_deref(), Some("broker.example"));
    }

    #[test]
    fn what_is_verified_is_said_in_many_ways() {
        for (query, verify) in [
            ("ssl_cert_reqs=required", true),
            ("ssl_cert_reqs=CERT_REQUIRED", true),
            ("ssl_cert_reqs=optional", true),
            ("ssl_cert_reqs=CERT_OPTIONAL", true),
            ("ssl_cert_reqs=none", false),
            ("ssl_cert_reqs=CERT_NONE", false),
            ("ssl_check_hostname=false&ssl_cert_reqs=none", false),
            ("ssl=1&verify=verify_none", false),
            ("ssl=1&verify=verify_peer", true),
        ] {
            assert_eq!(kombu(query).unwrap().verify, Some(verify), "{query}");
        }
        for query in [
            "ssl_cert_reqs=never",
            "ssl=1&verify=no",
            "ssl_check_hostname=false",
            "ssl_check_hostname=false&ssl_cert_reqs=required",
        ] {
            assert!(matches!(kombu(query), Err(UrlError::BadOption { .. })), "{query}");
        }
    }

    #[test]
    fn what_has_no_counterpart_is_refused_by_name_and_so_is_tls_without_tls() {
        for option in [
            "ssl_ciphers",
            "ssl_ca_data",
            "ssl_min_version",
            "ssl_keyfile_password",
            "failover_strategy",
            "transport",
            "ssl_ca_file",
        ] {
            assert_eq!(kombu(&format!("{option}=x")), Err(UrlError::UnknownOption(option.into())));
        }
        for option in ["ssl_ca_file", "cacertfile", "ssl_ca_certs", "kombu_reconnect_delay", "verify"] {
            assert_eq!(oslo(&format!("{option}=x")), Err(UrlError::UnknownOption(option.into())));
        }
        assert!(oslo("ssl=1&ssl_version=TLSv1").is_err());
    }

    #[cfg(not(feature = "oslo"))]
    #[test]
    fn without_its_feature_what_is_said_of_entities_is_refused_by_the_name_of_that() {
        for what in OF_OSLO {
            let query = format!("{what}=true");
            assert_eq!(oslo(&query), Err(UrlError::NotCompiled { what, feature: "oslo" }));
            assert_eq!(oslo(&format!("ssl=1&{query}")), Err(UrlError::NotCompiled { what, feature: "oslo" }));
            assert_eq!(kombu(&query), Err(UrlError::UnknownOption(what.to_owned())));
        }
    }

    #[test]
    fn blank_values_are_none() {
        assert_eq!(kombu("").unwrap(), Uri::default());
        assert_eq!(kombu("ssl=&heartbeat=&whatever").unwrap(), Uri::default());
    }
}
