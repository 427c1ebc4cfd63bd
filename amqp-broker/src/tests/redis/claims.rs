//! Claims: returned, lost, lapsed.

use std::time::Duration;

use tokio::time::timeout;

use super::support::{Client, Setting, bodies, message};
use crate::{
    backend::{ExchangeKind, Link, Settlement, Source},
    redis::{Redis, RedisOptions},
    tests::log::Log,
};

#[tokio::test]
async fn requeued_messages_come_first_in_their_order() {
    let Some(setting) = Setting::new("requeued_messages_come_first_in_their_order").await else { return };
    let mut client = setting.open().await;
    for body in ["1", "2", "3"] {
        client.publish("", "q", body).await;
    }
    let claimed = client.claim("q", 2).await;
    let requeues = claimed.into_iter().rev().map(|claimed| (claimed.claim.unwrap(), Settlement::Requeue));
    assert_eq!(client.link.settle(requeues.collect()).await.unwrap(), 0);
    let again = client.claim("q", 9).await;
    assert_eq!(bodies(&again), ["1", "2", "3"]);
    assert_eq!(again.iter().map(|claimed| claimed.redelivered).collect::<Vec<_>>(), [true, true, false]);
}

#[tokio::test]
async fn a_link_that_is_dropped_returns_its_messages_in_their_order() {
    let test = "a_link_that_is_dropped_returns_its_messages_in_their_order";
    let Some(setting) = Setting::new(test).await else { return };
    let (mut gone, mut other) = (setting.open().await, setting.open().await);
    for body in ["1", "2", "3"] {
        gone.publish("", "q", body).await;
    }
    other.watch("q").await;
    assert_eq!(gone.claim("q", 3).await.len(), 3);
    drop(gone);
    let mut bodies = Vec::new();
    for _ in 0..3 {
        let claimed = other.next("q").await;
        assert!(claimed.redelivered);
        bodies.push(claimed.message.body);
    }
    assert_eq!(bodies, ["1", "2", "3"]);
}

#[tokio::test]
async fn many_messages_return_in_their_order_and_each_to_its_priority() {
    let test = "many_messages_return_in_their_order_and_each_to_its_priority";
    let Some(setting) = Setting::new(test).await else { return };
    let mut client = setting.open().await;
    let messages: Vec<_> = (0..250)
        .map(|number| {
            let mut message = message("", "q", &number.to_string());
            message.properties.priority = Some(if number < 150 { 0 } else { 9 });
            message
        })
        .collect();
    client.link.publish(&messages).await.unwrap();
    let claimed = client.claim("q", 250).await;
    let requeues = claimed.into_iter().map(|claimed| (claimed.claim.unwrap(), Settlement::Requeue));
    // A link is told the last one first.
    let requeues = requeues.rev();
    assert_eq!(client.link.settle(requeues.collect()).await, Ok(0));
    let lists: [u32; 2] = [setting.ask(&["LLEN", "q"]).await, setting.ask(&["LLEN", "q\x06\x169"]).await];
    assert_eq!(lists, [150, 100]);
    let again = client.claim("q", 250).await;
    let numbers: Vec<_> = (0..250).map(|number| number.to_string()).collect();
    assert_eq!(bodies(&again), numbers);
}

#[tokio::test]
async fn a_claim_that_cannot_be_read_is_set_aside_when_it_returns() {
    let test = "a_claim_that_cannot_be_read_is_set_aside_when_it_returns";
    let Some(setting) = Setting::new(test).await else { return };
    let mut client = setting.open().await;
    client.publish("", "q", "m").await;
    let claim = client.claim("q", 1).await.pop().unwrap().claim.unwrap();
    let tags: Vec<String> = setting.ask(&["HKEYS", "unacked"]).await;
    let _: u32 = setting.ask(&["HSET", "unacked", &tags[0], "garbage"]).await;
    assert_eq!(client.link.settle(vec![(claim, Settlement::Requeue)]).await, Ok(0));
    assert_eq!(setting.ask::<Vec<String>>(&["LRANGE", "unacked.undecodable", "0", "-1"]).await, ["garbage"]);
    assert_eq!(setting.ask::<u32>(&["EXISTS", "unacked", "unacked_index", "q"]).await, 0);
    assert_eq!(setting.redis.metrics().undecodable, 1);
}

