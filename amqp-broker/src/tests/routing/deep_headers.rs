//! Headers that nest deeper than a decoded table may, or are longer than a frame: everything that
//! can be done with a message works with them.

use amqp_codec::{
    ContentHeader, EncodedProperties, Entries, Frame, Table, Value, ValueRef,
    method::{basic, exchange, queue},
};
use bytes::Bytes;

use crate::tests::{
    both::{both, table},
    peer::{Came, FRAME_MAX, Peer, short},
};

/// Depths that RabbitMQ accepts; a `Table` nests at most 32.
const DEPTHS: [usize; 5] = [32, 33, 40, 100, 1000];

/// An entry `deep` with so many nested tables or arrays.
fn deep(depth: usize, kind: u8) -> Vec<u8> {
    let mut value = Vec::new();
    for level in 0..depth {
        let name = if kind == b'F' && level > 0 { &b"\x01n"[..] } else { b"" };
        let length = ((name.len() + value.len()) as u32).to_be_bytes();
        value = [&[kind][..], &length, name, &value].concat();
    }
    [b"\x04deep", &value[..]].concat()
}

/// An encoded property list with only headers.
fn properties(headers: &[u8]) -> EncodedProperties {
    let length = (headers.len() as u32).to_be_bytes();
    EncodedProperties::from_encoded([&[0x20, 0][..], &length, headers].concat().into())
}

impl Peer {
    /// Publishes with unchecked headers.
    async fn put_raw(&mut self, exchange: &str, key: &str, headers: &[u8], body: &'static str) {
        let publish =
            basic::Publish { exchange: short(exchange), routing_key: short(key), ..Default::default() };
        self.send(1, publish).await;
        let header =
            ContentHeader { class_id: 60, body_size: body.len() as u64, properties: properties(headers) };
        self.frame(&Frame::Header(1, header)).await;
        self.frame(&Frame::Body(1, Bytes::from(body))).await;
    }

    /// The next delivery from the queue, which has this body.
    async fn next_of(&mut self, body: &str) -> Came<basic::Deliver> {
        let came = self.came().await;
        assert_eq!(came.text(), body);
        came
    }
}

impl<M> Came<M> {
    /// The encoded headers.
    fn encoded(&self) -> &[u8] {
        let all = self.header.properties.as_encoded();
        assert!(all.starts_with(&[0x20, 0]), "{all:?}");
        &all[6..]
    }

    fn names(&self) -> Vec<String> {
        let names = Entries::from_encoded(self.encoded()).map(|(name, _)| name);
        names.map(|name| String::from_utf8(name.to_vec()).unwrap()).collect()
    }

    fn header(&self, name: &str) -> ValueRef<'_> {
        Entries::from_encoded(self.encoded()).find(|(other, _)| *other == name.as_bytes()).unwrap().1
    }

    /// Tells whether the headers contain this encoded entry.
    fn has(&self, entry: &[u8]) -> bool {
        self.encoded().windows(entry.len()).any(|window| window == entry)
    }
}

fn with<const N: usize>(deep: &[u8], others: [(&str, Value); N]) -> Vec<u8> {
    [deep, table(others).as_encoded()].concat()
}

fn copies(key: &'static str) -> Value {
    let mut copies = amqp_codec::Array::new();
    copies.push(key).unwrap();
    copies.into()
}

