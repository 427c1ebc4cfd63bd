//! Connections and channels: opening, closing, limits, many at once.

use amqp_client::{ConnectOptions, Error, Message, Queue, ReplyCode};

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
}

async fn calls_of_many_tasks_on_one_channel_get_their_own_answers(broker: Broker) {
    let channel = broker.channel().await;
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let (channel, name) = (channel.clone(), broker.name(&number.to_string()));
            tokio::spawn(async move {
                let info = channel.declare(&Queue::new(&name).exclusive(true)).await.unwrap();
                assert_eq!(info.name, name);
                assert!(channel.get(&name).await.unwrap().is_none());
                assert_eq!(channel.delete_queue(&name).await.unwrap(), 0);
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
    let error = one.declare_passive(&missing).await.unwrap_err();
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
            // Closed by the broker, by this side, by dropping.
            match turn {
                0 => drop(channel.declare_passive(&Queue::new(broker.name("missing"))).await.unwrap_err()),
                1 => channel.close().await.unwrap(),
                _ => {
                    drop(channel);
                    // Closed in the background: the number is free when the broker has agreed.
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
    assert!(matches!(channel.get(&queue).await.unwrap_err(), Error::ConnectionEnded));
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
    // The exclusive queue goes with its connection; each look that comes too early opens a new channel.
    within(async {
        loop {
            let error = watcher.open_channel().await.unwrap().declare_passive(&queue).await.unwrap_err();
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
    channel.publish("", &queue.name, &Message::new("precious")).await.unwrap();
    drop_after_first_poll(channel.get(&queue)).await;
    let delivery = within(async {
        loop {
            if let Some(delivery) = channel.get(&queue).await.unwrap() {
                break delivery;
            }
        }
    })
    .await;
    assert_eq!(delivery.body(), "precious");
    delivery.ack().await.unwrap();
}

/// Polls once, so that the call is sent, then drops the future.
async fn drop_after_first_poll(future: impl Future) {
    let mut future = std::pin::pin!(future);
    let waker = std::task::Waker::noop();
    let _ = future.as_mut().poll(&mut std::task::Context::from_waker(waker));
}
