//! The settings of a mailbox: its queues, and what it writes and reads.

use std::time::Duration;

use amqp_client::{Channel, Queue, ReplyCode};
use futures_util::StreamExt as _;
use messaging::{Serializers, mailbox::MailboxBuilder};
use serde_json::json;

use super::{
    Broker, DEADLINE,
    fixture::{RawNode, answers, namespace, start, who},
    on_every_broker_and_redis, within,
};

/// Checks that there is a queue that is declared with these properties.
async fn is_declared(broker: &Broker, queue: Queue) {
    let name = queue.name().to_owned();
    broker.channel().await.declare(&queue).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    // With others it is not.
    let channel: Channel = broker.channel().await;
    let refused = channel.declare(&Queue::new(&name).auto_delete(true).max_priority(3)).await.unwrap_err();
    assert_eq!(refused.reply_code(), Some(ReplyCode::PRECONDITION_FAILED), "{name}");
}

async fn queues_have_the_times_that_are_set(broker: Broker) {
    let transport = broker.transport().await;
    let (ttl, unused) = (Duration::from_secs(300), Duration::from_secs(20));
    let kombu: fn(MailboxBuilder) -> MailboxBuilder = |mailbox| mailbox;
    let celery: fn(MailboxBuilder) -> MailboxBuilder = |mailbox| {
        let (ttl, unused) = (Duration::from_secs(300), Duration::from_secs(20));
        mailbox.queue_ttl(ttl).queue_expires(unused).reply_queue_ttl(ttl).reply_queue_expires(Some(unused))
    };
    for (setting, is_celerys) in [(kombu, false), (celery, true)] {
        // Another connection may look at what is not exclusive.
        let namespace = namespace(&broker);
        let mailbox = setting(transport.mailbox(&namespace).queue_exclusive(false)).open();
        let node = start(who(&mailbox, "w1")).await;
        let mut raw = RawNode::start(&broker).await;
        let call = mailbox.command("who").to(["w1"]).timeout(DEADLINE).own_reply_queue(true).call();
        let (replies, command) = tokio::join!(call, raw.command());
        let key = command.body["reply_to"]["routing_key"].as_str().unwrap();
        let queue = |name: String| Queue::new(format!("{name}.{namespace}.pidbox")).auto_delete(true);
        let (own, reply) = (queue("w1".to_owned()), queue(format!("{key}.reply")));
        let (own, reply) = match is_celerys {
            true => {
                let timed = |queue: Queue| queue.expires(unused).message_ttl(ttl);
                (timed(own), timed(reply))
            }
            false => (own, reply.expires(Duration::from_secs(10))),
        };
        is_declared(&broker, own).await;
        is_declared(&broker, reply).await;
        assert_eq!(json!(answers(replies.unwrap()).await), json!({"w1": "w1"}));
        within(node.stop()).await;
    }
    transport.close().await.unwrap();
}

async fn what_is_accepted_and_written_is_a_setting(broker: Broker) {
    let transport = broker.transport().await;
    let namespace = namespace(&broker);
    let both = Serializers::new().accept(["json", "msgpack"]).unwrap();
    let packing = transport.mailbox(&namespace).serializers(both).serializer("msgpack").open();
    let plain = transport.mailbox(&namespace).open();
    let nodes = [start(who(&packing, "packing")).await, start(who(&plain, "plain")).await];
    let everyone = |mailbox: &messaging::mailbox::Mailbox, limit| {
        mailbox.command("who").timeout(DEADLINE).limit(limit).call()
    };
    assert_eq!(json!(answers(everyone(&packing, 1).await.unwrap()).await), json!({"packing": "packing"}));
    within(async {
        while plain.metrics().commands_malformed == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // A reply is written as its node writes, whatever its caller accepts.
    let replies: Vec<_> = within(everyone(&plain, 2).await.unwrap().collect()).await;
    assert_eq!(replies.iter().filter(|reply| reply.is_ok()).count(), 1, "{replies:?}");
    let unknown = transport.mailbox(&namespace).serializer("nosuch").open();
    assert!(within(unknown.command("who").cast()).await.is_err());
    for node in nodes {
        within(node.stop()).await;
    }
    transport.close().await.unwrap();
}

on_every_broker_and_redis! {
    what_is_accepted_and_written_is_a_setting;
    queues_have_the_times_that_are_set,
}
