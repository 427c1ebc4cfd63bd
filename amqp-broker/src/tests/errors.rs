//! The catalogue of refusals: what is closed, with which code and which text, to the letter of RabbitMQ 3.10.8.

use amqp_codec::{
    Array, ContentHeader, EncodedProperties, Frame, Method, Properties, ShortString, Table, Value,
    method::{basic, channel, confirm, connection, exchange, queue, tx},
};
use bytes::Bytes;

use super::peer::{Peer, short};
use crate::broker::Broker;

/// What is closed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Closed {
    Nothing,
    Channel,
    Connection,
}
use Closed::{Channel, Connection, Nothing};

pub(super) type Case = (&'static str, Vec<Frame>, Closed, &'static str);

pub(super) fn on(method: impl Into<Method>) -> Frame {
    Frame::Method(1, method.into())
}

pub(super) fn name(text: &str) -> ShortString {
    short(text)
}

pub(super) fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    let mut table = Table::new();
    for (key, value) in entries {
        table.insert(key, value).unwrap();
    }
    table
}

pub(super) fn exchange(text: &str, kind: &str) -> exchange::Declare {
    exchange::Declare { exchange: name(text), kind: name(kind), ..Default::default() }
}

pub(super) fn queue(text: &str) -> queue::Declare {
    queue::Declare { queue: name(text), ..Default::default() }
}

pub(super) fn queue_with<const N: usize>(text: &str, entries: [(&str, Value); N]) -> queue::Declare {
    queue::Declare { arguments: table(entries), ..queue(text) }
}

pub(super) fn quorum<const N: usize>(entries: [(&str, Value); N]) -> queue::Declare {
    let mut arguments = table(entries);
    arguments.insert("x-queue-type", "quorum").unwrap();
    queue::Declare { arguments, durable: true, ..queue("qb") }
}

pub(super) fn bind(to: &str, from: &str) -> queue::Bind {
    queue::Bind { queue: name(to), exchange: name(from), ..Default::default() }
}

pub(super) fn unbind(to: &str, from: &str) -> queue::Unbind {
    queue::Unbind { queue: name(to), exchange: name(from), ..Default::default() }
}

pub(super) fn consume(from: &str, tag: &str) -> basic::Consume {
    basic::Consume { queue: name(from), consumer_tag: name(tag), ..Default::default() }
}

pub(super) fn publish(to: &str, key: &str, properties: &Properties) -> [Frame; 3] {
    let publish = basic::Publish { exchange: name(to), routing_key: name(key), ..Default::default() };
    content(publish, properties)
}

pub(super) fn content(publish: basic::Publish, properties: &Properties) -> [Frame; 3] {
    let properties = properties.encode().unwrap();
    let header = ContentHeader { class_id: 60, body_size: 1, properties };
    [on(publish), Frame::Header(1, header), Frame::Body(1, Bytes::from_static(b"x"))]
}

pub(super) fn script<const N: usize>(steps: [Frame; N]) -> Vec<Frame> {
    Vec::from(steps)
}

