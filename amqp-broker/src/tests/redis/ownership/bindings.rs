//! Bindings of queues that expire: renewed as long as somebody has them, and swept then.

use std::time::Duration;

use super::{Client, Setting};
use crate::{
    backend::{ExchangeKind, Link, Published},
    redis::RedisOptions,
};

const DEADLINES: &str = "_kombu.binding_deadlines";

/// The shortest time that a binding lives, in milliseconds.
const LEASE: u64 = 3_600_000;

async fn declare(client: &mut Client, queue: &str, exchanges: &[&str]) {
    client.declare(queue, &[("x-expires", 60_000.into())]).await;
    for exchange in exchanges {
        client.exchange(exchange, ExchangeKind::Direct).await;
        client.bind(exchange, "k", queue).await;
    }
}

/// Ends the time of an exchange's bindings.
async fn end(setting: &Setting, exchange: &str) {
    let _: () = setting.ask(&["ZADD", DEADLINES, "1", exchange]).await;
}

/// The time of the server, in milliseconds.
async fn now(setting: &Setting) -> u64 {
    let (seconds, microseconds): (u64, u64) = setting.ask(&["TIME"]).await;
    seconds * 1000 + microseconds / 1000
}

#[tokio::test]
async fn what_nobody_renews_is_swept_as_by_kombu() {
    let Some(setting) = Setting::new("what_nobody_renews_is_swept_as_by_kombu").await else { return };
    let (mut gone, mut client) = (setting.open().await, setting.open().await);
    declare(&mut gone, "gone", &["plain", "for ever", "not yet"]).await;
    drop(gone);
    client.bind("for ever", "k", "stays").await;
    assert_eq!(client.publish("plain", "k", "m").await, Published::Routed);
    for exchange in ["plain", "for ever", "of nobody"] {
        end(&setting, exchange).await;
    }
    client.link.sweep_bindings().await.unwrap();
    assert_eq!(client.publish("plain", "k", "m").await, Published::Unroutable);
    client.link.find_exchange("plain").await.unwrap();
    assert_eq!(setting.ask::<u32>(&["EXISTS", "_kombu.binding.plain"]).await, 0);
    assert_eq!(setting.ask::<u32>(&["SCARD", "_kombu.binding.for ever"]).await, 2);
    assert_eq!(setting.ask::<u32>(&["SCARD", "_kombu.binding.not yet"]).await, 1);
    assert_eq!(setting.ask::<Vec<String>>(&["ZRANGE", DEADLINES, "0", "-1"]).await, ["not yet"]);
}

#[tokio::test]
async fn what_is_still_bound_here_is_renewed_before_it_is_swept() {
    let test = "what_is_still_bound_here_is_renewed_before_it_is_swept";
    let Some(setting) = Setting::new(test).await else { return };
    let mut client = setting.open().await;
    declare(&mut client, "q", &["x"]).await;
    end(&setting, "x").await;
    client.link.sweep_bindings().await.unwrap();
    assert_eq!(client.publish("x", "k", "m").await, Published::Routed);
    assert!(setting.ask::<u64>(&["ZSCORE", DEADLINES, "x"]).await > now(&setting).await);
}

#[tokio::test]
async fn many_are_swept_one_after_another() {
    let Some(setting) = Setting::new("many_are_swept_one_after_another").await else { return };
    let client = setting.open().await;
    for number in 0..150 {
        let _: () = setting.ask(&["SADD", &format!("_kombu.binding.{number}"), "k\x06\x16\x06\x16q"]).await;
        end(&setting, &number.to_string()).await;
    }
    for left in [50, 0] {
        client.link.sweep_bindings().await.unwrap();
        assert_eq!(setting.ask::<usize>(&["ZCARD", DEADLINES]).await, left);
        assert_eq!(setting.ask::<Vec<String>>(&["KEYS", "_kombu.binding.*"]).await.len(), left);
    }
}

