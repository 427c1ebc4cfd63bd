//! Replies that no node of ours has written.

use std::time::Duration;

use amqp_client::{Message, Queue, ReplyCode, Table, Value as Header};
use futures_util::StreamExt as _;
use messaging::mailbox::{Kind, Mailbox, Reply, ReplyError};
use serde_json::{Value, json};

use super::{
    Broker,
    fixture::{RawCommand, RawNode, content_type, json_message, mailbox, namespace, with_header},
    on_every_broker_and_redis, within,
};

const LONG: Duration = Duration::from_secs(3600);

fn text(body: &str) -> Message {
    Message::new(body.to_owned()).content_type("application/json").headers(Table::new())
}

/// A call of a node that a test plays, with a limit of replies.
async fn called(
    mailbox: &Mailbox,
    node: &mut RawNode,
    limit: usize,
) -> (RawCommand, messaging::mailbox::Replies) {
    let call = mailbox.command("x").limit(limit).timeout(LONG).call();
    let (replies, command) = tokio::join!(within(call), node.command());
    (command, replies.unwrap())
}

async fn what_is_sent_is_what_kombu_sends(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Direct);
    let mut node = RawNode::start(&broker).await;
    let (command, replies) = called(&mailbox, &mut node, 1).await;
    drop(replies);
    let keys: Vec<_> = command.body.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = ["arguments", "destination", "matcher", "method", "pattern", "reply_to", "ticket"];
    assert_eq!(keys, expected);
    assert_eq!(command.body["reply_to"]["exchange"], format!("reply.{}.pidbox", namespace(&broker)));
    let properties = &command.properties;
    let headers = properties.headers.as_ref().unwrap();
    assert!(matches!(headers.get("clock"), Some(Header::I32(1..))));
    assert!(matches!(headers.get("expires"), Some(Header::F64(..))));
    assert_eq!((properties.delivery_mode, properties.priority), (Some(2), Some(0)));
    let (cast, command) = tokio::join!(mailbox.command("x").to(["w1"]).cast(), node.command());
    cast.unwrap();
    let nobody =
        json!({"method": "x", "arguments": {}, "destination": ["w1"], "pattern": null, "matcher": null});
    assert_eq!(command.body, nobody);
    assert_eq!(command.properties.headers.unwrap().get("expires"), Some(Header::I32(0)));
    transport.close().await.unwrap();
}

async fn one_reply_that_cannot_be_read_is_one_item(broker: Broker) {
    let transport = broker.transport().await;
    let limit = 4096;
    let mailbox = transport.mailbox(&namespace(&broker)).max_message_size(limit).open();
    let mut node = RawNode::start(&broker).await;
    let body = json!({"w1": 1});
    let as_type = |name| content_type(text(&body.to_string()), name);
    let unreadable = [
        ("no JSON", text("{")),
        ("nothing", text("")),
        ("no UTF-8", content_type(Message::new(&b"\xff"[..]), Some("application/json"))),
        ("text", as_type(Some("text/plain"))),
        ("MessagePack", as_type(Some("application/x-msgpack"))),
        ("pickle", as_type(Some("application/x-python-serialize"))),
        ("a large one", json_message(&json!({"w1": "x".repeat(limit as usize)}))),
    ];
    let no_objects =
        [json!([]), json!(7), json!(null), json!("w1"), json!({})].map(|body| json_message(&body));
    // Without a content type it is a text, whatever it looks like.
    let no_objects: Vec<_> = no_objects.into_iter().chain([as_type(None)]).collect();
    let (command, replies) = called(&mailbox, &mut node, 2 + unreadable.len() + no_objects.len()).await;
    command.answer("first", json!(1)).await;
    for (_, message) in &unreadable {
        command.reply(command.with_ticket(message.clone())).await;
    }
    for message in &no_objects {
        command.reply(command.with_ticket(message.clone())).await;
    }
    command.answer("last", json!(2)).await;
    let replies: Vec<_> = within(replies.collect()).await;
    let mut replies = replies.into_iter();
    assert_eq!(replies.next().unwrap().unwrap().node(), "first");
    for (what, _) in &unreadable {
        let reply = replies.next().unwrap();
        assert!(matches!(reply, Err(ReplyError::Undecodable(_))), "{what}: {reply:?}");
    }
    for message in &no_objects {
        let reply = replies.next().unwrap();
        assert!(matches!(reply, Err(ReplyError::NotAnObject)), "{:?}: {reply:?}", message.body());
    }
    assert_eq!(replies.next().unwrap().unwrap().node(), "last");
    transport.close().await.unwrap();
}

async fn the_answers_of_several_nodes_may_come_in_one_reply(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Direct);
    let mut node = RawNode::start(&broker).await;
    let (command, replies) = called(&mailbox, &mut node, 2).await;
    command.reply(command.with_ticket(json_message(&json!({"w1": 1, "w2": {"error": "no"}, "w3": 3})))).await;
    let replies: Vec<Result<Reply, _>> = within(replies.collect()).await;
    let nodes: Vec<_> = replies.iter().map(|reply| reply.as_ref().unwrap().node()).collect();
    assert_eq!(nodes, ["w1", "w2"], "no more than the limit");
    transport.close().await.unwrap();
}

