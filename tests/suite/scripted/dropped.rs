//! Every future of the client, dropped before its first poll and after each later one: what it
//! requested is completed or undone, the channel stays in step, and nobody is waited for.
//!
//! Between two polls the broker takes one step: it answers one frame. So each future is dropped in
//! each of its possible states, even in those in which it would not have been woken.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use amqp_client::{
    Binding, Channel, Confirmation, Connection, ConsumeOptions, Consumer, DeleteOptions, Delivery, Exchange,
    GetOptions, Message, Publisher, Queue, Route, Uri,
};
use tests::Peer;
use tokio::join;

use super::{
    QUIET, connected_with, ends,
    obliging::{Obliging, count_of},
    quiet,
};

/// The most polls of a future that waits for something that never comes.
const MOST_POLLS: usize = 12;

const LONG: Duration = Duration::from_secs(3600);

/// What a future works with. All of it is dropped with the future; the test keeps other handles.
struct Scene {
    connection: Connection,
    channel: Channel,
    /// It has a channel of its own.
    publisher: Publisher,
    /// It has a channel of its own, with three deliveries that have arrived.
    consumer: Consumer,
    /// The first of these deliveries.
    delivery: Delivery,
}

type Act = fn(Scene) -> Pin<Box<dyn Future<Output = ()>>>;

/// A future made from the scene, which it owns.
macro_rules! act {
    ($scene:ident => $future:expr) => {
        |$scene| {
            Box::pin(async move {
                #[allow(unused_mut, reason = "some need it")]
                let mut $scene = $scene;
                let _ = $future.await;
            })
        }
    };
}

const ACTS: &[(&str, Act)] = &[
    ("open_channel", act!(it => it.connection.open_channel())),
    ("update_secret", act!(it => it.connection.update_secret("new", "expired"))),
    ("connection.closed", act!(it => it.connection.closed())),
    ("connection.close", act!(it => it.connection.close())),
    ("connection.drain", act!(it => drain_connection(it))),
    ("events", act!(it => async { it.connection.events().recv().await })),
    ("declare an exchange", act!(it => it.channel.declare(&Exchange::topic("events")))),
    ("declare a queue", act!(it => it.channel.declare(&Queue::new("jobs")))),
    ("declare_no_wait", act!(it => it.channel.declare(Queue::new("jobs").no_wait(true)))),
    ("declare_passive", act!(it => it.channel.declare(Queue::new("jobs").passive(true)))),
    ("bind", act!(it => it.channel.bind(Binding::new("jobs", "events").routing_key("job.#")))),
    ("unbind", act!(it => it.channel.unbind(Binding::new("jobs", "events").routing_key("job.#")))),
    ("bind an exchange", act!(it => it.channel.bind(Binding::new(&Exchange::topic("a"), "b")))),
    ("unbind an exchange", act!(it => it.channel.unbind(Binding::new(&Exchange::topic("a"), "b")))),
    ("delete_queue", act!(it => it.channel.delete_queue("jobs", DeleteOptions::new()))),
    ("delete_exchange", act!(it => it.channel.delete_exchange("events", DeleteOptions::new()))),
    ("purge", act!(it => it.channel.purge("jobs"))),
    ("qos", act!(it => it.channel.qos(10))),
    ("channel.publish", act!(it => async { it.channel.publish(("", "jobs"), Message::new("m")).await })),
    ("publisher", act!(it => it.channel.publisher())),
    ("consume", act!(it => it.channel.consume("jobs", ConsumeOptions::new()))),
    ("get", act!(it => get(it, false))),
    ("get without acknowledgement", act!(it => get(it, true))),
    ("recover", act!(it => it.channel.recover())),
    ("tx_select", act!(it => it.channel.tx_select())),
    ("tx_commit", act!(it => it.channel.tx_commit())),
    ("tx_rollback", act!(it => it.channel.tx_rollback())),
    ("flow", act!(it => it.channel.flow(true))),
    ("channel.drain", act!(it => it.channel.drain(LONG))),
    ("channel.close", act!(it => it.channel.close())),
    ("channel.closed", act!(it => it.channel.closed())),
    ("publish", act!(it => it.publisher.publish(("", "jobs"), Message::new("m")))),
    (
        "a mandatory publish",
        act!(it => it.publisher.publish(Route::new("", "jobs").mandatory(true), Message::new("m"))),
    ),
    ("a large publish", act!(it => it.publisher.publish(("", "jobs"), Message::new(vec![7; 500_000])))),
    ("publish in a full window", act!(it => publish_twice(it, 1))),
    ("publish with a full buffer", act!(it => publish_twice(it, 500_000))),
    ("a confirm", act!(it => confirm(it))),
    ("flush", act!(it => flush(it))),
    ("publisher.closed", act!(it => it.publisher.closed())),
    ("recv", act!(it => recv(it))),
    ("cancel", act!(it => it.consumer.cancel())),
    ("consumer.drain", act!(it => drain_consumer(it))),
    ("ack", act!(it => it.delivery.ack())),
    ("nack", act!(it => it.delivery.nack(true))),
    ("reject", act!(it => it.delivery.reject(false))),
    ("ack by its acker", act!(it => async { it.delivery.split().1.ack().await })),
];

