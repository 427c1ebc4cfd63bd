//! Recorded sessions of other clients with RabbitMQ, read to the last byte and written back the
//! same. `golden/README.md` says how they were made.

use std::collections::{HashMap, HashSet};

use amqp_codec::{
    Assembler, Content, ContentHeader, Frame, FrameKind, FrameScanner, Frames, LongString, Method, MethodId,
    Properties, RawFrame, Sender, Table, Value,
    borrowed::{ContentProperties, Deliver},
    frame::{FRAME_END, PROTOCOL_HEADER},
    method::{basic, connection},
    parse::complete,
    sasl,
    scanner::Passed,
};
use bytes::{Bytes, BytesMut};

/// One direction of a session.
struct Recording {
    name: &'static str,
    bytes: &'static [u8],
    frame_max: usize,
}

macro_rules! recording {
    ($name:literal, $frame_max:literal) => {
        Recording {
            name: $name,
            bytes: include_bytes!(concat!("golden/", $name, ".bin")),
            frame_max: $frame_max,
        }
    };
}

const PIKA_CLIENT: Recording = recording!("pika.client", 4096);
const PIKA_BROKER: Recording = recording!("pika.broker", 4096);
const PY_AMQP_CLIENT: Recording = recording!("py-amqp.client", 131_072);
const PY_AMQP_BROKER: Recording = recording!("py-amqp.broker", 131_072);
const LAPIN_CLIENT: Recording = recording!("lapin.client", 8192);
const LAPIN_BROKER: Recording = recording!("lapin.broker", 8192);
const AMQPRS_CLIENT: Recording = recording!("amqprs.client", 131_072);
const AMQPRS_BROKER: Recording = recording!("amqprs.broker", 131_072);
const JAVA_CLIENT: Recording = recording!("java.client", 8192);
const JAVA_BROKER: Recording = recording!("java.broker", 8192);
const RABBITMQ_C_PUBLISH: Recording = recording!("rabbitmq-c-publish.client", 131_072);
const RABBITMQ_C_GET: Recording = recording!("rabbitmq-c-get.broker", 131_072);
const ALL: [Recording; 18] = [
    PIKA_CLIENT,
    PIKA_BROKER,
    PY_AMQP_CLIENT,
    PY_AMQP_BROKER,
    LAPIN_CLIENT,
    LAPIN_BROKER,
    AMQPRS_CLIENT,
    AMQPRS_BROKER,
    JAVA_CLIENT,
    JAVA_BROKER,
    RABBITMQ_C_PUBLISH,
    recording!("rabbitmq-c-publish.broker", 131_072),
    recording!("rabbitmq-c-get.client", 131_072),
    RABBITMQ_C_GET,
    recording!("rabbitmq-c-declare.client", 131_072),
    recording!("rabbitmq-c-declare.broker", 131_072),
    recording!("rabbitmq-c-consume.client", 131_072),
    recording!("rabbitmq-c-consume.broker", 131_072),
];

impl Recording {
    /// Everything after the protocol header, which only clients send.
    fn frame_bytes(&self) -> BytesMut {
        self.bytes.strip_prefix(&PROTOCOL_HEADER).unwrap_or(self.bytes).into()
    }

    fn frames(&self) -> Vec<Frame> {
        let mut rest = self.frame_bytes();
        let mut frames = Vec::new();
        while let Some(raw) = RawFrame::split_from(&mut rest, self.frame_max).unwrap() {
            frames.push(raw.decode().unwrap());
        }
        assert!(rest.is_empty(), "{}: {} bytes are no frame", self.name, rest.len());
        frames
    }

    fn methods(&self) -> impl Iterator<Item = Method> {
        self.frames().into_iter().filter_map(|frame| match frame {
            Frame::Method(_, method) => Some(method),
            _ => None,
        })
    }

    fn first<M: TryFrom<Method>>(&self) -> M {
        self.methods().find_map(|method| M::try_from(method).ok()).unwrap()
    }

