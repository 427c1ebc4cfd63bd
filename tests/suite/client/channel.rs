//! Connections and channels: opening, closing, limits, many at once.

use std::time::Duration;

use amqp_client::{
    ConnectOptions, DeleteOptions, Error, Event, GetOptions, Message, Queue, ReplyCode, Route, State,
};

use super::{
    fixture::{Broker, within},
    on_every_broker,
};

on_every_broker! {
    calls_of_many_tasks_on_one_channel_get_their_own_answers,
    a_closed_channel_tells_why_and_others_go_on,
    channel_numbers_are_used_again,
    channels_are_limited_by_channel_max,
    closing_a_connection_ends_everything_on_it,
    the_last_handle_dropped_closes_the_connection,
    dropped_calls_leave_the_channel_in_step,
    a_dropped_get_gives_its_message_back,
    a_drained_channel_has_everything_acked_and_confirmed,
    a_drain_that_is_not_done_in_time_says_what_is_left_and_closes,
    events_and_state_tell_how_the_connection_is,
    metrics_count_what_was_done,
}

async fn calls_of_many_tasks_on_one_channel_get_their_own_answers(broker: Broker) {
    let channel = broker.channel().await;
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let (channel, name) = (channel.clone(), broker.name(&number.to_string()));
            tokio::spawn(async move {
                let info = channel.declare(&Queue::new(&name).exclusive(true)).await.unwrap();
                assert_eq!(info.name, name);
                assert!(channel.get(&name, GetOptions::new()).await.unwrap().is_none());
                assert_eq!(channel.delete_queue(&name, DeleteOptions::new()).await.unwrap(), 0);
            })
        })
        .collect();
    for task in tasks {
        within(task).await.unwrap();
    }
}

async fn a_closed_channel_tells_why_and_others_go_on(broker: Broker) {
    let connection = broker.connect().await;
    let (one, two) = (connection.open_channel().await.unwrap(), connection.open_channel().await.unwrap());
    let missing = Queue::new(broker.name("missing"));
    let error = one.declare(missing.clone().passive(true)).await.unwrap_err();
    let close = error.close().unwrap();
    assert_eq!(close.code, ReplyCode::NOT_FOUND);
    assert_eq!(close.text, format!("NOT_FOUND - no queue '{}' in vhost '/'", missing.name()));
    assert_eq!(close.method.unwrap().name(), Some("queue.declare"));
    assert_eq!(within(one.closed()).await.close(), Some(close));
    assert_eq!(one.declare(&missing).await.unwrap_err().close(), Some(close));
    assert!(!one.is_open());
    assert!(two.is_open() && connection.is_open());
    two.declare(&Queue::new("").exclusive(true)).await.unwrap();
}

async fn channel_numbers_are_used_again(broker: Broker) {
    let connection = broker.connect_with(ConnectOptions::new().channel_max(3)).await.unwrap();
    for round in 0..10 {
        let mut ids = Vec::new();
        for turn in 0..3 {
            let channel = connection.open_channel().await.unwrap();
            ids.push(channel.id());
            // The channel is closed by the broker, by this side, or by dropping.
            match turn {
                0 => {
                    drop(
                        channel.declare(Queue::new(broker.name("missing")).passive(true)).await.unwrap_err(),
                    );
                }
                1 => channel.close().await.unwrap(),
                _ => {
                    drop(channel);
                    // It is closed in the background: the number is free when the broker has
                    // answered.
                    connection.open_channel().await.unwrap().close().await.unwrap();
                }
            }
        }
        assert!(ids.iter().all(|id| (1..=3).contains(id)), "round {round}: {ids:?}");
    }
}

async fn channels_are_limited_by_channel_max(broker: Broker) {
    let connection = broker.connect_with(ConnectOptions::new().channel_max(2)).await.unwrap();
    let _one = connection.open_channel().await.unwrap();
    let two = connection.open_channel().await.unwrap();
    let error = connection.open_channel().await.unwrap_err();
    assert!(matches!(error, Error::NoFreeChannel { limit: 2 }), "{error:?}");
    two.close().await.unwrap();
    connection.open_channel().await.unwrap();
}

async fn closing_a_connection_ends_everything_on_it(broker: Broker) {
    let connection = broker.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
    let mut consumer = channel.consume(&queue, Default::default()).await.unwrap();
    let waiting = tokio::spawn(async move { consumer.recv().await });
    connection.close().await.unwrap();
    let error = within(waiting).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, Error::ConnectionEnded), "{error:?}");
    assert!(matches!(channel.get(&queue, GetOptions::new()).await.unwrap_err(), Error::ConnectionEnded));
    assert!(matches!(connection.open_channel().await.unwrap_err(), Error::ConnectionEnded));
    assert!(!connection.is_open());
    connection.close().await.unwrap();
}

async fn the_last_handle_dropped_closes_the_connection(broker: Broker) {
    let watcher = broker.connect().await;
    let queue = Queue::new(broker.name("mine")).exclusive(true);
    let channel = broker.channel().await;
    channel.declare(&queue).await.unwrap();
    drop(channel);
    // The exclusive queue is deleted with its connection; each check that comes too early opens a
    // new channel.
    within(async {
        loop {
            let error =
                watcher.open_channel().await.unwrap().declare(queue.clone().passive(true)).await.unwrap_err();
            match error.reply_code() {
                Some(ReplyCode::NOT_FOUND) => break,
                code => assert_eq!(code, Some(ReplyCode::RESOURCE_LOCKED)),
            }
        }
    })
    .await;
}