/// A process that takes much is not to be stopped for long, nor to stop Redis.
async fn take_much(test: &str, scripting: bool) {
    let Some(setting) = Setting::with(test, |options| options.scripting(scripting)).await else { return };
    let mut client = setting.open().await;
    let body = "m".repeat(500_000);
    for _ in 0..4 {
        client.publish("", "q", &body).await;
    }
    // In Base64 they have 667 kB each.
    for _ in 0..2 {
        assert_eq!(client.claim("q", 9).await.len(), 2);
    }
}

#[tokio::test]
async fn not_much_over_a_mebibyte_is_taken_at_once() {
    take_much("not_much_over_a_mebibyte_is_taken_at_once", true).await;
}

#[tokio::test]
async fn without_scripts_not_much_over_a_mebibyte_is_taken_at_once() {
    take_much("without_scripts_not_much_over_a_mebibyte_is_taken_at_once", false).await;
}

/// Settles in each way what another has returned meanwhile; some has a queue for dead letters.
async fn settle_what_others_have_returned(test: &str, scripting: bool) {
    let Some(setting) = Setting::with(test, |options| options.scripting(scripting)).await else { return };
    let mut client = setting.open().await;
    client.declare("q", &[]).await;
    let dead = [("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", "dead".into())];
    client.declare("buried", &dead).await;
    for (queue, settlement, so_far) in [
        ("q", Settlement::Ack, 2),
        ("q", Settlement::Reject, 4),
        ("buried", Settlement::Reject, 6),
        ("q", Settlement::Requeue, 8),
    ] {
        for body in ["one", "two", "held"] {
            client.publish("", queue, body).await;
        }
        let claimed = client.claim(queue, 3).await;
        for claimed in claimed.iter().take(2) {
            let claims: Vec<(String, String)> = setting.ask(&["HGETALL", "unacked"]).await;
            let body = ["b25l", "dHdv"][usize::from(claimed.message.body == "two")];
            let (tag, _) = claims.iter().find(|(_, claim)| claim.contains(body)).unwrap();
            let _: u32 = setting.ask(&["HDEL", "unacked", tag]).await;
        }
        let claims = claimed.into_iter().map(|claimed| (claimed.claim.unwrap(), settlement));
        assert_eq!(client.link.settle(claims.collect()).await, Ok(2), "{settlement:?} {queue}");
        assert_eq!(setting.redis.metrics().settled_too_late, so_far);
        for key in ["unacked", "buried"] {
            assert_eq!(setting.ask::<u32>(&["EXISTS", key]).await, 0, "{key} after {settlement:?}");
        }
    }
    let left: [u32; 2] = [setting.ask(&["LLEN", "q"]).await, setting.ask(&["LLEN", "dead"]).await];
    assert_eq!(left, [1, 1], "what was held");
}

#[tokio::test]
async fn what_others_have_returned_is_told_when_it_is_settled() {
    let test = "what_others_have_returned_is_told_when_it_is_settled";
    settle_what_others_have_returned(test, true).await;
}

#[tokio::test]
async fn without_scripts_what_others_have_returned_is_told_when_it_is_settled() {
    let test = "without_scripts_what_others_have_returned_is_told_when_it_is_settled";
    settle_what_others_have_returned(test, false).await;
}

