//! The rights of a user of a backend beyond names: routing keys, and other users' names.

use amqp_codec::{
    Properties,
    method::{channel, queue},
};

use super::in_memory::InMemory;
use crate::{
    Broker,
    core::rabbitmq::access::{tags::UserTag, topics::TopicPermissions},
    tests::{
        peer::{Peer, short},
        steps::{bind, exchange, unbind},
    },
};

async fn expect_refusal(peer: &mut Peer, refused: &str) {
    assert_eq!(peer.refusal().await, refused);
    peer.send(1, channel::CloseOk {}).await;
    peer.call(1, channel::Open::default()).await;
}

fn of_topic(key: &str) -> String {
    format!(
        "channel 403 ACCESS_REFUSED - access to topic '{key}' in exchange 'e' in vhost '/' refused for user 'guest'"
    )
}

#[tokio::test]
async fn a_backend_checks_keys_of_the_exchange_whatever_its_type() {
    for kind in ["topic", "direct"] {
        let broker = Broker::builder()
            .topic_permissions("guest", "/", "e", TopicPermissions::new("^a", "^r").unwrap())
            .backend("/", InMemory::default())
            .build();
        let mut peer = Peer::open(&broker).await;
        peer.call(1, exchange("e", kind)).await;
        peer.declare("q").await;
        peer.send(1, queue::Bind { routing_key: short("a"), ..bind("q", "e") }).await;
        expect_refusal(&mut peer, &of_topic("a")).await;
        peer.send(1, queue::Unbind { routing_key: short("a"), ..unbind("q", "e") }).await;
        expect_refusal(&mut peer, &of_topic("a")).await;
        peer.call(1, queue::Bind { routing_key: short("ra"), ..bind("q", "e") }).await;
        peer.publish_with("e", "a", Properties::default(), false, b"x").await;
        peer.settle_down().await;
        peer.publish_with("e", "ra", Properties::default(), false, b"x").await;
        expect_refusal(&mut peer, &of_topic("ra")).await;
    }
}

#[tokio::test]
async fn an_impersonator_publishes_for_others_and_nobody_else_does() {
    for is_impersonator in [true, false] {
        let tags = is_impersonator.then_some(UserTag::Impersonator);
        let broker = Broker::builder().user_tags("guest", tags).backend("/", InMemory::default()).build();
        let mut peer = Peer::open(&broker).await;
        peer.declare("q").await;
        let other = Properties { user_id: Some(short("other")), ..Default::default() };
        peer.publish_with("", "q", other, false, b"x").await;
        if is_impersonator {
            peer.settle_down().await;
            continue;
        }
        let refused = "channel 406 PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was 'guest'";
        expect_refusal(&mut peer, refused).await;
    }
}
