//! Messages that wait, expire or die.

use super::support::{Client, Setting, message};
use crate::backend::{Link, Settlement, Source};
use amqp_codec::{ShortString, Value};

fn retry(milliseconds: i64) -> [(&'static str, Value); 3] {
    [
        ("x-message-ttl", milliseconds.into()),
        ("x-dead-letter-exchange", "".into()),
        ("x-dead-letter-routing-key", "work".into()),
    ]
}

/// The queue, reason and count of the message's deaths.
fn deaths(message: &crate::backend::Message) -> Vec<(String, String, i64)> {
    let headers = message.properties.headers.clone().unwrap_or_default();
    let Some(Value::Array(deaths)) = headers.get("x-death") else { return Vec::new() };
    let death = |death: Value| {
        let death = death.as_table().unwrap().clone();
        let text = |name: &str| death.get(name).unwrap().as_str().unwrap().to_owned();
        (text("queue"), text("reason"), death.get("count").unwrap().as_i64().unwrap())
    };
    deaths.iter().map(death).collect()
}

#[tokio::test]
async fn a_retry_queue_gives_its_messages_back_later() {
    let Some(setting) = Setting::new("a_retry_queue_gives_its_messages_back_later").await else { return };
    let mut client = setting.open().await;
    client.declare("work.retry.50", &retry(50)).await;
    client.watch("work").await;
    client.publish("", "work.retry.50", "again").await;
    for count in 1..=2 {
        let claimed = client.next("work").await;
        assert_eq!(claimed.message.body, "again");
        assert!(!claimed.redelivered);
        assert_eq!(deaths(&claimed.message), [("work.retry.50".to_owned(), "expired".to_owned(), count)]);
        client.link.settle(vec![(claimed.claim.unwrap(), Settlement::Ack)]).await.unwrap();
        let mut again = claimed.message;
        again.routing_key = ShortString::from_static("work.retry.50");
        client.link.publish(&[again]).await.unwrap();
    }
}

#[tokio::test]
async fn a_waiting_message_survives_the_gateway_and_is_counted() {
    let test = "a_waiting_message_survives_the_gateway_and_is_counted";
    let Some(setting) = Setting::new(test).await else { return };
    let mut client = setting.open().await;
    client.declare("later", &retry(600_000)).await;
    client.publish("", "later", "one").await;
    assert_eq!(client.declare("later", &retry(600_000)).await, 1);
    assert!(client.claim("later", 1).await.is_empty(), "it is not due");
    assert_eq!(setting.ask::<u32>(&["ZCARD", "_amqp.delayed.later"]).await, 1);
    // As if the time had come: whoever looks next moves it.
    let waiting: Vec<String> = setting.ask(&["ZRANGE", "_amqp.delayed.later", "0", "-1"]).await;
    let _: () = setting.ask(&["ZADD", "_amqp.delayed.later", "1", &waiting[0]]).await;
    drop(client);
    let other = crate::redis::Redis::new(setting.server.url().parse().unwrap());
    let mut other = Client::open(&other).await;
    other.watch("work").await;
    assert_eq!(other.next("work").await.message.body, "one");
}

#[tokio::test]
async fn what_has_expired_is_not_delivered() {
    let Some(setting) = Setting::new("what_has_expired_is_not_delivered").await else { return };
    let mut client = setting.open().await;
    client.declare("brief", &[("x-message-ttl", 0.into())]).await;
    let mut expired = message("", "q", "expired");
    expired.properties.expiration = Some(ShortString::from_static("0"));
    let batch = [expired, message("", "q", "stays"), message("", "brief", "gone")];
    client.link.publish(&batch).await.unwrap();
    client.watch("q").await;
    assert_eq!(client.next("q").await.message.body, "stays");
    for no_ack in [false, true] {
        assert!(client.link.claim(&[Source { queue: "brief", no_ack, most: 1 }]).await.unwrap().is_empty());
        client.publish("", "brief", "gone").await;
    }
    assert_eq!(setting.ask::<u32>(&["HLEN", "unacked"]).await, 1);
}

/// With dead letters, with and without claims.
async fn what_has_expired_is_a_dead_letter(test: &str, scripting: bool) {
    let Some(setting) = Setting::with(test, |options| options.scripting(scripting)).await else { return };
    let mut client = setting.open().await;
    let arguments = [("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", "dead".into())];
    client.declare("q", &arguments).await;
    for (no_ack, body) in [(false, "claimed"), (true, "taken")] {
        let mut expired = message("", "q", body);
        expired.properties.expiration = Some(ShortString::from_static("0"));
        client.link.publish(&[expired]).await.unwrap();
        assert!(client.link.claim(&[Source { queue: "q", no_ack, most: 1 }]).await.unwrap().is_empty());
        let found = client.claim("dead", 9).await.pop().unwrap();
        assert_eq!(found.message.body, body);
        assert_eq!(deaths(&found.message), [("q".to_owned(), "expired".to_owned(), 1)]);
        assert_eq!(found.message.properties.expiration, None, "it does not expire again");
        client.link.settle(vec![(found.claim.unwrap(), Settlement::Ack)]).await.unwrap();
    }
    assert_eq!(setting.ask::<u32>(&["EXISTS", "q", "dead", "unacked", "unacked_index"]).await, 0);
}

#[tokio::test]
async fn expired_messages_go_to_the_queue_for_dead_ones() {
    what_has_expired_is_a_dead_letter("expired_messages_go_to_the_queue_for_dead_ones", true).await;
}

#[tokio::test]
async fn without_scripts_expired_messages_go_to_the_queue_for_dead_ones() {
    let test = "without_scripts_expired_messages_go_to_the_queue_for_dead_ones";
    what_has_expired_is_a_dead_letter(test, false).await;
}

#[tokio::test]
async fn rejected_messages_go_to_the_queue_for_dead_ones() {
    let Some(setting) = Setting::new("rejected_messages_go_to_the_queue_for_dead_ones").await else { return };
    let mut client = setting.open().await;
    let arguments = [("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", "dead".into())];
    client.declare("q", &arguments).await;
    for (queue, dead) in [("q", 1), ("plain", 0)] {
        client.publish("", queue, "bad").await;
        let claimed = client.claim(queue, 1).await.pop().unwrap();
        let settled = client.link.settle(vec![(claimed.claim.unwrap(), Settlement::Reject)]).await.unwrap();
        assert_eq!(settled, 0);
        let found = client.claim("dead", 9).await;
        assert_eq!(found.len(), dead, "{queue}");
        if let Some(found) = found.first() {
            assert_eq!(deaths(&found.message), [("q".to_owned(), "rejected".to_owned(), 1)]);
        }
    }
    assert_eq!(setting.ask::<u32>(&["HLEN", "unacked"]).await, 1);
}