async fn a_reply_without_ticket_is_nobodys_where_calls_share_a_queue(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Direct);
    let mut node = RawNode::start(&broker).await;
    let (first, replies) = called(&mailbox, &mut node, 1).await;
    drop(replies);
    let (second, mut replies) = called(&mailbox, &mut node, 1).await;
    // These are late for the first call, and the second waits on the same queue.
    let stray = json_message(&json!({"stray": 1}));
    let without = [
        stray.clone(),
        with_header(stray.clone(), "ticket", Header::Void),
        with_header(stray.clone(), "ticket", Header::I32(7)),
        content_type(Message::new("{}"), Some("application/json")),
        text("{"),
    ];
    for message in &without {
        first.reply(message.clone()).await;
    }
    first.reply(with_header(stray, "ticket", "of nobody")).await;
    first.answer("late", json!(1)).await;
    second.answer("w1", json!(2)).await;
    let reply = within(replies.recv()).await.unwrap().unwrap();
    assert_eq!((reply.node(), reply.answer()), ("w1", &json!(2)));
    let metrics = mailbox.metrics();
    assert_eq!(metrics.replies_without_ticket, without.len() as u64);
    assert_eq!((metrics.replies_late, metrics.replies_received), (2, 1));
    transport.close().await.unwrap();
}

async fn a_reply_without_ticket_counts_where_the_queue_is_of_one_call(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Direct);
    let mut node = RawNode::start(&broker).await;
    let call = mailbox.command("x").limit(2).timeout(LONG).own_reply_queue(true).call();
    let (replies, command) = tokio::join!(within(call), node.command());
    let mut replies = replies.unwrap();
    command.reply(json_message(&json!({"w1": 1}))).await;
    command.reply(with_header(json_message(&json!({"w2": 2})), "ticket", "of nobody")).await;
    command.answer("w3", json!(3)).await;
    for (node, answer) in [("w1", 1), ("w3", 3)] {
        let reply = within(replies.recv()).await.unwrap().unwrap();
        assert_eq!((reply.node(), reply.answer()), (node, &json!(answer)));
    }
    assert!(within(replies.recv()).await.is_none());
    let metrics = mailbox.metrics();
    assert_eq!((metrics.replies_late, metrics.replies_without_ticket), (1, 0));
    is_gone(&broker, &command).await;
    drop(replies);
    // One that calls share goes with its mailbox.
    let (command, replies) = called(&mailbox, &mut node, 1).await;
    drop((mailbox, replies));
    is_gone(&broker, &command).await;
    transport.close().await.unwrap();
}

/// Waits until the queue for the replies to a command is deleted.
async fn is_gone(broker: &Broker, command: &RawCommand) {
    let key = command.body["reply_to"]["routing_key"].as_str().unwrap();
    let queue = format!("{key}.reply.{}.pidbox", namespace(broker));
    let passive = Queue::new(queue).passive(true);
    within(async {
        // While it is there, it belongs to another connection.
        while broker.channel().await.declare(&passive).await.unwrap_err().reply_code()
            != Some(ReplyCode::NOT_FOUND)
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn a_replys_clock_is_taken_over_unless_it_is_poisoned(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Direct);
    let mut node = RawNode::start(&broker).await;
    let poison = [Header::I64(1 << 40), Header::I64(-1), "7".into(), Header::F64(7.0)];
    let (command, mut replies) = called(&mailbox, &mut node, poison.len() + 1).await;
    let answer = command.with_ticket(json_message(&json!({"w1": 1})));
    for (count, value) in (1..).zip(poison) {
        command.reply(with_header(answer.clone(), "clock", value)).await;
        within(replies.recv()).await.unwrap().unwrap();
        assert_eq!(mailbox.clock(), 1 + count);
    }
    command.reply(with_header(answer, "clock", Header::I32(1000))).await;
    within(replies.recv()).await.unwrap().unwrap();
    assert_eq!(mailbox.clock(), 1001);
    transport.close().await.unwrap();
}

async fn replies_that_nobody_reads_have_a_limit(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Direct);
    let mut node = RawNode::start(&broker).await;
    let (large, count) = (8 * 1024 * 1024, 12);
    let (command, mut replies) = called(&mailbox, &mut node, count + 1).await;
    for _ in 0..count {
        command.answer("w1", Value::String("x".repeat(large))).await;
    }
    within(async {
        let arrived = || mailbox.metrics().replies_received;
        while arrived() < count as u64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let dropped = mailbox.metrics().replies_dropped as usize;
    assert!(dropped > 0);
    for _ in dropped..count {
        within(replies.recv()).await.unwrap().unwrap();
    }
    // One item tells of all that were dropped, and then there is room again.
    let item = within(replies.recv()).await.unwrap();
    assert!(matches!(item, Err(ReplyError::NoRoom { .. })), "{item:?}");
    command.answer("w2", json!(1)).await;
    assert_eq!(within(replies.recv()).await.unwrap().unwrap().node(), "w2");
    transport.close().await.unwrap();
}

on_every_broker_and_redis! {
    what_is_sent_is_what_kombu_sends,
    one_reply_that_cannot_be_read_is_one_item,
    the_answers_of_several_nodes_may_come_in_one_reply,
    a_reply_without_ticket_is_nobodys_where_calls_share_a_queue,
    a_replys_clock_is_taken_over_unless_it_is_poisoned,
    replies_that_nobody_reads_have_a_limit,
    a_reply_without_ticket_counts_where_the_queue_is_of_one_call,
}