fn exchanges() -> Vec<Case> {
    let e1 = || exchange("e1", "direct");
    let twice = |second: exchange::Declare| script([on(e1()), on(second)]);
    let delete = |text: &str| exchange::Delete { exchange: name(text), ..Default::default() };
    let alternate = table([("alternate-exchange", "ae".into())]);
    vec![
        (
            "passive, missing",
            script([on(exchange::Declare { passive: true, ..exchange("nope", "") })]),
            Channel,
            "404 NOT_FOUND - no exchange 'nope' in vhost 'sem'",
        ),
        (
            "unknown type",
            script([on(exchange("e1", "bogus"))]),
            Connection,
            "503 COMMAND_INVALID - unknown exchange type 'bogus'",
        ),
        (
            "reserved name",
            script([on(exchange("amq.mine", "direct"))]),
            Channel,
            "403 ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'",
        ),
        (
            "default, declared",
            script([on(exchange("", "direct"))]),
            Channel,
            "403 ACCESS_REFUSED - operation not permitted on the default exchange",
        ),
        (
            "default, deleted",
            script([on(delete(""))]),
            Channel,
            "403 ACCESS_REFUSED - operation not permitted on the default exchange",
        ),
        (
            "predeclared, deleted",
            script([on(delete("amq.direct"))]),
            Channel,
            "403 ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost 'sem' not allowed",
        ),
        ("missing, deleted", script([on(delete("nope"))]), Nothing, ""),
        (
            "predeclared, declared as it is",
            script([on(exchange::Declare { durable: true, ..exchange("amq.direct", "direct") })]),
            Nothing,
            "",
        ),
        (
            "type differs",
            twice(exchange("e1", "topic")),
            Channel,
            "406 PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'e1' in vhost 'sem': \
             received 'topic' but current is 'direct'",
        ),
        (
            "durable differs",
            twice(exchange::Declare { durable: true, ..e1() }),
            Channel,
            "406 PRECONDITION_FAILED - inequivalent arg 'durable' for exchange 'e1' in vhost 'sem': \
             received 'true' but current is 'false'",
        ),
        (
            "auto_delete differs",
            twice(exchange::Declare { auto_delete: true, ..e1() }),
            Channel,
            "406 PRECONDITION_FAILED - inequivalent arg 'auto_delete' for exchange 'e1' in vhost 'sem': \
             received 'true' but current is 'false'",
        ),
        (
            "internal differs",
            twice(exchange::Declare { internal: true, ..e1() }),
            Channel,
            "406 PRECONDITION_FAILED - inequivalent arg 'internal' for exchange 'e1' in vhost 'sem': \
             received 'true' but current is 'false'",
        ),
        (
            "alternate differs",
            twice(exchange::Declare { arguments: alternate, ..e1() }),
            Channel,
            "406 PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange 'e1' in vhost 'sem': \
             received the value 'ae' of type 'longstr' but current is none",
        ),
        (
            "if_unused, in use",
            script([
                on(exchange("e2", "fanout")),
                on(queue("q")),
                on(bind("q", "e2")),
                on(exchange::Delete { if_unused: true, ..delete("e2") }),
            ]),
            Channel,
            "406 PRECONDITION_FAILED - exchange 'e2' in vhost 'sem' in use",
        ),
        (
            "e2e, missing",
            script([on(exchange::Bind {
                destination: name("nope"),
                source: name("amq.direct"),
                ..Default::default()
            })]),
            Channel,
            "404 NOT_FOUND - no exchange 'nope' in vhost 'sem'",
        ),
    ]
}