#[tokio::test]
async fn an_item_that_cannot_be_read_is_set_aside_and_harms_no_other() {
    let test = "an_item_that_cannot_be_read_is_set_aside_and_harms_no_other";
    let Some(setting) = Setting::new(test).await else { return };
    let mut client = setting.open().await;
    client.publish("", "q", "good").await;
    let _: () = setting.ask(&["RPUSH", "q", "{\"body\": \"no properties\"}"]).await;
    let _: () = setting.ask(&["RPUSH", "q", "garbage"]).await;
    assert_eq!(bodies(&client.claim("q", 9).await), ["good"]);
    let aside: Vec<String> = setting.ask(&["LRANGE", "q.undecodable", "0", "-1"]).await;
    assert_eq!(aside, ["{\"body\": \"no properties\"}", "garbage"]);
    assert_eq!(setting.ask::<u32>(&["HLEN", "unacked"]).await, 1);
}

#[tokio::test]
async fn an_item_that_is_no_text_is_set_aside_octet_by_octet_and_logged() {
    let test = "an_item_that_is_no_text_is_set_aside_octet_by_octet_and_logged";
    let Some(setting) = Setting::new(test).await else { return };
    let mut client = setting.open().await;
    let (log, _guard) = Log::listen();
    let item: Vec<u8> = (0..=255).rev().collect();
    let mut push = redis::cmd("LPUSH");
    let _: u32 = push.arg("q").arg(&item).query_async(&mut setting.plain.clone()).await.unwrap();
    assert!(client.claim("q", 9).await.is_empty());
    assert_eq!(setting.ask::<Vec<Vec<u8>>>(&["LRANGE", "q.undecodable", "0", "-1"]).await, [item]);
    let lines = log.lines();
    assert!(lines.iter().any(|line| line.contains("WARN") && line.contains("q.undecodable")), "{lines:?}");
}

/// Takes more items than are kept, with and without claims; returns how many were counted.
async fn set_aside_too_many(setting: &Setting) -> u64 {
    let mut client = setting.open().await;
    let numbers: Vec<_> = (0..1003).map(|number: u32| number.to_string()).collect();
    for no_ack in [false, true] {
        let mut pushed = redis::cmd("LPUSH");
        let _: u32 = pushed.arg("q").arg(&numbers).query_async(&mut setting.plain.clone()).await.unwrap();
        while setting.ask::<u32>(&["LLEN", "q"]).await > 0 {
            let claimed = client.link.claim(&[Source { queue: "q", no_ack, most: 100 }]).await.unwrap();
            assert_eq!(bodies(&claimed), [""; 0]);
        }
        let aside: Vec<String> = setting.ask(&["LRANGE", "q.undecodable", "0", "-1"]).await;
        assert!(
            aside.iter().eq(numbers.iter().rev().take(1000)),
            "the latest are kept, the first of them last"
        );
        assert_eq!(setting.ask::<u32>(&["EXISTS", "unacked", "unacked_index"]).await, 0);
    }
    setting.redis.metrics().undecodable
}

#[tokio::test]
async fn what_is_set_aside_is_bounded_and_counted() {
    let Some(setting) = Setting::new("what_is_set_aside_is_bounded_and_counted").await else { return };
    assert_eq!(set_aside_too_many(&setting).await, 2 * 1003);
}

#[tokio::test]
async fn what_is_set_aside_without_scripts_is_bounded_and_counted() {
    let test = "what_is_set_aside_without_scripts_is_bounded_and_counted";
    let Some(setting) = Setting::with(test, |options| options.scripting(false)).await else { return };
    assert_eq!(set_aside_too_many(&setting).await, 2 * 1003);
}

#[tokio::test]
async fn an_undecodable_message_of_a_fanout_exchange_is_dropped_and_counted() {
    let test = "an_undecodable_message_of_a_fanout_exchange_is_dropped_and_counted";
    let Some(setting) = Setting::new(test).await else { return };
    let mut client = setting.open().await;
    client.exchange("f", ExchangeKind::Fanout).await;
    client.bind("f", "", "fanned").await;
    client.watch("fanned").await;
    assert_eq!(setting.ask::<u32>(&["PUBLISH", "/0.f", "garbage"]).await, 1);
    client.publish("f", "", "good").await;
    assert_eq!(client.next("fanned").await.message.body, "good");
    assert_eq!(setting.redis.metrics().undecodable, 1);
}

