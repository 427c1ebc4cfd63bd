//! Fanout exchanges.

use std::time::Duration;

use futures_core::Stream as _;
use tokio::time::timeout;

use super::support::{Setting, ask, binding, bodies, queue};
use crate::backend::{ExchangeKind, Link, Published, QueueDeclaration, Settlement};
use crate::tests::log::Log;

#[tokio::test]
async fn each_queue_on_a_fanout_exchange_gets_its_copy() {
    let Some(setting) = Setting::new("each_queue_on_a_fanout_exchange_gets_its_copy").await else { return };
    let (mut client, mut other) = (setting.open().await, setting.open().await);
    client.exchange("f", ExchangeKind::Fanout).await;
    assert_eq!(client.publish("f", "", "nobody").await, Published::Unroutable);
    for queue in ["a", "b"] {
        client.declare(queue, &[]).await;
        client.bind("f", "", queue).await;
        client.watch(queue).await;
    }
    other.bind("f", "", "c").await;
    other.watch("c").await;
    for (key, body) in [("", "one"), ("any.key", "two")] {
        assert_eq!(other.publish("f", key, body).await, Published::Routed);
        for queue in ["a", "b"] {
            assert_eq!(client.next(queue).await.message.body, body);
        }
        assert_eq!(other.next("c").await.message.body, body);
    }
    assert_eq!(setting.ask::<u32>(&["EXISTS", "unacked", "a", "b", "c"]).await, 0);
}

#[tokio::test]
async fn fanout_messages_return_to_the_front() {
    let Some(setting) = Setting::new("fanout_messages_return_to_the_front").await else { return };
    let mut client = setting.open().await;
    client.exchange("f", ExchangeKind::Fanout).await;
    client.bind("f", "", "q").await;
    client.watch("q").await;
    for body in ["1", "2"] {
        client.publish("f", "", body).await;
    }
    let first = client.next("q").await;
    client.link.settle(vec![(first.claim.unwrap(), Settlement::Requeue)]).await.unwrap();
    let (first, second) = (client.next("q").await, client.next("q").await);
    assert!(first.redelivered && !second.redelivered);
    while timeout(Duration::ZERO, client.wakes.next()).await.is_ok() {}
    client.link.settle(vec![(second.claim.unwrap(), Settlement::Requeue)]).await.unwrap();
    client.woken("q").await;
    let second = client.next("q").await;
    assert_eq!(bodies(&[first, second]), ["1", "2"]);
}

#[tokio::test]
async fn kombus_patterns_select_by_routing_key() {
    let Some(setting) = Setting::new("kombus_patterns_select_by_routing_key").await else { return };
    let mut client = setting.open().await;
    client.exchange("celeryev", ExchangeKind::Fanout).await;
    client.bind("celeryev", "worker.#", "events").await;
    client.watch("events").await;
    assert_eq!(client.publish("celeryev", "task.sent", "no").await, Published::Unroutable);
    assert_eq!(client.publish("celeryev", "worker.online", "yes").await, Published::Routed);
    assert_eq!(client.next("events").await.message.body, "yes");
    assert_eq!(client.publish("celeryev", "", "without a key").await, Published::Routed);
    assert_eq!(client.next("events").await.message.body, "without a key");
    assert_eq!(setting.ask::<u32>(&["SCARD", "_kombu.binding.celeryev"]).await, 1);
}

#[tokio::test]
async fn a_link_that_ends_leaves_its_fanout_exchanges() {
    let Some(setting) = Setting::new("a_link_that_ends_leaves_its_fanout_exchanges").await else { return };
    let (mut closed, mut dropped, mut left) =
        (setting.open().await, setting.open().await, setting.open().await);
    left.exchange("f", ExchangeKind::Fanout).await;
    closed.bind("f", "", "closed").await;
    dropped.bind("f", "", "dropped").await;
    left.bind("f", "", "left").await;
    assert_eq!(setting.ask::<u32>(&["SCARD", "_kombu.binding.f"]).await, 3);
    closed.link.close().await;
    assert_eq!(setting.ask::<u32>(&["SCARD", "_kombu.binding.f"]).await, 2);
    left.link.leave_queue("left").await.unwrap();
    assert_eq!(setting.ask::<u32>(&["SCARD", "_kombu.binding.f"]).await, 1);
    drop(dropped);
    while setting.ask::<u32>(&["SCARD", "_kombu.binding.f"]).await > 0 {
        tokio::task::yield_now().await;
    }
    while ask::<u32>(&setting.plain, &["PUBSUB", "NUMPAT"]).await > 0 {
        tokio::task::yield_now().await;
    }
}

