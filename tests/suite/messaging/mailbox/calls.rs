//! How long a call goes on, and which replies are its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::StreamExt as _;
use messaging::{
    Error, TransportOptions,
    mailbox::{Kind, Mailbox, Node, NodeBuilder, Replies, ReplyError, Request},
};
use serde_json::json;
use tokio::{net::TcpListener, sync::watch};

use super::{
    Broker, DEADLINE,
    fixture::{answers, mailbox, start, who},
    on_every_broker_and_redis, within,
};

/// A time that no test waits for.
const LONG: Duration = Duration::from_secs(3600);
/// A time in which nodes surely answer.
const BRIEF: Duration = Duration::from_secs(2);
/// A time that passes while a test waits for something else.
const SHORT: Duration = Duration::from_millis(300);

/// A node whose method `wait` answers when the gate is open.
fn gated(mailbox: &Mailbox, name: &str, gate: &watch::Receiver<bool>) -> NodeBuilder {
    let gate = gate.clone();
    who(mailbox, name).handler("wait", move |request: Request, (): ()| {
        let mut gate = gate.clone();
        async move {
            gate.wait_for(|is_open| *is_open).await?;
            Ok::<_, watch::error::RecvError>(request.node().to_owned())
        }
    })
}

async fn three(mailbox: &Mailbox) -> Vec<Node> {
    let mut nodes = Vec::new();
    for name in ["w1", "w2", "w3"] {
        nodes.push(start(who(mailbox, name)).await);
    }
    nodes
}

async fn next(replies: &mut Replies) -> String {
    within(replies.recv()).await.unwrap().unwrap().into_parts().0
}

async fn is_over(replies: &mut Replies) {
    assert!(within(replies.recv()).await.is_none());
    assert!(within(replies.recv()).await.is_none(), "it stays so");
}

async fn a_dead_node_is_waited_for_until_the_deadline_of_the_whole_call(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Direct);
    let nodes = three(&mailbox).await;
    let call = mailbox.command("who").to(["w1", "w2", "w3", "dead"]).timeout(BRIEF).call();
    let mut replies = within(call).await.unwrap();
    let mut answered = [next(&mut replies).await, next(&mut replies).await, next(&mut replies).await];
    answered.sort();
    assert_eq!(answered, ["w1", "w2", "w3"]);
    assert_eq!(replies.missing().collect::<Vec<_>>(), ["dead"]);
    is_over(&mut replies).await;
    // Without any names or limit, it takes all of its time too.
    let all = answers(mailbox.command("who").timeout(BRIEF).call().await.unwrap()).await;
    assert_eq!(all.len(), 3);
    for node in nodes {
        within(node.stop()).await;
    }
    transport.close().await.unwrap();
}

async fn replies_that_follow_one_another_do_not_extend_the_deadline(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Direct);
    let mut node = super::fixture::RawNode::start(&broker).await;
    let mut replies = mailbox.command("x").timeout(3 * SHORT).call().await.unwrap();
    let command = node.command().await;
    // There is always another reply long before the time of kombu's next one is over.
    let answering = async {
        for number in 0.. {
            command.answer("w1", json!(number)).await;
            tokio::time::sleep(SHORT / 20).await;
        }
    };
    let reading = async {
        let mut read = 0;
        while let Some(reply) = replies.next().await {
            reply.unwrap();
            read += 1;
        }
        read
    };
    tokio::select! {
        () = answering => unreachable!("it goes on for ever"),
        read = within(reading) => assert!(read > 1, "{read}"),
    }
    transport.close().await.unwrap();
}

async fn a_call_ends_when_all_named_nodes_have_answered(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Fanout);
    let nodes = three(&mailbox).await;
    for timeout in [LONG, Duration::MAX] {
        let call = mailbox.command("who").to(["w1", "w3", "w1"]).timeout(timeout).call();
        let answered = answers(within(call).await.unwrap()).await;
        assert_eq!(answered.into_keys().collect::<Vec<_>>(), ["w1", "w3"]);
    }
    for node in nodes {
        within(node.stop()).await;
    }
    transport.close().await.unwrap();
}

async fn replies_are_read_while_others_are_waited_for(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Direct);
    let ((open, gate), (_never, opened)) = (watch::channel(false), watch::channel(true));
    let slow = start(gated(&mailbox, "slow", &gate)).await;
    let fast = start(gated(&mailbox, "fast", &opened)).await;
    let mut replies = mailbox.command("wait").to(["slow", "fast"]).timeout(LONG).call().await.unwrap();
    assert_eq!(next(&mut replies).await, "fast");
    assert_eq!(replies.missing().collect::<Vec<_>>(), ["slow"]);
    open.send(true).unwrap();
    assert_eq!(next(&mut replies).await, "slow");
    is_over(&mut replies).await;
    within(slow.stop()).await;
    within(fast.stop()).await;
    transport.close().await.unwrap();
}