fn queues() -> Vec<Case> {
    let twice = |second: queue::Declare| script([on(queue("qd")), on(second)]);
    let invalid = |argument: &str, value: Value| script([on(queue_with("qb", [(argument, value)]))]);
    let delete = |text: &str| queue::Delete { queue: name(text), ..Default::default() };
    vec![
        (
            "passive, missing",
            script([on(queue::Declare { passive: true, ..queue("nope") })]),
            Channel,
            "404 NOT_FOUND - no queue 'nope' in vhost 'sem'",
        ),
        (
            "reserved name",
            script([on(queue("amq.mine"))]),
            Channel,
            "403 ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'",
        ),
        (
            "durable differs",
            twice(queue::Declare { durable: true, ..queue("qd") }),
            Channel,
            "406 PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'qd' in vhost 'sem': \
             received 'true' but current is 'false'",
        ),
        (
            "auto_delete differs",
            twice(queue::Declare { auto_delete: true, ..queue("qd") }),
            Channel,
            "406 PRECONDITION_FAILED - inequivalent arg 'auto_delete' for queue 'qd' in vhost 'sem': \
             received 'true' but current is 'false'",
        ),
        (
            "exclusive differs",
            twice(queue::Declare { exclusive: true, ..queue("qd") }),
            Channel,
            "405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'qd' in vhost 'sem'. It could be \
             originally declared on another connection or the exclusive property value does not match that of the \
             original declaration.",
        ),
        (
            "ttl, none before",
            twice(queue_with("qd", [("x-message-ttl", 5.into())])),
            Channel,
            "406 PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'qd' in vhost 'sem': \
             received the value '5' of type 'signedint' but current is none",
        ),
        (
            "ttl, another",
            script([
                on(queue_with("qt", [("x-message-ttl", 6.into())])),
                on(queue_with("qt", [("x-message-ttl", 5.into())])),
            ]),
            Channel,
            "406 PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'qt' in vhost 'sem': \
             received '5' but current is '6'",
        ),
        (
            "ttl, not a number",
            invalid("x-message-ttl", "5".into()),
            Channel,
            "406 PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'qb' in vhost 'sem': \
             \"expected integer, got longstr\"",
        ),
        (
            "ttl, negative",
            invalid("x-message-ttl", (-1).into()),
            Channel,
            "406 PRECONDITION_FAILED - invalid arg 'x-message-ttl' for queue 'qb' in vhost 'sem': {value_negative,-1}",
        ),
        (
            "expires, 0",
            invalid("x-expires", 0.into()),
            Channel,
            "406 PRECONDITION_FAILED - invalid arg 'x-expires' for queue 'qb' in vhost 'sem': {value_zero,0}",
        ),
        (
            "max-length, negative",
            invalid("x-max-length", (-1).into()),
            Channel,
            "406 PRECONDITION_FAILED - invalid arg 'x-max-length' for queue 'qb' in vhost 'sem': {value_negative,-1}",
        ),
        (
            "overflow, unknown",
            invalid("x-overflow", "bogus".into()),
            Channel,
            "406 PRECONDITION_FAILED - invalid arg 'x-overflow' for queue 'qb' in vhost 'sem': invalid_overflow",
        ),
        (
            "max-priority, 256",
            invalid("x-max-priority", 256.into()),
            Channel,
            "406 PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue 'qb' in vhost 'sem': \
             {max_value_exceeded,256}",
        ),
        (
            "dead letter key without exchange",
            invalid("x-dead-letter-routing-key", "k".into()),
            Channel,
            "406 PRECONDITION_FAILED - invalid arg 'x-dead-letter-routing-key' for queue 'qb' in vhost 'sem': \
             routing_key_but_no_dlx_defined",
        ),
        (
            "type, unknown",
            invalid("x-queue-type", "bogus".into()),
            Channel,
            "406 PRECONDITION_FAILED - invalid arg 'x-queue-type' for queue 'qb' in vhost 'sem': \
             \"unsupported queue type 'bogus'\"",
        ),
        (
            "quorum, not durable",
            script([on(queue::Declare { durable: false, ..quorum([]) })]),
            Channel,
            "406 PRECONDITION_FAILED - invalid property 'non-durable' for queue 'qb' in vhost 'sem'",
        ),
        (
            "quorum, exclusive",
            script([on(queue::Declare { exclusive: true, ..quorum([]) })]),
            Channel,
            "406 PRECONDITION_FAILED - invalid property 'exclusive-owner' for queue 'qb' in vhost 'sem'",
        ),
        (
            "quorum, priorities",
            script([on(quorum([("x-max-priority", 5.into())]))]),
            Channel,
            "406 PRECONDITION_FAILED - invalid arg 'x-max-priority' for queue 'qb' in vhost 'sem' of queue type \
             rabbit_quorum_queue",
        ),
        ("unknown argument", script([on(queue_with("qb", [("x-bogus", 1.into())]))]), Nothing, ""),
        ("longest name", script([on(queue(&"q".repeat(255)))]), Nothing, ""),
        (
            "bind, no queue",
            script([on(bind("nope", "amq.direct"))]),
            Channel,
            "404 NOT_FOUND - no queue 'nope' in vhost 'sem'",
        ),
        (
            "bind, no exchange",
            script([on(queue("q")), on(bind("q", "nope"))]),
            Channel,
            "404 NOT_FOUND - no exchange 'nope' in vhost 'sem'",
        ),
        (
            "bind, default exchange",
            script([on(queue("q")), on(bind("q", ""))]),
            Channel,
            "403 ACCESS_REFUSED - operation not permitted on the default exchange",
        ),
        (
            "unbind, default exchange",
            script([on(queue("q")), on(unbind("q", ""))]),
            Channel,
            "403 ACCESS_REFUSED - operation not permitted on the default exchange",
        ),
        ("unbind, no binding", script([on(queue("q")), on(unbind("q", "amq.direct"))]), Nothing, ""),
        ("unbind, no exchange", script([on(queue("q")), on(unbind("q", "nope"))]), Nothing, ""),
        (
            "headers, bad x-match",
            script([
                on(queue("q")),
                on(queue::Bind {
                    arguments: table([("x-match", "bogus".into())]),
                    ..bind("q", "amq.headers")
                }),
            ]),
            Channel,
            "406 PRECONDITION_FAILED - Invalid x-match field value <<\"bogus\">>; expected all, any, all-with-x, \
             or any-with-x",
        ),
        ("delete, missing", script([on(delete("nope"))]), Nothing, ""),
        (
            "delete if_empty, not empty",
            [
                script([on(queue("q3"))]),
                publish("", "q3", &Properties::default()).to_vec(),
                script([on(queue::Delete { if_empty: true, ..delete("q3") })]),
            ]
            .concat(),
            Channel,
            "406 PRECONDITION_FAILED - queue 'q3' in vhost 'sem' not empty",
        ),
        (
            "delete if_unused, used",
            script([
                on(queue("q3")),
                on(consume("q3", "t")),
                on(queue::Delete { if_unused: true, ..delete("q3") }),
            ]),
            Channel,
            "406 PRECONDITION_FAILED - queue 'q3' in vhost 'sem' in use",
        ),
        (
            "purge, missing",
            script([on(queue::Purge { queue: name("nope"), ..Default::default() })]),
            Channel,
            "404 NOT_FOUND - no queue 'nope' in vhost 'sem'",
        ),
    ]
}

