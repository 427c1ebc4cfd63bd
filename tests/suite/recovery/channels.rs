//! Channels and consumers continue; deliveries of the lost connection do not.

use std::time::Duration;

use amqp_client::{ConsumeOptions, Error, Event, Message, ReplyCode};
use amqp_codec::{
    Arguments as _, Frame, Properties, ShortString,
    method::{basic, channel, tx},
};
use tokio::join;

use super::script::{
    connected, connected_with, consume, consumer, deliver, ends, expect_consume, lose, open, opened, options,
    publisher, recovered, recovery, select, short,
};

#[tokio::test(start_paused = true)]
async fn modes_come_back_in_order_and_the_consumers_stream_goes_on() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let mut events = connection.events();
    let channel = opened(&mut peer, &connection, 1).await;
    let other = opened(&mut peer, &connection, 2).await;
    let _publisher = publisher(&mut peer, &channel).await;
    let qos = basic::Qos { prefetch_count: 50, global: true, ..Default::default() };
    join!(channel.qos(50), async {
        peer.expect(1, qos.clone()).await;
        peer.send(1, basic::QosOk {}).await;
    })
    .0
    .unwrap();
    let mut consumer = consumer(&mut peer, &channel, "jobs", "c").await;
    deliver(&mut peer, 1, "c", 1, false).await;
    let first = ends(consumer.recv()).await.unwrap().unwrap();
    lose(peer, &connection).await;

    let mut peer = broker.accept().await;
    // Both channels are opened at once.
    peer.expect(1, channel::Open::default()).await;
    peer.expect(1, amqp_codec::method::confirm::Select { no_wait: false }).await;
    peer.expect(1, qos).await;
    peer.expect(2, channel::Open::default()).await;
    let answers = vec![
        Frame::Method(1, channel::OpenOk::default().into()),
        Frame::Method(1, amqp_codec::method::confirm::SelectOk {}.into()),
        Frame::Method(1, basic::QosOk {}.into()),
        Frame::Method(2, channel::OpenOk::default().into()),
    ];
    peer.send_frames(answers).await;
    consume(&mut peer, 1, "jobs", "c").await;
    let report = recovered(&mut events).await;
    assert_eq!((report.channels, report.consumers), (2, 1));

    // The broker counts from 1 again, and the user's ack goes to its own delivery.
    deliver(&mut peer, 1, "c", 1, true).await;
    let again = ends(consumer.recv()).await.unwrap().unwrap();
    assert!(again.redelivered());
    assert!(again.delivery_tag() > first.delivery_tag());
    assert!(matches!(first.ack().await, Err(Error::StaleDelivery { channel: 1 })));
    again.ack().await.unwrap();
    peer.expect(1, basic::Ack { delivery_tag: 1, multiple: false }).await;
    assert!(other.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_had_begun_again_when_the_connection_was_lost_once_more_goes_on() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let mut events = connection.events();
    let (one, two) = (opened(&mut peer, &connection, 1).await, opened(&mut peer, &connection, 2).await);
    let _first = consumer(&mut peer, &one, "jobs", "a").await;
    let mut second = consumer(&mut peer, &two, "logs", "b").await;
    lose(peer, &connection).await;
    let mut peer = broker.accept().await;
    for id in [1, 2] {
        peer.expect(id, channel::Open::default()).await;
    }
    for id in [1, 2] {
        peer.send(id, channel::OpenOk::default()).await;
    }
    expect_consume(&mut peer, 1, "jobs", "a").await;
    // The second is answered; the first, which is waited for before it, is not.
    consume(&mut peer, 2, "logs", "b").await;
    lose(peer, &connection).await;
    let mut peer = broker.accept().await;
    for id in [1, 2] {
        peer.expect(id, channel::Open::default()).await;
    }
    for id in [1, 2] {
        peer.send(id, channel::OpenOk::default()).await;
    }
    consume(&mut peer, 1, "jobs", "a").await;
    consume(&mut peer, 2, "logs", "b").await;
    assert_eq!(recovered(&mut events).await.consumers, 2);
    deliver(&mut peer, 2, "b", 1, false).await;
    assert_eq!(ends(second.recv()).await.unwrap().unwrap().body(), "1");
}