async fn a_slow_handler_holds_up_no_other_command(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Direct);
    let (open, gate) = watch::channel(false);
    let node = start(gated(&mailbox, "w1", &gate).concurrency(4)).await;
    let call = |method| mailbox.command(method).to(["w1"]).timeout(LONG).call();
    let mut waiting = [call("wait").await.unwrap(), call("wait").await.unwrap(), call("wait").await.unwrap()];
    assert_eq!(json!(answers(call("who").await.unwrap()).await), json!({"w1": "w1"}));
    open.send(true).unwrap();
    for replies in &mut waiting {
        assert_eq!(next(replies).await, "w1");
    }
    within(node.stop()).await;
    transport.close().await.unwrap();
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_though_its_broker_is_away_or_mute() {
    let away = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for address in [away, mute.local_addr().unwrap()] {
        let mailbox =
            TransportOptions::new().lazy(&format!("amqp://{address}/")).unwrap().mailbox("ns").open();
        let call = |own| mailbox.command("who").timeout(SHORT).own_reply_queue(own).call();
        // They wait for one another, and none for longer than it may.
        for ended in within(futures_util::future::join_all([call(false), call(false), call(true)])).await {
            let error = ended.unwrap_err();
            assert!(matches!(error, Error::Timeout { .. } | Error::Connect { .. }), "{error:?}");
        }
        let nobody = mailbox.command("who").to(Vec::<String>::new());
        assert!(answers(within(nobody.clone().call()).await.unwrap()).await.is_empty());
        within(nobody.cast()).await.unwrap();
    }
}

async fn a_limit_is_exact_and_what_comes_later_counts_for_no_other_call(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Direct);
    let nodes = three(&mailbox).await;
    let counter = Arc::new(AtomicU32::new(0));
    let counting = counter.clone();
    let count = move |_: Request, (): ()| {
        let count = counting.fetch_add(1, SeqCst);
        async move { Ok::<_, String>(count) }
    };
    let counting_node = start(who(&mailbox, "w4").handler("count", count)).await;
    for round in 0..5 {
        let mut replies = mailbox.command("who").limit(1).timeout(LONG).call().await.unwrap();
        next(&mut replies).await;
        is_over(&mut replies).await;
        // The replies of the three others are on their way, and none of them is this one.
        let mut replies = mailbox.command("count").to(["w4"]).limit(1).timeout(LONG).call().await.unwrap();
        let reply = within(replies.recv()).await.unwrap().unwrap();
        assert_eq!((reply.node(), reply.decode::<u32>().unwrap()), ("w4", round));
        is_over(&mut replies).await;
    }
    let mut replies = mailbox.command("who").limit(3).timeout(LONG).call().await.unwrap();
    let mut answered = Vec::new();
    for _ in 0..3 {
        answered.push(next(&mut replies).await);
    }
    is_over(&mut replies).await;
    answered.sort();
    answered.dedup();
    assert_eq!(answered.len(), 3);
    let mut none = mailbox.command("who").limit(0).timeout(LONG).call().await.unwrap();
    is_over(&mut none).await;
    for node in nodes.into_iter().chain([counting_node]) {
        within(node.stop()).await;
    }
    transport.close().await.unwrap();
}

async fn a_late_reply_is_dropped_and_counted_during_the_next_call(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Direct);
    let (open, gate) = watch::channel(false);
    let node = start(gated(&mailbox, "w1", &gate)).await;
    let mut first = mailbox.command("wait").to(["w1"]).timeout(SHORT).call().await.unwrap();
    is_over(&mut first).await;
    let mut next = mailbox.command("who").to(["w1"]).limit(1).timeout(LONG).call().await.unwrap();
    // The node answers one after the other: first the call that is over.
    open.send(true).unwrap();
    let reply = within(next.recv()).await.unwrap().unwrap();
    assert_eq!(reply.decode::<String>().unwrap(), "w1");
    let metrics = mailbox.metrics();
    assert_eq!((metrics.replies_late, metrics.replies_received), (1, 1));
    // So are the replies of a call that was dropped.
    open.send(false).unwrap();
    drop(mailbox.command("wait").timeout(LONG).call().await.unwrap());
    open.send(true).unwrap();
    assert_eq!(
        answers(mailbox.command("who").to(["w1"]).timeout(DEADLINE).call().await.unwrap()).await.len(),
        1
    );
    assert_eq!(mailbox.metrics().replies_late, 2);
    within(node.stop()).await;
    transport.close().await.unwrap();
}

async fn calls_at_once_have_each_their_own_replies(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Direct);
    let echo = |_: Request, value: serde_json::Value| async move { Ok::<_, String>(value) };
    let node = start(mailbox.node("w1").handler("echo", echo)).await;
    let calls = (0..200).map(|number| {
        let command = mailbox.command("echo").arguments(&json!({"n": number})).unwrap();
        async move { (number, answers(command.to(["w1"]).timeout(LONG).call().await.unwrap()).await) }
    });
    for (number, answers) in within(futures_util::future::join_all(calls)).await {
        assert_eq!(json!(answers), json!({"w1": {"n": number}}));
    }
    assert_eq!(mailbox.metrics().replies_late, 0);
    within(node.stop()).await;
    transport.close().await.unwrap();
}

async fn an_answer_of_another_type_is_an_error_of_its_own(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Direct);
    let node = start(who(&mailbox, "w1")).await;
    let mut replies = mailbox.command("who").to(["w1"]).timeout(DEADLINE).call().await.unwrap();
    let reply = within(replies.recv()).await.unwrap().unwrap();
    assert!(matches!(reply.decode::<u32>(), Err(ReplyError::Decode { node, .. }) if node == "w1"));
    within(node.stop()).await;
    transport.close().await.unwrap();
}

on_every_broker_and_redis! {
    a_dead_node_is_waited_for_until_the_deadline_of_the_whole_call,
    replies_that_follow_one_another_do_not_extend_the_deadline,
    a_call_ends_when_all_named_nodes_have_answered,
    replies_are_read_while_others_are_waited_for,
    a_slow_handler_holds_up_no_other_command,
    a_limit_is_exact_and_what_comes_later_counts_for_no_other_call,
    a_late_reply_is_dropped_and_counted_during_the_next_call,
    calls_at_once_have_each_their_own_replies,
    an_answer_of_another_type_is_an_error_of_its_own,
}
