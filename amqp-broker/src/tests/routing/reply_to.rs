//! Direct reply-to.

use amqp_codec::{
    Properties,
    method::{basic, queue},
};

use crate::tests::{
    both::both,
    peer::{Peer, short},
};

const REPLIES: &str = "amq.rabbitmq.reply-to";

async fn listen(peer: &mut Peer, tag: &str) {
    let consume = basic::Consume {
        queue: short(REPLIES),
        consumer_tag: short(tag),
        no_ack: true,
        ..Default::default()
    };
    peer.call(1, consume).await;
}

fn asking() -> Properties {
    Properties { reply_to: Some(short(REPLIES)), ..Default::default() }
}

/// Publishes a request to a queue; returns the `reply-to` that the server sees.
async fn ask(client: &mut Peer, server: &mut Peer, queue: &str) -> String {
    client.put(queue, asking(), "question").await;
    let came = server.came().await;
    server.send(1, basic::Ack { delivery_tag: came.method.delivery_tag, multiple: false }).await;
    came.properties().reply_to.unwrap().to_string()
}

both! {
    async fn a_reply_goes_straight_to_the_channel_that_asked(broker: &Tested) {
        let (mut client, mut server) = (broker.open().await, broker.open().await);
        server.fresh("asked", []).await;
        server.take("asked").await;
        listen(&mut client, "answers").await;
        for _ in 0..2 {
            let name = ask(&mut client, &mut server, "asked").await;
            assert!(name.starts_with("amq.rabbitmq.reply-to."), "{name}");
            server.put(&name, Properties::default(), "answer").await;
            let came = client.came().await;
            assert_eq!((came.text(), came.method.consumer_tag.clone(), came.method.redelivered), ("answer", short("answers"), false));
            assert_eq!((came.method.exchange, came.method.routing_key), (short(""), short(&name)));
            // A direct reply does not use up a tag, because it is not acknowledged.
            assert_eq!(came.method.delivery_tag, 1);
        }
    }

    async fn whether_somebody_waits_can_be_asked_until_the_consumer_is_cancelled(broker: &Tested) {
        let (mut client, mut server) = (broker.open().await, broker.open().await);
        server.fresh("waiting", []).await;
        server.take("waiting").await;
        listen(&mut client, "answers").await;
        let name = ask(&mut client, &mut server, "waiting").await;
        for known in [REPLIES, &name] {
            let declare = queue::Declare { queue: short(known), passive: true, ..Default::default() };
            let declared = server.call(1, declare).await;
            assert_eq!((declared.queue, declared.message_count, declared.consumer_count), (short(known), 0, 1));
        }
        client.leave("answers").await;
        server.send(1, queue::Declare { queue: short(&name), passive: true, ..Default::default() }).await;
        assert_eq!(server.refusal().await, format!("channel 404 NOT_FOUND - no queue '{name}' in vhost '/'"));
        client.put("waiting", asking(), "question").await;
        assert_eq!(client.refusal().await, "channel 406 PRECONDITION_FAILED - fast reply consumer does not exist");
    }

    async fn a_reply_counts_as_not_routed(broker: &Tested) {
        let (mut client, mut server) = (broker.open().await, broker.open().await);
        server.fresh("mandatory", []).await;
        server.take("mandatory").await;
        listen(&mut client, "answers").await;
        let name = ask(&mut client, &mut server, "mandatory").await;
        server.publish("", &name, "answer").await;
        assert_eq!(server.expect_content::<basic::Return>().await.text(), "answer");
        assert_eq!(client.came().await.text(), "answer");
    }

    async fn there_is_one_consumer_of_replies_and_it_does_not_acknowledge(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.send(1, basic::Consume { queue: short(REPLIES), ..Default::default() }).await;
        assert_eq!(peer.refusal().await, "channel 406 PRECONDITION_FAILED - reply consumer cannot acknowledge");
        let mut peer = broker.open().await;
        listen(&mut peer, "one").await;
        peer.send(1, basic::Consume { queue: short(REPLIES), no_ack: true, ..Default::default() }).await;
        assert_eq!(peer.refusal().await, "channel 406 PRECONDITION_FAILED - reply consumer already set");
    }
}