#[tokio::test(start_paused = true)]
async fn deliveries_not_handed_out_are_forgotten_unless_they_need_no_acknowledgement() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let mut events = connection.events();
    let channel = opened(&mut peer, &connection, 1).await;
    let mut acked = consumer(&mut peer, &channel, "jobs", "a").await;
    let options = ConsumeOptions::new().tag("n").prefetch(7).no_ack(true);
    let (consuming, ()) = join!(channel.consume("logs", options), async {
        peer.expect_any::<basic::Qos>(1).await;
        peer.expect_any::<basic::Consume>(1).await;
        peer.send(1, basic::QosOk {}).await;
        peer.send(1, basic::ConsumeOk { consumer_tag: short("n") }).await;
    });
    let mut unacked = consuming.unwrap();
    for (tag, number) in [("a", 1), ("n", 2), ("a", 3), ("n", 4), ("a", 5)] {
        deliver(&mut peer, 1, tag, number, false).await;
    }
    // One delivery of each consumer is handed out; the others wait in the consumers' own queues, or
    // in the inbox.
    let handed_out = ends(acked.recv()).await.unwrap().unwrap();
    assert_eq!(ends(unacked.recv()).await.unwrap().unwrap().body(), "2");
    lose(peer, &connection).await;
    let mut peer = broker.accept().await;
    open(&mut peer, 1).await;
    for _ in 0..2 {
        peer.expect_any::<basic::Qos>(1).await;
        let consume: basic::Consume = peer.expect_any(1).await;
        peer.send(1, basic::QosOk {}).await;
        peer.send(1, basic::ConsumeOk { consumer_tag: consume.consumer_tag }).await;
    }
    recovered(&mut events).await;
    deliver(&mut peer, 1, "a", 1, true).await;
    let next = ends(acked.recv()).await.unwrap().unwrap();
    assert_eq!((next.body().as_ref(), next.redelivered()), (b"1".as_ref(), true));
    assert_eq!(ends(unacked.recv()).await.unwrap().unwrap().body(), "4");
    drop(handed_out);
}

#[tokio::test(start_paused = true)]
async fn what_a_consumer_has_not_handed_out_does_not_hold_up_the_answers_of_a_recovery() {
    let (mut broker, mut peer, connection) = connected_with(&options(recovery()).inbox_limit(100)).await;
    let mut events = connection.events();
    let channel = opened(&mut peer, &connection, 1).await;
    let mut consumer = consumer(&mut peer, &channel, "jobs", "c").await;
    let deliveries = (1..=5).flat_map(|number| {
        let deliver = basic::Deliver {
            consumer_tag: short("c"),
            delivery_tag: number,
            redelivered: false,
            exchange: ShortString::EMPTY,
            routing_key: short("jobs"),
        };
        tests::peer::content(1, deliver, &Properties::default(), number.to_string(), 131_072)
    });
    peer.send_frames(deliveries.collect()).await;
    // The others were taken along with it, and nobody waits for them before all is restored.
    assert_eq!(ends(consumer.recv()).await.unwrap().unwrap().body(), "1");
    drop(peer);
    // Nothing is read, so only writing shows the loss.
    channel.publish(("", "jobs"), Message::new("x")).await.unwrap();
    let mut peer = broker.accept().await;
    open(&mut peer, 1).await;
    consume(&mut peer, 1, "jobs", "c").await;
    assert_eq!(recovered(&mut events).await.attempts, 1);
    deliver(&mut peer, 1, "c", 1, true).await;
    let again = ends(consumer.recv()).await.unwrap().unwrap();
    assert!(again.redelivered());
}

