//! The second version of Redis's protocol: nothing is told without being asked.

use super::support::Setting;
use crate::{
    backend::{ExchangeKind, Link, Published},
    redis::RedisOptions,
};

async fn setting(test: &str) -> Option<Setting> {
    Setting::with(test, |options: RedisOptions| options.resp3(false)).await
}

#[tokio::test]
async fn a_waiting_consumer_is_woken_by_each_priority() {
    let Some(setting) = setting("a_waiting_consumer_is_woken_by_each_priority").await else { return };
    let (mut consumer, mut producer) = (setting.open().await, setting.open().await);
    consumer.watch("q").await;
    for priority in [0, 3, 9, 0] {
        let mut message = super::support::message("", "q", "m");
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
