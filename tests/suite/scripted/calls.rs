//! Calls and their answers: pipelined, abandoned, late.

use std::time::Duration;

use amqp_client::{Binding, ConsumeOptions, Error, Exchange, GetOptions, Queue};
use amqp_codec::{
    Properties,
    method::{basic, channel, exchange, queue},
};
use futures_util::future::join_all;
use tests::Peer;
use tokio::join;

use super::{all_idle, connected, ends, error, opened, send_deliveries, session, short};

/// Polls the future until no task can run, and then drops it.
async fn give_up<F: Future>(future: F) {
    tokio::select! {
        biased;
        _ = future => panic!("it was answered"),
        () = all_idle() => {}
    }
}

/// Checks by a call, which must get its own answer, that the channel is in step.
async fn in_step(peer: &mut Peer, channel: &amqp_client::Channel) {
    let (purged, ()) = join!(channel.purge("in-step"), async {
        let purge: queue::Purge = peer.expect_any(channel.id()).await;
        assert_eq!(purge.queue, "in-step");
        peer.send(channel.id(), queue::PurgeOk { message_count: 42 }).await;
    });
    assert_eq!(purged.unwrap(), 42);
}

fn got(delivery_tag: u64) -> basic::GetOk {
    basic::GetOk { delivery_tag, routing_key: short("jobs"), message_count: 5, ..Default::default() }
}

fn given_back(delivery_tag: u64) -> basic::Nack {
    basic::Nack { delivery_tag, multiple: false, requeue: true }
}

#[tokio::test(start_paused = true)]
async fn pipelined_calls_are_answered_in_their_order() {
    let (mut peer, _connection, channel) = session().await;
    let exchange = Exchange::topic("events").durable(true);
    let jobs = Queue::durable("jobs");
    let calls = async {
        join!(
            channel.declare(&exchange),
            channel.declare(&jobs),
            channel.bind(Binding::new(&jobs, &exchange).routing_key("job.#")),
            channel.purge("first"),
            channel.purge("second"),
        )
    };
    let ((declared, info, bound, first, second), ()) = join!(calls, async {
        // All calls have been sent before any is answered.
        let declare: exchange::Declare = peer.expect_any(1).await;
        assert_eq!(
            (declare.exchange, declare.kind, declare.durable),
            (short("events"), short("topic"), true)
        );
        peer.expect_any::<queue::Declare>(1).await;
        peer.expect_any::<queue::Bind>(1).await;
        peer.expect_any::<queue::Purge>(1).await;
        peer.expect_any::<queue::Purge>(1).await;
        peer.send(1, exchange::DeclareOk {}).await;
        let queue = short("jobs");
        peer.send(1, queue::DeclareOk { queue, message_count: 3, consumer_count: 1 }).await;
        peer.send(1, queue::BindOk {}).await;
        peer.send(1, queue::PurgeOk { message_count: 1 }).await;
        peer.send(1, queue::PurgeOk { message_count: 2 }).await;
    });
    declared.unwrap();
    bound.unwrap();
    let info = info.unwrap();
    assert_eq!((info.name.as_str(), info.messages, info.consumers), ("jobs", 3, 1));
    assert_eq!((first.unwrap(), second.unwrap()), (1, 2));
}

