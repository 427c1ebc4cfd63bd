//! Publishes that were not confirmed when the connection was lost.

use std::time::Duration;

use amqp_client::{Confirmation, Error, Message, Route};
use amqp_codec::{
    Properties,
    method::{basic, channel, confirm, connection},
};
use tests::Peer;
use tokio::join;

use super::script::{
    connected, ends, expect_publish, lose, open, opened, publisher, recovered, recovery, short,
};

async fn acks(peer: &mut Peer, delivery_tag: u64, multiple: bool) {
    peer.send(1, basic::Ack { delivery_tag, multiple }).await;
}

/// The channel and its confirm mode are restored.
async fn restored(peer: &mut Peer) {
    peer.expect(1, channel::Open::default()).await;
    peer.expect(1, confirm::Select { no_wait: false }).await;
    peer.send(1, channel::OpenOk::default()).await;
    peer.send(1, confirm::SelectOk {}).await;
}

#[tokio::test(start_paused = true)]
async fn each_is_lost_and_those_of_the_new_connection_are_counted_from_one() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let mut events = connection.events();
    let channel = opened(&mut peer, &connection, 1).await;
    let publisher = publisher(&mut peer, &channel).await;
    let mut confirms = Vec::new();
    for body in ["1", "2", "3"] {
        confirms.push(publisher.publish(("", "jobs"), Message::new(body)).await.unwrap());
        expect_publish(&mut peer, 1, body).await;
    }
    acks(&mut peer, 1, false).await;
    let mut confirms = confirms.into_iter();
    assert!(matches!(ends(confirms.next().unwrap()).await, Ok(Confirmation::Ack)));
    let flushing = publisher.flush();
    let (flushed, ()) = join!(flushing, lose(peer, &connection));
    assert!(matches!(flushed, Err(Error::PublishLost(_))), "{flushed:?}");
    for confirm in confirms {
        assert!(matches!(ends(confirm).await, Err(Error::PublishLost(_))));
    }
    // Publishes wait meanwhile.
    let publishing = publisher.publish(("", "jobs"), Message::new("4"));
    let (confirm, mut peer) = ends(async {
        join!(publishing, async {
            let mut peer = broker.accept().await;
            restored(&mut peer).await;
            expect_publish(&mut peer, 1, "4").await;
            peer
        })
    })
    .await;
    assert_eq!(recovered(&mut events).await.lost, 2);
    acks(&mut peer, 1, false).await;
    assert!(matches!(ends(confirm.unwrap()).await, Ok(Confirmation::Ack)));
    publisher.flush().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_publish_waits_for_the_recovery_until_its_deadline() {
    let (_broker, mut peer, connection) = connected(recovery()).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let publisher = publisher(&mut peer, &channel).await.with_timeout(Duration::from_millis(100));
    lose(peer, &connection).await;
    let published = ends(publisher.publish(("", "jobs"), Message::new("x"))).await;
    assert!(matches!(published, Err(Error::PublishTimeout { .. })), "{published:?}");
}

