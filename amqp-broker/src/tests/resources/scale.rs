//! Large numbers of everything: nothing is lost, and shared data is not copied.

use amqp_codec::method::{basic, exchange, queue};

use crate::{
    broker::Broker,
    tests::peer::{Peer, short},
};

#[tokio::test]
async fn a_body_is_in_memory_once_however_many_queues_it_is_in() {
    const QUEUES: usize = 100;
    const MESSAGES: usize = 5;
    let broker = Broker::builder().build();
    let mut peer = Peer::open(&broker).await;
    let fanout = exchange::Declare { exchange: short("f"), kind: short("fanout"), ..Default::default() };
    peer.call(1, fanout).await;
    for number in 0..QUEUES {
        let name = format!("q{number}");
        peer.declare(&name).await;
        let bind = queue::Bind { queue: short(&name), exchange: short("f"), ..Default::default() };
        peer.call(1, bind).await;
    }
    // The first body is kept in parts of the read buffer, the second is stored with its properties.
    for size in [64 << 10, 16] {
        for number in 0..MESSAGES {
            let body = char::from(b'a' + number as u8).to_string().repeat(size);
            peer.publish("f", "", &body).await;
        }
        peer.settle_down().await;
        let host = broker.inner.host("/").unwrap();
        let addresses = host.with(|_, shared| shared.vhost.body_addresses());
        assert_eq!(addresses.len(), QUEUES * MESSAGES);
        let distinct: std::collections::BTreeSet<usize> = addresses.into_iter().collect();
        assert_eq!(distinct.len(), MESSAGES, "{size} bytes");
        for number in 0..QUEUES {
            let name = format!("q{number}");
            for expected in [b'a', b'b', b'c', b'd', b'e'] {
                peer.send(1, basic::Get { queue: short(&name), no_ack: true, ..Default::default() }).await;
                let came = peer.expect_content::<basic::GetOk>().await;
                assert_eq!(came.body.len(), size);
                assert!(came.body.iter().all(|octet| *octet == expected));
            }
        }
    }
}

#[tokio::test]
async fn a_thousand_connections_with_a_queue_each_hear_from_one_another() {
    const COUNT: usize = 1000;
    let broker = Broker::builder().build();
    let mut peers = Vec::with_capacity(COUNT);
    for number in 0..COUNT {
        let mut peer = Peer::open(&broker).await;
        let name = format!("q{number}");
        peer.declare(&name).await;
        peer.consume(&name, "tag").await;
        peers.push(peer);
    }
    assert_eq!((broker.connections().len(), broker.queues("/").len()), (COUNT, COUNT));
    for round in 0..3 {
        for (number, peer) in peers.iter_mut().enumerate() {
            let next = (number + 1) % COUNT;
            peer.publish("", &format!("q{next}"), &format!("{round} from {number}")).await;
        }
        for (number, peer) in peers.iter_mut().enumerate() {
            let (tag, _, body) = peer.delivery().await;
            assert_eq!((tag, body), (round + 1, format!("{round} from {}", (number + COUNT - 1) % COUNT)));
        }
    }
    drop(peers);
    // A connection vanishes when its task has noticed the client's end.
    while !broker.connections().is_empty() {
        tokio::task::yield_now().await;
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn a_long_queue_is_delivered_whole_and_in_order() {
    const COUNT: usize = 100_000;
    let broker = Broker::builder().build();
    let mut publisher = Peer::open(&broker).await;
    publisher.declare("q").await;
    for number in 0..COUNT {
        publisher.publish("", "q", &number.to_string()).await;
    }
    publisher.settle_down().await;
    assert_eq!(broker.queue("/", "q").unwrap().ready, COUNT);
    let mut consumer = Peer::open(&broker).await;
    consumer.send(1, basic::Consume { queue: short("q"), no_ack: true, ..Default::default() }).await;
    consumer.expect::<basic::ConsumeOk>(1).await;
    for number in 0..COUNT {
        let came = consumer.expect_content::<basic::Deliver>().await;
        assert_eq!(
            (&came.body[..], came.method.delivery_tag),
            (number.to_string().as_bytes(), number as u64 + 1)
        );
    }
    assert_eq!(broker.queue("/", "q").unwrap().ready, 0);
}
