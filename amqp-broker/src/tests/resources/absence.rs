//! Clients that disconnect while they are not being read: what they held is freed, and what they
//! had sent is handled if there is time.

use std::time::Duration;

use super::limits::publish_until_blocked;
use crate::{broker::Broker, tests::peer::Peer};
use amqp_codec::{
    Properties,
    method::{basic, confirm, connection},
};

/// How long a client that is gone is tolerated.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Makes a client fetch a message from `q` and publish during an alarm, so that it is not read.
async fn held_back(broker: &Broker, mut peer: Peer) -> Peer {
    peer.declare("q").await;
    peer.publish("", "q", "out").await;
    peer.consume("q", "t").await;
    assert_eq!(peer.delivery().await, (1, false, "out".to_owned()));
    broker.faults().block("a test ordered it");
    peer.publish("", "q", "one").await;
    peer.expect::<connection::Blocked>(0).await;
    peer.publish("", "q", "two").await;
    peer
}

#[tokio::test(start_paused = true)]
async fn what_a_client_that_has_gone_has_not_acknowledged_may_be_the_memory_that_it_waits_for() {
    let broker = Broker::builder().memory_limit(4 << 20).stall_timeout(TIMEOUT).build();
    let mut publisher = Peer::open(&broker).await;
    publisher.declare("q").await;
    publisher.call(1, confirm::Select::default()).await;
    let confirmed = publish_until_blocked(&mut publisher, &Properties::default(), &[0; 100_000]).await;
    let mut gone = Peer::open(&broker).await;
    gone.consume("q", "t").await;
    for _ in 0..confirmed {
        gone.expect_content::<basic::Deliver>().await;
    }
    gone.publish("", "q", "").await;
    gone.expect::<connection::Blocked>(0).await;
    drop(gone);
    let mut other = Peer::open(&broker).await;
    other.consume("q", "t").await;
    for _ in 0..confirmed {
        other.expect_content::<basic::Deliver>().await;
    }
    other.send(1, basic::Ack { delivery_tag: 0, multiple: true }).await;
    publisher.expect::<connection::Unblocked>(0).await;
}

#[tokio::test(start_paused = true)]
async fn who_is_there_is_waited_for_however_long_it_takes() {
    let broker = Broker::builder().stall_timeout(TIMEOUT).build();
    let mut peer = held_back(&broker, Peer::open(&broker).await).await;
    tokio::time::sleep(50 * TIMEOUT).await;
    broker.faults().unblock();
    peer.expect::<connection::Unblocked>(0).await;
    peer.send(1, basic::Ack { delivery_tag: 1, multiple: false }).await;
    assert_eq!(peer.delivery().await.2, "one");
    assert_eq!(peer.delivery().await.2, "two");
}

#[tokio::test]
async fn what_was_sent_before_the_end_is_published_if_there_is_time() {
    let broker = Broker::builder().stall_timeout(TIMEOUT).build();
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    let mut other = Peer::open(&broker).await;
    let mut held = held_back(&broker, Peer::open_at(&listener.local_addr().to_string()).await).await;
    held.end().await;
    broker.faults().unblock();
    other.consume("q", "t").await;
    let mut came = Vec::new();
    for _ in 0..3 {
        came.push(other.delivery().await.2);
    }
    came.sort();
    assert_eq!(came, ["one", "out", "two"]);
}

#[tokio::test]
async fn who_writes_no_more_does_not_hold_others_for_ever() {
    let broker = Broker::builder().stall_timeout(Duration::from_millis(100)).build();
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    let peer = Peer::open_at(&listener.local_addr().to_string()).await;
    let mut held = held_back(&broker, peer).await;
    held.end().await;
    assert_eq!(held.next().await, None);
}

#[tokio::test]
async fn the_end_of_a_tcp_connection_is_seen_while_nothing_is_read_of_it() {
    let broker = Broker::builder().stall_timeout(Duration::from_millis(100)).build();
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().to_string();
    let mut other = Peer::open(&broker).await;
    drop(held_back(&broker, Peer::open_at(&address).await).await);
    other.consume("q", "t").await;
    assert_eq!(other.delivery().await, (1, true, "out".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn who_has_gone_may_stay_so_for_ever_where_that_is_wanted() {
    let broker = Broker::builder().stall_timeout(Duration::MAX).build();
    drop(held_back(&broker, Peer::open(&broker).await).await);
    tokio::time::sleep(50 * TIMEOUT).await;
    assert_eq!(broker.connections().len(), 1);
}
