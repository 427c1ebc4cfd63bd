//! `amqp move`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use amqp_client::{Channel, DeleteOptions, GetOptions, Queue};
use tests::scale;
use tokio::time::{sleep, timeout};

use super::{
    fixture::{Broker, DEADLINE},
    on_tcp_brokers,
};

const MESSAGES: usize = 3000;
const WINDOW: usize = 20;

async fn it_moves_all_or_as_many_as_it_is_told(broker: Broker) {
    let from = broker.queue_with("from", &["a", "b", "c", "d"]).await;
    let to = broker.queue_with("to", &[]).await;
    assert_eq!(
        broker.run(&["move", &from, &to, "-n", "1", "--json"]).await.done(),
        "{\"moved\":1,\"redelivered\":0}\n"
    );
    let all = broker.run(&["move", &from, &to, "--window", "2"]).await.done();
    assert_eq!(all, "3 messages moved, 0 of them redelivered\n");
    assert_eq!(broker.run(&["move", &from, &to]).await.done(), "0 messages moved, 0 of them redelivered\n");
    assert_eq!(broker.bodies_of(&to).await, ["a", "b", "c", "d"]);
}

async fn what_cannot_be_put_into_the_other_queue_stays(broker: Broker) {
    let from = broker.queue_with("from", &["a", "b"]).await;
    let nowhere = broker.name("nowhere");
    let refused = broker.run(&["move", &from, &nowhere]).await;
    assert_eq!(refused.code, 5);
    assert!(refused.stderr.contains("did not take message 1: it was returned: 312"), "{refused:?}");
    let mut bodies = broker.bodies_of(&from).await;
    bodies.sort();
    assert_eq!(bodies, ["a", "b"]);
}

async fn killed_at_any_time_it_loses_nothing_and_doubles_only_what_is_flagged(broker: Broker) {
    let bodies: Vec<String> = (0..MESSAGES).map(|number| number.to_string()).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let (from, to) = (broker.queue_with("from", &bodies).await, broker.queue_with("to", &[]).await);
    let window = WINDOW.to_string();
    let line = ["move", &from, &to, "--window", &window, "--json"];
    let mut kills = 0;
    for _ in 0..5 * scale() {
        let mut child = broker.command(line).spawn().unwrap();
        // This is no wait for anything: the time of the kill is meant to be any.
        sleep(Duration::from_millis(fastrand::u64(20..120))).await;
        if child.try_wait().unwrap().is_none() {
            child.kill().await.unwrap();
            kills += 1;
        }
    }
    let last: serde_json::Value = serde_json::from_str(&broker.run(&line).await.done()).unwrap();
    let channel = broker.channel().await;
    let mut counts = BTreeMap::<String, usize>::new();
    while let Some(delivery) = channel.get(&to, GetOptions::new().no_ack(true)).await.unwrap() {
        *counts.entry(String::from_utf8_lossy(delivery.body()).into_owned()).or_default() += 1;
    }
    assert_eq!(counts.len(), MESSAGES, "messages are lost");
    let doubles = counts.values().sum::<usize>() - MESSAGES;
    assert!(doubles <= kills * WINDOW, "{doubles} doubles after {kills} kills");
    assert!(last["redelivered"].as_u64().unwrap() <= (kills * WINDOW) as u64, "{last}");
    assert!(broker.bodies_of(&from).await.is_empty());
}

/// Takes all messages out of a queue; returns their bodies, and which of them are flagged.
async fn drained(channel: &Channel, queue: &str) -> BTreeMap<String, bool> {
    let mut bodies = BTreeMap::new();
    while let Some(delivery) = channel.get(queue, GetOptions::new().no_ack(true)).await.unwrap() {
        let body = String::from_utf8_lossy(delivery.body()).into_owned();
        assert!(bodies.insert(body, delivery.redelivered()).is_none(), "twice in {queue}: {delivery:?}");
    }
    bodies
}

async fn each_kill_leaves_every_message_and_its_doubles_are_flagged(broker: Broker) {
    const EACH: usize = 300;
    let bodies: Vec<String> = (0..EACH).map(|number| number.to_string()).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let channel = broker.channel().await;
    let window = WINDOW.to_string();
    let mut kills = 0;
    for _ in 0..5 * scale() {
        let (from, to) =
            (broker.queue_with("kill.from", &bodies).await, broker.queue_with("kill.to", &[]).await);
        let count = async |queue: &str| channel.declare(Queue::new(queue).passive(true)).await.unwrap();
        let mut child = broker.command(["move", &from, &to, "--window", &window]).spawn().unwrap();
        // It is killed when it has moved any number of messages.
        let enough = fastrand::u32(1..EACH as u32);
        while count(&to).await.messages < enough && child.try_wait().unwrap().is_none() {}
        if child.try_wait().unwrap().is_none() {
            child.kill().await.unwrap();
            kills += 1;
        }
        // Its consumer goes when the broker has what it had not acknowledged.
        let released = async { while count(&from).await.consumers > 0 {} };
        timeout(DEADLINE, released).await.expect("the broker does not notice that it was killed");
        let (left, moved) = (drained(&channel, &from).await, drained(&channel, &to).await);
        let all: BTreeSet<&String> = left.keys().chain(moved.keys()).collect();
        assert_eq!(all.len(), EACH, "messages are lost");
        let doubles: Vec<_> = left.iter().filter(|(body, _)| moved.contains_key(*body)).collect();
        assert!(doubles.len() <= WINDOW, "{} doubles", doubles.len());
        assert!(doubles.iter().all(|(_, is_flagged)| **is_flagged), "{doubles:?}");
    }
    assert!(kills > 0, "it always ended before");
    for queue in ["kill.from", "kill.to"] {
        channel.delete_queue(&broker.name(queue), DeleteOptions::new()).await.unwrap();
    }
}

on_tcp_brokers!(
    each_kill_leaves_every_message_and_its_doubles_are_flagged,
    it_moves_all_or_as_many_as_it_is_told,
    killed_at_any_time_it_loses_nothing_and_doubles_only_what_is_flagged,
    what_cannot_be_put_into_the_other_queue_stays,
);
