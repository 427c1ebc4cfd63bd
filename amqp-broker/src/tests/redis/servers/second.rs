//! The second version of Redis's protocol: nothing is told without being asked.

use std::time::Duration;

use tokio::time::timeout;

use super::super::{
    options::{rotate, rotating},
    support::{Client, Setting, message, without_looks},
};
use crate::{
    backend::{ExchangeKind, Link, Published},
    redis::{Redis, RedisOptions},
};

async fn setting(test: &str) -> Option<Setting> {
    Setting::with(test, |options: RedisOptions| options.resp3(false)).await
}

#[tokio::test]
async fn a_waiting_consumer_is_woken_by_each_priority() {
    let test = "a_waiting_consumer_is_woken_by_each_priority";
    let second = |options: RedisOptions| without_looks(options.resp3(false));
    let Some(setting) = Setting::with(test, second).await else { return };
    let (mut consumer, mut producer) = (setting.open().await, setting.open().await);
    consumer.watch("q").await;
    for priority in [0, 3, 9, 0] {
        let mut message = message("", "q", "m");
        message.properties.priority = Some(priority);
        let (claimed, published) =
            tokio::join!(consumer.next("q"), async { producer.link.publish(&[message]).await.unwrap() });
        assert_eq!(published, [Published::Routed]);
        assert_eq!(claimed.message.properties.priority, Some(priority));
    }
}

#[tokio::test]
async fn fanout_messages_arrive_on_a_connection_of_their_own() {
    let test = "fanout_messages_arrive_on_a_connection_of_their_own";
    let Some(setting) = setting(test).await else { return };
    let mut client = setting.open().await;
    client.exchange("f", ExchangeKind::Fanout).await;
    for queue in ["a", "b"] {
        client.bind("f", "", queue).await;
        client.watch(queue).await;
    }
    assert_eq!(client.publish("f", "", "m").await, Published::Routed);
    for queue in ["a", "b"] {
        assert_eq!(client.next(queue).await.message.body, "m");
        client.link.leave_queue(queue).await.unwrap();
    }
    assert_eq!(setting.ask::<u32>(&["PUBSUB", "NUMPAT"]).await, 0);
}

#[tokio::test]
async fn a_retry_queue_gives_its_messages_back() {
    let Some(setting) = setting("a_retry_queue_gives_its_messages_back").await else { return };
    let mut client = setting.open().await;
    let arguments = [
        ("x-message-ttl", 10.into()),
        ("x-dead-letter-exchange", "".into()),
        ("x-dead-letter-routing-key", "work".into()),
    ];
    client.declare("work.retry.10", &arguments).await;
    client.watch("work").await;
    client.publish("", "work.retry.10", "again").await;
    assert_eq!(client.next("work").await.message.body, "again");
}

/// Neither a connection that listens nor one that waits can log in again: others take their places,
/// and nothing is missed or comes twice.
#[tokio::test]
async fn connections_that_listen_or_wait_have_the_name_and_the_new_login() {
    let test = "connections_that_listen_or_wait_have_the_name_and_the_new_login";
    let Some(setting) = setting(test).await else { return };
    let (rotated, options) = rotating(&setting).await;
    let redis = Redis::new(options.resp3(false).client_name("gateway-7"));
    let (mut client, mut producer) = (Client::open(&redis).await, setting.open().await);
    client.exchange("f", ExchangeKind::Fanout).await;
    client.bind("f", "", "fanned").await;
    client.watch("fanned").await;
    client.watch("q").await;
    assert!(client.claim("q", 1).await.is_empty(), "its next message is waited for");
    while setting.ask::<String>(&["CLIENT", "LIST"]).await.matches("cmd=blmove").count() < 4 {}
    let patterns: u32 = setting.ask(&["PUBSUB", "NUMPAT"]).await;
    let told = std::cell::Cell::new(0);
    let mut publishing = std::pin::pin!(async {
        loop {
            producer.publish("f", "", &told.get().to_string()).await;
            told.set(told.get() + 1);
        }
    });
    tokio::select! {
        () = rotate(&setting, &rotated) => {}
        () = &mut publishing => {}
    }
    let clients: String = setting.ask(&["CLIENT", "LIST"]).await;
    let of_new: Vec<_> = clients.lines().filter(|line| line.contains("user=new")).collect();
    assert!(of_new.len() >= 3, "{clients}");
    assert!(of_new.iter().all(|line| line.contains("name=gateway-7 ")), "{clients}");
    assert_eq!(setting.ask::<u32>(&["PUBSUB", "NUMPAT"]).await, patterns);
    for expected in 0..told.get() {
        assert_eq!(client.next("fanned").await.message.body, expected.to_string());
    }
    let mut other = setting.open().await;
    other.publish("", "q", "m").await;
    assert_eq!(client.next("q").await.message.body, "m");
}

#[tokio::test]
async fn what_others_change_is_known_after_a_while() {
    let Some(setting) = setting("what_others_change_is_known_after_a_while").await else { return };
    let mut client = setting.open().await;
    client.exchange("x", ExchangeKind::Direct).await;
    client.bind("x", "k", "q").await;
    assert_eq!(client.publish("x", "k", "m").await, Published::Routed);
    let _: () = setting.ask(&["DEL", "_kombu.binding.x"]).await;
    let known = async { while client.publish("x", "k", "m").await == Published::Routed {} };
    timeout(Duration::from_secs(60), known).await.expect("the change is known");
}