#[tokio::test]
async fn what_others_have_swept_is_written_again_for_as_long_as_at_first() {
    let test = "what_others_have_swept_is_written_again_for_as_long_as_at_first";
    let Some(setting) = Setting::new(test).await else { return };
    let mut client = setting.open().await;
    declare(&mut client, "q", &["x"]).await;
    client.declare("p", &[]).await;
    client.bind("x", "k", "p").await;
    let [p, q] = ["p", "q"].map(|queue| format!("k\x06\x16\x06\x16{queue}"));
    let _: () = setting.ask(&["DEL", "_kombu.binding.x"]).await;
    let _: () = setting.ask(&["SREM", "_kombu.binding_permanent.x", &p]).await;
    end(&setting, "x").await;
    let _: () = setting.ask(&["PEXPIRE", "_amqp.queue.q", "60000"]).await;
    let before = now(&setting).await;
    client.link.renew().await.unwrap();
    let mut members: Vec<String> = setting.ask(&["SMEMBERS", "_kombu.binding.x"]).await;
    members.sort();
    assert_eq!(members, [p.clone(), q]);
    assert_eq!(setting.ask::<Vec<String>>(&["SMEMBERS", "_kombu.binding_permanent.x"]).await, [p]);
    let deadline: u64 = setting.ask(&["ZSCORE", DEADLINES, "x"]).await;
    assert!((before + LEASE..=now(&setting).await + LEASE).contains(&deadline), "{deadline}");
    let left: u64 = setting.ask(&["PTTL", "_amqp.queue.q"]).await;
    assert!((60_001..=LEASE).contains(&left), "{left}");
}

#[tokio::test]
async fn what_others_have_swept_is_written_again_without_being_asked() {
    let test = "what_others_have_swept_is_written_again_without_being_asked";
    let often = |mut options: RedisOptions| {
        options.periods.sweep = Duration::from_millis(5);
        options.periods.renew = Duration::from_millis(10);
        options
    };
    let Some(setting) = Setting::with(test, often).await else { return };
    let mut client = setting.open().await;
    declare(&mut client, "q", &["x"]).await;
    for _ in 0..2 {
        let _: u32 = setting.ask(&["DEL", "_kombu.binding.x"]).await;
        while setting.ask::<u32>(&["EXISTS", "_kombu.binding.x"]).await == 0 {}
    }
}

#[tokio::test]
async fn a_binding_is_not_for_ever_because_its_queues_declaration_has_lapsed() {
    let test = "a_binding_is_not_for_ever_because_its_queues_declaration_has_lapsed";
    let Some(setting) = Setting::new(test).await else { return };
    let mut client = setting.open().await;
    declare(&mut client, "q", &["x"]).await;
    let _: () = setting.ask(&["DEL", "_amqp.queue.q"]).await;
    // With the answer to this the news of it has come.
    client.link.find_exchange("none").await.unwrap_err();
    end(&setting, "x").await;
    client.link.sweep_bindings().await.unwrap();
    assert_eq!(setting.ask::<u32>(&["EXISTS", "_kombu.binding_permanent.x"]).await, 0);
    assert_eq!(client.publish("x", "k", "m").await, Published::Routed);
}

#[tokio::test]
async fn deadlines_are_set_by_the_clock_of_redis() {
    let Some(setting) = Setting::new("deadlines_are_set_by_the_clock_of_redis").await else { return };
    let mut client = setting.open().await;
    client.declare("q", &[("x-expires", 60_000.into())]).await;
    client.exchange("x", ExchangeKind::Direct).await;
    let _: () = setting.ask(&["CONFIG", "RESETSTAT"]).await;
    client.bind("x", "k", "q").await;
    let calls: String = setting.ask(&["INFO", "commandstats"]).await;
    assert!(calls.contains("cmdstat_time:calls=1,"), "{calls}");
}

#[tokio::test]
async fn a_queue_that_expires_now_has_no_binding_for_ever() {
    let Some(setting) = Setting::new("a_queue_that_expires_now_has_no_binding_for_ever").await else {
        return;
    };
    let mut client = setting.open().await;
    client.exchange("x", ExchangeKind::Direct).await;
    client.declare("q", &[]).await;
    client.bind("x", "k", "q").await;
    assert_eq!(setting.ask::<u32>(&["SCARD", "_kombu.binding_permanent.x"]).await, 1);
    declare(&mut client, "q", &["x"]).await;
    assert_eq!(setting.ask::<u32>(&["EXISTS", "_kombu.binding_permanent.x"]).await, 0);
    assert_eq!(setting.ask::<u32>(&["SCARD", "_kombu.binding.x"]).await, 1);
}

#[tokio::test]
async fn a_binding_that_lives_for_a_shorter_time_ends_no_other_earlier() {
    let test = "a_binding_that_lives_for_a_shorter_time_ends_no_other_earlier";
    let Some(setting) = Setting::new(test).await else { return };
    let mut client = setting.open().await;
    client.exchange("x", ExchangeKind::Direct).await;
    client.declare("long", &[("x-expires", 14_400_000.into())]).await;
    client.bind("x", "k", "long").await;
    let deadline: u64 = setting.ask(&["ZSCORE", DEADLINES, "x"]).await;
    declare(&mut client, "brief", &["x"]).await;
    assert_eq!(setting.ask::<u64>(&["ZSCORE", DEADLINES, "x"]).await, deadline);
}
