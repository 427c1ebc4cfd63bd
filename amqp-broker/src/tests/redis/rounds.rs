//! Single rounds in which lapsed claims return.

use super::{
    loss::relay,
    restore::{calls, envelope},
    support::{Client, Setting},
};
use crate::{
    backend::{ExchangeKind, Link, Settlement},
    redis::{Redis, RedisOptions},
};

/// A lapsed claim of a message with this tag.
async fn lapse(setting: &Setting, tag: &str, queue: &str, claimed: u32) {
    lapse_of(setting, tag, "", queue, &envelope("", queue, tag), claimed).await;
}

/// A lapsed claim of a message that kombu took for one of this exchange.
async fn lapse_of(setting: &Setting, tag: &str, exchange: &str, key: &str, envelope: &str, claimed: u32) {
    let claim = format!(r#"[{envelope}, "{exchange}", "{key}"]"#);
    let _: () = setting.ask(&["HSET", "unacked", tag, &claim]).await;
    let _: () = setting.ask(&["ZADD", "unacked_index", &claimed.to_string(), tag]).await;
}

/// Opens a link on which nothing returns before it is asked to.
async fn open(setting: &Setting, options: RedisOptions) -> (Client, Client) {
    let _: () = setting.ask(&["SET", "unacked_mutex", "held"]).await;
    let redis = Redis::new(options);
    let clients = (Client::open(&redis).await, Client::open(&redis).await);
    while calls(setting, "set").await < 2 {}
    let _: () = setting.ask(&["DEL", "unacked_mutex"]).await;
    clients
}

async fn tags(setting: &Setting, queue: &str) -> Vec<String> {
    let items: Vec<String> = setting.ask(&["LRANGE", queue, "0", "-1"]).await;
    let tag = |item: &String| item.split("delivery_tag\": \"").nth(1)?.split('"').next().map(str::to_owned);
    items.iter().filter_map(tag).collect()
}

/// Acts between the look at lapsed claims and their return; returns how many are said to return.
async fn restore_while(setting: &Setting, scripting: bool, acts: impl Future<Output = ()>) -> usize {
    let port = relay(setting.server.port(), "HMGET").await;
    let options = RedisOptions::parse(&format!("redis://127.0.0.1:{port}/0")).unwrap();
    let (client, mut other) = open(setting, options.scripting(scripting)).await;
    let (restored, ()) = tokio::join!(client.link.restore(), async {
        while calls(setting, "hmget").await == 0 {
            tokio::task::yield_now().await;
        }
        acts.await;
        // The answer does not get through before the name comes again.
        assert!(other.link.find_queue("HMGET").await.is_err());
    });
    restored.unwrap()
}

async fn the_lock_is_lost_meanwhile(test: &str, scripting: bool) {
    let Some(setting) = Setting::new(test).await else { return };
    for number in 0..150 {
        lapse(&setting, &number.to_string(), "q", 1000 + number).await;
    }
    let restored = restore_while(&setting, scripting, async {
        let _: () = setting.ask(&["SET", "unacked_mutex", "another's token"]).await;
    });
    assert_eq!(restored.await, 100, "what was looked at");
    assert_eq!(setting.ask::<u32>(&["LLEN", "q"]).await, 100);
    assert_eq!(setting.ask::<u32>(&["HLEN", "unacked"]).await, 50, "the other returns them");
    assert_eq!(setting.ask::<String>(&["GET", "unacked_mutex"]).await, "another's token");
}

#[tokio::test]
async fn whoever_has_lost_the_lock_leaves_the_rest_and_the_lock_to_the_other() {
    let test = "whoever_has_lost_the_lock_leaves_the_rest_and_the_lock_to_the_other";
    the_lock_is_lost_meanwhile(test, true).await;
}

#[tokio::test]
async fn without_scripts_whoever_has_lost_the_lock_leaves_the_rest_and_the_lock_to_the_other() {
    let test = "without_scripts_whoever_has_lost_the_lock_leaves_the_rest_and_the_lock_to_the_other";
    the_lock_is_lost_meanwhile(test, false).await;
}

/// Kombu returns a message and claims it again under the same tag.
async fn it_is_claimed_again_meanwhile(test: &str, scripting: bool) {
    let Some(setting) = Setting::new(test).await else { return };
    lapse(&setting, "again", "q", 1000).await;
    let claim = format!(r#"[{}, "", "other"]"#, envelope("", "other", "again"));
    let restored = restore_while(&setting, scripting, async {
        let _: () = setting.ask(&["HSET", "unacked", "again", &claim]).await;
        let _: () = setting.ask(&["ZADD", "unacked_index", "9000000000", "again"]).await;
    });
    restored.await;
    assert_eq!(setting.ask::<u32>(&["EXISTS", "q", "other"]).await, 0);
    assert_eq!(setting.ask::<String>(&["HGET", "unacked", "again"]).await, claim);
    assert_eq!(setting.ask::<Vec<String>>(&["ZRANGE", "unacked_index", "0", "-1"]).await, ["again"]);
}

#[tokio::test]
async fn what_is_claimed_again_while_it_is_restored_stays_claimed() {
    it_is_claimed_again_meanwhile("what_is_claimed_again_while_it_is_restored_stays_claimed", true).await;
}

#[tokio::test]
async fn without_scripts_what_is_claimed_again_while_it_is_restored_stays_claimed() {
    let test = "without_scripts_what_is_claimed_again_while_it_is_restored_stays_claimed";
    it_is_claimed_again_meanwhile(test, false).await;
}

#[tokio::test]
async fn what_was_claimed_first_is_the_next_again() {
    let Some(setting) = Setting::new("what_was_claimed_first_is_the_next_again").await else { return };
    let (client, _other) = open(&setting, setting.server.url().parse().unwrap()).await;
    for (tag, claimed) in [("second", 2000), ("third", 3000), ("first", 1000)] {
        lapse(&setting, tag, "q", claimed).await;
    }
    assert_eq!(client.link.restore().await, Ok(3));
    assert_eq!(tags(&setting, "q").await, ["third", "second", "first"], "the last is taken first");
}

#[tokio::test]
async fn claims_that_go_nowhere_are_not_in_the_way_of_later_ones() {
    let test = "claims_that_go_nowhere_are_not_in_the_way_of_later_ones";
    let Some(setting) = Setting::new(test).await else { return };
    let (client, _other) = open(&setting, setting.server.url().parse().unwrap()).await;
    for number in 0..200 {
        let _: () = setting.ask(&["HSET", "unacked", &number.to_string(), "garbage"]).await;
        let _: () = setting.ask(&["ZADD", "unacked_index", "1000", &number.to_string()]).await;
    }
    lapse(&setting, "later", "q", 2000).await;
    assert_eq!(client.link.restore().await, Ok(1));
    assert_eq!(tags(&setting, "q").await, ["later"]);
    assert_eq!(setting.ask::<u32>(&["HLEN", "unacked"]).await, 200);
}

#[tokio::test]
async fn what_returns_keeps_its_priority() {
    let Some(setting) = Setting::new("what_returns_keeps_its_priority").await else { return };
    let (client, _other) = open(&setting, setting.server.url().parse().unwrap()).await;
    for (tag, priority) in [("none", 0), ("some", 5), ("most", 12)] {
        let written = format!(r#""priority": {priority}"#);
        let envelope = envelope("", "q", tag).replace(r#""priority": 0"#, &written);
        lapse_of(&setting, tag, "", "q", &envelope, 1000).await;
    }
    assert_eq!(client.link.restore().await, Ok(3));
    for (list, tag) in [("q", "none"), ("q\x06\x163", "some"), ("q\x06\x169", "most")] {
        assert_eq!(tags(&setting, list).await, [tag], "{list:?}");
    }
}

/// Kombu names exchange and key in its claims. By the patterns of a topic exchange they return to
/// the queues that it sent them to; a list that a fanout message returned to, nobody would read.
#[tokio::test]
async fn kombus_claims_return_by_the_kind_of_their_exchange() {
    let test = "kombus_claims_return_by_the_kind_of_their_exchange";
    let Some(setting) = Setting::new(test).await else { return };
    let (client, mut other) = open(&setting, setting.server.url().parse().unwrap()).await;
    let member = "a.*\x06\x16^a\\.[^\\.]+$\x06\x16tq";
    let _: () = setting.ask(&["SADD", "_kombu.binding.t", member]).await;
    other.exchange("f", ExchangeKind::Fanout).await;
    other.bind("f", "", "fq").await;
    for (tag, exchange, key) in [("topic", "t", "a.b"), ("unmatched", "t", "a.b.c"), ("fanout", "f", "fq")] {
        lapse_of(&setting, tag, exchange, key, &envelope(exchange, key, tag), 1000).await;
    }
    client.link.restore().await.unwrap();
    assert_eq!(tags(&setting, "tq").await, ["topic"]);
    assert_eq!(setting.ask::<u32>(&["EXISTS", "fq", "a.b", "a.b.c"]).await, 0);
    let mut left: Vec<String> = setting.ask(&["HKEYS", "unacked"]).await;
    left.sort();
    assert_eq!(left, ["fanout", "unmatched"]);
}

#[tokio::test]
async fn what_has_just_been_claimed_does_not_return() {
    let Some(setting) = Setting::new("what_has_just_been_claimed_does_not_return").await else { return };
    for scripting in [true, false] {
        let options: RedisOptions = setting.server.url().parse().unwrap();
        let (mut client, other) = open(&setting, options.scripting(scripting)).await;
        client.publish("", "q", "held").await;
        let claimed = client.claim("q", 1).await;
        assert_eq!(claimed.len(), 1);
        assert_eq!(other.link.restore().await, Ok(0), "scripting: {scripting}");
        assert_eq!(setting.ask::<u32>(&["EXISTS", "q"]).await, 0);
        let acks = claimed.into_iter().map(|claimed| (claimed.claim.unwrap(), Settlement::Ack));
        assert_eq!(client.link.settle(acks.collect()).await, Ok(0));
        let _: () = setting.ask(&["CONFIG", "RESETSTAT"]).await;
    }
}
