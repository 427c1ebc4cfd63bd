//! Consumers of several processes.

use std::time::Duration;

use amqp_codec::{
    ReplyCode,
    method::{basic, connection, queue as methods},
};
use tokio::time::timeout;

use super::{RedisServer, Setting, ask, broker, broker_at, end, holder, refusal};
use crate::{
    backend::Link,
    tests::{
        peer::{Peer, short},
        steps::{consume, queue},
    },
};

const IN_USE: &str = "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use";

fn alone(tag: &str) -> basic::Consume {
    basic::Consume { exclusive: true, ..consume("q", tag) }
}

#[tokio::test]
async fn consumers_are_counted_in_all_processes() {
    for options in ["", "?protocol=2"] {
        let test = "consumers_are_counted_in_all_processes";
        let Some(server) = RedisServer::start(test).await else { return };
        let url = format!("{}{options}", server.url());
        let (here, elsewhere) = (broker_at(&url), broker_at(&url));
        let (mut one, mut two) = (Peer::open(&here).await, Peer::open(&here).await);
        let mut other = Peer::open(&elsewhere).await;
        let passive = methods::Declare { passive: true, ..queue("q") };
        one.declare("q").await;
        for (peer, tag) in [(&mut one, "a"), (&mut two, "b"), (&mut other, "c")] {
            peer.call(1, consume("q", tag)).await;
        }
        for peer in [&mut one, &mut other] {
            assert_eq!(peer.call(1, queue("q")).await.consumer_count, 3);
            assert_eq!(peer.call(1, passive.clone()).await.consumer_count, 3);
        }
        let unused = methods::Delete { queue: short("q"), if_unused: true, ..Default::default() };
        one.call(1, basic::Cancel { consumer_tag: short("a"), no_wait: false }).await;
        two.call(0, connection::Close::default()).await;
        let (code, text) = refusal(&mut one, unused.clone()).await;
        assert_eq!(
            (code, text.as_str()),
            (ReplyCode::PRECONDITION_FAILED, "PRECONDITION_FAILED - queue 'q' in vhost '/' in use")
        );
        // A connection that ends without a word.
        drop(other);
        let plain = server.connect().await;
        while ask::<u32>(&plain, &["EXISTS", "_amqp.consumers.q"]).await > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(one.call(1, passive).await.consumer_count, 0);
        one.call(1, unused).await;
    }
}

#[tokio::test]
async fn an_exclusive_consumer_is_alone_in_all_processes() {
    let test = "an_exclusive_consumer_is_alone_in_all_processes";
    let Some(server) = RedisServer::start(test).await else { return };
    let (mut one, mut other) = (Peer::open(&broker(&server)).await, Peer::open(&broker(&server)).await);
    one.declare("q").await;
    one.call(1, alone("a")).await;
    for consume in [alone("b"), consume("q", "b")] {
        assert_eq!(refusal(&mut other, consume).await.1, IN_USE);
    }
    // A refusal ends the channel, and its consumer with it.
    assert_eq!(refusal(&mut one, consume("q", "b")).await.1, IN_USE);
    other.call(1, consume("q", "b")).await;
    assert_eq!(refusal(&mut one, alone("a")).await.1, IN_USE);
    one.call(1, consume("q", "a")).await;
    assert_eq!(one.call(1, queue("q")).await.consumer_count, 2);
}

#[tokio::test]
async fn consumers_of_killed_processes_do_not_count() {
    let test = "consumers_of_killed_processes_do_not_count";
    let Some(server) = RedisServer::start(test).await else { return };
    let mut peer = Peer::open(&broker(&server)).await;
    peer.declare("q").await;
    let plain = server.connect().await;
    let (connection, killed) = holder(&server).await;
    let _: () = ask(&plain, &["HSET", "_amqp.consumers.q", &killed, "2"]).await;
    assert_eq!(peer.call(1, queue("q")).await.consumer_count, 2);
    assert_eq!(refusal(&mut peer, alone("a")).await.1, IN_USE);
    end(connection, &server).await;
    assert_eq!(peer.call(1, queue("q")).await.consumer_count, 0);
    assert_eq!(ask::<u32>(&plain, &["EXISTS", "_amqp.consumers.q"]).await, 0);

    let (connection, killed) = holder(&server).await;
    let _: () = ask(&plain, &["HSET", "_amqp.consumers.q", &killed, "alone"]).await;
    assert_eq!(refusal(&mut peer, consume("q", "a")).await.1, IN_USE);
    end(connection, &server).await;
    peer.call(1, alone("a")).await;
    assert_eq!(peer.call(1, queue("q")).await.consumer_count, 1);
    assert!(ask::<i64>(&plain, &["PTTL", "_amqp.consumers.q"]).await > 0, "nothing stays for ever");
}

#[tokio::test]
async fn consumers_that_begin_and_end_at_once_are_all_counted() {
    let test = "consumers_that_begin_and_end_at_once_are_all_counted";
    let Some(server) = RedisServer::start(test).await else { return };
    let mut peers = Vec::new();
    for _ in 0..12 {
        let broker = broker(&server);
        for _ in 0..4 {
            peers.push(Peer::open(&broker).await);
        }
    }
    peers[0].declare("q").await;
    for peer in &mut peers {
        peer.send(1, consume("q", "t")).await;
    }
    for peer in &mut peers {
        peer.expect::<basic::ConsumeOk>(1).await;
    }
    assert_eq!(peers[0].call(1, queue("q")).await.consumer_count, 48);
    for peer in &mut peers {
        peer.send(1, basic::Cancel { consumer_tag: short("t"), no_wait: false }).await;
    }
    for peer in &mut peers {
        peer.expect::<basic::CancelOk>(1).await;
    }
    assert_eq!(peers[0].call(1, queue("q")).await.consumer_count, 0);
}

#[tokio::test]
async fn a_consumer_of_no_queue_leaves_nothing() {
    let Some(server) = RedisServer::start("a_consumer_of_no_queue_leaves_nothing").await else { return };
    let mut peer = Peer::open(&broker(&server)).await;
    assert_eq!(refusal(&mut peer, alone("a")).await.0, ReplyCode::NOT_FOUND);
    assert_eq!(ask::<u32>(&server.connect().await, &["EXISTS", "_amqp.consumers.q"]).await, 0);
    peer.declare("q").await;
    peer.call(1, alone("a")).await;
}

#[tokio::test]
async fn consumers_of_a_link_that_is_dropped_do_not_count() {
    let Some(setting) = Setting::new("consumers_of_a_link_that_is_dropped_do_not_count").await else {
        return;
    };
    let (mut dropped, mut closed, mut other) =
        (setting.open().await, setting.open().await, setting.open().await);
    for client in [&mut dropped, &mut closed] {
        client.link.add_consumer("q", false).await.unwrap();
        client.link.add_consumer("q", false).await.unwrap();
    }
    assert_eq!(other.link.count_consumers("q").await, Ok(Some(4)));
    closed.link.close().await;
    assert_eq!(other.link.count_consumers("q").await, Ok(Some(2)));
    drop(dropped);
    let none = async { while other.link.count_consumers("q").await != Ok(Some(0)) {} };
    timeout(Duration::from_secs(60), none).await.expect("nobody is left");
}
