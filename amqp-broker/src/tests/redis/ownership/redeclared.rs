//! Declarations of what exists otherwise.

use amqp_codec::{
    ReplyCode,
    method::{exchange as exchanges, queue as methods},
};

use super::{RedisServer, ask, broker, refusal};
use crate::tests::{
    peer::Peer,
    steps::{exchange, queue, queue_with},
};

async fn is_otherwise(peer: &mut Peer, method: impl Into<amqp_codec::Method>, difference: &str) {
    let (code, text) = refusal(peer, method).await;
    let expected = format!("PRECONDITION_FAILED - inequivalent arg {difference}");
    assert_eq!((code, text), (ReplyCode::PRECONDITION_FAILED, expected));
}

#[tokio::test]
async fn a_queue_is_what_it_was_declared_as() {
    let Some(server) = RedisServer::start("a_queue_is_what_it_was_declared_as").await else { return };
    let (mut one, mut other) = (Peer::open(&broker(&server)).await, Peer::open(&broker(&server)).await);
    let declared = queue_with("q", [("x-message-ttl", 5000.into()), ("x-max-priority", 9.into())]);
    one.call(1, declared.clone()).await;
    one.publish("", "q", "stays").await;
    for peer in [&mut one, &mut other] {
        let durable = methods::Declare { durable: !declared.durable, ..declared.clone() };
        let text = format!(
            "'durable' for queue 'q' in vhost '/': received '{}' but current is '{}'",
            durable.durable, declared.durable
        );
        is_otherwise(peer, durable, &text).await;
        let passing = methods::Declare { auto_delete: true, ..declared.clone() };
        is_otherwise(
            peer,
            passing,
            "'auto_delete' for queue 'q' in vhost '/': received 'true' but current is 'false'",
        )
        .await;
        let brief = queue_with("q", [("x-message-ttl", 7.into()), ("x-max-priority", 9.into())]);
        is_otherwise(
            peer,
            brief,
            "'x-message-ttl' for queue 'q' in vhost '/': received '7' but current is '5000'",
        )
        .await;
        let plain = queue_with("q", [("x-message-ttl", 5000.into())]);
        let text = "'x-max-priority' for queue 'q' in vhost '/': received none but current is the value '9' of type 'signedint'";
        is_otherwise(peer, plain, text).await;
        // It is compared before it is known to be something that Redis does not have.
        let bounded = queue_with(
            "q",
            [("x-message-ttl", 5000.into()), ("x-max-priority", 9.into()), ("x-max-length", 1.into())],
        );
        let text = "'x-max-length' for queue 'q' in vhost '/': received the value '1' of type 'signedint' but current is none";
        is_otherwise(peer, bounded, text).await;
        assert_eq!(peer.call(1, declared.clone()).await.message_count, 1);
    }
}

#[tokio::test]
async fn the_last_declaration_chooses_when_a_queue_expires() {
    let test = "the_last_declaration_chooses_when_a_queue_expires";
    let Some(server) = RedisServer::start(test).await else { return };
    let (mut peer, plain) = (Peer::open(&broker(&server)).await, server.connect().await);
    peer.call(1, queue_with("q", [("x-expires", 60_000.into())])).await;
    peer.publish("", "q", "one").await;
    peer.call(1, queue_with("q", [("x-expires", 90_000.into())])).await;
    assert!(ask::<i64>(&plain, &["PTTL", "q"]).await > 60_000);
    peer.call(1, queue("q")).await;
    assert_eq!(ask::<i64>(&plain, &["PTTL", "q"]).await, -1);
}

#[tokio::test]
async fn an_exchange_is_what_it_was_declared_as() {
    let Some(server) = RedisServer::start("an_exchange_is_what_it_was_declared_as").await else { return };
    let (mut one, mut other) = (Peer::open(&broker(&server)).await, Peer::open(&broker(&server)).await);
    let declared = exchanges::Declare { durable: true, ..exchange("x", "topic") };
    one.call(1, declared.clone()).await;
    for peer in [&mut one, &mut other] {
        let direct = exchanges::Declare { durable: true, ..exchange("x", "direct") };
        is_otherwise(
            peer,
            direct,
            "'type' for exchange 'x' in vhost '/': received 'direct' but current is 'topic'",
        )
        .await;
        let transient = exchanges::Declare { durable: false, ..declared.clone() };
        is_otherwise(
            peer,
            transient,
            "'durable' for exchange 'x' in vhost '/': received 'false' but current is 'true'",
        )
        .await;
        let passing = exchanges::Declare { auto_delete: true, ..declared.clone() };
        is_otherwise(
            peer,
            passing,
            "'auto_delete' for exchange 'x' in vhost '/': received 'true' but current is 'false'",
        )
        .await;
        peer.call(1, declared.clone()).await;
    }
}

#[tokio::test]
async fn what_kombu_alone_has_declared_is_compared_with_nothing_but_the_type() {
    let test = "what_kombu_alone_has_declared_is_compared_with_nothing_but_the_type";
    let Some(server) = RedisServer::start(test).await else { return };
    let (mut peer, plain) = (Peer::open(&broker(&server)).await, server.connect().await);
    let _: () = ask(&plain, &["SADD", "_kombu.binding.t", "a.*\x06\x16^a\\.[^\\.]+$\x06\x16q"]).await;
    let _: () = ask(&plain, &["SADD", "_kombu.binding.d", "k\x06\x16\x06\x16q"]).await;
    let _: () = ask(&plain, &["RPUSH", "q", "of kombu"]).await;
    let text = "'type' for exchange 't' in vhost '/': received 'fanout' but current is 'topic'";
    is_otherwise(&mut peer, exchange("t", "fanout"), text).await;
    peer.call(1, exchanges::Declare { auto_delete: true, ..exchange("t", "topic") }).await;
    // The bindings of the others all look alike.
    peer.call(1, exchange("d", "fanout")).await;
    assert_eq!(peer.call(1, methods::Declare { auto_delete: true, ..queue("q") }).await.message_count, 1);
}
