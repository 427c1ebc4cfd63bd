//! Faults at a certain publish, or of connections with a certain name.

use amqp_codec::method::{basic, channel, confirm, connection};

use crate::{
    broker::Broker,
    faults::publish_faults::PublishFault,
    tests::peer::{FRAME_MAX, Peer, capabilities, start_ok},
};

/// A client in confirm mode on a connection of this name.
async fn named(broker: &Broker, name: &str) -> Peer {
    let mut client_properties = capabilities();
    client_properties.insert("connection_name", name).unwrap();
    let mut peer = Peer::silent(broker);
    let start_ok = connection::StartOk { client_properties, ..start_ok("guest", "guest") };
    peer.log_in_as(start_ok, "/", FRAME_MAX as u32).await;
    peer.call(1, channel::Open::default()).await;
    peer.call(1, confirm::Select::default()).await;
    peer.declare("q").await;
    peer
}

async fn acked(peer: &mut Peer) -> (u64, bool) {
    let ack = peer.expect::<basic::Ack>(1).await;
    (ack.delivery_tag, ack.multiple)
}

/// Publishes bodies of one octet in a single write, so that the broker reads them together.
async fn publish_together<const N: usize>(peer: &mut Peer, bodies: [&'static str; N]) {
    let mut bytes = bytes::BytesMut::new();
    for body in bodies {
        for frame in crate::tests::steps::publish("", "q", &Default::default()) {
            let frame = match frame {
                amqp_codec::Frame::Body(number, _) => amqp_codec::Frame::Body(number, body.into()),
                other => other,
            };
            frame.encode(FRAME_MAX, &mut bytes).unwrap();
        }
    }
    peer.raw(&bytes).await;
}

#[tokio::test]
async fn a_connection_ends_at_a_publish_and_what_came_before_is_confirmed() {
    let broker = Broker::builder().build();
    let (mut peer, mut other) = (named(&broker, "a").await, named(&broker, "b").await);
    broker.faults().at_publish(3, PublishFault::DropConnection);
    publish_together(&mut peer, ["1", "2", "x", "y"]).await;
    assert_eq!(acked(&mut peer).await, (2, true));
    assert_eq!(peer.next().await, None);
    other.publish("", "q", "4").await;
    assert_eq!(acked(&mut other).await, (1, false));
    assert_eq!(other.bodies("q").await, ["1", "2", "4"]);
}

#[tokio::test]
async fn a_channel_or_a_connection_is_closed_at_a_publish_with_any_words() {
    let broker = Broker::builder().build();
    let mut peer = named(&broker, "a").await;
    let (code, text) = (406, "PRECONDITION_FAILED - because".to_owned());
    broker.faults().at_publish(2, PublishFault::CloseChannel { code, text: text.clone() });
    publish_together(&mut peer, ["1", "x", "y"]).await;
    assert_eq!(acked(&mut peer).await, (1, false));
    let close = peer.expect::<channel::Close>(1).await;
    assert_eq!((close.reply_code, close.reply_text.to_text().as_ref()), (code, text.as_str()));
    assert_eq!((close.class_id, close.method_id), (60, 40));
    peer.send(1, channel::CloseOk {}).await;
    peer.call(1, channel::Open::default()).await;
    let text = "CONNECTION_FORCED - maintenance".to_owned();
    broker.faults().at_publish(1, PublishFault::CloseConnection { code: 320, text });
    publish_together(&mut peer, ["x", "y"]).await;
    assert_eq!(peer.expect::<connection::Close>(0).await.reply_code, 320);
    peer.send(0, connection::CloseOk {}).await;
    assert_eq!(peer.next().await, None);
    assert_eq!(named(&broker, "b").await.bodies("q").await, ["1"]);
}

#[tokio::test]
async fn publishes_are_counted_by_the_name_of_their_connection() {
    let broker = Broker::builder().build();
    let (mut one, mut two) = (named(&broker, "one").await, named(&broker, "two").await);
    broker.faults().at_publish_of("two", 2, PublishFault::Nack);
    broker.faults().at_publish_of("two", 2, PublishFault::Return);
    for tag in 1..=2 {
        one.publish("", "q", "one").await;
        assert_eq!(acked(&mut one).await, (tag, false));
    }
    two.publish("", "q", "two").await;
    assert_eq!(acked(&mut two).await, (1, false));
    two.publish("", "q", "nacked").await;
    assert_eq!(two.expect::<basic::Nack>(1).await.delivery_tag, 2);
    two.publish("", "q", "returned").await;
    assert_eq!(two.expect_content::<basic::Return>().await.method.reply_code, 312);
    assert_eq!(acked(&mut two).await, (3, false));
    broker.faults().at_publish_of("two", 1, PublishFault::Nack);
    broker.faults().clear();
    two.publish("", "q", "fine").await;
    assert_eq!(acked(&mut two).await, (4, false));
    assert_eq!(two.bodies("q").await, ["one", "one", "two", "fine"]);
}

#[tokio::test]
async fn connections_are_dropped_and_closed_by_name() {
    let broker = Broker::builder().build();
    let (mut one, mut two) = (named(&broker, "one").await, named(&broker, "two").await);
    let mut also_two = named(&broker, "two").await;
    assert_eq!(broker.faults().drop_connections_named("three"), 0);
    assert_eq!(broker.faults().drop_connections_named("two"), 2);
    assert_eq!((two.next().await, also_two.next().await), (None, None));
    one.settle_down().await;
    assert_eq!(broker.faults().close_connections_named("one", 320, "CONNECTION_FORCED - enough"), 1);
    assert_eq!(one.expect::<connection::Close>(0).await.reply_code, 320);
}