fn consuming() -> Vec<Case> {
    let nack = basic::Nack { delivery_tag: 99, ..Default::default() };
    let qos = basic::Qos { prefetch_size: 10, ..Default::default() };
    let exclusive = basic::Consume { exclusive: true, ..consume("q2", "a") };
    vec![
        (
            "no queue",
            script([on(consume("nope", ""))]),
            Channel,
            "404 NOT_FOUND - no queue 'nope' in vhost 'sem'",
        ),
        (
            "tag taken",
            script([on(queue("q2")), on(consume("q2", "t")), on(consume("q2", "t"))]),
            Connection,
            "530 NOT_ALLOWED - attempt to reuse consumer tag 't'",
        ),
        (
            "exclusive twice",
            script([on(queue("q2")), on(exclusive), on(consume("q2", "b"))]),
            Channel,
            "403 ACCESS_REFUSED - queue 'q2' in vhost 'sem' in exclusive use",
        ),
        (
            "get, no queue",
            script([on(basic::Get { queue: name("nope"), ..Default::default() })]),
            Channel,
            "404 NOT_FOUND - no queue 'nope' in vhost 'sem'",
        ),
        (
            "no last queue",
            script([on(basic::Get::default())]),
            Channel,
            "404 NOT_FOUND - no previously declared queue",
        ),
        (
            "ack unknown",
            script([on(basic::Ack { delivery_tag: 99, multiple: false })]),
            Channel,
            "406 PRECONDITION_FAILED - unknown delivery tag 99",
        ),
        (
            "ack unknown, multiple",
            script([on(basic::Ack { delivery_tag: 99, multiple: true })]),
            Channel,
            "406 PRECONDITION_FAILED - unknown delivery tag 99",
        ),
        ("nack unknown", script([on(nack)]), Channel, "406 PRECONDITION_FAILED - unknown delivery tag 99"),
        (
            "reject unknown",
            script([on(basic::Reject { delivery_tag: 99, requeue: true })]),
            Channel,
            "406 PRECONDITION_FAILED - unknown delivery tag 99",
        ),
        (
            "ack 0",
            script([on(basic::Ack { delivery_tag: 0, multiple: false })]),
            Channel,
            "406 PRECONDITION_FAILED - unknown delivery tag 0",
        ),
        ("ack all of none", script([on(basic::Ack { delivery_tag: 0, multiple: true })]), Nothing, ""),
        ("qos in bytes", script([on(qos)]), Connection, "540 NOT_IMPLEMENTED - prefetch_size!=0 (10)"),
        (
            "recover without requeue",
            script([on(basic::Recover { requeue: false })]),
            Connection,
            "540 NOT_IMPLEMENTED - requeue=false",
        ),
        (
            "flow stopped",
            script([on(channel::Flow { active: false })]),
            Connection,
            "540 NOT_IMPLEMENTED - active=false",
        ),
    ]
}