/// Whether it is closed or lost, and though nobody has consumed.
#[tokio::test]
async fn an_auto_delete_queue_of_a_fanout_exchange_goes_with_the_last_link_that_has_bound_it() {
    let test = "an_auto_delete_queue_of_a_fanout_exchange_goes_with_the_last_link_that_has_bound_it";
    let Some(setting) = Setting::new(test).await else { return };
    for is_closed in [true, false] {
        let (mut client, mut other) = (setting.open().await, setting.open().await);
        client.exchange("f", ExchangeKind::Fanout).await;
        client.declare("stays", &[]).await;
        let going = QueueDeclaration { auto_delete: true, ..queue("goes", &[]) };
        client.link.declare_queue(&going).await.unwrap();
        for queue in ["stays", "goes"] {
            client.bind("f", "", queue).await;
        }
        other.bind("f", "", "goes").await;
        other.link.close().await;
        assert_eq!(setting.ask::<u32>(&["EXISTS", "_amqp.queue.goes"]).await, 1, "one has it still");
        match is_closed {
            true => client.link.close().await,
            false => drop(client),
        }
        while setting.ask::<u32>(&["EXISTS", "_amqp.queue.goes"]).await == 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(setting.ask::<u32>(&["EXISTS", "_amqp.queue.stays"]).await, 1);
        assert_eq!(setting.ask::<u32>(&["SCARD", "_kombu.binding.f"]).await, 0);
    }
}

#[tokio::test]
async fn with_old_versions_both_channels_are_used_and_a_message_arrives_once() {
    let test = "with_old_versions_both_channels_are_used_and_a_message_arrives_once";
    let compatible = |options: crate::redis::RedisOptions| options.sentinel_fanout_compat(true);
    let Some(setting) = Setting::with(test, compatible).await else { return };
    let mut client = setting.open().await;
    client.exchange("f", ExchangeKind::Fanout).await;
    client.bind("f", "", "q").await;
    client.watch("q").await;
    assert_eq!(client.publish("f", "", "one").await, Published::Routed);
    assert_eq!(client.next("q").await.message.body, "one");
    assert_eq!(client.publish("f", "", "two").await, Published::Routed);
    assert_eq!(client.next("q").await.message.body, "two");
    let channels: u32 = setting.ask(&["PUBLISH", "/{db}.f", "old"]).await;
    assert_eq!(channels, 1);
}

/// Kombu stores no kinds. Who listens shows that an exchange is a fanout exchange.
#[tokio::test]
async fn a_fanout_exchange_that_kombu_alone_has_declared_is_recognised() {
    let test = "a_fanout_exchange_that_kombu_alone_has_declared_is_recognised";
    let Some(setting) = Setting::new(test).await else { return };
    let _: () = setting.ask(&["SADD", "_kombu.binding.news", "\x06\x16\x06\x16bcast.1"]).await;
    let (mut client, mut kombu) = (setting.open().await, setting.open().await);
    let (log, guard) = Log::listen();
    for sent in 1..=3 {
        assert_eq!(client.publish("news", "", "as if it were direct").await, Published::Routed);
        assert_eq!(setting.ask::<u32>(&["LLEN", "bcast.1"]).await, sent);
    }
    let lines = log.lines();
    let told: Vec<_> =
        lines.iter().filter(|line| line.contains("takes an exchange for a direct one")).collect();
    assert!(told.len() == 1 && told[0].contains("news"), "{lines:?}");
    drop(guard);
    // The plain connection of another gateway stands for kombu: nothing is declared.
    kombu.exchange("other", ExchangeKind::Fanout).await;
    kombu.bind("other", "", "heard").await;
    kombu.watch("heard").await;
    let _: () = setting.ask(&["SADD", "_kombu.binding.other", "\x06\x16\x06\x16bcast.2"]).await;
    let _: () = setting.ask(&["HDEL", "_amqp.exchanges", "other"]).await;
    for body in ["1", "2"] {
        assert_eq!(client.publish("other", "", body).await, Published::Routed);
        assert_eq!(kombu.next("heard").await.message.body, body);
    }
    assert_eq!(setting.ask::<u32>(&["EXISTS", "bcast.2", "heard"]).await, 0);
}

/// Nobody consumes: the oldest messages are dropped.
#[tokio::test]
async fn a_queue_on_a_fanout_exchange_keeps_16_mib() {
    let Some(setting) = Setting::new("a_queue_on_a_fanout_exchange_keeps_16_mib").await else { return };
    let mut client = setting.open().await;
    client.exchange("f", ExchangeKind::Fanout).await;
    client.declare("q", &[]).await;
    client.bind("f", "", "q").await;
    const LENGTH: usize = 1 << 20;
    for number in 0..20 {
        let body = format!("{number:02}{}", "x".repeat(LENGTH));
        assert_eq!(client.publish("f", "", &body).await, Published::Routed);
    }
    client.watch("q").await;
    let mut kept = Vec::new();
    while kept.last() != Some(&19) {
        let next = client.next("q").await.message.body;
        kept.push(std::str::from_utf8(&next[..2]).unwrap().parse::<usize>().unwrap());
    }
    // An item is a third larger than its body.
    let most = (16 << 20) / LENGTH;
    assert!((most / 2..most).contains(&kept.len()), "{kept:?}");
    assert!(kept.iter().copied().eq(20 - kept.len()..20), "{kept:?}");
}

