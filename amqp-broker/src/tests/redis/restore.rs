//! Claims that lapse, whoever made them.

use std::time::Duration;

use super::{
    loss::relay,
    support::{Client, Setting},
};
use crate::{
    backend::{ExchangeKind, Link},
    redis::{Redis, RedisOptions},
    tests::log::Log,
};

/// Returns the number of times that Redis was given a command.
pub(super) async fn calls(setting: &Setting, command: &str) -> u32 {
    let stats: String = setting.ask(&["INFO", "commandstats"]).await;
    let calls = stats.split_once(&format!("cmdstat_{command}:calls="));
    calls.and_then(|(_, calls)| calls.split(',').next()?.parse().ok()).unwrap_or_default()
}

/// A message as kombu writes it.
pub(super) fn envelope(exchange: &str, routing_key: &str, tag: &str) -> String {
    format!(
        r#"{{"body": "bQ==", "content-encoding": "utf-8", "content-type": "text/plain", "headers": {{}}, "properties": {{"delivery_info": {{"exchange": "{exchange}", "routing_key": "{routing_key}"}}, "priority": 0, "body_encoding": "base64", "delivery_tag": "{tag}"}}}}"#
    )
}

#[tokio::test]
async fn kombus_claims_are_restored_and_what_goes_nowhere_stays() {
    let test = "kombus_claims_are_restored_and_what_goes_nowhere_stays";
    let restoring = |options: RedisOptions| options.unacked_restore_interval(Duration::from_millis(1));
    let Some(setting) = Setting::with(test, restoring).await else { return };
    let _: () = setting.ask(&["SADD", "_kombu.binding.celery", "k\x06\x16\x06\x16q"]).await;
    for (tag, exchange, key) in [
        ("1", "celery", "k"),
        ("2", "nowhere", "k"),
        ("3", "", "q"),
        ("4", "celery", "q"),
        ("5", "celery", "other"),
    ] {
        let claim = format!(r#"[{}, "{exchange}", "{key}"]"#, envelope(exchange, key, tag));
        let _: () = setting.ask(&["HSET", "unacked", tag, &claim]).await;
        let _: () = setting.ask(&["ZADD", "unacked_index", "1000", tag]).await;
    }
    let _: () = setting.ask(&["ZADD", "unacked_index", "1000", "acked meanwhile"]).await;
    let (log, _guard) = Log::listen();
    let mut client = setting.open().await;
    client.exchange("f", ExchangeKind::Fanout).await;
    client.watch("q").await;
    for _ in 0..3 {
        let claimed = client.next("q").await;
        assert!(claimed.redelivered);
    }
    // Further rounds change nothing.
    let rounds = async || {
        while setting.ask::<u32>(&["EXISTS", "unacked_mutex"]).await == 1 {}
        calls(&setting, "zrangebyscore").await
    };
    let seen = rounds().await;
    while rounds().await < seen + 3 {}
    for key in [["HKEYS", "unacked"], ["ZRANGE", "unacked_index"]] {
        let range: &[&str] = if key[0] == "ZRANGE" { &["0", "-1"] } else { &[] };
        let mut left: Vec<String> = setting.ask(&[&key[..], range].concat()).await;
        left.retain(|tag| !tag.contains('.'));
        left.sort();
        assert_eq!(left, ["2", "5"], "{key:?}: ours, which hold messages, are left out");
    }
    assert!(client.claim("q", 9).await.is_empty(), "nobody else has a message to return");
    let mut lines = log.lines();
    lines.retain(|line| line.contains("it stays claimed"));
    assert_eq!(lines.len(), 2, "each is logged once: {lines:?}");
}

#[tokio::test]
async fn a_claim_that_is_held_does_not_lapse() {
    let restoring = |options: RedisOptions| {
        options.unacked_restore_interval(Duration::from_millis(1)).visibility_timeout(Duration::from_secs(2))
    };
    let Some(setting) = Setting::with("a_claim_that_is_held_does_not_lapse", restoring).await else { return };
    let mut client = setting.open().await;
    client.publish("", "q", "held").await;
    assert_eq!(client.claim("q", 1).await.len(), 1);
    let first: Vec<(String, f64)> = setting.ask(&["ZRANGE", "unacked_index", "0", "-1", "WITHSCORES"]).await;
    loop {
        let now: Vec<(String, f64)> =
            setting.ask(&["ZRANGE", "unacked_index", "0", "-1", "WITHSCORES"]).await;
        assert_eq!(now.len(), 1, "it is still claimed");
        if now[0].1 > first[0].1 + 2.5 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(setting.ask::<u32>(&["LLEN", "q"]).await, 0);
}

/// A process is killed while it returns messages: its lock is gone within seconds, and whoever goes
/// on returns each message once.
#[tokio::test]
async fn a_killed_holder_of_the_lock_stops_others_for_seconds_only() {
    const CLAIMS: usize = 10_000;
    let test = "a_killed_holder_of_the_lock_stops_others_for_seconds_only";
    let restoring = |options: RedisOptions| options.unacked_restore_interval(Duration::from_millis(1));
    let Some(setting) = Setting::with(test, restoring).await else { return };
    let mut pipeline = redis::pipe();
    pipeline.cmd("DEL").arg("q").ignore();
    for number in 0..CLAIMS {
        let tag = format!("{number:05}");
        let claim = format!(r#"[{}, "", "q"]"#, envelope("", "q", &tag));
        pipeline.cmd("HSET").arg("unacked").arg(&tag).arg(claim).ignore();
        pipeline.cmd("ZADD").arg("unacked_index").arg(1000).arg(&tag).ignore();
    }
    loop {
        pipeline.exec_async(&mut setting.plain.clone()).await.unwrap();
        let killed = setting.open().await;
        while setting.ask::<usize>(&["LLEN", "q"]).await == 0 {}
        let _: u32 = setting.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
        drop(killed);
        // On a busy machine all may have been done before.
        if setting.ask::<usize>(&["HLEN", "unacked"]).await > 0 {
            break;
        }
    }
    let left: i64 = setting.ask(&["PTTL", "unacked_mutex"]).await;
    assert!((1..=10_000).contains(&left), "the lock is left behind, for {left} ms");

    // The time passes.
    let _: u32 = setting.ask(&["PEXPIRE", "unacked_mutex", "1"]).await;
    let _next = setting.open().await;
    while setting.ask::<usize>(&["HLEN", "unacked"]).await > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let items: Vec<String> = setting.ask(&["LRANGE", "q", "0", "-1"]).await;
    let mut tags: Vec<_> =
        items.iter().map(|item| item.split("delivery_tag\": \"").nth(1).unwrap()).collect();
    assert_eq!(tags.len(), CLAIMS);
    tags.sort_unstable();
    tags.dedup();
    assert_eq!(tags.len(), CLAIMS, "each is there once");
}

#[tokio::test]
async fn kombus_holder_of_the_lock_is_respected() {
    let test = "kombus_holder_of_the_lock_is_respected";
    let restoring = |options: RedisOptions| options.unacked_restore_interval(Duration::from_millis(1));
    let Some(setting) = Setting::with(test, restoring).await else { return };
    let _: () = setting.ask(&["SET", "unacked_mutex", "another's token", "PX", "300000"]).await;
    let claim = format!(r#"[{}, "", "q"]"#, envelope("", "q", "1"));
    let _: () = setting.ask(&["HSET", "unacked", "1", &claim]).await;
    let _: () = setting.ask(&["ZADD", "unacked_index", "1000", "1"]).await;
    let mut client = setting.open().await;
    let _: () = setting.ask(&["CONFIG", "RESETSTAT"]).await;
    // It has tried some times.
    while calls(&setting, "set").await < 3 {}
    assert_eq!(setting.ask::<u32>(&["HLEN", "unacked"]).await, 1);
    assert_eq!(setting.ask::<String>(&["GET", "unacked_mutex"]).await, "another's token");
    let _: () = setting.ask(&["DEL", "unacked_mutex"]).await;
    client.watch("q").await;
    assert!(client.next("q").await.redelivered);
}

/// Whoever has ended while it had the lock costs the others its lifetime, and not a whole period,
/// which is 100 s.
#[tokio::test]
async fn a_lock_that_is_left_behind_is_waited_for() {
    let brief = |options: RedisOptions| options.unacked_mutex_expire(Duration::from_millis(50));
    let Some(setting) = Setting::with("a_lock_that_is_left_behind_is_waited_for", brief).await else {
        return;
    };
    let _: () = setting.ask(&["SET", "unacked_mutex", "another's token"]).await;
    let claim = format!(r#"[{}, "", "q"]"#, envelope("", "q", "1"));
    let _: () = setting.ask(&["HSET", "unacked", "1", &claim]).await;
    let _: () = setting.ask(&["ZADD", "unacked_index", "1000", "1"]).await;
    let mut client = setting.open().await;
    let _: () = setting.ask(&["CONFIG", "RESETSTAT"]).await;
    let tried = async { while calls(&setting, "set").await < 3 {} };
    tokio::time::timeout(Duration::from_secs(50), tried).await.expect("it tries again");
    let _: () = setting.ask(&["DEL", "unacked_mutex"]).await;
    client.watch("q").await;
    assert!(client.next("q").await.redelivered);
}

/// A claim that kombu's bindings send to two queues, of which one expires, whichever comes first.
async fn only_the_queue_that_expires_gets_a_time_to_live(test: &str, scripting: bool) {
    for (lasting, brief) in [("a", "b"), ("b", "a")] {
        let restoring = |options: RedisOptions| {
            options.unacked_restore_interval(Duration::from_millis(1)).scripting(scripting)
        };
        let Some(setting) = Setting::with(test, restoring).await else { return };
        let mut client = setting.open().await;
        client.exchange("x", ExchangeKind::Direct).await;
        client.declare(lasting, &[]).await;
        client.declare(brief, &[("x-expires", 60_000.into())]).await;
        for queue in [lasting, brief] {
            client.bind("x", "k", queue).await;
        }
        let claim = format!(r#"[{}, "x", "k"]"#, envelope("x", "k", "1"));
        let _: () = setting.ask(&["HSET", "unacked", "1", &claim]).await;
        let _: () = setting.ask(&["ZADD", "unacked_index", "1000", "1"]).await;
        while setting.ask::<u32>(&["HLEN", "unacked"]).await > 0 {}
        for queue in [lasting, brief] {
            assert_eq!(setting.ask::<u32>(&["LLEN", queue]).await, 1, "{queue}");
        }
        assert_eq!(setting.ask::<i64>(&["PTTL", lasting]).await, -1);
        let left: i64 = setting.ask(&["PTTL", brief]).await;
        assert!((1..=60_000).contains(&left), "{left}");
    }
}

#[tokio::test]
async fn a_message_restored_to_two_queues_expires_in_one_of_them() {
    let test = "a_message_restored_to_two_queues_expires_in_one_of_them";
    only_the_queue_that_expires_gets_a_time_to_live(test, true).await;
}

#[tokio::test]
async fn without_scripts_a_message_restored_to_two_queues_expires_in_one_of_them() {
    let test = "without_scripts_a_message_restored_to_two_queues_expires_in_one_of_them";
    only_the_queue_that_expires_gets_a_time_to_live(test, false).await;
}

/// Kombu claims a message again under the same tag, between the look at its claim and the end of
/// what was left over of the one before.
async fn a_claim_that_is_made_meanwhile_is_found(test: &str, scripting: bool) {
    let Some(setting) = Setting::new(test).await else { return };
    let _: () = setting.ask(&["ZADD", "unacked_index", "1000", "left over", "1000", "again"]).await;
    let port = relay(setting.server.port(), "HMGET").await;
    let options = RedisOptions::parse(&format!("redis://127.0.0.1:{port}/0")).unwrap();
    let mut client = Client::open(&Redis::new(options.scripting(scripting))).await;
    while !setting.ask::<String>(&["INFO", "commandstats"]).await.contains("cmdstat_hmget:") {
        tokio::task::yield_now().await;
    }
    // The answer does not get through before the name comes again.
    let claim = format!(r#"[{}, "", "q"]"#, envelope("", "q", "again"));
    let _: () = setting.ask(&["HSET", "unacked", "again", &claim]).await;
    let _: () = setting.ask(&["ZADD", "unacked_index", "9000000000", "again"]).await;
    assert_eq!(setting.ask::<u32>(&["EXISTS", "unacked_mutex"]).await, 1, "the restoring goes on");
    assert!(client.link.find_queue("HMGET").await.is_err());
    while setting.ask::<u32>(&["EXISTS", "unacked_mutex"]).await > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(setting.ask::<Vec<String>>(&["ZRANGE", "unacked_index", "0", "-1"]).await, ["again"]);
}

#[tokio::test]
async fn a_claim_under_the_tag_of_an_earlier_one_keeps_its_entry() {
    let test = "a_claim_under_the_tag_of_an_earlier_one_keeps_its_entry";
    a_claim_that_is_made_meanwhile_is_found(test, true).await;
}

#[tokio::test]
async fn without_scripts_a_claim_under_the_tag_of_an_earlier_one_keeps_its_entry() {
    let test = "without_scripts_a_claim_under_the_tag_of_an_earlier_one_keeps_its_entry";
    a_claim_that_is_made_meanwhile_is_found(test, false).await;
}

/// Kombu acknowledges a message between the look at its claim and its return.
async fn a_claim_that_is_acknowledged_meanwhile_does_not_return(test: &str, scripting: bool) {
    let Some(setting) = Setting::new(test).await else { return };
    for tag in ["acked", "lapsed"] {
        let claim = format!(r#"[{}, "", "q"]"#, envelope("", "q", tag));
        let _: () = setting.ask(&["HSET", "unacked", tag, &claim]).await;
        let _: () = setting.ask(&["ZADD", "unacked_index", "1000", tag]).await;
    }
    let port = relay(setting.server.port(), "HMGET").await;
    let options = RedisOptions::parse(&format!("redis://127.0.0.1:{port}/0")).unwrap();
    let mut client = Client::open(&Redis::new(options.scripting(scripting))).await;
    while calls(&setting, "hmget").await == 0 {
        tokio::task::yield_now().await;
    }
    // The answer does not get through before the name comes again.
    for removed in [["HDEL", "unacked", "acked"], ["ZREM", "unacked_index", "acked"]] {
        assert_eq!(setting.ask::<u32>(&removed).await, 1);
    }
    assert!(client.link.find_queue("HMGET").await.is_err());
    while setting.ask::<u32>(&["EXISTS", "unacked_mutex"]).await > 0 {
        tokio::task::yield_now().await;
    }
    let returned: Vec<String> = setting.ask(&["LRANGE", "q", "0", "-1"]).await;
    assert_eq!(returned.len(), 1, "{returned:?}");
    assert!(returned[0].contains(r#""delivery_tag": "lapsed""#), "{returned:?}");
    assert_eq!(setting.ask::<u32>(&["EXISTS", "unacked", "unacked_index"]).await, 0);
}

#[tokio::test]
async fn what_is_acknowledged_while_it_is_restored_does_not_return() {
    let test = "what_is_acknowledged_while_it_is_restored_does_not_return";
    a_claim_that_is_acknowledged_meanwhile_does_not_return(test, true).await;
}

#[tokio::test]
async fn without_scripts_what_is_acknowledged_while_it_is_restored_does_not_return() {
    let test = "without_scripts_what_is_acknowledged_while_it_is_restored_does_not_return";
    a_claim_that_is_acknowledged_meanwhile_does_not_return(test, false).await;
}

#[tokio::test]
async fn no_more_lapsed_claims_are_returned_in_a_round_than_are_wanted() {
    let test = "no_more_lapsed_claims_are_returned_in_a_round_than_are_wanted";
    let limited = |options: RedisOptions| options.unacked_restore_limit(Some(3));
    let Some(setting) = Setting::with(test, limited).await else { return };
    for number in 0..7 {
        let tag = number.to_string();
        let claim = format!(r#"[{}, "", "q"]"#, envelope("", "q", &tag));
        let _: () = setting.ask(&["HSET", "unacked", &tag, &claim]).await;
        let _: () = setting.ask(&["ZADD", "unacked_index", &(1000 + number).to_string(), &tag]).await;
    }
    // Each has one round, and the next one only after minutes.
    for returned in [3, 6, 7] {
        let mut client =
            Client::open(&Redis::new(limited(RedisOptions::parse(&setting.server.url()).unwrap()))).await;
        while setting.ask::<u32>(&["LLEN", "q"]).await < returned {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        while setting.ask::<u32>(&["EXISTS", "unacked_mutex"]).await > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(setting.ask::<u32>(&["LLEN", "q"]).await, returned);
        assert_eq!(setting.ask::<u32>(&["HLEN", "unacked"]).await, 7 - returned);
        client.declare("still-here", &[]).await;
    }
}