async fn drain_connection(scene: Scene) {
    let Scene { connection, consumer, delivery, .. } = scene;
    drop((consumer, delivery));
    let _ = connection.drain(Duration::from_millis(5)).await;
}

async fn get(scene: Scene, no_ack: bool) {
    if let Ok(Some(delivery)) = scene.channel.get("jobs", GetOptions::new().no_ack(no_ack)).await {
        let _ = delivery.ack().await;
    }
}

async fn confirm(scene: Scene) {
    if let Ok(confirm) = scene.publisher.publish(("", "jobs"), Message::new("m")).await {
        let _ = confirm.await;
    }
}

/// The second publish has no room until the first is confirmed or, when it is large, until it is
/// written.
async fn publish_twice(scene: Scene, size: usize) {
    let message = Message::new(vec![7; size]);
    for _ in 0..2 {
        drop(scene.publisher.publish(("", "jobs"), &message).await);
        let _ = scene.channel.publish(("", "jobs"), &message).await;
    }
}

async fn flush(scene: Scene) {
    for _ in 0..3 {
        drop(scene.publisher.publish(("", "jobs"), Message::new("m")).await);
    }
    let _ = scene.publisher.flush().await;
}

/// Receives what has arrived, and then waits for a delivery that never comes.
async fn recv(mut scene: Scene) {
    while let Some(Ok(delivery)) = scene.consumer.recv().await {
        let _ = delivery.ack().await;
    }
}

async fn drain_consumer(scene: Scene) {
    let Scene { consumer, delivery, .. } = scene;
    let mut drain = consumer.drain(LONG);
    let mut held = vec![delivery];
    while let Some(Ok(delivery)) = drain.recv().await {
        held.push(delivery);
        if held.len() == 3 {
            // The last wait is for these.
            for delivery in held.drain(..) {
                let _ = delivery.ack().await;
            }
        }
    }
}

/// The future's output while the broker answers.
async fn attended<T>(broker: &mut Obliging, future: impl Future<Output = T>) -> T {
    ends(async {
        tokio::select! {
            output = future => output,
            () = broker.attend() => panic!("the client ended the stream"),
        }
    })
    .await
}

async fn scene() -> (Obliging, Scene) {
    let (peer, connection) = connected_with(&quiet().confirm_window(1), QUIET).await;
    let mut broker = Obliging::new(peer);
    let opening = async {
        let channel = connection.open_channel().await.unwrap();
        let publisher = connection.open_channel().await.unwrap().publisher().await.unwrap();
        let consuming = connection.open_channel().await.unwrap();
        let consumer = consuming.consume("jobs", ConsumeOptions::new().tag("c")).await.unwrap();
        (channel, publisher, consumer)
    };
    let (channel, publisher, mut consumer) = attended(&mut broker, opening).await;
    for _ in 0..3 {
        broker.deliver(3, "c").await;
    }
    let delivery = ends(consumer.recv()).await.unwrap().unwrap();
    (broker, Scene { connection, channel, publisher, consumer, delivery })
}