    /// All contents, assembled for each channel.
    fn contents(&self) -> Vec<Content<Method>> {
        let mut channels: HashMap<u16, Assembler<Method>> = HashMap::new();
        let mut contents = Vec::new();
        for frame in self.frames() {
            match frame {
                Frame::Method(channel, method) if method.has_content() => {
                    channels.entry(channel).or_default().method(method).unwrap();
                }
                Frame::Method(channel, _) => channels.entry(channel).or_default().expect_method().unwrap(),
                Frame::Header(channel, header) => {
                    contents.extend(channels.entry(channel).or_default().header(header).unwrap());
                }
                Frame::Body(channel, part) => {
                    contents.extend(channels.entry(channel).or_default().body(part).unwrap());
                }
                Frame::Heartbeat(_) => {}
            }
        }
        assert!(channels.values().all(Assembler::is_idle), "{}: ends within a content", self.name);
        contents
    }

    /// The properties of the one message that has all of them.
    fn properties(&self) -> Properties {
        let longest = self.contents().into_iter().max_by_key(|content| encoded(content).len()).unwrap();
        longest.header.properties.decode().unwrap()
    }
}

fn encoded(content: &Content<Method>) -> &Bytes {
    content.header.properties.as_encoded()
}

#[test]
fn every_frame_is_written_as_it_was_read() {
    for recording in ALL {
        let mut out = BytesMut::new();
        for frame in recording.frames() {
            frame.encode(recording.frame_max, &mut out).unwrap();
        }
        assert_eq!(out, recording.frame_bytes(), "{}", recording.name);
        let (mut rest, mut out) = (recording.frame_bytes(), BytesMut::new());
        while let Some(raw) = RawFrame::split_from(&mut rest, recording.frame_max).unwrap() {
            raw.encode(recording.frame_max, &mut out).unwrap();
        }
        assert_eq!(out, recording.frame_bytes(), "{}, as raw frames", recording.name);
    }
}

#[test]
fn every_method_comes_from_a_side_that_may_send_it() {
    for recording in ALL {
        let by_client = recording.name.ends_with(".client");
        for method in recording.methods() {
            let sender = method.sender();
            let may_be = if by_client { sender.may_be_client() } else { sender.may_be_server() };
            assert!(may_be, "{}: {} comes from {sender}", recording.name, method.name());
        }
    }
}

/// A request that one side alone may send is answered by the other alone, and one that both may
/// send by both.
#[test]
fn answers_come_from_the_other_side() {
    for &id in MethodId::ALL {
        let Some(reply) = id.reply() else { continue };
        let (asks, answers) = (id.sender().unwrap(), reply.sender().unwrap());
        let other = match asks {
            Sender::Client => Sender::Server,
            Sender::Server => Sender::Client,
            Sender::Either => Sender::Either,
        };
        assert_eq!(answers, other, "{:?} and {:?}", id.name(), reply.name());
    }
    let no_such = MethodId { class_id: 60, method_id: 99 };
    assert_eq!(no_such.sender(), None);
}

#[test]
fn all_properties_are_written_as_they_were_read() {
    for recording in ALL {
        for content in recording.contents() {
            let properties = content.header.properties.decode().unwrap();
            assert_eq!(properties.encode().unwrap(), content.header.properties, "{}", recording.name);
        }
    }
}

