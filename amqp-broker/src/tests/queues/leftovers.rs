//! Messages that leave a queue though nobody consumed them, and those that stay: behind others,
//! returned, over the limit, half committed.

use amqp_codec::{
    Properties,
    method::{basic, confirm, queue, tx},
};

use crate::tests::{
    both::both,
    peer::{Peer, short},
};

/// Makes a queue with three messages, of which only the middle one has expired; expired messages go
/// to `to`.
async fn fill(peer: &mut Peer, name: &str, to: &str) {
    peer.fresh(to, []).await;
    let dead_lettering = [("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", to.into())];
    peer.fresh(name, dead_lettering).await;
    let expires = Properties { expiration: Some(short("0")), ..Default::default() };
    for (properties, body) in
        [(Properties::default(), "first"), (expires, "gone"), (Properties::default(), "last")]
    {
        peer.put(name, properties, body).await;
    }
}

both! {
    async fn a_commit_of_what_a_queue_refuses_is_partial(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.fresh("left.partial", [("x-max-length", 1.into()), ("x-overflow", "reject-publish".into())]).await;
        peer.fresh("left.whole", []).await;
        peer.call(1, tx::Select {}).await;
        for queue in ["left.partial", "left.partial", "left.whole"] {
            peer.put(queue, Properties::default(), "x").await;
        }
        peer.send(1, tx::Commit {}).await;
        assert_eq!(peer.refusal().await, "channel 406 PRECONDITION_FAILED - partial tx completion");
        let mut peer = broker.open().await;
        for queue in ["left.partial", "left.whole"] {
            assert_eq!(peer.bodies(queue).await, ["x"]);
        }
    }

    async fn the_head_that_goes_is_of_the_highest_priority(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.fresh("left.levels", [("x-max-priority", 3.into()), ("x-max-length", 2.into())]).await;
        for priority in [3, 0, 1, 2] {
            let properties = Properties { priority: Some(priority), ..Default::default() };
            peer.put("left.levels", properties, &priority.to_string()).await;
        }
        assert_eq!(peer.bodies("left.levels").await, ["1", "0"]);
    }

    async fn what_returns_to_a_queue_that_refuses_stays(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.fresh("left.returns", [("x-max-length", 1.into()), ("x-overflow", "reject-publish".into())]).await;
        peer.put("left.returns", Properties::default(), "first").await;
        peer.send(1, basic::Get { queue: short("left.returns"), ..Default::default() }).await;
        let got = peer.expect_content::<basic::GetOk>().await;
        peer.put("left.returns", Properties::default(), "second").await;
        peer.nack(got.method.delivery_tag, true).await;
        assert_eq!(peer.bodies("left.returns").await, ["first", "second"]);
    }

    async fn what_expired_behind_others_reaches_no_consumer(broker: &Tested) {
        let mut peer = broker.open().await;
        fill(&mut peer, "left.behind", "left.behind.end").await;
        peer.take("left.behind").await;
        for body in ["first", "last"] {
            assert_eq!(peer.came().await.text(), body);
        }
        peer.take("left.behind.end").await;
        assert_eq!(peer.came().await.text(), "gone");
    }

    async fn what_expired_behind_what_is_got_does_not_remain(broker: &Tested) {
        let mut peer = broker.open().await;
        fill(&mut peer, "left.got", "left.got.end").await;
        peer.send(1, basic::Get { queue: short("left.got"), no_ack: true, ..Default::default() }).await;
        let got = peer.expect_content::<basic::GetOk>().await;
        assert_eq!((got.text(), got.method.message_count), ("first", 1));
        let declare = queue::Declare { queue: short("left.got"), passive: true, ..Default::default() };
        assert_eq!(peer.call(1, declare).await.message_count, 1);
    }

    async fn a_get_from_a_quorum_queue_says_how_often_the_message_returned(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.fresh("left.quorum", [("x-queue-type", "quorum".into())]).await;
        peer.call(1, confirm::Select::default()).await;
        peer.put("left.quorum", Properties::default(), "x").await;
        peer.expect::<basic::Ack>(1).await;
        for returns in 0..2 {
            peer.send(1, basic::Get { queue: short("left.quorum"), ..Default::default() }).await;
            let got = peer.expect_content::<basic::GetOk>().await;
            let count = got.headers().get("x-delivery-count").and_then(|count| count.as_i64());
            // Up to 3.x the first get is counted too.
            assert_eq!(count, (returns > 0 || broker.is_before_4_0()).then_some(returns));
            assert_eq!(got.method.redelivered, returns > 0);
            peer.nack(got.method.delivery_tag, true).await;
        }
    }
}
