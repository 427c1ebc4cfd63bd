//! Random sessions: nothing panics, nothing is left behind, and nothing is miscounted.

use amqp_codec::{
    ContentHeader, Frame, Method, Properties, ShortString, Table, Value,
    method::{basic, channel, confirm, exchange, queue, tx},
};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use crate::{
    core::{entities::ids::ConnectionId, rabbitmq::access::Access, vhost::Vhost, work::Work},
    session::{
        connection::{ConnectionSession, ConnectionTerms, Wants},
        outbox::Outbox,
        shared::Shared,
    },
};

pub(super) const FRAME_MAX: usize = 4096;
const QUEUES: [&str; 4] = ["", "a", "b", "c"];
const EXCHANGES: [&str; 5] = ["", "amq.topic", "amq.fanout", "e", "amq.headers"];
const KEYS: [&str; 5] = ["a", "b", "a.b", "#", "*.b"];

fn of(names: &[&'static str], choice: u8) -> ShortString {
    ShortString::from_static(names[usize::from(choice) % names.len()])
}

fn arguments(choice: u8) -> Table {
    let several: &[(&str, Value)] = match choice {
        60..70 => &[("x-dead-letter-exchange", "amq.fanout".into()), ("x-max-length", 1.into())],
        70..80 => &[
            ("x-dead-letter-exchange", "".into()),
            ("x-dead-letter-routing-key", "b".into()),
            ("x-message-ttl", 2.into()),
        ],
        80..90 => &[
            ("x-queue-type", "quorum".into()),
            ("x-delivery-limit", 1.into()),
            ("x-dead-letter-exchange", "amq.fanout".into()),
        ],
        90..100 => &[("x-queue-type", "stream".into()), ("x-max-length-bytes", 3.into())],
        _ => &[],
    };
    let (key, value): (_, Value) = match choice {
        0..100 => {
            let mut table = Table::new();
            several.iter().for_each(|(key, value)| table.insert(key, value.clone()).unwrap());
            return table;
        }
        100..120 => ("x-max-length", 3.into()),
        120..140 => ("x-message-ttl", 5.into()),
        140..160 => ("x-expires", 20.into()),
        160..180 => ("x-max-priority", 3.into()),
        180..200 => ("x-single-active-consumer", true.into()),
        200..220 => ("x-priority", 5.into()),
        220..240 => ("alternate-exchange", "amq.fanout".into()),
        _ => ("x-match", "any".into()),
    };
    let mut table = Table::new();
    table.insert(key, value).unwrap();
    table
}

/// The frames of a random step, chosen by three numbers.
pub(super) fn step(shared: &Shared, by: ConnectionId, kind: u8, x: u8, y: u8) -> Vec<Frame> {
    let number = 1 + u16::from(kind / 128);
    let bit = |n: u8| y >> n & 1 == 1;
    let (queue, exchange) = (of(&QUEUES, x), of(&EXCHANGES, y));
    let (key, tag) = (of(&KEYS, x), of(&["t", "u", ""], y));
    let out = shared.vhost.outstanding(by, number);
    let delivery_tag = match out.len() {
        0 => 99,
        count => out[usize::from(x) % count],
    };
    let method: Method = match kind % 24 {
        // This sometimes chooses a tag that is not unacknowledged.
        16 | 17 if out.is_empty() && x < 200 => return publish(of(&EXCHANGES, x), of(&KEYS, y), x, y),
        // These are rare, because each ends a connection or leaves it without a channel.
        0..3 if x > 10 => return publish(of(&EXCHANGES, x), of(&KEYS, y), x, y),
        0 => channel::Open::default().into(),
        1 => channel::Close::default().into(),
        2 => channel::CloseOk {}.into(),
        3 | 4 => queue::Declare {
            queue,
            exclusive: bit(0),
            auto_delete: bit(1),
            passive: bit(2) && bit(3),
            durable: bit(4),
            arguments: arguments(y.wrapping_mul(x)),
            ..Default::default()
        }
        .into(),
        5 => queue::Bind { queue, exchange, routing_key: key, arguments: arguments(x), ..Default::default() }
            .into(),
        6 => queue::Unbind { queue, exchange, routing_key: key, ..Default::default() }.into(),
        7 => queue::Delete { queue, if_unused: bit(0), if_empty: bit(1), ..Default::default() }.into(),
        8 => queue::Purge { queue, ..Default::default() }.into(),
        9 => exchange::Declare {
            exchange: ShortString::from_static("e"),
            kind: of(&["direct", "fanout", "topic", "headers"], x),
            auto_delete: bit(0),
            arguments: arguments(y),
            ..Default::default()
        }
        .into(),
        10 => exchange::Delete {
            exchange: ShortString::from_static("e"),
            if_unused: bit(0),
            ..Default::default()
        }
        .into(),
        11 => exchange::Bind {
            source: exchange,
            destination: of(&EXCHANGES, x),
            routing_key: key,
            ..Default::default()
        }
        .into(),
        12 if x < 20 => basic::Consume {
            queue: ShortString::from_static("amq.rabbitmq.reply-to"),
            consumer_tag: ShortString::from_static("replies"),
            no_ack: true,
            ..Default::default()
        }
        .into(),
        12 | 13 => basic::Consume {
            queue,
            consumer_tag: tag,
            no_ack: bit(0),
            exclusive: bit(1) && bit(2),
            arguments: arguments(x),
            ..Default::default()
        }
        .into(),
        14 => basic::Cancel { consumer_tag: tag, no_wait: bit(0) }.into(),
        15 => basic::Get { queue, no_ack: bit(0), ..Default::default() }.into(),
        16 => basic::Ack { delivery_tag, multiple: bit(0) }.into(),
        17 => basic::Nack { delivery_tag, multiple: bit(0), requeue: bit(1) }.into(),
        18 => basic::Qos { prefetch_count: u16::from(x % 4), global: bit(0), ..Default::default() }.into(),
        19 => basic::Recover { requeue: true }.into(),
        20 => match x % 4 {
            0 => tx::Select {}.into(),
            1 => tx::Commit {}.into(),
            2 => tx::Rollback {}.into(),
            _ => confirm::Select::default().into(),
        },
        _ => return publish(of(&EXCHANGES, x), of(&KEYS, y), x, y),
    };
    vec![Frame::Method(number, method)]
}

fn publish(exchange: ShortString, routing_key: ShortString, x: u8, y: u8) -> Vec<Frame> {
    let channel = 1 + u16::from(y / 128);
    let body = Bytes::from(vec![y; usize::from(x % 3)]);
    let expiration = y.is_multiple_of(5).then(|| ShortString::from_static("3"));
    let reply_to = x.is_multiple_of(25).then(|| ShortString::from_static("amq.rabbitmq.reply-to"));
    let properties = Properties { priority: Some(x % 5), expiration, reply_to, ..Default::default() };
    let publish = basic::Publish { exchange, routing_key, mandatory: x & 1 == 1, ..Default::default() };
    let header = ContentHeader {
        class_id: 60,
        body_size: body.len() as u64,
        properties: properties.encode().unwrap(),
    };
    let mut frames = vec![Frame::Method(channel, publish.into()), Frame::Header(channel, header)];
    if !body.is_empty() {
        frames.push(Frame::Body(channel, body));
    }
    frames
}

pub(super) fn client(shared: &mut Shared) -> ConnectionSession {
    let id = shared.vhost.connect("c".into(), Access::unlimited("guest"), true);
    shared.outboxes.open(id, Outbox::new("test".to_owned(), FRAME_MAX));
    let terms = ConnectionTerms {
        channel_max: 10,
        frame_max: FRAME_MAX,
        max_message_size: 1 << 20,
        blocked_notify: true,
        name: "test".to_owned(),
        client_name: None,
        tally: Default::default(),
    };
    let mut client = ConnectionSession::new(id, terms);
    for number in 1..3 {
        greet(&mut client, shared, number);
    }
    client
}

/// Opens a channel with a consumer and a small prefetch.
pub(super) fn greet(client: &mut ConnectionSession, shared: &mut Shared, number: u16) {
    let queue = of(&QUEUES, number as u8);
    let methods: [Method; 4] = [
        channel::Open::default().into(),
        queue::Declare { queue: queue.clone(), ..Default::default() }.into(),
        basic::Qos { prefetch_count: 2, global: number == 2, ..Default::default() }.into(),
        basic::Consume { queue, consumer_tag: ShortString::from_static("t"), ..Default::default() }.into(),
    ];
    say(client, 0, shared, &methods.map(|method| Frame::Method(number, method)));
}

pub(super) fn say(client: &mut ConnectionSession, now: u64, shared: &mut Shared, frames: &[Frame]) {
    let mut input = BytesMut::new();
    for frame in frames {
        frame.encode(FRAME_MAX, &mut input).unwrap();
    }
    shared.vhost.budget.begin();
    while client.receive(now, shared, &mut input) == Wants::Turn {
        shared.vhost.budget.begin();
    }
}

pub(super) fn leave(now: u64, shared: &mut Shared, id: ConnectionId) {
    shared.vhost.budget.begin();
    let work = Work::Remove(Box::new(shared.vhost.disconnect(id)));
    shared.leave_behind(now, work);
    shared.outboxes.close(id);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_session_leaves_nothing_behind(
        steps in prop::collection::vec((0u8..2, any::<(u8, u8, u8)>(), 0u64..4, 0u8..60), 1..120),
    ) {
        let mut shared = Shared::new(Vhost::new("/", Default::default()), Default::default(), u64::MAX);
        let mut clients = [client(&mut shared), client(&mut shared)];
        let mut now = 0;
        for (who, (kind, x, y), passed, lost) in steps {
            now += passed;
            shared.advance(now);
            let who = &mut clients[usize::from(who)];
            let frames = step(&shared, who.id, kind, x, y);
            say(who, now, &mut shared, &frames);
            shared.vhost.check();
            if lost == 0 || who.is_closing() {
                leave(now, &mut shared, who.id);
                *who = client(&mut shared);
            }
            for number in (1..3).filter(|number| who.is_ignored(*number)).collect::<Vec<_>>() {
                say(who, now, &mut shared, &[Frame::Method(number, channel::CloseOk {}.into())]);
                greet(who, &mut shared, number);
            }
        }
        for client in &clients {
            leave(now, &mut shared, client.id);
        }
        shared.vhost.check();
        prop_assert!(shared.vhost.is_deserted());
    }

    #[test]
    fn any_bytes_in_any_pieces_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0usize..300) {
        let mut shared = Shared::new(Vhost::new("/", Default::default()), Default::default(), u64::MAX);
        let mut client = client(&mut shared);
        let (first, second) = bytes.split_at(cut.min(bytes.len()));
        let mut input = BytesMut::new();
        for part in [first, second] {
            input.extend_from_slice(part);
            client.receive(0, &mut shared, &mut input);
        }
    }
}
