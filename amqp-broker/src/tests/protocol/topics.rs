//! Permissions on routing keys, and who may publish as another user. That RabbitMQ refuses the same
//! is tested in `tests/suite/broker/users.rs`.

use amqp_codec::{
    Properties,
    method::{basic, channel, queue, tx},
};

use crate::{
    broker::{Broker, BrokerBuilder},
    core::rabbitmq::access::{tags::UserTag, topics::TopicPermissions},
    tests::{
        peer::{Peer, short},
        steps::{bind, exchange, queue, table},
    },
};

/// A broker on which guest may publish to exchange `e` with keys in `a`, and bind with keys in `r`.
fn limited() -> BrokerBuilder {
    Broker::builder().topic_permissions("guest", "/", "e", TopicPermissions::new("^a", "^r").unwrap())
}

async fn open(broker: &Broker) -> Peer {
    let mut peer = Peer::open(broker).await;
    peer.call(1, exchange("e", "topic")).await;
    peer
}

/// Checks that channel 1 is closed because of this key, and opens it again.
async fn expect_refusal(peer: &mut Peer, key: &str) {
    let expected = format!(
        "channel 403 ACCESS_REFUSED - access to topic '{key}' in exchange 'e' in vhost '/' refused for user 'guest'"
    );
    assert_eq!(peer.refusal().await, expected);
    peer.send(1, channel::CloseOk {}).await;
    peer.call(1, channel::Open::default()).await;
}

#[tokio::test]
async fn every_key_is_checked_however_often_another_was_used() {
    let mut peer = open(&limited().build()).await;
    for key in ["a", "a", "ab", "a"] {
        peer.publish("e", key, "x").await;
        assert_eq!(peer.expect_content::<basic::Return>().await.method.reply_code, 312);
    }
    peer.publish("e", "b", "x").await;
    expect_refusal(&mut peer, "b").await;
    // With additional keys the route is searched for again.
    peer.publish("e", "a", "x").await;
    peer.expect_content::<basic::Return>().await;
    let mut copies = amqp_codec::Array::new();
    copies.push("b").unwrap();
    let copied =
        Properties { headers: Some(table([("CC", amqp_codec::Value::Array(copies))])), ..Default::default() };
    peer.publish_with("e", "a", copied.clone(), true, b"x").await;
    peer.expect_content::<basic::Return>().await;
    peer.publish_with("e", "b", copied, true, b"x").await;
    expect_refusal(&mut peer, "b").await;
}

#[tokio::test]
async fn a_publish_of_a_transaction_is_refused_before_its_commit() {
    let mut peer = open(&limited().build()).await;
    peer.call(1, tx::Select {}).await;
    peer.publish("e", "b", "x").await;
    expect_refusal(&mut peer, "b").await;
}

#[tokio::test]
async fn keys_are_checked_where_a_client_publishes_and_not_where_messages_pass() {
    let mut peer = open(&limited().build()).await;
    let alternate = table([("alternate-exchange", "e".into())]);
    peer.call(1, amqp_codec::method::exchange::Declare { arguments: alternate, ..exchange("main", "topic") })
        .await;
    peer.call(1, queue("q")).await;
    peer.call(1, queue::Bind { routing_key: short("r.#"), ..bind("q", "e") }).await;
    peer.publish("main", "r.x", "passed").await;
    assert_eq!(peer.bodies("q").await, ["passed"]);
}

#[tokio::test]
async fn an_impersonator_publishes_for_others_as_long_as_its_connection_stays() {
    let broker = Broker::builder().user_tags("guest", [UserTag::Impersonator]).build();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    let other = Properties { user_id: Some(short("other")), ..Default::default() };
    peer.publish_with("", "q", other.clone(), false, b"x").await;
    peer.settle_down().await;
    broker.set_user_tags("guest", [UserTag::Monitoring]);
    let mut late = Peer::open(&broker).await;
    late.publish_with("", "q", other, false, b"x").await;
    let refused = "channel 406 PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was 'guest'";
    assert_eq!(late.refusal().await, refused);
}