/// Polls so often, with a step of the broker between each two polls, and then drops the future.
/// Tells whether it was done before.
async fn dropped_after(
    polls: usize,
    broker: &mut Obliging,
    mut future: Pin<Box<dyn Future<Output = ()>>>,
) -> bool {
    for _ in 0..polls {
        if poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await {
            return true;
        }
        broker.step().await;
    }
    false
}

/// Checks that everything works, and that nothing of the future is left.
async fn check(broker: &mut Obliging, connection: &Connection, channel: Channel, publisher: Publisher) {
    broker.settle().await;
    if connection.is_open() {
        let again = match channel.is_open() {
            true => channel,
            false => attended(broker, connection.open_channel()).await.unwrap(),
        };
        let (info, purged, got, confirmed) = attended(broker, async {
            let confirm = publisher.publish(("", "jobs"), Message::new("in step")).await.unwrap();
            let one = Queue::new("one");
            join!(again.declare(&one), again.purge("other"), again.get("third", GetOptions::new()), confirm)
        })
        .await;
        let info = info.unwrap();
        assert_eq!((info.name.as_str(), info.messages), ("one", count_of("one")));
        assert_eq!(purged.unwrap(), count_of("other"));
        let got = got.unwrap().unwrap();
        assert_eq!(got.body(), "third");
        got.ack().await.unwrap();
        assert!(matches!(confirmed.unwrap(), Confirmation::Ack));
        broker.settle().await;
        assert_eq!(broker.open_channels(), [again.id(), 2].into());
        assert_eq!(connection.metrics().channels, 2);
    } else {
        assert!(broker.has_closed);
        ends(connection.closed()).await;
    }
    assert!(broker.unsettled.is_empty(), "not settled: {:?}", broker.unsettled);
    assert!(broker.consumers.is_empty(), "not cancelled: {:?}", broker.consumers);
    let left = connection.metrics();
    assert_eq!((left.calls, left.waiting, left.unacked, left.unconfirmed), (0, 0, 0, 0), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn every_future_can_be_dropped_after_any_poll() {
    for (name, act) in ACTS {
        let mut polls = 0;
        loop {
            let (mut broker, scene) = scene().await;
            let (connection, channel) = (scene.connection.clone(), scene.channel.clone());
            let publisher = scene.publisher.clone();
            let is_over = dropped_after(polls, &mut broker, act(scene)).await;
            eprintln!("{name} dropped after {polls} polls, over: {is_over}");
            check(&mut broker, &connection, channel, publisher).await;
            if is_over || polls == MOST_POLLS {
                break;
            }
            polls += 1;
        }
        assert!(polls > 0, "{name} was over before its first poll");
    }
}

/// Drops the handshake, too: the stream ends in the middle of it or, after it, with a close.
#[tokio::test(start_paused = true)]
async fn a_connect_can_be_dropped_after_any_poll() {
    for polls in 0.. {
        let (peer, stream) = Peer::new();
        let mut broker = Obliging::new(peer);
        let uri = Uri::default();
        let options = quiet();
        let mut connecting = Box::pin(options.connect_stream(stream, &uri));
        let mut is_over = false;
        for poll in 0..polls {
            if poll == 1 {
                broker.greet().await;
            }
            is_over = poll_fn(|cx| Poll::Ready(connecting.as_mut().poll(cx).is_ready())).await;
            if poll > 0 {
                broker.step().await;
            }
        }
        drop(connecting);
        if polls < 2 {
            broker.expect_no_more_than_a_protocol_header().await;
            continue;
        }
        if is_over {
            ends(broker.attend()).await;
            assert!(broker.has_closed && polls > 4, "over after {polls} polls");
            break;
        }
        ends(broker.hear_out()).await;
    }
}
