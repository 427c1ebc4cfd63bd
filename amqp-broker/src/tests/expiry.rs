//! Messages that expire behind others, and what a get says of those that return.

use amqp_codec::{
    Properties,
    method::{basic, confirm, queue},
};

use super::{
    both::both,
    peer::{Peer, short},
};

/// A queue with a message that does not expire, one that has expired behind it, and one that does not; what expires goes to
/// `to`.
async fn fill(peer: &mut Peer, name: &str, to: &str) {
    peer.fresh(to, []).await;
    let bury = [("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", to.into())];
    peer.fresh(name, bury).await;
    let expires = Properties { expiration: Some(short("0")), ..Default::default() };
    for (properties, body) in
        [(Properties::default(), "first"), (expires, "gone"), (Properties::default(), "last")]
    {
        peer.put(name, properties, body).await;
    }
}

both! {
    async fn what_expired_behind_others_reaches_no_consumer(broker: &Tested) {
        let mut peer = broker.open().await;
        fill(&mut peer, "expiry.behind", "expiry.behind.end").await;
        peer.take("expiry.behind").await;
        for body in ["first", "last"] {
            assert_eq!(peer.came().await.text(), body);
        }
        peer.take("expiry.behind.end").await;
        assert_eq!(peer.came().await.text(), "gone");
    }

    async fn what_expired_behind_what_is_got_does_not_remain(broker: &Tested) {
        let mut peer = broker.open().await;
        fill(&mut peer, "expiry.got", "expiry.got.end").await;
        peer.send(1, basic::Get { queue: short("expiry.got"), no_ack: true, ..Default::default() }).await;
        let got = peer.expect_content::<basic::GetOk>().await;
        assert_eq!((got.text(), got.method.message_count), ("first", 1));
        let declare = queue::Declare { queue: short("expiry.got"), passive: true, ..Default::default() };
        assert_eq!(peer.call(1, declare).await.message_count, 1);
    }

    async fn a_get_from_a_quorum_queue_says_how_often_the_message_returned(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.fresh("expiry.quorum", [("x-queue-type", "quorum".into())]).await;
        peer.call(1, confirm::Select::default()).await;
        peer.put("expiry.quorum", Properties::default(), "x").await;
        peer.expect::<basic::Ack>(1).await;
        for returns in 0..2 {
            peer.send(1, basic::Get { queue: short("expiry.quorum"), ..Default::default() }).await;
            let got = peer.expect_content::<basic::GetOk>().await;
            assert_eq!(got.headers().get("x-delivery-count").and_then(|count| count.as_i64()), Some(returns));
            assert_eq!(got.method.redelivered, returns > 0);
            peer.nack(got.method.delivery_tag, true).await;
        }
    }
}