#[tokio::test(start_paused = true)]
async fn a_reading_pause_of_this_side_is_no_lateness_of_the_brokers() {
    let options = options(recovery().reopen_channels(true)).inbox_limit(100);
    let (_broker, mut peer, connection) = connected_with(&options).await;
    let mut events = connection.events();
    let channel = opened(&mut peer, &connection, 1).await;
    let other = opened(&mut peer, &connection, 2).await;
    let mut consumer = consumer(&mut peer, &channel, "jobs", "c").await;
    let close =
        channel::Close { reply_code: 406, reply_text: short("PRECONDITION_FAILED"), ..Default::default() };
    peer.send(2, close).await;
    peer.expect(2, channel::CloseOk {}).await;
    peer.expect(2, channel::Open::default()).await;
    for number in 1..=5 {
        deliver(&mut peer, 1, "c", number, false).await;
    }
    while !matches!(ends(events.recv()).await.unwrap(), Event::ChannelClosed { .. }) {}
    tokio::time::sleep(Duration::from_secs(5)).await;
    peer.send(2, channel::OpenOk::default()).await;
    // The user is busy with the first for longer than a call may take.
    tokio::time::sleep(Duration::from_secs(300)).await;
    for _ in 1..=5 {
        ends(consumer.recv()).await.unwrap().unwrap().ack().await.unwrap();
    }
    while !matches!(ends(events.recv()).await.unwrap(), Event::ChannelReopened { .. }) {}
    assert!(other.is_open() && connection.metrics().reconnects == 0);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_whose_queue_has_gone_ends_and_the_others_of_its_channel_go_on() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let mut events = connection.events();
    let channel = opened(&mut peer, &connection, 1).await;
    let mut gone = consumer(&mut peer, &channel, "gone", "g").await;
    let mut stays = consumer(&mut peer, &channel, "jobs", "s").await;
    lose(peer, &connection).await;
    let mut peer = broker.accept().await;
    open(&mut peer, 1).await;
    consume(&mut peer, 1, "jobs", "s").await;
    expect_consume(&mut peer, 1, "gone", "g").await;
    let id = basic::Consume::ID;
    let close = channel::Close {
        reply_code: 404,
        reply_text: short("NOT_FOUND - no queue 'gone' in vhost '/'"),
        class_id: id.class_id,
        method_id: id.method_id,
    };
    peer.send(1, basic::QosOk {}).await;
    peer.send(1, close).await;
    peer.expect(1, channel::CloseOk {}).await;
    open(&mut peer, 1).await;
    consume(&mut peer, 1, "jobs", "s").await;
    let report = recovered(&mut events).await;
    assert_eq!(report.skipped[0].what, r#"consumer "g" of queue "gone""#);
    assert_eq!((report.channels, report.consumers), (1, 1), "the one that stays, though it began twice");
    let reason = ends(gone.recv()).await.unwrap().unwrap_err();
    assert_eq!(reason.reply_code(), Some(ReplyCode::NOT_FOUND));
    assert!(ends(gone.recv()).await.is_none());
    deliver(&mut peer, 1, "s", 1, false).await;
    assert_eq!(ends(stays.recv()).await.unwrap().unwrap().body(), "1");
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_while_the_connection_is_away_does_not_come_back() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let mut events = connection.events();
    let channel = opened(&mut peer, &connection, 1).await;
    let dropped = opened(&mut peer, &connection, 2).await;
    let consumer = consumer(&mut peer, &channel, "jobs", "c").await;
    lose(peer, &connection).await;
    drop((consumer, dropped));
    let mut peer = broker.accept().await;
    open(&mut peer, 1).await;
    let report = recovered(&mut events).await;
    assert_eq!((report.channels, report.consumers), (1, 0));
    assert_eq!(opened(&mut peer, &connection, 2).await.id(), 2, "its number is free");
}

#[tokio::test(start_paused = true)]
async fn a_loss_while_it_is_restored_begins_anew_and_leaves_nothing_out() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let mut events = connection.events();
    let channel = opened(&mut peer, &connection, 1).await;
    let mut consumer = consumer(&mut peer, &channel, "jobs", "c").await;
    lose(peer, &connection).await;
    let mut peer = broker.accept().await;
    open(&mut peer, 1).await;
    expect_consume(&mut peer, 1, "jobs", "c").await;
    drop(peer);
    let mut peer = broker.accept().await;
    open(&mut peer, 1).await;
    consume(&mut peer, 1, "jobs", "c").await;
    assert_eq!(recovered(&mut events).await.attempts, 2);
    deliver(&mut peer, 1, "c", 1, false).await;
    ends(consumer.recv()).await.unwrap().unwrap().ack().await.unwrap();
    peer.expect(1, basic::Ack { delivery_tag: 1, multiple: false }).await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_does_not_answer_while_it_is_restored_is_left() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let mut events = connection.events();
    let _channel = opened(&mut peer, &connection, 1).await;
    lose(peer, &connection).await;
    let mut mute = broker.accept().await;
    mute.expect(1, channel::Open::default()).await;
    let mut peer = broker.accept().await;
    open(&mut peer, 1).await;
    assert_eq!(recovered(&mut events).await.attempts, 2);
}