fn publishing() -> Vec<Case> {
    let with_header =
        |key: &str, value: Value| Properties { headers: Some(table([(key, value)])), ..Default::default() };
    let expiring = |text: &str| Properties { expiration: Some(name(text)), ..Default::default() };
    let immediate = basic::Publish { immediate: true, ..Default::default() };
    let as_other = Properties { user_id: Some(name("other")), ..Default::default() };
    let as_guest = Properties { user_id: Some(name("guest")), ..Default::default() };
    let mut copies = Array::new();
    copies.push("q").unwrap();
    vec![
        (
            "internal exchange",
            [
                script([on(exchange::Declare { internal: true, ..exchange("ei", "direct") })]),
                publish("ei", "", &Properties::default()).to_vec(),
            ]
            .concat(),
            Channel,
            "403 ACCESS_REFUSED - cannot publish to internal exchange 'ei' in vhost 'sem'",
        ),
        (
            "no exchange",
            publish("nope", "", &Properties::default()).to_vec(),
            Channel,
            "404 NOT_FOUND - no exchange 'nope' in vhost 'sem'",
        ),
        (
            "immediate",
            content(immediate, &Properties::default()).to_vec(),
            Connection,
            "540 NOT_IMPLEMENTED - immediate=true",
        ),
        (
            "user_id of another",
            publish("", "q", &as_other).to_vec(),
            Channel,
            "406 PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was 'guest'",
        ),
        ("user_id", publish("", "q", &as_guest).to_vec(), Nothing, ""),
        (
            "expiration, not a number",
            publish("", "q", &expiring("abc")).to_vec(),
            Channel,
            "406 PRECONDITION_FAILED - invalid expiration 'abc': no_integer",
        ),
        (
            "expiration, negative",
            publish("", "q", &expiring("-1")).to_vec(),
            Channel,
            "406 PRECONDITION_FAILED - invalid expiration '-1': {value_negative,-1}",
        ),
        (
            "CC, no array",
            publish("", "q", &with_header("CC", "q".into())).to_vec(),
            Channel,
            "406 PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,\"CC\",longstr}",
        ),
        ("CC", publish("", "q", &with_header("CC", Value::Array(copies))).to_vec(), Nothing, ""),
        (
            "tx, then confirm",
            script([on(tx::Select {}), on(confirm::Select::default())]),
            Channel,
            "406 PRECONDITION_FAILED - cannot switch from tx to confirm mode",
        ),
        (
            "confirm, then tx",
            script([on(confirm::Select::default()), on(tx::Select {})]),
            Channel,
            "406 PRECONDITION_FAILED - cannot switch from confirm to tx mode",
        ),
        (
            "commit without tx",
            script([on(tx::Commit {})]),
            Channel,
            "406 PRECONDITION_FAILED - channel is not transactional",
        ),
        (
            "rollback without tx",
            script([on(tx::Rollback {})]),
            Channel,
            "406 PRECONDITION_FAILED - channel is not transactional",
        ),
    ]
}