/// Asks once for a message behind many that have expired, and for what is behind that; returns how
/// many scripts or transactions that took.
async fn get_behind_expired_ones(setting: &Setting, no_ack: bool) -> u64 {
    let mut client = setting.open().await;
    let expired: Vec<_> = (0..1000)
        .map(|number: u32| {
            let mut message = message("", "q", &number.to_string());
            message.properties.expiration = Some(amqp_codec::ShortString::from_static("1"));
            message
        })
        .collect();
    client.link.publish(&expired).await.unwrap();
    for body in ["1", "2", "3", "4"] {
        client.publish("", "q", body).await;
    }
    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    let _: () = setting.ask(&["CONFIG", "RESETSTAT"]).await;
    let mut got = Vec::new();
    for _ in 0..5 {
        got.extend(client.link.claim(&[Source { queue: "q", no_ack, most: 1 }]).await.unwrap());
    }
    assert_eq!(bodies(&got), ["1", "2", "3", "4"]);
    assert!(got.iter().all(|got| !got.redelivered && got.claim.is_none() == no_ack));
    let kept = if no_ack { 0 } else { 4 };
    assert_eq!(setting.ask::<u32>(&["HLEN", "unacked"]).await, kept);
    assert_eq!(setting.ask::<u32>(&["ZCARD", "unacked_index"]).await, kept);
    let stats: String = setting.ask(&["INFO", "commandstats"]).await;
    let calls = |line: &str| line.split_once("calls=")?.1.split(',').next()?.parse::<u64>().ok();
    let counted = stats
        .lines()
        .filter(|line| ["evalsha", "multi"].iter().any(|name| line.contains(&format!("_{name}:"))));
    counted.filter_map(calls).sum()
}

#[tokio::test]
async fn a_message_behind_many_expired_ones_is_got_in_few_steps() {
    let test = "a_message_behind_many_expired_ones_is_got_in_few_steps";
    for no_ack in [false, true] {
        let Some(setting) = Setting::new(test).await else { return };
        let steps = get_behind_expired_ones(&setting, no_ack).await;
        assert!(steps < 50, "{steps} steps");
    }
}

#[tokio::test]
async fn without_scripts_a_message_behind_many_expired_ones_is_got_too() {
    let test = "without_scripts_a_message_behind_many_expired_ones_is_got_too";
    for no_ack in [false, true] {
        let Some(setting) = Setting::with(test, |options| options.scripting(false)).await else { return };
        get_behind_expired_ones(&setting, no_ack).await;
    }
}

/// A claim that fails half-way has taken what comes before: nobody was told of it.
#[tokio::test]
async fn what_a_claim_that_fails_has_taken_returns() {
    let Some(setting) = Setting::new("what_a_claim_that_fails_has_taken_returns").await else { return };
    for scripting in [true, false] {
        let options: RedisOptions = setting.server.url().parse().unwrap();
        let mut client = Client::open(&Redis::new(options.scripting(scripting))).await;
        client.publish("", "q", "m").await;
        let _: () = setting.ask(&["SET", "q\x06\x163", "no list"]).await;
        let claimed = client.link.claim(&[Source { queue: "q", no_ack: false, most: 9 }]).await;
        assert!(claimed.is_err(), "{claimed:?}");
        let returned = async { while setting.ask::<u32>(&["LLEN", "q"]).await == 0 {} };
        timeout(Duration::from_secs(60), returned).await.expect("it is back");
        assert_eq!(setting.ask::<u32>(&["EXISTS", "unacked", "unacked_index"]).await, 0);
        let _: u32 = setting.ask(&["DEL", "q\x06\x163"]).await;
        assert_eq!(bodies(&client.claim("q", 9).await), ["m"], "scripting: {scripting}");
        drop(client);
        while setting.ask::<u32>(&["DEL", "q"]).await == 0 {}
    }
}