async fn dropped_calls_leave_the_channel_in_step(broker: Broker) {
    let channel = broker.channel().await;
    for number in 0..20 {
        let name = broker.name(&number.to_string());
        let queue = Queue::new(&name).exclusive(true);
        drop_after_first_poll(channel.declare(&queue)).await;
        drop_after_first_poll(channel.consume(&name, Default::default())).await;
        drop_after_first_poll(channel.publisher()).await;
        let info = channel.declare(&Queue::new(broker.name("kept")).exclusive(true)).await.unwrap();
        assert_eq!(info.name, broker.name("kept"));
    }
}

async fn a_dropped_get_gives_its_message_back(broker: Broker) {
    let channel = broker.channel().await;
    let queue = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
    channel.publish(("", &queue.name), Message::new("precious")).await.unwrap();
    drop_after_first_poll(channel.get(&queue, GetOptions::new())).await;
    let delivery = within(async {
        loop {
            if let Some(delivery) = channel.get(&queue, GetOptions::new()).await.unwrap() {
                break delivery;
            }
        }
    })
    .await;
    assert_eq!(delivery.body(), "precious");
    delivery.ack().await.unwrap();
}

async fn a_drained_channel_has_everything_acked_and_confirmed(broker: Broker) {
    let watcher = broker.connect().await;
    let probe = watcher.open_channel().await.unwrap();
    let queue = Queue::new(broker.name("jobs")).auto_delete(false);
    probe.declare(&queue).await.unwrap();

    let connection = broker.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    for _ in 0..100 {
        drop(publisher.publish(("", &queue), Message::new("x")).await.unwrap());
    }
    let mut consumer = channel.consume(&queue, Default::default()).await.unwrap();
    let worker = tokio::spawn(async move {
        let mut done = 0;
        while let Some(delivery) = consumer.recv().await {
            delivery.unwrap().ack().await.unwrap();
            done += 1;
        }
        done
    });
    within(connection.drain(Duration::from_secs(20))).await.unwrap();
    let done = within(worker).await.unwrap();
    assert!(matches!(channel.closed().await, Error::ConnectionEnded));
    // The broker has received all of them; those that were acknowledged are gone, the others are
    // ready.
    assert_eq!(probe.declare(queue.clone().passive(true)).await.unwrap().messages, 100 - done);
    probe.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
}

async fn a_drain_that_is_not_done_in_time_says_what_is_left_and_closes(broker: Broker) {
    let connection = broker.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
    channel.publish(("", &queue.name), Message::new("x")).await.unwrap();
    let mut consumer = channel.consume(&queue, Default::default()).await.unwrap();
    let held = within(consumer.recv()).await.unwrap().unwrap();
    assert!(channel.oldest_unacked().is_some());
    let error = within(channel.drain(Duration::from_millis(100))).await.unwrap_err();
    assert!(matches!(error, Error::DrainTimeout { unacked: 1, unconfirmed: 0, .. }), "{error}");
    assert!(!channel.is_open() && connection.is_open());
    assert!(consumer.recv().await.is_none(), "it was cancelled");
    held.ack().await.unwrap_err();
    let again =
        connection.open_channel().await.unwrap().get(&queue, GetOptions::new()).await.unwrap().unwrap();
    assert!(again.redelivered());
    let (message, acker) = again.split();
    assert_eq!((message.body().as_ref(), message.redelivered()), (&b"x"[..], true));
    acker.ack().await.unwrap();
}

async fn events_and_state_tell_how_the_connection_is(broker: Broker) {
    let connection = broker.connect().await;
    let mut events = connection.events();
    assert!(matches!(within(events.recv()).await, Some(Event::Connected)));
    assert!(matches!(connection.state(), State::Open));
    connection.close().await.unwrap();
    assert!(matches!(within(events.recv()).await, Some(Event::Closed(Error::ConnectionEnded))));
    assert!(within(events.recv()).await.is_none());
    assert!(matches!(connection.state(), State::Closed(Error::ConnectionEnded)));
    let mut late = connection.events();
    assert!(matches!(within(late.recv()).await, Some(Event::Closed(_))));
}

async fn metrics_count_what_was_done(broker: Broker) {
    let connection = broker.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    let before = connection.metrics();
    let nowhere = broker.name("nowhere");
    for key in [&queue.name, &queue.name, &nowhere] {
        publisher
            .publish(Route::new("", key).mandatory(true), Message::new("0123456789"))
            .await
            .unwrap()
            .await
            .unwrap();
    }
    let delivery = channel.get(&queue, GetOptions::new()).await.unwrap().unwrap();
    let metrics = connection.metrics();
    assert_eq!(metrics.messages_published - before.messages_published, 3);
    assert_eq!((metrics.messages_received, metrics.messages_returned), (1, 1));
    assert_eq!((metrics.channels, metrics.unacked, metrics.unconfirmed), (1, 1, 0));
    // The frames are three for each of three publishes, and one for the get.
    assert_eq!(metrics.frames_sent - before.frames_sent, 10);
    assert!(
        metrics.bytes_sent - before.bytes_sent > 3 * 10 && metrics.bytes_received > before.bytes_received
    );
    delivery.ack().await.unwrap();
    assert_eq!(connection.metrics().unacked, 0);
}

/// Polls once, so that the call is sent, and then drops the future.
async fn drop_after_first_poll(future: impl Future) {
    let mut future = std::pin::pin!(future);
    let waker = std::task::Waker::noop();
    let _ = future.as_mut().poll(&mut std::task::Context::from_waker(waker));
}