#[tokio::test(start_paused = true)]
async fn a_channel_closed_for_an_error_is_opened_again_when_it_shall_be() {
    let (_broker, mut peer, connection) = connected(recovery().reopen_channels(true)).await;
    let mut events = connection.events();
    let channel = opened(&mut peer, &connection, 1).await;
    let publisher = publisher(&mut peer, &channel).await;
    let mut consumer = consumer(&mut peer, &channel, "jobs", "c").await;
    deliver(&mut peer, 1, "c", 1, false).await;
    let held = ends(consumer.recv()).await.unwrap().unwrap();
    let confirm = publisher.publish(("", "other"), amqp_client::Message::new("x")).await.unwrap();
    super::script::expect_publish(&mut peer, 1, "x").await;
    let reply_text = short("PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out");
    peer.send(1, channel::Close { reply_code: 406, reply_text, ..Default::default() }).await;
    peer.expect(1, channel::CloseOk {}).await;
    peer.expect(1, channel::Open::default()).await;
    peer.send(1, channel::OpenOk::default()).await;
    select(&mut peer, 1).await;
    consume(&mut peer, 1, "jobs", "c").await;
    loop {
        match ends(events.recv()).await.unwrap() {
            Event::ChannelReopened { channel: 1, cause } => {
                break assert_eq!(cause.reply_code(), Some(ReplyCode::PRECONDITION_FAILED));
            }
            Event::Closed(reason) => panic!("{reason}"),
            _ => {}
        }
    }
    let Err(Error::PublishLost(cause)) = ends(confirm).await else { panic!("not lost") };
    assert_eq!(cause.reply_code(), Some(ReplyCode::PRECONDITION_FAILED));
    assert!(matches!(held.ack().await, Err(Error::StaleDelivery { .. })));
    deliver(&mut peer, 1, "c", 1, true).await;
    ends(consumer.recv()).await.unwrap().unwrap().ack().await.unwrap();
    peer.expect(1, basic::Ack { delivery_tag: 1, multiple: false }).await;
    assert!(channel.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_was_lost_in_part_is_not_committed() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let mut events = connection.events();
    let channel = opened(&mut peer, &connection, 1).await;
    join!(channel.tx_select(), async {
        peer.expect(1, tx::Select {}).await;
        peer.send(1, tx::SelectOk {}).await;
    })
    .0
    .unwrap();
    channel.publish(("", "jobs"), amqp_client::Message::new("1")).await.unwrap();
    super::script::expect_publish(&mut peer, 1, "1").await;
    lose(peer, &connection).await;
    let mut peer = broker.accept().await;
    peer.expect(1, channel::Open::default()).await;
    peer.expect(1, tx::Select {}).await;
    peer.send(1, channel::OpenOk::default()).await;
    peer.send(1, tx::SelectOk {}).await;
    recovered(&mut events).await;
    channel.publish(("", "jobs"), amqp_client::Message::new("2")).await.unwrap();
    let (committed, ()) = join!(channel.tx_commit(), async {
        super::script::expect_publish(&mut peer, 1, "2").await;
        peer.expect(1, tx::Rollback {}).await;
        peer.send(1, tx::RollbackOk {}).await;
    });
    assert!(matches!(committed, Err(Error::TransactionLost { channel: 1 })), "{committed:?}");
    let (committed, ()) = join!(channel.tx_commit(), async {
        peer.expect(1, tx::Commit {}).await;
        peer.send(1, tx::CommitOk {}).await;
    });
    committed.unwrap();
}
