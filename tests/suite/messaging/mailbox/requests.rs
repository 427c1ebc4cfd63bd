//! Commands that no library has written: malformed ones, and those with odd headers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use amqp_client::{Message, Table, Value as Header};
use messaging::mailbox::Kind;
use serde_json::{Value, json};

use super::{
    Broker, Log,
    fixture::{RawCaller, content_type, json_message, mailbox, namespace, start, who, with_header},
    on_every_broker_and_redis, within,
};

/// The limit of the size of a body.
const LIMIT: u64 = 4096;

fn json_text(body: impl Into<String>) -> Message {
    Message::new(body.into()).content_type("application/json").headers(Table::new())
}

/// Messages that are no commands.
fn malformed(command: &Value) -> Vec<(&'static str, Message)> {
    let text = command.to_string();
    let mut padded = command.clone();
    padded["padding"] = json!("x".repeat(LIMIT as usize));
    let mut listed = command.clone();
    listed["arguments"] = json!([1]);
    let as_type = |name| content_type(Message::new(text.clone()), name);
    vec![
        ("nothing", json_text("")),
        ("no JSON", json_text("{")),
        ("no UTF-8", Message::new(&b"\xff\xfe{}"[..]).content_type("application/json")),
        ("a list", json_text(format!("[{text}]"))),
        ("a number", json_text("7")),
        ("null", json_text("null")),
        ("a text", json_text("\"who\"")),
        ("no method", json_text("{}")),
        ("no name of a method", json_text(r#"{"method": 1}"#)),
        ("a list of arguments", json_message(&listed)),
        ("no place for replies", json_text(r#"{"method": "who", "reply_to": "q"}"#)),
        ("deep JSON", json_text("[".repeat(LIMIT as usize))),
        ("no content type", as_type(None)),
        ("text", as_type(Some("text/plain"))),
        ("bytes", as_type(Some("application/data"))),
        ("MessagePack", as_type(Some("application/x-msgpack"))),
        ("pickle", as_type(Some("application/x-python-serialize"))),
        ("a content type of nobody", as_type(Some("no such type"))),
        ("no compression", with_header(json_text(text.clone()), "compression", "application/x-gzip")),
        ("a large one", json_message(&padded)),
    ]
}

async fn what_is_no_command_is_counted_and_never_ends_the_node(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = transport.mailbox(&namespace(&broker)).max_message_size(LIMIT).open();
    let node = start(who(&mailbox, "w1")).await;
    let mut caller = RawCaller::start(&broker).await;
    let command = caller.command(json!({"method": "who"}));
    assert_eq!(caller.replies(json_message(&command), 1).await.len(), 1, "the command itself is read");
    for (count, (what, message)) in malformed(&command).into_iter().enumerate() {
        let replies = caller.replies(message, 1).await;
        assert!(replies.is_empty(), "{what}: {replies:?}");
        assert_eq!(mailbox.metrics().commands_malformed, count as u64 + 1, "{what}");
    }
    within(node.stop()).await;
    transport.close().await.unwrap();
}

#[tokio::test]
async fn what_is_no_command_is_logged() {
    let (log, _guard) = Log::listen();
    let unknown = json!({"method": "who", "pattern": "x", "matcher": "nosuch"});
    let long = json!({"method": "who", "pattern": "x", "matcher": "long ".repeat(10_000)});
    for (message, reason) in [
        (json_text("{"), "EOF"),
        (json_text("{}"), "method"),
        (json_message(&unknown), "nosuch"),
        (content_type(json_text("{}"), Some("text/plain")), "text/plain"),
        // The log shows only the beginning of a peer's long text.
        (json_message(&long), "long long"),
    ] {
        // A mailbox logs one such line a second.
        let broker = Broker::memory();
        let node = start(who(&mailbox(&broker.transport().await, &broker, Kind::Direct), "w1")).await;
        let mut caller = RawCaller::start(&broker).await;
        for _ in 0..3 {
            assert!(caller.replies(message.clone(), 1).await.is_empty());
        }
        let line = log.line(reason);
        assert!(line.contains("WARN") && line.contains("w1") && line.contains("cannot be read"), "{line}");
        assert!(line.len() < 1000 && log.lines(reason).len() < 3, "{line}");
        within(node.stop()).await;
    }
}

#[tokio::test]
async fn a_poisoned_clock_is_logged_once_a_peer() {
    let broker = Broker::memory();
    let (log, _guard) = Log::listen();
    let mailbox = mailbox(&broker.transport().await, &broker, Kind::Direct);
    let node = start(who(&mailbox, "w1")).await;
    for peers in 1..=2 {
        let mut caller = RawCaller::start(&broker).await;
        let command = json_message(&caller.command(json!({"method": "who"})));
        for value in poison() {
            caller.replies(with_header(command.clone(), "clock", value), 1).await;
        }
        assert_eq!(log.lines("logical time").len(), peers);
    }
    within(node.stop()).await;
}

async fn the_least_command_is_answered_with_what_it_came_with(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Direct);
    let node = start(who(&mailbox, "w1")).await;
    let mut caller = RawCaller::start(&broker).await;
    let command = caller.command(json!({"method": "who"}));
    let text = command.to_string();
    let bare = content_type(Message::new(text.clone()), Some("application/json"));
    assert!(bare.properties().headers.is_none());
    let mut replies = caller.replies(bare, 1).await;
    let reply = replies.pop().unwrap();
    assert_eq!(reply.body, json!({"w1": "w1"}));
    assert_eq!(reply.headers.get("ticket"), Some(Header::Void), "as kombu's nodes have it");
    assert_eq!((reply.properties.delivery_mode, reply.properties.priority), (Some(1), Some(0)));
    let named = caller.command(json!({"method": "who", "ticket": "t-1", "arguments": null, "more": [1]}));
    let reply = caller.replies(json_message(&named), 1).await.pop().unwrap();
    assert_eq!(reply.headers.get("ticket"), Some("t-1".into()));
    let encoded = with_header(json_message(&named), "other", Header::Table(Table::new()));
    assert_eq!(caller.replies(encoded, 1).await.len(), 1);
    within(node.stop()).await;
    transport.close().await.unwrap();
}

/// Times that no clock may take over.
fn poison() -> Vec<Header> {
    vec![
        Header::I64(1 << 33),
        Header::I64(i64::MAX),
        Header::I64(-1),
        Header::I32(-7),
        Header::F64(1e12),
        "12345678901234".into(),
        Header::Bool(true),
        Header::Table(Table::new()),
    ]
}

async fn a_poisoned_clock_is_not_taken_over_and_its_command_is_handled(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Direct);
    let node = start(who(&mailbox, "w1")).await;
    let mut caller = RawCaller::start(&broker).await;
    let command = json_message(&caller.command(json!({"method": "who"})));
    let mut sent = 0;
    for value in poison() {
        let before = mailbox.clock();
        let reply = caller.replies(with_header(command.clone(), "clock", value.clone()), 1).await;
        let clock = reply[0].headers.get("clock").unwrap().as_i64().unwrap();
        assert!(clock > sent, "{value:?}: {clock} after {sent}");
        sent = clock;
        // It and the next command: each is received and answered.
        assert_eq!(mailbox.clock(), before + 4, "{value:?}");
    }
    // One that is ahead as far as may be is taken over.
    let ahead = Header::I64(i64::try_from(mailbox.clock()).unwrap() + (1 << 32));
    let reply = caller.replies(with_header(command, "clock", ahead.clone()), 1).await;
    assert!(reply[0].headers.get("clock").unwrap().as_i64() > ahead.as_i64());
    within(node.stop()).await;
    transport.close().await.unwrap();
}

async fn an_expired_command_is_handled_unless_the_node_obeys(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Direct);
    let tolerance = Duration::from_secs(60);
    let nodes = [
        start(who(&mailbox, "kombu")).await,
        start(who(&mailbox, "tolerant").obey_expiry(tolerance)).await,
        start(who(&mailbox, "strict").obey_expiry(Duration::ZERO)).await,
    ];
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let mut caller = RawCaller::start(&broker).await;
    let command = json_message(&caller.command(json!({"method": "who"})));
    for (expires, handled) in [
        (None, 3),
        (Some(Header::I32(0)), 3),
        (Some(Header::F64(0.0)), 3),
        (Some(Header::Void), 3),
        (Some("1".into()), 3),
        (Some(Header::F64(now + 1000.0)), 3),
        (Some(Header::I64(now as i64 + 1000)), 3),
        // This is what a node sees whose clock runs ten seconds ahead.
        (Some(Header::F64(now - 10.0)), 2),
        (Some(Header::F64(now - 1000.0)), 1),
        (Some(Header::I64(now as i64 - 1000)), 1),
        (Some(Header::F64(-1.0)), 1),
    ] {
        let message = expires
            .iter()
            .fold(command.clone(), |message, expires| with_header(message, "expires", expires.clone()));
        // The command that follows never expires.
        assert_eq!(caller.replies(message, nodes.len()).await.len(), handled, "{expires:?}");
    }
    assert_eq!(mailbox.metrics().commands_ignored, 1 + 3 * 2);
    for node in nodes {
        within(node.stop()).await;
    }
    transport.close().await.unwrap();
}

on_every_broker_and_redis! {
    what_is_no_command_is_counted_and_never_ends_the_node,
    the_least_command_is_answered_with_what_it_came_with,
    a_poisoned_clock_is_not_taken_over_and_its_command_is_handled,
    an_expired_command_is_handled_unless_the_node_obeys,
}
