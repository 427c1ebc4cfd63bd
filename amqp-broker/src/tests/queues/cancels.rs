//! Consumers whose queue is deleted: which of them are cancelled, and when.

use amqp_codec::method::{basic, queue};

use crate::tests::{
    both::both,
    peer::{Peer, short},
};

async fn expect_cancel(peer: &mut Peer, tag: &str) {
    let cancel = peer.expect::<basic::Cancel>(1).await;
    assert_eq!((cancel.consumer_tag, cancel.no_wait), (short(tag), true));
}

both! {
    async fn who_deletes_what_it_consumes_from_is_answered_first(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.fresh("cancels.own", []).await;
        for tag in ["first", "second"] {
            peer.consume("cancels.own", tag).await;
        }
        peer.call(1, queue::Delete { queue: short("cancels.own"), ..Default::default() }).await;
        let mut tags = Vec::new();
        for _ in 0..2 {
            tags.push(peer.expect::<basic::Cancel>(1).await.consumer_tag);
        }
        tags.sort();
        assert_eq!(tags, [short("first"), short("second")]);
    }

    async fn who_deletes_without_waiting_is_told_of_its_consumers_all_the_same(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.fresh("cancels.no-wait", []).await;
        peer.take("cancels.no-wait").await;
        peer.send(1, queue::Delete { queue: short("cancels.no-wait"), no_wait: true, ..Default::default() }).await;
        expect_cancel(&mut peer, "cancels.no-wait").await;
    }

    async fn consumers_are_told_when_another_deletes_their_queue(broker: &Tested) {
        let (mut peer, mut other) = (broker.open().await, broker.open().await);
        peer.fresh("cancels.other", []).await;
        peer.take("cancels.other").await;
        other.call(1, queue::Delete { queue: short("cancels.other"), ..Default::default() }).await;
        expect_cancel(&mut peer, "cancels.other").await;
    }
}

#[cfg(feature = "durable")]
#[tokio::test]
async fn the_answer_comes_first_where_it_waits_for_the_disk_too() {
    let folder = tempfile::tempdir().unwrap();
    let broker = crate::Broker::builder().data_dir(folder.path()).build().unwrap();
    let mut peer = Peer::open(&broker).await;
    peer.fresh("q", []).await;
    peer.take("q").await;
    peer.call(1, queue::Delete { queue: short("q"), ..Default::default() }).await;
    expect_cancel(&mut peer, "q").await;
    broker.shutdown().await;
}