#[tokio::test]
async fn kombu_of_an_old_version_hears_on_its_channel_what_is_published_here() {
    let test = "kombu_of_an_old_version_hears_on_its_channel_what_is_published_here";
    let compatible = |options: crate::redis::RedisOptions| options.sentinel_fanout_compat(true);
    let Some(setting) = Setting::with(test, compatible).await else { return };
    let kombu = redis::Client::open(setting.server.url()).unwrap();
    let mut kombu = kombu.get_async_pubsub().await.unwrap();
    kombu.subscribe("/{db}.f").await.unwrap();
    let mut client = setting.open().await;
    client.exchange("f", ExchangeKind::Fanout).await;
    client.publish("f", "", "m").await;
    let mut messages = std::pin::pin!(kombu.into_on_message());
    let heard = std::future::poll_fn(|context| messages.as_mut().poll_next(context));
    let heard = timeout(Duration::from_secs(60), heard).await.expect("a message").unwrap();
    assert_eq!(heard.get_channel_name(), "/{db}.f");
}

/// A publisher might send again what is told as unroutable.
#[tokio::test]
async fn what_kombu_of_an_old_version_alone_hears_is_routed() {
    let test = "what_kombu_of_an_old_version_alone_hears_is_routed";
    let compatible = |options: crate::redis::RedisOptions| options.sentinel_fanout_compat(true);
    let Some(setting) = Setting::with(test, compatible).await else { return };
    let _: () = setting.ask(&["SADD", "_kombu.binding.undeclared", "\x06\x16\x06\x16bcast.1"]).await;
    let mut client = setting.open().await;
    client.exchange("declared", ExchangeKind::Fanout).await;
    assert_eq!(client.publish("declared", "", "nobody").await, Published::Unroutable);
    let kombu = redis::Client::open(setting.server.url()).unwrap();
    let mut kombu = kombu.get_async_pubsub().await.unwrap();
    for exchange in ["undeclared", "declared"] {
        kombu.subscribe(format!("/{{db}}.{exchange}")).await.unwrap();
        assert_eq!(client.publish(exchange, "", "m").await, Published::Routed, "{exchange}");
    }
    assert_eq!(setting.ask::<u32>(&["EXISTS", "bcast.1"]).await, 0, "it is no direct exchange");
}

#[tokio::test]
async fn a_queue_that_one_link_leaves_stays_for_the_other_that_has_bound_it() {
    let test = "a_queue_that_one_link_leaves_stays_for_the_other_that_has_bound_it";
    let Some(setting) = Setting::new(test).await else { return };
    let (mut client, mut other) = (setting.open().await, setting.open().await);
    client.exchange("f", ExchangeKind::Fanout).await;
    for client in [&mut client, &mut other] {
        client.bind("f", "", "q").await;
    }
    client.link.leave_queue("q").await.unwrap();
    assert_eq!(client.publish("f", "", "m").await, Published::Routed);
    other.watch("q").await;
    assert_eq!(other.next("q").await.message.body, "m");
}

#[tokio::test]
async fn a_fanout_queue_is_purged_and_unbound_like_others() {
    let Some(setting) = Setting::new("a_fanout_queue_is_purged_and_unbound_like_others").await else {
        return;
    };
    let mut client = setting.open().await;
    client.exchange("f", ExchangeKind::Fanout).await;
    client.declare("q", &[]).await;
    for key in ["a", "b"] {
        client.bind("f", key, "q").await;
        assert_eq!(client.publish("f", key, key).await, Published::Routed);
    }
    while client.link.find_queue("q").await.unwrap() < 2 {}
    assert_eq!(client.link.purge_queue("q").await, Ok(2));
    assert_eq!(client.link.find_queue("q").await, Ok(0));
    client.link.unbind(&binding("f", "a", "q")).await.unwrap();
    assert_eq!(client.publish("f", "a", "no").await, Published::Unroutable);
    assert_eq!(client.publish("f", "b", "yes").await, Published::Routed);
    client.link.delete_exchange("f", false).await.unwrap();
    assert_eq!(setting.ask::<u32>(&["PUBSUB", "NUMPAT"]).await, 0);
}