#[tokio::test(start_paused = true)]
async fn those_to_be_published_again_are_in_their_order_before_all_others_under_the_same_id() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let mut events = connection.events();
    let channel = opened(&mut peer, &connection, 1).await;
    let publisher = publisher(&mut peer, &channel).await;
    let careful = publisher.clone().republish(true);
    let mut confirms = Vec::new();
    let mut ids = Vec::new();
    for (body, is_careful) in [("1", true), ("2", false), ("3", true), ("4", true), ("5", true)] {
        let publisher = if is_careful { &careful } else { &publisher };
        confirms.push(publisher.publish(("", "jobs"), Message::new(body)).await.unwrap());
        ids.push(expect_publish(&mut peer, 1, body).await.message_id);
    }
    assert!(ids[1].is_none() && ids[0].is_some() && ids[0] != ids[2]);
    acks(&mut peer, 3, false).await;
    let (first, second, third) = (confirms.remove(0), confirms.remove(0), confirms.remove(0));
    assert!(matches!(ends(third).await, Ok(Confirmation::Ack)));
    lose(peer, &connection).await;
    assert!(matches!(ends(second).await, Err(Error::PublishLost(_))));
    let publishing = careful.publish(("", "jobs"), Message::new("6"));
    let (sixth, mut peer) = ends(async {
        join!(publishing, async {
            let mut peer = broker.accept().await;
            restored(&mut peer).await;
            for (index, body) in [(0, "1"), (3, "4"), (4, "5")] {
                assert_eq!(expect_publish(&mut peer, 1, body).await.message_id, ids[index]);
            }
            expect_publish(&mut peer, 1, "6").await;
            peer
        })
    })
    .await;
    let report = recovered(&mut events).await;
    assert_eq!((report.republished, report.lost), (3, 1));
    // On this connection they are 1, 2, 3, and the new one is 4.
    acks(&mut peer, 2, true).await;
    assert!(matches!(ends(first).await, Ok(Confirmation::Ack)));
    assert!(matches!(ends(confirms.remove(0)).await, Ok(Confirmation::Ack)));
    peer.send(1, basic::Nack { delivery_tag: 3, ..Default::default() }).await;
    assert!(matches!(ends(confirms.remove(0)).await, Ok(Confirmation::Nack)));
    acks(&mut peer, 4, true).await;
    assert!(matches!(ends(sixth.unwrap()).await, Ok(Confirmation::Ack)));
    assert_eq!(connection.metrics().unconfirmed, 0);
}

#[tokio::test(start_paused = true)]
async fn a_return_of_what_was_published_again_is_matched_and_a_second_loss_changes_nothing() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let publisher = publisher(&mut peer, &channel).await.republish(true);
    let confirm =
        publisher.publish(Route::new("", "nowhere").mandatory(true), Message::new("x")).await.unwrap();
    expect_publish(&mut peer, 1, "x").await;
    for _ in 0..2 {
        lose(peer, &connection).await;
        peer = broker.accept().await;
        restored(&mut peer).await;
        expect_publish(&mut peer, 1, "x").await;
    }
    let returned = basic::Return {
        reply_code: 312,
        reply_text: short("NO_ROUTE"),
        exchange: short(""),
        routing_key: short("nowhere"),
    };
    peer.send_content(1, returned, &Properties::default(), "x").await;
    acks(&mut peer, 1, false).await;
    assert!(matches!(ends(confirm).await, Ok(Confirmation::Returned(_))));
}

#[tokio::test(start_paused = true)]
async fn what_the_broker_may_have_closed_the_connection_for_is_not_published_again() {
    for (code, is_made_again) in [(320, true), (501, false), (540, false), (541, false)] {
        let (mut broker, mut peer, connection) = connected(recovery()).await;
        let mut events = connection.events();
        let channel = opened(&mut peer, &connection, 1).await;
        let publisher = publisher(&mut peer, &channel).await.republish(true);
        let confirm = publisher.publish(("", "jobs"), Message::new("x")).await.unwrap();
        expect_publish(&mut peer, 1, "x").await;
        peer.send(0, connection::Close { reply_code: code, ..Default::default() }).await;
        peer.expect(0, connection::CloseOk {}).await;
        lose(peer, &connection).await;
        let mut peer = broker.accept().await;
        restored(&mut peer).await;
        assert_eq!(recovered(&mut events).await.republished, usize::from(is_made_again), "{code}");
        if is_made_again {
            expect_publish(&mut peer, 1, "x").await;
            acks(&mut peer, 1, false).await;
            assert!(matches!(ends(confirm).await, Ok(Confirmation::Ack)));
        } else {
            let Err(Error::PublishLost(cause)) = ends(confirm).await else { panic!("not lost: {code}") };
            assert!(matches!(&*cause, Error::ConnectionClosed(close) if close.code.0 == code), "{cause}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_publish_without_confirms_waits_for_the_recovery_too() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let channel = opened(&mut peer, &connection, 1).await;
    lose(peer, &connection).await;
    let message = Message::new("x");
    let (published, _peer) = ends(async {
        join!(channel.publish(("", "jobs"), &message), async {
            let mut peer = broker.accept().await;
            open(&mut peer, 1).await;
            expect_publish(&mut peer, 1, "x").await;
            peer
        })
    })
    .await;
    published.unwrap();
}
