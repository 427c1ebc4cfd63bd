//! A broker that answers some publishes late, out of order or never: the others do not wait for
//! those.

use std::time::Duration;

use amqp_client::{Channel, Confirm, Confirmation, Connection, Message, Publisher};
use amqp_codec::method::{basic, channel};
use futures_util::FutureExt as _;
use tests::Peer;
use tokio::time::timeout;

use super::{QUIET, all_idle, connected_with, ends, opened, publisher, quiet};

/// A peer, and a publisher with this window of unanswered publishes.
async fn with_window(publishes: usize) -> (Peer, Publisher, (Connection, Channel)) {
    let (mut peer, connection) = connected_with(&quiet().confirm_window(publishes), QUIET).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let publisher = publisher(&mut peer, &channel).await;
    (peer, publisher, (connection, channel))
}

async fn publish(publisher: &Publisher) -> Confirm {
    ends(publisher.publish(("", "jobs"), Message::new("x"))).await.unwrap()
}

/// As [`publish`], which waits for room while the peer reads.
async fn publish_to(peer: &mut Peer, publisher: &Publisher) -> Confirm {
    let confirm = publish(publisher).await;
    peer.expect_any::<basic::Publish>(1).await;
    peer.expect_header(1, 1).await;
    peer.expect_body(1, "x").await;
    confirm
}

async fn ack(peer: &mut Peer, delivery_tag: u64) {
    peer.send(1, basic::Ack { delivery_tag, multiple: false }).await;
}

async fn nack(peer: &mut Peer, delivery_tag: u64) {
    peer.send(1, basic::Nack { delivery_tag, multiple: false, requeue: false }).await;
}

async fn is_acked(confirm: Confirm) -> bool {
    matches!(ends(confirm).await.unwrap(), Confirmation::Ack)
}

#[tokio::test(start_paused = true)]
async fn one_confirm_that_never_comes_takes_one_place_of_the_window_and_no_more() {
    let (mut peer, publisher, _open) = with_window(10).await;
    let mut first = publish_to(&mut peer, &publisher).await;
    for tag in 2..=5000 {
        let confirm = publish_to(&mut peer, &publisher).await;
        ack(&mut peer, tag).await;
        assert!(is_acked(confirm).await);
    }
    assert!((&mut first).now_or_never().is_none());
    // Nine places are left, and all of them can be taken at once.
    let mut more = Vec::new();
    for _ in 0..9 {
        more.push(publish_to(&mut peer, &publisher).await);
    }
    let mut tenth = Box::pin(publisher.publish(("", "jobs"), Message::new("x")));
    all_idle().await;
    assert!((&mut tenth).now_or_never().is_none());
    ack(&mut peer, 1).await;
    assert!(is_acked(first).await);
    drop(ends(tenth).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_window_full_of_what_is_not_answered_lets_one_in_for_each_answer() {
    let (mut peer, publisher, _open) = with_window(10).await;
    let mut confirms = Vec::new();
    for _ in 0..10 {
        confirms.push(Some(publish_to(&mut peer, &publisher).await));
    }
    // Answers come in any order, while nine places of the window stay taken.
    for (tag, is_ack) in [(4, true), (10, false), (1, true), (11, true), (13, false), (12, true)] {
        let waiting = publisher.publish(("", "jobs"), Message::new("x"));
        let (confirm, ()) = tokio::join!(ends(waiting), async {
            if is_ack { ack(&mut peer, tag).await } else { nack(&mut peer, tag).await }
        });
        confirms.push(Some(confirm.unwrap()));
        let told = ends(confirms[tag as usize - 1].take().unwrap()).await.unwrap();
        assert_eq!(matches!(told, Confirmation::Ack), is_ack, "{tag}");
        assert!(is_ack || matches!(told, Confirmation::Nack), "{tag}");
    }
    let open: Vec<_> = confirms.iter().flatten().map(Confirm::tag).collect();
    assert_eq!(open, [2, 3, 5, 6, 7, 8, 9, 14, 15, 16]);
    peer.send(1, basic::Ack { delivery_tag: 0, multiple: true }).await;
    for confirm in confirms.into_iter().flatten() {
        assert!(is_acked(confirm).await);
    }
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_for_room_get_it_as_answers_come_one_by_one_from_the_last() {
    let (mut peer, publisher, _open) = with_window(8).await;
    let mut first = Vec::new();
    for _ in 0..8 {
        first.push(publish_to(&mut peer, &publisher).await);
    }
    let waiting: Vec<_> = (0..6)
        .map(|_| {
            let publisher = publisher.clone();
            tokio::spawn(async move { publish(&publisher).await.tag() })
        })
        .collect();
    all_idle().await;
    for tag in (3..=8).rev() {
        ack(&mut peer, tag).await;
    }
    for waiting in waiting {
        ends(waiting).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_confirm_that_was_given_up_takes_no_room_and_holds_up_neither_flush_nor_drain() {
    let (mut peer, publisher, open) = with_window(2).await;
    for tag in 1..=20 {
        let confirm = publish_to(&mut peer, &publisher).await;
        assert_eq!(confirm.tag(), tag);
        timeout(Duration::from_secs(5), confirm).await.unwrap_err();
    }
    ends(publisher.flush()).await.unwrap();
    // Late answers belong to nobody.
    nack(&mut peer, 3).await;
    peer.send(1, basic::Ack { delivery_tag: 20, multiple: true }).await;
    let confirm = publish_to(&mut peer, &publisher).await;
    ack(&mut peer, 21).await;
    assert!(is_acked(confirm).await);
    let (_, channel) = open;
    let (drained, ()) = tokio::join!(channel.drain(Duration::from_secs(5)), async {
        peer.expect_any::<channel::Close>(1).await;
        peer.send(1, channel::CloseOk {}).await;
    });
    drained.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_waits_for_room_has_it_when_another_is_given_up() {
    let (mut peer, publisher, _open) = with_window(1).await;
    let confirm = publish_to(&mut peer, &publisher).await;
    let (given_up, next) = tokio::join!(
        timeout(Duration::from_secs(5), confirm),
        ends(publisher.publish(("", "jobs"), Message::new("y")))
    );
    given_up.unwrap_err();
    assert_eq!(next.unwrap().tag(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_confirm_that_nobody_waited_for_keeps_its_place_until_it_is_answered() {
    let (mut peer, publisher, _open) = with_window(1).await;
    drop(publish_to(&mut peer, &publisher).await);
    let mut next = Box::pin(publisher.publish(("", "jobs"), Message::new("x")));
    assert!(timeout(Duration::from_secs(60), &mut next).await.is_err());
    ack(&mut peer, 1).await;
    assert_eq!(ends(next).await.unwrap().tag(), 2);
}