/// Names with line ends, which are taken out of them where something is made or unmade, and there alone.
fn lines() -> Vec<Case> {
    let made = || script([on(queue("q\r\n2")), on(exchange("e\n1", "direct"))]);
    let then = |frame: Frame| [made(), vec![frame]].concat();
    let passive = |text: &str| queue::Declare { passive: true, ..queue(text) };
    let delete = |text: &str| exchange::Delete { exchange: name(text), ..Default::default() };
    let get = |text: &str| basic::Get { queue: name(text), ..Default::default() };
    let purge = |text: &str| queue::Purge { queue: name(text), ..Default::default() };
    let between = |to: &str, from: &str| exchange::Bind {
        destination: name(to),
        source: name(from),
        ..Default::default()
    };
    let no_queue = "404 NOT_FOUND - no queue 'q\n2' in vhost 'sem'";
    let default = "403 ACCESS_REFUSED - operation not permitted on the default exchange";
    vec![
        ("queue, declared", then(on(passive("q2"))), Nothing, ""),
        ("queue, asked for", then(on(passive("q\n2"))), Nothing, ""),
        (
            "queue, missing",
            script([on(passive("no\npe"))]),
            Channel,
            "404 NOT_FOUND - no queue 'nope' in vhost 'sem'",
        ),
        (
            "queue, deleted",
            then(on(queue::Delete { queue: name("\rq2"), if_unused: true, ..Default::default() })),
            Nothing,
            "",
        ),
        (
            "queue of nothing else, deleted",
            then(on(queue::Delete { queue: name("\n"), ..Default::default() })),
            Nothing,
            "",
        ),
        ("queue of nothing else", script([on(queue("\r\n")), on(get(""))]), Nothing, ""),
        (
            "queue, reserved",
            script([on(queue("am\nq.mine"))]),
            Channel,
            "403 ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'",
        ),
        ("queue, got from", then(on(get("q\n2"))), Channel, no_queue),
        ("queue, purged", then(on(purge("q\n2"))), Channel, no_queue),
        ("queue, consumed from", then(on(consume("q\n2", "t"))), Channel, no_queue),
        (
            "exchange, declared",
            then(on(exchange("e1", "fanout"))),
            Channel,
            "406 PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'e1' in vhost 'sem': received 'fanout' but current is 'direct'",
        ),
        (
            "exchange, missing",
            script([on(exchange::Declare { passive: true, ..exchange("no\npe", "direct") })]),
            Channel,
            "404 NOT_FOUND - no exchange 'nope' in vhost 'sem'",
        ),
        (
            "exchange, predeclared, deleted",
            script([on(delete("amq.\ndirect"))]),
            Channel,
            "403 ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost 'sem' not allowed",
        ),
        ("exchange of nothing else", script([on(exchange("\r\n", "direct"))]), Channel, default),
        ("exchange of nothing else, deleted", script([on(delete("\n"))]), Channel, default),
        ("exchange of nothing else, bound", then(on(bind("q2", "\n"))), Channel, default),
        ("exchange of nothing else, bound to", then(on(between("amq.fanout", "\n"))), Channel, default),
        (
            "exchange, published to",
            [made(), publish("e\n1", "", &Properties::default()).to_vec()].concat(),
            Channel,
            "404 NOT_FOUND - no exchange 'e\n1' in vhost 'sem'",
        ),
        ("binding", then(on(bind("\nq2", "e1\n"))), Nothing, ""),
        ("binding that goes", then(on(unbind("\nq2", "e1\n"))), Nothing, ""),
        ("binding of exchanges", then(on(between("amq.\nfanout", "e1\n"))), Nothing, ""),
        (
            "binding of a missing queue",
            then(on(bind("no\npe", "e1"))),
            Channel,
            "404 NOT_FOUND - no queue 'nope' in vhost 'sem'",
        ),
    ]
}

fn frames() -> Vec<Case> {
    let header = |body_size| {
        let properties = EncodedProperties::NONE;
        Frame::Header(1, ContentHeader { class_id: 60, body_size, properties })
    };
    let body = |text: &'static str| Frame::Body(1, Bytes::from_static(text.as_bytes()));
    let publish = || on(basic::Publish::default());
    vec![
        (
            "body without header",
            script([body("x")]),
            Connection,
            "505 UNEXPECTED_FRAME - expected method frame, got non method frame instead",
        ),
        (
            "header without publish",
            script([header(1)]),
            Connection,
            "505 UNEXPECTED_FRAME - expected method frame, got non method frame instead",
        ),
        (
            "method amid content",
            script([publish(), on(queue("q"))]),
            Connection,
            "505 UNEXPECTED_FRAME - expected content header for class 60, got non content header frame instead",
        ),
        ("heartbeat amid content", script([publish(), Frame::Heartbeat(0), header(0)]), Nothing, ""),
        (
            "body too long",
            script([publish(), header(1), body("xy")]),
            Connection,
            "505 UNEXPECTED_FRAME - expected content body, got non content body frame instead",
        ),
        (
            "frame over frame_max",
            script([publish(), header(900), Frame::Body(1, Bytes::from(vec![0; 200_000]))]),
            Connection,
            "501 FRAME_ERROR - type 3, all octets = <<>>: {frame_too_large,200000,131064}",
        ),
        (
            "channel that is not open",
            script([Frame::Method(7, basic::Qos::default().into())]),
            Connection,
            "504 CHANNEL_ERROR - expected 'channel.open'",
        ),
        (
            "channel opened twice",
            script([on(channel::Open::default())]),
            Connection,
            "504 CHANNEL_ERROR - second 'channel.open' seen",
        ),
        (
            "message over the limit",
            script([publish(), header(1001)]),
            Channel,
            "406 PRECONDITION_FAILED - message size 1001 is larger than configured max size 1000",
        ),
    ]
}

