//! `CC` and `BCC`: each exchange matches all keys together, and its alternate exchange follows if
//! none of them matches (<https://www.rabbitmq.com/docs/sender-selected>).

use amqp_codec::{
    Array, Properties, Value,
    method::{basic, confirm, exchange, queue},
};

use crate::tests::{
    both::{both, headers, table},
    peer::{Peer, short},
};

/// Properties with these keys in `CC`, and these in `BCC`.
fn copied(seen: &[&str], blind: &[&str]) -> Properties {
    let keys = |texts: &[&str]| {
        let mut keys = Array::new();
        texts.iter().for_each(|text| keys.push(*text).unwrap());
        Value::Array(keys)
    };
    headers(table([("CC", keys(seen)), ("BCC", keys(blind))]))
}

impl Peer {
    /// Declares a new exchange with an alternate exchange.
    async fn with_alternate(&mut self, exchange: &str, kind: &str, alternate: &str) {
        self.call(1, exchange::Delete { exchange: short(exchange), ..Default::default() }).await;
        let arguments = table([("alternate-exchange", alternate.into())]);
        let declare = exchange::Declare {
            exchange: short(exchange),
            kind: short(kind),
            arguments,
            ..Default::default()
        };
        self.call(1, declare).await;
    }

    async fn lead(&mut self, source: &str, destination: &str, key: &str) {
        let (source, destination, routing_key) = (short(source), short(destination), short(key));
        self.call(1, exchange::Bind { source, destination, routing_key, ..Default::default() }).await;
    }

    /// How many messages each of these queues had; they are empty afterwards.
    async fn drained<const N: usize>(&mut self, queues: [&str; N]) -> [u32; N] {
        self.settle_down().await;
        let mut counts = [0; N];
        for (count, name) in counts.iter_mut().zip(queues) {
            *count =
                self.call(1, queue::Purge { queue: short(name), ..Default::default() }).await.message_count;
        }
        counts
    }

    /// Publishes, and waits until the message is routed.
    async fn copy(&mut self, exchange: &str, key: &str, properties: Properties) {
        self.publish_with(exchange, key, properties, false, b"x").await;
        self.expect::<basic::Ack>(1).await;
    }
}

both! {
    async fn an_alternate_has_its_turn_where_no_key_leads_anywhere(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.call(1, confirm::Select::default()).await;
        for kind in ["direct", "topic"] {
            peer.fresh_exchange("alt.end", "fanout").await;
            peer.with_alternate("alt", kind, "alt.end").await;
            for (name, exchange) in [("alt.q", "alt"), ("alt.none", "alt.end")] {
                peer.fresh(name, []).await;
                peer.bind(name, exchange, "k").await;
            }
            let queues = ["alt.q", "alt.none"];
            for (key, properties) in [
                ("k", copied(&["lost"], &[])),
                ("lost", copied(&["k"], &[])),
                ("lost", copied(&["lost too"], &["k"])),
            ] {
                peer.copy("alt", key, properties).await;
                assert_eq!(peer.drained(queues).await, [1, 0], "{kind}, {key}");
            }
            peer.copy("alt", "lost", copied(&["lost too"], &["and lost"])).await;
            assert_eq!(peer.drained(queues).await, [0, 1], "{kind}");
        }
    }

    async fn every_exchange_is_matched_with_all_keys(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.call(1, confirm::Select::default()).await;
        peer.fresh_exchange("every.topic", "topic").await;
        peer.fresh_exchange("every.direct", "direct").await;
        peer.lead("every.topic", "every.direct", "a.*").await;
        peer.lead("every.direct", "every.topic", "back").await;
        let queues = ["every.k2", "every.b", "every.once"];
        for (name, exchange, key) in [
            ("every.k2", "every.direct", "k2"),
            ("every.b", "every.topic", "b.*"),
            ("every.once", "every.topic", "#"),
            ("every.once", "every.direct", "k2"),
        ] {
            if name != "every.once" || exchange == "every.topic" {
                peer.fresh(name, []).await;
            }
            peer.bind(name, exchange, key).await;
        }
        peer.copy("every.topic", "a.1", copied(&["k2"], &[])).await;
        assert_eq!(peer.drained(queues).await, [1, 0, 1]);
        peer.copy("every.topic", "a.9", copied(&["k2"], &["b.3"])).await;
        assert_eq!(peer.drained(queues).await, [1, 1, 1]);
        // They are bound in a circle, and both match with all keys.
        peer.copy("every.direct", "back", copied(&["a.1", "k2"], &["b.1"])).await;
        assert_eq!(peer.drained(queues).await, [1, 1, 1]);
        // An exchange that leads only to another exchange has matched, so its alternate is not
        // used.
        peer.copy("every.topic", "a.1", copied(&["b.2"], &[])).await;
        assert_eq!(peer.drained(queues).await, [0, 1, 1]);
    }

    async fn dead_letters_are_routed_by_all_keys_as_well(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.call(1, confirm::Select::default()).await;
        peer.fresh_exchange("late.end", "fanout").await;
        peer.with_alternate("late", "direct", "late.end").await;
        for (name, exchange) in [("late.bcc", "late"), ("late.none", "late.end")] {
            peer.fresh(name, []).await;
            peer.bind(name, exchange, "bcc").await;
        }
        peer.fresh("late.dies", [("x-dead-letter-exchange", "late".into()), ("x-message-ttl", 0.into())]).await;
        for (blind, expected) in [("bcc", [1, 0]), ("lost", [0, 1])] {
            peer.copy("", "late.dies", copied(&["lost too"], &[blind])).await;
            let mut counts = [0; 2];
            while counts == [0; 2] {
                counts = peer.drained(["late.bcc", "late.none"]).await;
            }
            assert_eq!(counts, expected, "{blind}");
        }
    }
}
