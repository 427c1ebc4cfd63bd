//! Deliveries that wait for consumers are bounded, and a broker that keeps to the prefetch is never
//! blamed: on the embedded broker and on RabbitMQ.

use std::{future::pending, time::Duration};

use amqp_client::{Channel, ConnectOptions, ConsumeOptions, Consumer, Delivery, Message, Queue};
use amqp_codec::{
    Arguments as _,
    method::{basic, channel},
};
use tests::{Direction, FrameLinks};

use super::{
    fixture::{Broker, within},
    on_every_broker, on_tcp_brokers,
};

/// Fills an exclusive queue.
async fn filled(broker: &Broker, channel: &Channel, messages: usize, size: usize) -> Queue {
    let queue = Queue::new(broker.name("q")).exclusive(true);
    channel.declare(&queue).await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    for _ in 0..messages {
        let message = Message::new(vec![0; size]);
        within(within(publisher.publish(("", queue.name()), message)).await.unwrap()).await.unwrap();
    }
    queue
}

async fn take(consumer: &mut Consumer, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    for _ in 0..count {
        taken.push(within(consumer.recv()).await.unwrap().unwrap());
    }
    taken
}

async fn reading_pauses_when_the_bytes_that_wait_reach_their_bound(broker: Broker) {
    const MESSAGES: usize = 200;
    const SIZE: usize = 100_000;
    let connection = broker.connect_with(ConnectOptions::new().inbox_limit(4 * SIZE)).await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    let queue = filled(&broker, &channel, MESSAGES, SIZE).await;
    let mut consumer = channel.consume(&queue, ConsumeOptions::new().prefetch(0)).await.unwrap();
    let received = || connection.metrics().messages_received as usize;
    within(async {
        while received() < 4 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // There is time enough to read the others.
    let _ = tokio::time::timeout(Duration::from_millis(300), pending::<()>()).await;
    assert!(received() < MESSAGES / 4, "{} were read", received());
    for delivery in take(&mut consumer, MESSAGES).await {
        delivery.ack().await.unwrap();
    }
    assert_eq!(received(), MESSAGES);
}

/// More than twice the prefetch and 64 deliveries are unsettled, but most under tags that `recover`
/// has ended.
async fn what_recover_sends_again_is_no_breach_of_the_prefetch(broker: Broker) {
    let channel = broker.channel().await;
    let queue = filled(&broker, &channel, 50, 1).await;
    let mut consumer = channel.consume(&queue, ConsumeOptions::new().prefetch(50)).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..5 {
        held.extend(take(&mut consumer, 50).await);
        within(channel.recover()).await.unwrap();
    }
    assert_eq!(held.len(), 250);
    for delivery in take(&mut consumer, 50).await {
        assert!(delivery.redelivered());
        delivery.ack().await.unwrap();
    }
    assert!(within(consumer.cancel()).await.is_ok() && channel.is_open());
}

/// A limit of the whole channel, and a low one, do not concern the consumer's own.
async fn a_lower_prefetch_of_the_channel_closes_no_consumer_that_holds_more(broker: Broker) {
    let channel = broker.channel().await;
    let queue = filled(&broker, &channel, 300, 1).await;
    let mut consumer = channel.consume(&queue, ConsumeOptions::new().prefetch(300)).await.unwrap();
    let held = take(&mut consumer, 300).await;
    within(channel.qos(1)).await.unwrap();
    for delivery in held {
        delivery.ack().await.unwrap();
    }
    let publisher = channel.publisher().await.unwrap();
    drop(publisher.publish(("", queue.name()), Message::new("last")).await.unwrap());
    let last = take(&mut consumer, 1).await.remove(0);
    assert_eq!(last.body(), "last");
    last.ack().await.unwrap();
    assert!(within(consumer.cancel()).await.is_ok() && channel.is_open());
}

async fn a_drain_ends_well_though_the_answer_to_the_cancel_comes_after_all_others(broker: Broker) {
    let links = FrameLinks::new();
    let there = links.listen(broker.address()).await.unwrap();
    let connection = broker.connect_as(ConnectOptions::new(), |uri| {
        uri.host = there.ip().to_string();
        uri.port = there.port();
    });
    let connection = connection.await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    let queue = filled(&broker, &channel, 2, 1).await;
    let mut consumer = channel.consume(&queue, ConsumeOptions::new().prefetch(2)).await.unwrap();
    let held = take(&mut consumer, 1).await;
    links.keep_back(Direction::ToClient, basic::CancelOk::ID);
    let mut drain = consumer.drain(super::fixture::DEADLINE);
    let waiting = within(drain.recv()).await.unwrap().unwrap();
    within(channel.close()).await.unwrap();
    assert!(links.taken() == 1 && !links.channels_of(Direction::ToClient, channel::CloseOk::ID).is_empty());
    let end = within(drain.recv()).await;
    assert!(end.is_none(), "{end:?}");
    links.release();
    drop((held, waiting));
    within(connection.close()).await.unwrap();
}

on_every_broker!(
    reading_pauses_when_the_bytes_that_wait_reach_their_bound,
    what_recover_sends_again_is_no_breach_of_the_prefetch,
    a_lower_prefetch_of_the_channel_closes_no_consumer_that_holds_more,
);
on_tcp_brokers!(a_drain_ends_well_though_the_answer_to_the_cancel_comes_after_all_others);