pub(super) fn catalogue() -> Vec<(&'static str, Vec<Case>)> {
    vec![
        ("exchange", exchanges()),
        ("queue", queues()),
        ("consume", consuming()),
        ("publish", publishing()),
        ("line", lines()),
        ("frame", frames()),
    ]
}

/// Says all of a script and then asks for something harmless: what was closed, with which words.
pub(super) async fn outcome(peer: Peer, frames: &[Frame]) -> (Closed, String) {
    let (closed, words, _) = blame(peer, frames).await;
    (closed, words)
}

/// The same, and for which method.
pub(super) async fn blame(mut peer: Peer, frames: &[Frame]) -> (Closed, String, (u16, u16)) {
    peer.call(1, channel::Open::default()).await;
    for frame in frames {
        peer.frame(frame).await;
    }
    peer.send(1, basic::Qos::default()).await;
    loop {
        match peer.next().await {
            Some(Frame::Method(1, Method::Basic(basic::Method::QosOk(_)))) => {
                return (Nothing, String::new(), (0, 0));
            }
            Some(Frame::Method(1, Method::Channel(channel::Method::Close(close)))) => {
                let words = format!("{} {}", close.reply_code, close.reply_text);
                return (Channel, words, (close.class_id, close.method_id));
            }
            Some(Frame::Method(0, Method::Connection(connection::Method::Close(close)))) => {
                let words = format!("{} {}", close.reply_code, close.reply_text);
                return (Connection, words, (close.class_id, close.method_id));
            }
            Some(_) => {}
            None => panic!("the stream ended without a word"),
        }
    }
}

#[tokio::test]
async fn each_violation_gets_rabbitmqs_code_and_text_on_the_right_scope() {
    for (group, cases) in catalogue() {
        for (case, frames, closed, text) in cases {
            let broker = Broker::builder().vhost("sem").max_message_size(1000).build();
            let peer = Peer::greet(&broker, "sem", 131_072).await;
            let (was_closed, words) = outcome(peer, &frames).await;
            assert_eq!((was_closed, words.as_str()), (closed, text), "{group}: {case}");
        }
    }
}

#[tokio::test]
async fn an_exclusive_queue_is_locked_to_other_connections_in_every_way() {
    let broker = Broker::builder().vhost("sem").build();
    let mut owner = Peer::greet(&broker, "sem", 131_072).await;
    owner.call(1, channel::Open::default()).await;
    owner.call(1, queue::Declare { exclusive: true, ..queue("qx") }).await;
    let ways: [Method; 7] = [
        queue("qx").into(),
        queue::Declare { passive: true, ..queue("qx") }.into(),
        bind("qx", "amq.direct").into(),
        queue::Purge { queue: name("qx"), ..Default::default() }.into(),
        queue::Delete { queue: name("qx"), ..Default::default() }.into(),
        consume("qx", "").into(),
        basic::Get { queue: name("qx"), ..Default::default() }.into(),
    ];
    for way in ways {
        let mut other = Peer::greet(&broker, "sem", 131_072).await;
        other.call(1, channel::Open::default()).await;
        let id = way.id();
        other.send(1, way).await;
        let close = other.expect::<channel::Close>(1).await;
        assert_eq!(close.reply_code, 405, "{id:?}");
        assert_eq!((close.class_id, close.method_id), (id.class_id, id.method_id));
        assert!(close.reply_text.to_text().starts_with(
            "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'qx' in vhost 'sem'. It could be"
        ));
    }
}

#[tokio::test]
async fn bytes_that_are_no_frames_are_answered_with_rabbitmqs_words() {
    let broken: [(&[u8], &str); 2] = [
        (&[9, 0, 1, 0, 0, 0, 0, 0xCE], "FRAME_ERROR - type 9, all octets = <<>>: unknown_frame"),
        (
            &[1, 0, 1, 0, 0, 0, 4, 0, 60, 0, 99, 0],
            "FRAME_ERROR - type 1, all octets = <<0,60,0,99>>: {invalid_frame_end_marker,0}",
        ),
    ];
    for (bytes, text) in broken {
        let mut peer = Peer::open(&Broker::builder().build()).await;
        peer.raw(bytes).await;
        let close = peer.expect::<connection::Close>(0).await;
        assert_eq!((close.reply_code, close.reply_text.to_text().as_ref()), (501, text));
        peer.send(0, connection::CloseOk {}).await;
        assert_eq!(peer.next().await, None);
    }
}