#[test]
fn every_table_can_be_built_again_from_its_values() {
    for recording in ALL {
        for content in recording.contents() {
            if let Some(headers) = content.header.properties.decode().unwrap().headers {
                let mut built = Table::new();
                for (key, value) in &headers {
                    built.push(key.as_str().unwrap(), value).unwrap();
                }
                assert_eq!(built.iter().collect::<Vec<_>>(), headers.iter().collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn the_sessions_have_every_method_but_these() {
    let seen: HashSet<_> = ALL.iter().flat_map(Recording::methods).map(|method| method.name()).collect();
    let missing: Vec<_> =
        MethodId::ALL.iter().filter_map(|id| id.name()).filter(|name| !seen.contains(name)).collect();
    assert_eq!(
        missing,
        [
            "connection.secure",
            "connection.secure-ok",
            "access.request",
            "access.request-ok",
            "basic.recover-async"
        ]
    );
}

#[test]
fn logins_are_read_from_the_clients_first_words() {
    let start: connection::Start = PIKA_BROKER.first();
    assert_eq!(start.mechanisms, "AMQPLAIN PLAIN");
    let capabilities = start.server_properties.get("capabilities").unwrap();
    assert_eq!(capabilities.as_table().unwrap().get("connection.blocked"), Some(Value::Bool(true)));

    let pika: connection::StartOk = PIKA_CLIENT.first();
    assert_eq!(pika.mechanism, sasl::PLAIN);
    assert_eq!(sasl::parse_plain(&pika.response).unwrap(), ("guest", "guest"));

    // An AMQPLAIN response is a table's entries without the table's length.
    let py_amqp: connection::StartOk = PY_AMQP_CLIENT.first();
    assert_eq!(py_amqp.mechanism, "AMQPLAIN");
    let login = Table::from_encoded(Bytes::copy_from_slice(py_amqp.response.expose())).unwrap();
    assert_eq!(login.get("LOGIN").unwrap().as_str(), Some("guest"));
    assert_eq!(login.get("PASSWORD").unwrap().as_str(), Some("guest"));
}

#[test]
fn pikas_values_come_back_from_the_broker_as_it_sent_them() {
    let headers = same_both_ways(&PIKA_CLIENT, &PIKA_BROKER).headers.unwrap();
    let expected: [(&str, Value); 12] = [
        ("text", "grüße".into()),
        ("empty", "".into()),
        ("bytes", Bytes::from_static(b"\0\xff").into()),
        ("true", true.into()),
        ("false", false.into()),
        ("small", 7.into()),
        ("negative", (-7).into()),
        ("large", (1i64 << 40).into()),
        ("bigger", (-(1i64 << 62)).into()),
        ("decimal", Value::Decimal { scale: 2, value: -314 }),
        ("when", Value::Timestamp(1_709_208_000)),
        ("none", Value::Void),
    ];
    for (key, value) in expected {
        assert_eq!(headers.get(key), Some(value), "{key}");
    }
    assert_eq!(
        format!("{:?}", headers.get("list").unwrap()),
        r#"Array([I32(1), LongString("two"), Array([I32(3), Void]), Table({"four": Array([I32(5)])})])"#
    );
    assert_eq!(
        format!("{:?}", headers.get("table").unwrap()),
        r#"Table({"a": Table({"b": Table({"c": LongString("d")})}), "e": Array([])})"#
    );
}

#[test]
fn py_amqps_values_come_back_from_the_broker_as_it_sent_them() {
    let headers = same_both_ways(&PY_AMQP_CLIENT, &PY_AMQP_BROKER).headers.unwrap();
    let expected: [(&str, Value); 8] = [
        ("region", "eu".into()),
        ("neg", (-1).into()),
        ("wide", (1i64 << 40).into()),
        ("nothing", Value::Void),
        ("real", 0.1.into()),
        ("raw", LongString::from(Bytes::from_static(b"\xfe\xed")).into()),
        ("dec", Value::Decimal { scale: 3, value: 12_345 }),
        ("when", Value::Timestamp(1_709_208_000)),
    ];
    for (key, value) in expected {
        assert_eq!(headers.get(key), Some(value), "{key}");
    }
    assert_eq!(
        format!("{:?}", headers.get("items").unwrap()),
        r#"Array([LongString("a"), I32(1), Bool(false), Array([Void]), Table({"deep": Table({"deeper": Array([LongString("bottom")])})})])"#
    );
}

#[test]
fn lapins_and_amqprs_values_come_back_from_the_broker_as_they_sent_them() {
    for (client, broker) in [(&LAPIN_CLIENT, &LAPIN_BROKER), (&AMQPRS_CLIENT, &AMQPRS_BROKER)] {
        let headers = same_both_ways(client, broker).headers.unwrap();
        let expected: [(&str, Value); 13] = [
            ("bool", true.into()),
            ("i8", (-8i8).into()),
            ("u8", 200u8.into()),
            ("i16", (-1600i16).into()),
            ("u16", 60_000u16.into()),
            ("i32", (-320_000).into()),
            ("u32", 4_000_000_000u32.into()),
            ("i64", (-(1i64 << 40)).into()),
            ("f32", 1.5f32.into()),
            ("f64", (-2.25).into()),
            ("decimal", Value::Decimal { scale: 2, value: 314 }),
            ("when", Value::Timestamp(1_709_208_000)),
            ("void", Value::Void),
        ];
        for (key, value) in expected {
            assert_eq!(headers.get(key), Some(value), "{key} in {}", client.name);
        }
        assert_eq!(headers.get("table").unwrap().as_table().unwrap().get("deep"), Some(false.into()));
    }
    let headers = LAPIN_CLIENT.properties().headers.unwrap();
    assert_eq!(headers.get("bytes"), Some(Bytes::from_static(b"\0\xff").into()));
}

#[test]
fn javas_values_come_back_from_the_broker_as_it_sent_them() {
    let headers = same_both_ways(&JAVA_CLIENT, &JAVA_BROKER).headers.unwrap();
    let expected: [(&str, Value); 13] = [
        ("string", "grüße".into()),
        ("longstring", "long".into()),
        ("bool", true.into()),
        ("i8", (-8i8).into()),
        ("i16", (-1600i16).into()),
        ("i32", (-320_000).into()),
        ("i64", (-(1i64 << 40)).into()),
        ("f32", 1.5f32.into()),
        ("f64", (-2.25).into()),
        ("decimal", Value::Decimal { scale: 2, value: 314 }),
        ("when", Value::Timestamp(1_709_208_000)),
        ("bytes", Bytes::from_static(b"\0\xff").into()),
        ("void", Value::Void),
    ];
    for (key, value) in expected {
        assert_eq!(headers.get(key), Some(value), "{key}");
    }
    assert_eq!(
        format!("{:?}", headers.get("list").unwrap()),
        r#"Array([I32(1), LongString("two"), Array([I64(3), Void]), Table({"four": Array([I32(5)])})])"#
    );
    assert_eq!(format!("{:?}", headers.get("empty").unwrap()), "Array([])");
    let table = headers.get("table").unwrap();
    assert_eq!(table.as_table().unwrap().get("deep"), Some(false.into()));
    assert_eq!(
        format!("{:?}", table.as_table().unwrap().get("list").unwrap()),
        r#"Array([I8(1), LongString("two"), Void])"#
    );
}

#[test]
fn rabbitmq_c_is_read_both_ways() {
    let properties = same_both_ways(&RABBITMQ_C_PUBLISH, &RABBITMQ_C_GET);
    let headers = properties.headers.unwrap();
    let entries: Vec<_> = headers.iter().map(|(key, value)| (key.to_string(), value)).collect();
    assert_eq!(entries, [("region".to_owned(), "eu".into()), ("retries".to_owned(), "3".into())]);
    assert_eq!(properties.reply_to.unwrap(), "replies");
    let contents = RABBITMQ_C_GET.contents();
    assert_eq!(contents.into_iter().next().unwrap().body.into_bytes(), "hello from C");
}

/// The properties of the message that has all of them, which RabbitMQ passes on byte for byte.
fn same_both_ways(client: &Recording, broker: &Recording) -> Properties {
    let (sent, delivered) = (client.properties(), broker.properties());
    assert_eq!(delivered, sent);
    sent
}

#[test]
fn bodies_are_whole() {
    let big: Vec<u8> = (0..=u8::MAX).cycle().take(20_000).collect();
    let python = [PIKA_CLIENT, PIKA_BROKER, PY_AMQP_CLIENT, PY_AMQP_BROKER].map(|it| (it, 256 * 40));
    let rust = [LAPIN_CLIENT, LAPIN_BROKER, AMQPRS_CLIENT, AMQPRS_BROKER].map(|it| (it, 20_000));
    let java = [JAVA_CLIENT, JAVA_BROKER].map(|it| (it, 20_000));
    for (recording, length) in python.into_iter().chain(rust).chain(java) {
        let contents = recording.contents();
        let body_of = |content: Content<Method>| content.body.into_bytes();
        assert!(contents.into_iter().map(body_of).any(|body| body == big[..length]), "{}", recording.name);
    }
}

#[test]
fn however_a_recording_is_walked_over_its_frames_are_the_same() {
    for recording in ALL {
        let bytes = recording.frame_bytes();
        let mut rest = bytes.clone();
        let mut frames = Frames::new(&bytes, recording.frame_max);
        let mut parsed = &bytes[..];
        while let Some(raw) = RawFrame::split_from(&mut rest, recording.frame_max).unwrap() {
            let frame = frames.next_frame().unwrap().unwrap();
            assert_eq!((frame.kind, frame.channel, frame.payload), (raw.kind, raw.channel, &raw.payload[..]));
            assert_eq!(&bytes[frame.payload_range()], frame.payload);
            let (after, found) = complete::frame(recording.frame_max)(parsed).unwrap();
            assert_eq!((found.header(), found.payload), (frame.header(), frame.payload));
            parsed = after;
            match raw.kind {
                FrameKind::Method => {
                    let (left, method) = complete::method(frame.payload).unwrap();
                    assert_eq!((left, method.decode()), (&b""[..], Method::decode(&raw.payload)));
                }
                FrameKind::Header => {
                    let (left, header) = complete::content_header(frame.payload).unwrap();
                    assert_eq!(
                        (left, header.into()),
                        (&b""[..], ContentHeader::decode(&raw.payload).unwrap())
                    );
                }
                FrameKind::Body | FrameKind::Heartbeat => {}
            }
        }
        assert_eq!((frames.rest(), parsed), (&b""[..], &b""[..]), "{}", recording.name);
    }
}

#[test]
fn a_recording_that_passes_in_parts_has_the_frames_of_the_whole() {
    for recording in ALL {
        let bytes = recording.frame_bytes();
        let headers: Vec<_> = {
            let mut frames = Frames::new(&bytes, recording.frame_max);
            std::iter::from_fn(|| frames.skip_frame().unwrap()).collect()
        };
        for most in [1, 7, 1000] {
            let mut scanner = FrameScanner::default();
            let (mut passed, mut ends) = (Vec::new(), 0);
            for mut octets in bytes.chunks(most) {
                while let Some(next) = scanner.scan(&mut octets).unwrap() {
                    match next {
                        Passed::Header(header) => passed.push(header),
                        Passed::Payload(_) => {}
                        Passed::End(end) => ends += usize::from(end == FRAME_END),
                    }
                }
            }
            assert_eq!((&passed, ends), (&headers, headers.len()), "{} in parts of {most}", recording.name);
        }
    }
}

#[test]
fn the_brokers_deliveries_read_the_same_where_they_lie() {
    let (mut deliveries, mut in_a_row) = (0, 0);
    for recording in ALL {
        let bytes = recording.frame_bytes();
        let mut frames = Frames::new(&bytes, recording.frame_max);
        while let Some(frame) = frames.next_frame().unwrap() {
            if frame.kind != FrameKind::Method {
                continue;
            }
            if let Some(borrowed) = Deliver::decode(frame.payload).unwrap() {
                let payload = bytes.clone().freeze().slice(frame.payload_range());
                let owned = basic::Deliver::try_from(Method::decode(&payload).unwrap()).unwrap();
                assert_eq!(borrowed.delivery_tag, owned.delivery_tag);
                assert_eq!(borrowed.routing_key, owned.routing_key.as_bytes());
                deliveries += 1;
                if let Some(content) = frames.next_content(frame.channel) {
                    ContentProperties::decode(content.properties).unwrap();
                    in_a_row += 1;
                }
            }
        }
        assert_eq!(frames.rest(), b"", "{}", recording.name);
    }
    let delivered = ALL
        .iter()
        .flat_map(Recording::contents)
        .filter(|content| content.method.name() == "basic.deliver" && content.body.parts().count() == 1);
    assert_eq!((deliveries, in_a_row), (17, delivered.count()));
}
