//! `amqp move`.

use std::{collections::BTreeMap, time::Duration};

use amqp_client::GetOptions;
use tests::scale;
use tokio::time::sleep;

use super::{fixture::Broker, on_tcp_brokers};

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

on_tcp_brokers!(
    it_moves_all_or_as_many_as_it_is_told,
    killed_at_any_time_it_loses_nothing_and_doubles_only_what_is_flagged,
    what_cannot_be_put_into_the_other_queue_stays,
);