/// RabbitMQ answers `basic.consume` and `basic.cancel` from the queue's process.
#[tokio::test(start_paused = true)]
async fn answers_about_consumers_may_be_overtaken() {
    let (mut peer, _connection, channel) = session().await;
    let first = channel.consume("jobs", ConsumeOptions::new().tag("first"));
    let second = channel.consume("jobs", ConsumeOptions::new().tag("second"));
    let (first, second, purged, ()) = join!(first, second, channel.purge("jobs"), async {
        for _ in 0..2 {
            peer.expect_any::<basic::Qos>(1).await;
            peer.expect_any::<basic::Consume>(1).await;
        }
        peer.expect_any::<queue::Purge>(1).await;
        peer.send(1, basic::QosOk {}).await;
        peer.send(1, basic::QosOk {}).await;
        peer.send(1, queue::PurgeOk { message_count: 3 }).await;
        peer.send(1, basic::ConsumeOk { consumer_tag: short("second") }).await;
        send_deliveries(&mut peer, "second", [1]).await;
        peer.send(1, basic::ConsumeOk { consumer_tag: short("first") }).await;
        send_deliveries(&mut peer, "first", [2]).await;
    });
    assert_eq!(purged.unwrap(), 3);
    let (mut first, mut second) = (first.unwrap(), second.unwrap());
    assert_eq!(ends(first.recv()).await.unwrap().unwrap().delivery_tag(), 2);
    assert_eq!(ends(second.recv()).await.unwrap().unwrap().delivery_tag(), 1);

    let (one, two, purged, ()) = join!(first.cancel(), second.cancel(), channel.purge("jobs"), async {
        peer.expect_any::<basic::Cancel>(1).await;
        peer.expect_any::<basic::Cancel>(1).await;
        peer.expect_any::<queue::Purge>(1).await;
        peer.send(1, queue::PurgeOk { message_count: 4 }).await;
        peer.send(1, basic::CancelOk { consumer_tag: short("second") }).await;
        send_deliveries(&mut peer, "first", [3]).await;
        peer.send(1, basic::CancelOk { consumer_tag: short("first") }).await;
    });
    one.unwrap();
    two.unwrap();
    assert_eq!(purged.unwrap(), 4);
    assert_eq!(ends(first.recv()).await.unwrap().unwrap().delivery_tag(), 3);
    assert!(ends(first.recv()).await.is_none());
    assert!(ends(second.recv()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn many_tasks_on_one_channel_each_get_their_own_answer() {
    const TASKS: u32 = 100;
    let (mut peer, _connection, channel) = session().await;
    let tasks: Vec<_> = (0..TASKS)
        .map(|number| {
            let channel = channel.clone();
            tokio::spawn(async move { (number, channel.purge(&number.to_string()).await.unwrap()) })
        })
        .collect();
    let answering = async {
        let mut asked = Vec::new();
        for _ in 0..TASKS {
            let purge: queue::Purge = peer.expect_any(1).await;
            asked.push(purge.queue.as_str().unwrap().parse().unwrap());
        }
        for number in asked {
            peer.send(1, queue::PurgeOk { message_count: number }).await;
        }
    };
    let (answers, ()) = join!(join_all(tasks), answering);
    for answer in answers {
        let (number, message_count) = answer.unwrap();
        assert_eq!(message_count, number);
    }
}

#[tokio::test(start_paused = true)]
async fn channels_do_not_wait_for_each_other() {
    let (mut peer, connection) = connected().await;
    let first = opened(&mut peer, &connection, 1).await;
    let second = opened(&mut peer, &connection, 2).await;
    let (one, two, ()) = join!(first.purge("a"), second.purge("b"), async {
        peer.expect_any::<queue::Purge>(1).await;
        peer.expect_any::<queue::Purge>(2).await;
        peer.send(2, queue::PurgeOk { message_count: 2 }).await;
        all_idle().await;
        peer.send(1, queue::PurgeOk { message_count: 1 }).await;
    });
    assert_eq!((one.unwrap(), two.unwrap()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_dropped_call_goes_to_nobody_else() {
    let (mut peer, _connection, channel) = session().await;
    give_up(channel.purge("dropped")).await;
    peer.expect_any::<queue::Purge>(1).await;
    let (purged, ()) = join!(channel.purge("kept"), async {
        peer.expect_any::<queue::Purge>(1).await;
        peer.send(1, queue::PurgeOk { message_count: 1 }).await;
        peer.send(1, queue::PurgeOk { message_count: 2 }).await;
    });
    assert_eq!(purged.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_answers_a_dropped_get_goes_back() {
    let (mut peer, _connection, channel) = session().await;
    give_up(channel.get("jobs", GetOptions::new())).await;
    peer.expect_any::<basic::Get>(1).await;
    peer.send_content(1, got(1), &Properties::default(), "lost?").await;
    peer.expect(1, given_back(1)).await;
    in_step(&mut peer, &channel).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_came_before_the_get_was_dropped_goes_back_too() {
    let (mut peer, _connection, channel) = session().await;
    {
        let mut getting = Box::pin(channel.get("jobs", GetOptions::new()));
        tokio::select! {
            biased;
            _ = &mut getting => panic!("nobody answered"),
            () = all_idle() => {}
        }
        peer.expect_any::<basic::Get>(1).await;
        peer.send_content(1, got(1), &Properties::default(), "lost?").await;
        all_idle().await;
    }
    peer.expect(1, given_back(1)).await;
    in_step(&mut peer, &channel).await;
}

#[tokio::test(start_paused = true)]
async fn an_empty_answer_to_a_dropped_get_is_nothing_to_give_back() {
    let (mut peer, _connection, channel) = session().await;
    give_up(channel.get("jobs", GetOptions::new())).await;
    peer.expect_any::<basic::Get>(1).await;
    peer.send(1, basic::GetEmpty::default()).await;
    in_step(&mut peer, &channel).await;
}

#[tokio::test(start_paused = true)]
async fn gets_are_told_apart_from_their_neighbours_when_some_are_dropped() {
    let (mut peer, _connection, channel) = session().await;
    let mut kept = Box::pin(channel.get("first", GetOptions::new()));
    tokio::select! {
        biased;
        _ = &mut kept => panic!("nobody answered"),
        () = all_idle() => {}
    }
    give_up(channel.get("second", GetOptions::new())).await;
    let (first, third, ()) = join!(kept, channel.get("third", GetOptions::new()), async {
        for _ in 0..3 {
            peer.expect_any::<basic::Get>(1).await;
        }
        for tag in 1..=3 {
            peer.send_content(1, got(tag), &Properties::default(), format!("body {tag}")).await;
        }
        peer.expect(1, given_back(2)).await;
    });
    let (first, third) = (first.unwrap().unwrap(), third.unwrap().unwrap());
    assert_eq!((first.delivery_tag(), first.body().as_ref()), (1, &b"body 1"[..]));
    assert_eq!((third.delivery_tag(), third.remaining()), (3, Some(5)));
}

#[tokio::test(start_paused = true)]
async fn a_consumer_whose_consume_was_dropped_is_cancelled_and_its_deliveries_go_back() {
    let (mut peer, _connection, channel) = session().await;
    give_up(channel.consume("jobs", ConsumeOptions::new().tag("c"))).await;
    peer.expect_any::<basic::Qos>(1).await;
    peer.expect_any::<basic::Consume>(1).await;
    peer.send(1, basic::QosOk {}).await;
    peer.send(1, basic::ConsumeOk { consumer_tag: short("c") }).await;
    peer.expect(1, basic::Cancel { consumer_tag: short("c"), no_wait: false }).await;
    send_deliveries(&mut peer, "c", [1, 2]).await;
    peer.expect(1, given_back(1)).await;
    peer.expect(1, given_back(2)).await;
    peer.send(1, basic::CancelOk { consumer_tag: short("c") }).await;
    in_step(&mut peer, &channel).await;
}

#[tokio::test(start_paused = true)]
async fn a_consume_dropped_between_its_two_answers_is_cancelled_too() {
    let (mut peer, _connection, channel) = session().await;
    {
        let mut consuming = Box::pin(channel.consume("jobs", ConsumeOptions::new().tag("c")));
        tokio::select! {
            biased;
            _ = &mut consuming => panic!("nobody answered"),
            () = async {
                peer.expect_any::<basic::Qos>(1).await;
                peer.expect_any::<basic::Consume>(1).await;
                peer.send(1, basic::QosOk {}).await;
                all_idle().await;
            } => {}
        }
    }
    peer.send(1, basic::ConsumeOk { consumer_tag: short("c") }).await;
    peer.expect(1, basic::Cancel { consumer_tag: short("c"), no_wait: false }).await;
    peer.send(1, basic::CancelOk { consumer_tag: short("c") }).await;
    in_step(&mut peer, &channel).await;
}

#[tokio::test(start_paused = true)]
async fn a_channel_whose_opening_was_dropped_is_closed() {
    let (mut peer, connection) = connected().await;
    give_up(connection.open_channel()).await;
    peer.expect(1, channel::Open::default()).await;
    let close: channel::Close = peer.expect_any(1).await;
    assert_eq!(close.reply_code, 200);
    // Its number is in use until both answers have arrived.
    let _second = opened(&mut peer, &connection, 2).await;
    peer.send(1, channel::OpenOk::default()).await;
    peer.send(1, channel::CloseOk {}).await;
    all_idle().await;
    opened(&mut peer, &connection, 1).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_after_its_deadline_is_recognised() {
    let options = super::quiet().call_timeout(Duration::from_secs(5));
    let (mut peer, connection) = super::connected_with(&options, super::QUIET).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let late = error(ends(channel.purge("late")).await);
    assert!(
        matches!(late, Error::CallTimeout { method: "queue.purge", after } if after.as_secs() == 5),
        "{late}"
    );
    peer.expect_any::<queue::Purge>(1).await;
    assert!(channel.is_open());
    peer.send(1, queue::PurgeOk { message_count: 7 }).await;
    in_step(&mut peer, &channel).await;
}

#[tokio::test(start_paused = true)]
async fn a_name_that_does_not_fit_is_refused_and_the_channel_goes_on() {
    let (mut peer, _connection, channel) = session().await;
    let refused = error(channel.purge(&"q".repeat(256)).await);
    assert!(matches!(refused, Error::Invalid(_)), "{refused}");
    let huge = Queue::durable("jobs").arg("x-note", "n".repeat(200_000)).unwrap();
    let refused = error(channel.declare(&huge).await);
    assert!(matches!(refused, Error::Invalid(_)), "{refused}");
    in_step(&mut peer, &channel).await;
}
