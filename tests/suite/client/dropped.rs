//! Futures that are dropped before their first poll and after each further one, on a real broker:
//! the channel stays in step, and messages that were given to nobody are requeued.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
};

use amqp_client::{
    Binding, Channel, Confirmation, Connection, ConsumeOptions, DeleteOptions, Error, Exchange, GetOptions,
    Message, Publisher, Queue, Route,
};

use super::{
    fixture::{Broker, within},
    on_every_broker,
};

on_every_broker! {
    a_future_dropped_after_any_poll_leaves_its_channel_in_step,
    a_connect_dropped_after_any_poll_leaves_the_broker_ready_for_the_next,
}

/// How many messages are in the queue before each future.
const MESSAGES: u32 = 3;

struct Scene {
    connection: Connection,
    channel: Channel,
    publisher: Publisher,
    queue: String,
}

type Act = for<'a> fn(&'a Scene) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// All operations that end by themselves.
const ACTS: &[(&str, Act)] = &[
    ("open_channel", |it| Box::pin(async { drop(it.connection.open_channel().await) })),
    ("declare", |it| {
        Box::pin(async { drop(it.channel.declare(&Queue::new(&it.queue).exclusive(true)).await) })
    }),
    ("declare_passive", |it| {
        Box::pin(async { drop(it.channel.declare(Queue::new(&it.queue).passive(true)).await) })
    }),
    ("declare an exchange", |it| {
        Box::pin(async { drop(it.channel.declare(Exchange::fanout("amq.fanout").passive(true)).await) })
    }),
    ("bind", |it| Box::pin(async { drop(it.channel.bind(Binding::new(&it.queue, "amq.fanout")).await) })),
    ("unbind", |it| Box::pin(async { drop(it.channel.unbind(Binding::new(&it.queue, "amq.fanout")).await) })),
    ("delete_queue", |it| {
        Box::pin(async { drop(it.channel.delete_queue("no-such-queue", DeleteOptions::new()).await) })
    }),
    ("qos", |it| Box::pin(async { drop(it.channel.qos(10).await) })),
    ("publisher", |it| Box::pin(async { drop(it.channel.publisher().await) })),
    ("get", |it| Box::pin(get(it))),
    ("consume", |it| Box::pin(consume(it))),
    ("recover", |it| Box::pin(async { drop(it.channel.recover().await) })),
    ("drain a channel", |it| Box::pin(async { drop(it.channel.drain(std::time::Duration::ZERO).await) })),
    ("close", |it| Box::pin(async { drop(it.channel.close().await) })),
    ("publish to nobody", |it| Box::pin(publish(it))),
];

async fn get(scene: &Scene) {
    if let Ok(Some(delivery)) = scene.channel.get(&scene.queue, GetOptions::new()).await {
        delivery.nack(true).await.unwrap();
    }
}

async fn consume(scene: &Scene) {
    let Ok(mut consumer) = scene.channel.consume(&scene.queue, ConsumeOptions::new()).await else { return };
    if let Some(Ok(delivery)) = consumer.recv().await {
        delivery.reject(true).await.unwrap();
    }
    consumer.cancel().await.unwrap();
}

async fn publish(scene: &Scene) {
    let confirm = scene
        .publisher
        .publish(Route::new("", "no-such-queue").mandatory(true), Message::new("m"))
        .await
        .unwrap();
    assert!(matches!(confirm.await.unwrap(), Confirmation::Returned(_)));
    let confirm = scene.publisher.publish(("", "no-such-queue"), Message::new("m")).await.unwrap();
    drop(confirm);
    scene.publisher.flush().await.unwrap();
}

/// The output, unless the future was dropped after so many polls because it was not done.
async fn dropped_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

async fn a_future_dropped_after_any_poll_leaves_its_channel_in_step(broker: Broker) {
    let connection = broker.connect().await;
    let publisher = connection.open_channel().await.unwrap().publisher().await.unwrap();
    let queue = broker.name("dropped");
    let setup = connection.open_channel().await.unwrap();
    setup.declare(&Queue::new(&queue).exclusive(true)).await.unwrap();
    for number in 0..MESSAGES {
        publisher.publish(("", &queue), Message::new(number.to_string())).await.unwrap().await.unwrap();
    }
    for (name, act) in ACTS {
        for polls in 0.. {
            let channel = connection.open_channel().await.unwrap();
            let (connection, publisher) = (connection.clone(), publisher.clone());
            let scene = Scene { connection, channel, publisher, queue: queue.clone() };
            let over = within(dropped_after(polls, act(&scene))).await;
            eprintln!("{name} dropped after {polls} polls, over: {}", over.is_some());
            within(check(&scene)).await;
            if over.is_some() {
                assert!(polls > 0);
                break;
            }
        }
    }
    setup.close().await.unwrap();
    let left = connection.metrics();
    assert_eq!((left.calls, left.waiting, left.unacked, left.unconfirmed, left.channels), (0, 0, 0, 0, 1));
}

async fn check(scene: &Scene) {
    let Scene { connection, publisher, .. } = scene;
    let channel = match scene.channel.is_open() {
        true => scene.channel.clone(),
        false => {
            scene.channel.closed().await;
            connection.open_channel().await.unwrap()
        }
    };
    // Each call gets its own answer, whatever answers for dropped futures were outstanding.
    let queue = Queue::new(&scene.queue);
    let got = channel.declare(&queue.clone().exclusive(true)).await.unwrap();
    assert_eq!(got.name, scene.queue);
    assert_eq!(channel.delete_queue("no-such-queue", DeleteOptions::new()).await.unwrap(), 0);
    let confirm =
        publisher.publish(Route::new("", "no-such-queue").mandatory(true), Message::new("m")).await.unwrap();
    assert!(matches!(confirm.await.unwrap(), Confirmation::Returned(_)));
    // `close` returns once the broker has answered.
    match channel.close().await {
        Ok(()) | Err(Error::ChannelEnded { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    let other = connection.open_channel().await.unwrap();
    let mut delivered = Vec::new();
    while let Some(delivery) = other.get(&scene.queue, GetOptions::new()).await.unwrap() {
        delivered.push(delivery);
    }
    assert_eq!(delivered.len(), MESSAGES as usize, "every message is back in the queue");
    for delivery in delivered {
        delivery.nack(true).await.unwrap();
    }
    assert_eq!(other.declare(queue.clone().passive(true)).await.unwrap().consumers, 0);
    other.close().await.unwrap();
}

async fn a_connect_dropped_after_any_poll_leaves_the_broker_ready_for_the_next(broker: Broker) {
    for polls in 0.. {
        if let Some(connection) = within(dropped_after(polls, broker.connect())).await {
            assert!(polls > 1);
            connection.open_channel().await.unwrap();
            return connection.close().await.unwrap();
        }
        within(broker.connect()).await.close().await.unwrap();
    }
}
