//! Messages that wait, expire or die.

use amqp_codec::{ShortString, Value};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use super::{
    loss::relay,
    restore::calls,
    support::{Client, Setting, message},
};
use crate::{
    backend::{Link, Settlement, Source},
    redis::{Redis, RedisOptions},
};

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

#[tokio::test]
async fn a_dead_letter_goes_to_nobody_else_and_has_the_lifetime_of_its_new_queue() {
    let test = "a_dead_letter_goes_to_nobody_else_and_has_the_lifetime_of_its_new_queue";
    let Some(setting) = Setting::new(test).await else { return };
    let mut client = setting.open().await;
    let arguments = [("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", "dead".into())];
    client.declare("q", &arguments).await;
    client.declare("dead", &[("x-message-ttl", 60_000.into()), ("x-expires", 60_000.into())]).await;
    let mut bad = message("", "q", "bad");
    let mut headers = amqp_codec::Table::new();
    headers.insert("CC", "also").unwrap();
    bad.properties.headers = Some(headers);
    for is_deleted in [false, true] {
        if is_deleted {
            client.link.delete_queue("dead").await.unwrap();
        }
        client.link.publish(std::slice::from_ref(&bad)).await.unwrap();
        let claim = client.claim("q", 1).await.pop().unwrap().claim.unwrap();
        assert_eq!(client.link.settle(vec![(claim, Settlement::Reject)]).await, Ok(0));
        let found = client.claim("dead", 9).await;
        assert_eq!(found.len(), usize::from(!is_deleted));
        if let Some(found) = found.first() {
            assert_eq!(found.message.properties.headers.as_ref().unwrap().get("CC"), None);
            assert_eq!(found.message.properties.expiration, Some(ShortString::from_static("60000")));
        }
    }
    assert_eq!(setting.ask::<u32>(&["EXISTS", "q", "dead"]).await, 0);
}

#[tokio::test]
async fn messages_that_wait_from_the_same_moment_keep_their_order() {
    let test = "messages_that_wait_from_the_same_moment_keep_their_order";
    let Some(setting) = Setting::new(test).await else { return };
    let mut client = setting.open().await;
    client.declare("later", &retry(600_000)).await;
    // In no order of their texts.
    let bodies: Vec<_> = (0..100).map(|number: u32| (number * 37 % 100).to_string()).collect();
    let batch: Vec<_> = bodies.iter().map(|body| message("", "later", body)).collect();
    client.link.publish(&batch).await.unwrap();
    let waiting: Vec<String> = setting.ask(&["ZRANGE", "_amqp.delayed.later", "0", "-1"]).await;
    let encoded = bodies.iter().map(|body| BASE64.encode(body));
    for (item, body) in waiting.iter().zip(encoded) {
        assert!(item.contains(&format!(r#""body":"{body}""#)), "{body}: {item}");
    }
    assert_eq!(waiting.len(), bodies.len());
}

#[tokio::test]
async fn what_waits_and_cannot_be_read_is_set_aside() {
    let Some(setting) = Setting::new("what_waits_and_cannot_be_read_is_set_aside").await else { return };
    let _: () = setting.ask(&["SADD", "_amqp.delayed", "later"]).await;
    let _: () = setting.ask(&["ZADD", "_amqp.delayed.later", "1", "garbage"]).await;
    let _client = setting.open().await;
    while setting.ask::<u32>(&["EXISTS", "_amqp.delayed.later"]).await > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(setting.ask::<Vec<String>>(&["LRANGE", "later.undecodable", "0", "-1"]).await, ["garbage"]);
    assert_eq!(setting.redis.metrics().undecodable, 1);
}

/// Another process moves a message between the look at it and its move.
async fn another_moves_it_meanwhile(test: &str, scripting: bool) {
    let Some(setting) = Setting::new(test).await else { return };
    // Nothing else asks for such a range meanwhile.
    let _: () = setting.ask(&["SET", "unacked_mutex", "held"]).await;
    let _: () = setting.ask(&["SADD", "_amqp.delayed", "later"]).await;
    let _: () = setting.ask(&["ZADD", "_amqp.delayed.later", "1", "garbage"]).await;
    let port = relay(setting.server.port(), "ZRANGEBYSCORE").await;
    let options = RedisOptions::parse(&format!("redis://127.0.0.1:{port}/0")).unwrap();
    let mut client = Client::open(&Redis::new(options.scripting(scripting))).await;
    while calls(&setting, "zrangebyscore").await == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(setting.ask::<u32>(&["ZREM", "_amqp.delayed.later", "garbage"]).await, 1);
    // The answer does not get through before the name comes again.
    assert!(client.link.find_queue("ZRANGEBYSCORE").await.is_err());
    // It looks when the next one is due.
    while calls(&setting, "zrange").await == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(setting.ask::<u32>(&["EXISTS", "later.undecodable"]).await, 0);
}

#[tokio::test]
async fn what_another_has_moved_meanwhile_does_not_come_twice() {
    another_moves_it_meanwhile("what_another_has_moved_meanwhile_does_not_come_twice", true).await;
}

#[tokio::test]
async fn without_scripts_what_another_has_moved_meanwhile_does_not_come_twice() {
    let test = "without_scripts_what_another_has_moved_meanwhile_does_not_come_twice";
    another_moves_it_meanwhile(test, false).await;
}

#[tokio::test]
async fn a_deleted_retry_queue_takes_what_waits_in_it_along() {
    let test = "a_deleted_retry_queue_takes_what_waits_in_it_along";
    let Some(setting) = Setting::new(test).await else { return };
    let mut client = setting.open().await;
    client.declare("later", &retry(600_000)).await;
    client.publish("", "later", "m").await;
    assert_eq!(client.link.delete_queue("later").await, Ok(1));
    let left: u32 =
        setting.ask(&["EXISTS", "_amqp.delayed.later", "_amqp.delayed", "_amqp.queue.later"]).await;
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_dead_letter_keeps_its_priority() {
    let Some(setting) = Setting::new("a_dead_letter_keeps_its_priority").await else { return };
    let mut client = setting.open().await;
    client.declare("work.retry.1", &retry(1)).await;
    let mut urgent = message("", "work.retry.1", "m");
    urgent.properties.priority = Some(5);
    client.link.publish(&[urgent]).await.unwrap();
    while setting.ask::<u32>(&["LLEN", "work\x06\x163"]).await == 0 {
        assert_eq!(setting.ask::<u32>(&["EXISTS", "work"]).await, 0);
        tokio::task::yield_now().await;
    }
    assert_eq!(client.claim("work", 1).await[0].message.properties.priority, Some(5));
}
