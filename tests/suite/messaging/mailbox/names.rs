//! The name of a node, which it has to itself, and its end.

use messaging::{
    Error, Transport,
    mailbox::{Kind, Mailbox, MailboxError, NodeBuilder, Request},
};
use serde_json::json;

use super::{
    Broker, DEADLINE,
    fixture::{RawCaller, answers, mailbox, namespace, start, who},
    on_every_broker_and_redis, within,
};

fn opened(transport: &Transport, broker: &Broker, is_exclusive: bool) -> Mailbox {
    let namespace = format!("{}-{is_exclusive}", namespace(broker));
    transport.mailbox(&namespace).queue_exclusive(is_exclusive).open()
}

async fn is_taken(node: NodeBuilder, name: &str) {
    let error = within(node.start()).await.unwrap_err();
    let Error::Mailbox(MailboxError::NameTaken { node, .. }) = error else { panic!("{error:?}") };
    assert_eq!(node, name);
}

async fn a_second_node_of_a_name_is_refused_and_the_first_goes_on(broker: Broker) {
    for is_exclusive in [true, false] {
        let (transport, other) = (broker.transport().await, broker.transport().await);
        let mailbox = opened(&transport, &broker, is_exclusive);
        let first = start(who(&mailbox, "w1")).await;
        for (transport, what) in [(&other, "elsewhere"), (&transport, "beside it")] {
            let second = opened(transport, &broker, is_exclusive);
            is_taken(who(&second, "w1"), "w1").await;
            // The other name is free.
            within(start(who(&second, "w2")).await.stop()).await;
            for _ in 0..3 {
                let called = mailbox.command("who").to(["w1"]).timeout(DEADLINE).call().await.unwrap();
                assert_eq!(json!(answers(called).await), json!({"w1": "w1"}), "{what}");
            }
        }
        within(first.stop()).await;
        within(start(who(&opened(&other, &broker, is_exclusive), "w1")).await.stop()).await;
        transport.close().await.unwrap();
        other.close().await.unwrap();
    }
}

async fn a_handler_may_stop_its_node_and_its_reply_is_still_sent(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Fanout);
    let shutdown = |request: Request, (): ()| async move {
        request.stop_node();
        Ok::<_, String>("shutting down")
    };
    let mut node = start(who(&mailbox, "w1").handler("shutdown", shutdown)).await;
    let asleep = tokio::time::timeout(std::time::Duration::from_millis(20), node.wait()).await;
    assert!(asleep.is_err(), "it goes on");
    let replies = mailbox.command("shutdown").to(["w1"]).timeout(DEADLINE).call().await.unwrap();
    assert_eq!(json!(answers(replies).await), json!({"w1": "shutting down"}));
    within(node.wait()).await.unwrap();
    // Its name is free, though the node is still held.
    let second = start(who(&mailbox, "w1")).await;
    drop(node);
    let replies = mailbox.command("who").to(["w1"]).timeout(DEADLINE).call().await.unwrap();
    assert_eq!(json!(answers(replies).await), json!({"w1": "w1"}));
    within(second.stop()).await;
    transport.close().await.unwrap();
}

async fn a_node_ends_with_its_transport_and_when_it_is_dropped(broker: Broker) {
    let transport = broker.transport().await;
    let mut node = start(who(&mailbox(&transport, &broker, Kind::Direct), "w1")).await;
    transport.close().await.unwrap();
    within(node.wait()).await.unwrap();
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Direct);
    let (dropped, kept) = (start(who(&mailbox, "dropped")).await, start(who(&mailbox, "kept")).await);
    drop(dropped);
    let queue = format!("dropped.{}.pidbox", namespace(&broker));
    within(async {
        let passive = amqp_client::Queue::new(&queue).exclusive(true).auto_delete(true).passive(true);
        loop {
            // 404: it is gone. The queue of another connection is 405.
            let refused = broker.channel().await.declare(&passive).await.unwrap_err();
            if refused.reply_code() == Some(amqp_client::ReplyCode::NOT_FOUND) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
    let mut caller = RawCaller::start(&broker).await;
    assert_eq!(caller.answers(json!({"method": "who"}), 1).await, [("kept".into(), json!("kept"))].into());
    within(kept.stop()).await;
    transport.close().await.unwrap();
}

async fn two_types_of_one_namespace_are_a_conflict(broker: Broker) {
    let transport = broker.transport().await;
    let node = start(who(&mailbox(&transport, &broker, Kind::Direct), "w1")).await;
    let other = mailbox(&transport, &broker, Kind::Fanout);
    let refused = within(who(&other, "w2").start()).await.unwrap_err();
    assert!(matches!(refused, Error::Conflict(_)), "{refused:?}");
    assert!(within(other.command("who").call()).await.is_err());
    within(node.stop()).await;
    transport.close().await.unwrap();
}

on_every_broker_and_redis! {
    a_handler_may_stop_its_node_and_its_reply_is_still_sent,
    a_node_ends_with_its_transport_and_when_it_is_dropped,
    two_types_of_one_namespace_are_a_conflict,
    a_second_node_of_a_name_is_refused_and_the_first_goes_on,
}