both! {
    async fn dead_letters_have_them(broker: &Tested) {
        let mut peer = broker.open().await;
        let to = [("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", "deep.dead".into())];
        peer.fresh("deep.dies", to).await;
        peer.fresh("deep.dead", []).await;
        peer.take("deep.dies").await;
        peer.take("deep.dead").await;
        for (depth, kind) in DEPTHS.into_iter().flat_map(|depth| [(depth, b'F'), (depth, b'A')]) {
            let deep = deep(depth, kind);
            peer.put_raw("", "deep.dies", &with(&deep, [("a", 1.into())]), "dies").await;
            let came = peer.next_of("dies").await;
            peer.nack(came.method.delivery_tag, false).await;
            let came = peer.next_of("dies").await;
            let names = [
                "a",
                "deep",
                "x-death",
                "x-first-death-exchange",
                "x-first-death-queue",
                "x-first-death-reason",
                "x-last-death-exchange",
                "x-last-death-queue",
                "x-last-death-reason",
            ];
            let count = if broker.is_before_4_0() { 6 } else { 9 };
            assert_eq!(came.names(), names[..count], "{depth}");
            assert!(came.has(&deep), "{depth}");
        }
    }

    async fn earlier_deaths_may_have_them(broker: &Tested) {
        let mut peer = broker.open().await;
        let to = [("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", "deep.last".into())];
        peer.fresh("deep.again", to).await;
        peer.fresh("deep.last", []).await;
        peer.take("deep.again").await;
        peer.take("deep.last").await;
        let deep = deep(100, b'F');
        for (queue, kept) in [("deep.before", 2), ("deep.again", 1)] {
            let named = table([("queue", queue.into()), ("reason", "rejected".into()), ("count", 4.into())]);
            let earlier = [&deep, &named.as_encoded()[..]].concat();
            let length = |octets: &[u8]| (octets.len() as u32).to_be_bytes();
            let deaths = [b"F", &length(&earlier)[..], &earlier].concat();
            let headers = [b"\x07x-deathA", &length(&deaths)[..], &deaths].concat();
            peer.put_raw("", "deep.again", &headers, "again").await;
            let came = peer.next_of("again").await;
            peer.nack(came.method.delivery_tag, false).await;
            let came = peer.next_of("again").await;
            let ValueRef::Array(deaths) = came.header("x-death") else { panic!("no deaths") };
            let counts = deaths.map(|death| match death {
                ValueRef::Table(mut death) => death.find(|(name, _)| *name == b"count").unwrap().1.as_i64(),
                other => panic!("no death: {other:?}"),
            });
            let counts: Vec<_> = counts.collect();
            if !broker.is_before_4_0() {
                // A publisher's own entries count for nothing.
                assert_eq!(counts, [Some(1)]);
                continue;
            }
            assert_eq!(counts, [[Some(1), Some(4)], [Some(5), None]][2 - kept][..kept]);
            assert!(came.has(&deep));
        }
    }

    async fn what_returns_has_them(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.fresh("deep.quorum", [("x-queue-type", "quorum".into())]).await;
        peer.take("deep.quorum").await;
        for depth in DEPTHS {
            let deep = deep(depth, b'F');
            peer.put_raw("", "deep.quorum", &with(&deep, [("a", 1.into())]), "returns").await;
            let came = peer.next_of("returns").await;
            peer.nack(came.method.delivery_tag, true).await;
            let came = peer.next_of("returns").await;
            assert_eq!(came.names(), ["a", "deep", "x-delivery-count"], "{depth}");
            assert_eq!(came.header("x-delivery-count"), ValueRef::I64(1));
            assert!(came.has(&deep), "{depth}");
            peer.send(1, basic::Ack { delivery_tag: came.method.delivery_tag, multiple: false }).await;
        }
    }

    async fn headers_route_them(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.fresh_exchange("deep.headers", "headers").await;
        let wanted: [(&str, Table); 3] = [
            ("deep.by", table([("a", 1.into())])),
            ("deep.there", table([("deep", Value::Void)])),
            ("deep.other", table([("deep", Table::new().into())])),
        ];
        for (queue, arguments) in wanted {
            peer.fresh(queue, []).await;
            let exchange = short("deep.headers");
            peer.call(1, queue::Bind { queue: short(queue), exchange, arguments, ..Default::default() }).await;
            peer.take(queue).await;
        }
        for depth in DEPTHS {
            let deep = deep(depth, b'F');
            peer.put_raw("deep.headers", "", &with(&deep, [("a", 1.into())]), "routed").await;
            let mut tags = Vec::new();
            for _ in 0..2 {
                let came = peer.next_of("routed").await;
                assert!(came.has(&deep), "{depth}");
                tags.push(came.method.consumer_tag.to_string());
            }
            tags.sort();
            assert_eq!(tags, ["deep.by", "deep.there"]);
        }
        peer.settle_down().await;
        peer.call(1, exchange::Delete { exchange: short("deep.headers"), ..Default::default() }).await;
    }

    async fn copies_go_with_them(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.fresh("deep.copy", []).await;
        peer.take("deep.copy").await;
        for (depth, name) in DEPTHS.into_iter().flat_map(|depth| [(depth, "CC"), (depth, "BCC")]) {
            let deep = deep(depth, b'A');
            peer.put_raw("", "deep.none", &with(&deep, [(name, copies("deep.copy"))]), "copied").await;
            let came = peer.next_of("copied").await;
            assert!(came.has(&deep), "{depth}");
            let names = if broker.is_before_4_0() { ["deep", "CC"] } else { ["CC", "deep"] };
            assert_eq!(came.names(), if name == "CC" { &names[..] } else { &["deep"] });
        }
        // Elements may have any type, but only texts are keys.
        let deep = deep(100, b'A');
        peer.put_raw("", "deep.copy", &[b"\x02CC", &deep[5..]].concat(), "keyless").await;
        peer.next_of("keyless").await;
    }

    async fn a_header_that_grew_over_frame_max_is_sent_in_one_frame(broker: &Tested) {
        let mut peer = broker.open().await;
        let to = [("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", "deep.long".into())];
        peer.fresh("deep.grows", to).await;
        peer.fresh("deep.long", []).await;
        peer.take("deep.grows").await;
        let long = table([("long", Value::from("x".repeat(FRAME_MAX - 100)))]);
        peer.put_raw("", "deep.grows", long.as_encoded(), "grows").await;
        let came = peer.next_of("grows").await;
        peer.nack(came.method.delivery_tag, false).await;
        peer.settle_down().await;
        peer.send(1, basic::Get { queue: short("deep.long"), no_ack: true, ..Default::default() }).await;
        let got = peer.octets(7).await;
        let rest = peer.octets(u32::from_be_bytes(got[3..].try_into().unwrap()) as usize + 1).await;
        assert_eq!((got[0], &rest[..4]), (1, &[0, 60, 0, 71][..]));
        let header = peer.octets(7).await;
        let size = u32::from_be_bytes(header[3..].try_into().unwrap()) as usize;
        assert_eq!(header[0], 2);
        assert!(size > FRAME_MAX, "{size}");
        let header = peer.octets(size + 1).await;
        assert!(header.windows(7).any(|window| window == b"x-death"));
        assert!(peer.octets(5 + 8).await.ends_with(b"grows\xce"));
    }
}
