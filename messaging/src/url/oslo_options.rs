//! The options of oslo.messaging's URLs that say how entities are declared and messages are sent.
//!
//! `TransportOptions::connect` has a table of them.

use std::{borrow::Cow, time::Duration};

use crate::{
    compress::Compression,
    error::{CompressionError, url::UrlError},
    oslo::settings::{
        topology::{Quorum, Topology},
        traffic::Traffic,
    },
    url::options::{Given, OF_OSLO, decode},
};

/// Splits the options for entities and messages off a URL. Returns the URL without them, and the
/// topology and the traffic settings with them applied. Only URLs in oslo.messaging's manner,
/// `rabbit://` and `kombu://`, have such options.
pub(crate) fn take(
    url: &str,
    topology: Topology,
    traffic: Traffic,
) -> Result<(Cow<'_, str>, Topology, Traffic), UrlError> {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let is_oslo =
        matches!(scheme.as_deref().and_then(|scheme| scheme.split('+').next()), Some("rabbit" | "kombu"));
    let Some((before, after)) = url.split_once('?').filter(|_| is_oslo) else {
        return Ok((Cow::Borrowed(url), topology, traffic));
    };
    let (query, fragment) = after.split_once('#').map_or((after, None), |(query, more)| (query, Some(more)));
    let mut entities =
        Entities { topology, traffic, quorum: Quorum::new(), is_quorum: false, names: Names::default() };
    let mut left = Vec::new();
    for pair in query.split('&') {
        let (option, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !OF_OSLO.contains(&option) {
            left.push(pair);
        } else if !value.is_empty() {
            // A blank value counts as missing.
            entities.apply(&Given { option, value: decode("option", value)? })?;
        }
    }
    if left.len() == query.split('&').count() {
        return Ok((Cow::Borrowed(url), entities.topology, traffic));
    }
    let mut url = format!("{before}?{}", left.join("&"));
    if let Some(fragment) = fragment {
        url = format!("{url}#{fragment}");
    }
    let traffic = entities.traffic;
    Ok((Cow::Owned(url), entities.done()?, traffic))
}

/// The options read so far.
struct Entities {
    topology: Topology,
    traffic: Traffic,
    quorum: Quorum,
    is_quorum: bool,
    names: Names,
}

#[derive(Default)]
struct Names {
    wanted: bool,
    host: Option<String>,
    process: Option<String>,
}

impl Entities {
    fn apply(&mut self, given: &Given<'_>) -> Result<(), UrlError> {
        let topology = self.topology.clone();
        self.topology = match given.option {
            "amqp_durable_queues" => topology.durable(given.boolean()?),
            "amqp_auto_delete" => topology.auto_delete(given.boolean()?),
            "rabbit_transient_quorum_queue" => topology.transient_quorum(given.boolean()?),
            "rabbit_stream_fanout" => topology.stream_fanout(given.boolean()?),
            "rabbit_ha_queues" => topology.mirrored(given.boolean()?),
            "enable_cancel_on_failover" => topology.cancel_on_failover(given.boolean()?),
            "rabbit_transient_queues_ttl" => {
                topology.transient_ttl(Duration::from_secs(given.long()?.into()))
            }
            other => {
                self.note(other, given)?;
                topology
            }
        };
        Ok(())
    }

    /// Notes an option that has a meaning only together with others.
    fn note(&mut self, option: &str, given: &Given<'_>) -> Result<(), UrlError> {
        match option {
            "rabbit_quorum_queue" => self.is_quorum = given.boolean()?,
            "rabbit_quorum_delivery_limit" => self.quorum = self.quorum.delivery_limit(given.long()?),
            "rabbit_quorum_max_memory_length" => self.quorum = self.quorum.memory_length(given.long()?),
            "rabbit_quorum_max_memory_bytes" => self.quorum = self.quorum.memory_bytes(given.long()?.into()),
            "rabbit_qos_prefetch_count" => self.traffic.prefetch = Some(given.short()?),
            "kombu_compression" => self.traffic.compression = Some(compression(given)?),
            "use_queue_manager" => self.names.wanted = given.boolean()?,
            "hostname" => self.names.host = Some(given.value.clone()),
            _ => self.names.process = Some(given.value.clone()),
        }
        Ok(())
    }

    fn done(self) -> Result<Topology, UrlError> {
        let Entities { mut topology, quorum, is_quorum, names, .. } = self;
        if is_quorum {
            topology = topology.quorum(quorum);
        }
        match (names.wanted, names.host, names.process) {
            (false, ..) => Ok(topology),
            (true, Some(host), Some(process)) => Ok(topology.process(&host, &process)),
            // Python defaults to the names of the machine and the program; here they are required,
            // because two processes of one program must have different names.
            _ => Err(UrlError::BadOption {
                option: "use_queue_manager".to_owned(),
                value: "true".to_owned(),
                expected: "false, or true together with hostname and processname",
            }),
        }
    }
}

/// Refuses a compression here with which every message would fail.
fn compression(given: &Given<'_>) -> Result<Compression, UrlError> {
    let known: Compression =
        given.value.parse().map_err(|_| given.bad("gzip, bzip2, lzma, zstd or brotli"))?;
    match known.compress(b"") {
        Ok(_) => Ok(known),
        Err(CompressionError::NotCompiled { feature }) => {
            Err(UrlError::NotCompiled { what: known.name(), feature })
        }
        Err(_) => Err(given.bad("a compression that can compress")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology(query: &str) -> Result<Topology, UrlError> {
        take(&format!("rabbit://h/?{query}"), Topology::new(), Traffic::default())
            .map(|(_, topology, _)| topology)
    }

    #[test]
    fn each_option_says_what_its_setter_does() {
        let plain = Topology::new();
        let limits = Quorum::new().delivery_limit(3).memory_length(10).memory_bytes(1000);
        let quorum = "rabbit_quorum_queue=true&rabbit_quorum_delivery_limit=3&rabbit_quorum_max_memory_length=10&rabbit_quorum_max_memory_bytes=1000";
        for (query, expected) in [
            ("", plain.clone()),
            ("amqp_durable_queues=true", plain.clone().durable(true)),
            ("amqp_durable_queues=&amqp_auto_delete=1", plain.clone().auto_delete(true)),
            (quorum, plain.clone().quorum(limits)),
            ("rabbit_transient_quorum_queue=true", plain.clone().transient_quorum(true)),
            ("rabbit_stream_fanout=true", plain.clone().stream_fanout(true)),
            (
                "rabbit_ha_queues=true&enable_cancel_on_failover=True",
                plain.clone().mirrored(true).cancel_on_failover(true),
            ),
            ("rabbit_transient_queues_ttl=60", plain.clone().transient_ttl(Duration::from_secs(60))),
            ("use_queue_manager=true&hostname=node1&processname=p", plain.clone().process("node1", "p")),
            ("hostname=node1&use_queue_manager=false", plain),
        ] {
            assert_eq!(topology(query).unwrap(), expected, "{query}");
        }
    }

    #[test]
    fn the_url_says_how_messages_travel_over_what_was_said_before() {
        let before = Traffic { prefetch: Some(7), ..Traffic::default() };
        let traffic = |query: &str| {
            take(&format!("rabbit://h/?{query}"), Topology::new(), before).map(|(_, _, traffic)| traffic)
        };
        assert_eq!(traffic("heartbeat=5").unwrap(), before);
        assert_eq!(traffic("rabbit_qos_prefetch_count=&amqp_auto_delete=1").unwrap(), before);
        assert_eq!(traffic("rabbit_qos_prefetch_count=0").unwrap().prefetch, Some(0));
        let compressed = traffic("kombu_compression=gzip").unwrap();
        assert_eq!(compressed, Traffic { compression: Some(Compression::Zlib), ..before });
    }

    #[test]
    fn what_is_no_value_is_refused_by_its_name() {
        for query in [
            "amqp_durable_queues=maybe",
            "rabbit_transient_queues_ttl=x",
            "use_queue_manager=true",
            "rabbit_qos_prefetch_count=65536",
            "kombu_compression=bz2",
        ] {
            assert!(matches!(topology(query), Err(UrlError::BadOption { .. })), "{query}");
        }
    }

    #[test]
    fn a_compression_whose_feature_is_off_is_refused_by_that() {
        for (name, feature, is_on) in [
            ("gzip", "zlib", true),
            ("zstd", "zstd", cfg!(feature = "zstd")),
            ("lzma", "xz", cfg!(feature = "xz")),
            ("bzip2", "bzip2", cfg!(feature = "bzip2")),
            ("brotli", "brotli", cfg!(feature = "brotli")),
        ] {
            let refused = topology(&format!("kombu_compression={name}")).map(drop);
            let expected = Err(UrlError::NotCompiled { what: feature, feature });
            assert_eq!(refused, if is_on { Ok(()) } else { expected }, "{name}");
        }
    }

    #[test]
    fn the_rest_of_the_url_is_left_as_it_is() {
        for (url, left) in [
            ("rabbit://h/v?heartbeat=5&amqp_auto_delete=1&ssl=1#f", "rabbit://h/v?heartbeat=5&ssl=1#f"),
            ("kombu+x://h?amqp_auto_delete=1", "kombu+x://h?"),
            ("rabbit://h?heartbeat=5", "rabbit://h?heartbeat=5"),
            ("amqp://h?amqp_auto_delete=1", "amqp://h?amqp_auto_delete=1"),
            ("memory://x", "memory://x"),
        ] {
            assert_eq!(take(url, Topology::new(), Traffic::default()).unwrap().0, left);
        }
    }
}
