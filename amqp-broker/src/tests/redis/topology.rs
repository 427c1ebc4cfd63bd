//! Exchanges, queues and bindings.

use super::support::{Client, Setting, binding, bodies, exchange, message, queue};
use crate::{
    backend::{BackendError, ExchangeKind, Link, Published, QueueDeclaration, Settlement, Source},
    redis::RedisOptions,
};

#[tokio::test]
async fn topics_route_by_the_rules_of_amqp_and_are_written_for_kombu() {
    let test = "topics_route_by_the_rules_of_amqp_and_are_written_for_kombu";
    let Some(setting) = Setting::new(test).await else { return };
    let mut client = setting.open().await;
    client.exchange("t", ExchangeKind::Topic).await;
    client.bind("t", "stock.*.nyse.#", "q").await;
    client.bind("t", "a.#", "p").await;
    for (key, routed) in [("stock.x.nyse", true), ("stock.x.y.nyse", false), ("a", true), ("b", false)] {
        let expected = if routed { Published::Routed } else { Published::Unroutable };
        assert_eq!(client.publish("t", key, key).await, expected, "{key}");
    }
    let members: Vec<String> = setting.ask(&["SMEMBERS", "_kombu.binding.t"]).await;
    let written = r"stock.*.nyse.#[SEP]^stock\.[^\.]+\.nyse\..*?$[SEP]q".replace("[SEP]", "\x06\x16");
    assert!(members.contains(&written), "{members:?}");
}

#[tokio::test]
async fn an_exchange_of_kombu_alone_is_known_by_its_bindings() {
    let test = "an_exchange_of_kombu_alone_is_known_by_its_bindings";
    let Some(setting) = Setting::new(test).await else { return };
    let mut client = setting.open().await;
    assert!(matches!(
        client.publish("celery", "celery", "m").await,
        Published::Refused(BackendError::NotFound(_))
    ));
    let _: () = setting.ask(&["SADD", "_kombu.binding.celery", "celery\x06\x16\x06\x16celery"]).await;
    // Redis tells of the change; a publish that comes before the news is refused once more.
    while client.publish("celery", "celery", "m").await != Published::Routed {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert_eq!(client.link.find_queue("celery").await.unwrap(), 1);
    client.link.find_exchange("celery").await.unwrap();
}

#[tokio::test]
async fn an_exchange_keeps_its_kind() {
    let Some(setting) = Setting::new("an_exchange_keeps_its_kind").await else { return };
    let mut client = setting.open().await;
    client.exchange("x", ExchangeKind::Direct).await;
    client.exchange("x", ExchangeKind::Direct).await;
    let refused = client.link.declare_exchange(&exchange("x", ExchangeKind::Fanout)).await.unwrap_err();
    let text =
        "inequivalent arg 'type' for exchange 'x' in vhost '/': received 'fanout' but current is 'direct'";
    assert_eq!(refused, BackendError::PreconditionFailed(text.to_owned()));
    client.bind("x", "k", "q").await;
    let used = client.link.delete_exchange("x", true).await;
    assert!(matches!(used, Err(BackendError::PreconditionFailed(_))));
    client.link.delete_exchange("x", false).await.unwrap();
    assert!(matches!(client.link.find_exchange("x").await, Err(BackendError::NotFound(_))));
    let keys: Vec<String> = setting.ask(&["KEYS", "_*"]).await;
    assert!(keys.is_empty(), "{keys:?}");
    client.exchange("x", ExchangeKind::Fanout).await;
}

#[tokio::test]
async fn a_queue_that_expires_leaves_nothing_for_ever() {
    let Some(setting) = Setting::new("a_queue_that_expires_leaves_nothing_for_ever").await else { return };
    let mut client = setting.open().await;
    client.exchange("x", ExchangeKind::Direct).await;
    client.declare("q", &[("x-expires", 60_000.into())]).await;
    client.bind("x", "q", "q").await;
    client.publish("x", "q", "one").await;
    let left: i64 = setting.ask(&["PTTL", "q"]).await;
    assert!((1..=60_000).contains(&left), "{left}");
    assert_eq!(setting.ask::<u32>(&["EXISTS", "_kombu.binding_permanent.x"]).await, 0);
    assert_eq!(setting.ask::<u32>(&["ZCARD", "_kombu.binding_deadlines"]).await, 1);

    for priority in [3, 6, 9] {
        publish_with(&mut client, priority).await;
    }
    Lists(&setting).age().await;
    client.declare("q", &[]).await;
    for list in Lists::NAMES {
        let left = setting.ask::<i64>(&["PTTL", list]).await;
        assert_eq!(left, -1, "a declaration without it clears that of {list:?}");
    }
    client.publish("x", "q", "two").await;
    publish_with(&mut client, 9).await;
    for list in Lists::NAMES {
        assert_eq!(setting.ask::<i64>(&["PTTL", list]).await, -1, "{list:?}");
    }
}

/// Publishes the number of a priority with that priority.
async fn publish_with(client: &mut Client, priority: u8) {
    let mut message = message("", "q", &priority.to_string());
    message.properties.priority = Some(priority);
    client.link.publish(&[message]).await.unwrap();
}

/// The lists of a queue that expires after 600 seconds.
struct Lists<'a>(&'a Setting);

impl Lists<'_> {
    const NAMES: [&'static str; 4] = ["q", "q\x06\x163", "q\x06\x166", "q\x06\x169"];

    /// The time passes.
    async fn age(&self) {
        for list in Self::NAMES {
            assert_eq!(self.0.ask::<u32>(&["PEXPIRE", list, "60000"]).await, 1, "{list:?} is there");
        }
    }

    async fn are_renewed_by(&self, what: &str) {
        for list in Self::NAMES {
            let left: i64 = self.0.ask(&["PTTL", list]).await;
            assert!((60_001..=600_000).contains(&left), "{left} ms are left of {list:?} after {what}");
        }
    }
}

/// A message waits in each list, and the queue is used in each way.
async fn all_lists_expire_together(test: &str, scripting: bool) {
    let Some(setting) = Setting::with(test, |options| options.scripting(scripting)).await else { return };
    let (mut client, lists) = (setting.open().await, Lists(&setting));
    client.declare("q", &[("x-expires", 600_000.into())]).await;
    for priority in [0, 0, 0, 3, 6, 9] {
        publish_with(&mut client, priority).await;
    }
    lists.age().await;
    publish_with(&mut client, 0).await;
    lists.are_renewed_by("a publish").await;

    lists.age().await;
    let claimed = client.claim("q", 1).await.pop().unwrap();
    lists.are_renewed_by("a get").await;
    lists.age().await;
    client.link.settle(vec![(claimed.claim.unwrap(), Settlement::Requeue)]).await.unwrap();
    lists.are_renewed_by("a requeue").await;
    lists.age().await;
    let got = client.link.claim(&[Source { queue: "q", no_ack: true, most: 1 }]).await.unwrap();
    assert_eq!(bodies(&got), ["0"]);
    lists.are_renewed_by("a get without acknowledgement").await;

    let retry = [
        ("x-message-ttl", 1.into()),
        ("x-dead-letter-exchange", "".into()),
        ("x-dead-letter-routing-key", "q".into()),
    ];
    client.declare("later", &retry).await;
    lists.age().await;
    client.publish("", "later", "again").await;
    while setting.ask::<u32>(&["LLEN", "q"]).await < 4 {}
    lists.are_renewed_by("a message that was due").await;
}

#[tokio::test]
async fn the_messages_of_all_priorities_expire_together() {
    all_lists_expire_together("the_messages_of_all_priorities_expire_together", true).await;
}

#[tokio::test]
async fn without_scripts_the_messages_of_all_priorities_expire_together() {
    let test = "without_scripts_the_messages_of_all_priorities_expire_together";
    all_lists_expire_together(test, false).await;
}

#[tokio::test]
async fn only_queues_that_expire_cost_further_commands() {
    let Some(setting) = Setting::new("only_queues_that_expire_cost_further_commands").await else { return };
    // Nobody restores claims, for which the lock is renewed.
    let _: () = setting.ask(&["SET", "unacked_mutex", "another's token"]).await;
    let mut client = setting.open().await;
    let own = QueueDeclaration { exclusive: true, ..queue("own", &[]) };
    for declared in [queue("plain", &[]), own, queue("brief", &[("x-expires", 600_000.into())])] {
        client.link.declare_queue(&declared).await.unwrap();
    }
    for (queue, published, got) in [("plain", 0, 0), ("own", 1, 0), ("brief", 4, 4)] {
        let _: () = setting.ask(&["CONFIG", "RESETSTAT"]).await;
        client.publish("", queue, "m").await;
        assert_eq!(expiries(&setting).await, published, "{queue}");
        assert_eq!(client.claim(queue, 1).await.len(), 1);
        assert_eq!(expiries(&setting).await, published + got, "{queue}");
    }
}

/// Returns how many times to live were set.
async fn expiries(setting: &Setting) -> u32 {
    let stats: String = setting.ask(&["INFO", "commandstats"]).await;
    let calls = || stats.split_once("cmdstat_pexpire:calls=")?.1.split(',').next();
    calls().map_or(0, |calls| calls.parse().unwrap())
}

#[tokio::test]
async fn a_deleted_queue_leaves_no_key() {
    let Some(setting) = Setting::new("a_deleted_queue_leaves_no_key").await else { return };
    let (mut client, watcher) = (setting.open().await, setting.open().await);
    let mut watcher = watcher;
    client.exchange("x", ExchangeKind::Direct).await;
    client.declare("q", &[]).await;
    client.bind("x", "k", "q").await;
    for priority in ["1", "2"] {
        client.publish("x", "k", priority).await;
    }
    watcher.watch("q").await;
    assert_eq!(client.link.purge_queue("q").await.unwrap(), 2);
    client.publish("x", "k", "3").await;
    assert_eq!(client.link.delete_queue("q").await.unwrap(), 1);
    while !watcher.wakes.next().await.deleted.contains("q") {}
    assert!(matches!(client.link.find_queue("q").await, Err(BackendError::NotFound(_))));
    assert!(matches!(client.link.watch("q").await, Err(BackendError::NotFound(_))));
    let keys: Vec<String> = setting.ask(&["KEYS", "[_q]*"]).await;
    assert_eq!(keys, ["_amqp.exchanges"]);
}

#[tokio::test]
async fn an_unbound_queue_gets_nothing_more() {
    let Some(setting) = Setting::new("an_unbound_queue_gets_nothing_more").await else { return };
    let mut client = setting.open().await;
    client.exchange("x", ExchangeKind::Direct).await;
    client.bind("x", "k", "q").await;
    client.link.unbind(&binding("x", "k", "q")).await.unwrap();
    assert_eq!(client.publish("x", "k", "m").await, Published::Unroutable);
    assert!(client.claim("q", 1).await.is_empty());
    let keys: Vec<String> = setting.ask(&["KEYS", "_kombu*"]).await;
    assert!(keys.is_empty(), "{keys:?}");
}

#[tokio::test]
async fn arguments_that_are_not_served_are_refused_by_name() {
    let Some(setting) = Setting::new("arguments_that_are_not_served_are_refused_by_name").await else {
        return;
    };
    let mut client = setting.open().await;
    let refused = client.link.declare_queue(&queue("q", &[("x-max-length", 5.into())])).await.unwrap_err();
    assert!(
        matches!(&refused, BackendError::NotImplemented(text) if text.contains("x-max-length")),
        "{refused}"
    );
    let mut internal = exchange("x", ExchangeKind::Direct);
    internal.internal = true;
    assert!(matches!(client.link.declare_exchange(&internal).await, Err(BackendError::NotImplemented(_))));
    let keys: Vec<String> = setting.ask(&["KEYS", "_*"]).await;
    assert!(keys.is_empty(), "{keys:?}");
}

#[tokio::test]
async fn priorities_are_kombus_steps() {
    let Some(setting) = Setting::new("priorities_are_kombus_steps").await else { return };
    let mut client = setting.open().await;
    for priority in [9, 5, 0, 2, 6] {
        publish_with(&mut client, priority).await;
    }
    let mut keys: Vec<String> = setting.ask(&["KEYS", "q*"]).await;
    keys.sort();
    assert_eq!(keys, ["q", "q\x06\x163", "q\x06\x166", "q\x06\x169"]);
    assert_eq!(bodies(&client.claim("q", 9).await), ["0", "2", "5", "6", "9"]);
}

#[tokio::test]
async fn a_deleted_queue_leaves_no_binding_on_exchanges_that_kombu_alone_has_declared() {
    let test = "a_deleted_queue_leaves_no_binding_on_exchanges_that_kombu_alone_has_declared";
    let prefixed = |options: RedisOptions| options.global_keyprefix("a[1]*:");
    let Some(setting) = Setting::with(test, prefixed).await else { return };
    let mut pipeline = redis::pipe();
    for exchange in 0..1500 {
        for table in ["binding", "binding_permanent"] {
            let key = format!("a[1]*:_kombu.{table}.x{exchange}");
            pipeline.cmd("SADD").arg(key).arg("k\x06\x16\x06\x16q").arg("k\x06\x16\x06\x16other").ignore();
        }
    }
    pipeline.cmd("SADD").arg("a1:_kombu.binding.x").arg("k\x06\x16\x06\x16q").ignore();
    pipeline.exec_async(&mut setting.plain.clone()).await.unwrap();
    let mut client = setting.open().await;
    client.declare("q", &[]).await;
    client.link.delete_queue("q").await.unwrap();
    for (key, left) in [
        ("a[1]*:_kombu.binding.x0", 1),
        ("a[1]*:_kombu.binding.x1499", 1),
        ("a[1]*:_kombu.binding_permanent.x7", 1),
        ("a1:_kombu.binding.x", 1),
    ] {
        assert_eq!(setting.ask::<u32>(&["SCARD", key]).await, left, "{key}");
    }
    let of_others: Vec<String> = setting.ask(&["SMEMBERS", "a1:_kombu.binding.x"]).await;
    assert_eq!(of_others, ["k\x06\x16\x06\x16q"], "another prefix");
}

/// As with kombu, nothing of the queue is left after a reply that another would stumble over.
#[tokio::test]
async fn a_reply_queue_leaves_neither_lists_nor_bindings() {
    let Some(setting) = Setting::new("a_reply_queue_leaves_neither_lists_nor_bindings").await else { return };
    let mut client = setting.open().await;
    let (exchange, queue) = ("reply.celery.pidbox", "1f2e.reply.celery.pidbox");
    client.exchange(exchange, ExchangeKind::Direct).await;
    client.bind(exchange, "kept", "other.reply.celery.pidbox").await;
    client.declare(queue, &[("x-expires", 10_000.into())]).await;
    client.bind(exchange, "1f2e", queue).await;
    for priority in [0, 3, 6, 9] {
        let mut reply = message(exchange, "1f2e", "pong");
        reply.properties.priority = Some(priority);
        assert_eq!(client.link.publish(&[reply]).await.unwrap(), [Published::Routed]);
    }
    let members: Vec<String> = setting.ask(&["SMEMBERS", "_kombu.binding.reply.celery.pidbox"]).await;
    assert_eq!(members.len(), 2, "{members:?}");
    assert_eq!(setting.ask::<Vec<String>>(&["KEYS", "1f2e*"]).await.len(), 4);
    assert_eq!(client.link.delete_queue(queue).await, Ok(4));
    assert_eq!(setting.ask::<Vec<String>>(&["KEYS", "1f2e*"]).await, [""; 0]);
    for table in ["binding", "binding_permanent"] {
        let key = format!("_kombu.{table}.reply.celery.pidbox");
        let members: Vec<String> = setting.ask(&["SMEMBERS", &key]).await;
        assert_eq!(members, ["kept\x06\x16\x06\x16other.reply.celery.pidbox"], "{key}");
    }
    // A late reply makes no list.
    assert_eq!(client.publish("", queue, "late").await, Published::Unroutable);
    assert_eq!(setting.ask::<u32>(&["EXISTS", queue]).await, 0);
}

/// Kombu sets no time to live where others push to its queue for replies.
#[tokio::test]
async fn the_lists_of_kombus_reply_queues_live_for_an_hour() {
    let Some(setting) = Setting::new("the_lists_of_kombus_reply_queues_live_for_an_hour").await else {
        return;
    };
    let mut client = setting.open().await;
    for queue in ["1f2e.reply.celery.pidbox", "w1.celery.pidbox", "1f2e.reply"] {
        client.publish("", queue, "pong").await;
    }
    let left: i64 = setting.ask(&["PTTL", "1f2e.reply.celery.pidbox"]).await;
    assert!((3_500_000..=3_600_000).contains(&left), "{left}");
    for queue in ["w1.celery.pidbox", "1f2e.reply"] {
        assert_eq!(setting.ask::<i64>(&["PTTL", queue]).await, -1, "{queue}");
    }
}

#[tokio::test]
async fn lists_that_were_there_before_expire_with_their_queue() {
    let test = "lists_that_were_there_before_expire_with_their_queue";
    let Some(setting) = Setting::new(test).await else { return };
    let lists = ["q", "q\x06\x163", "q\x06\x166", "q\x06\x169"];
    for list in lists {
        let _: u32 = setting.ask(&["LPUSH", list, "garbage"]).await;
    }
    setting.open().await.declare("q", &[("x-expires", 60_000.into())]).await;
    for list in lists {
        assert!(setting.ask::<i64>(&["PTTL", list]).await > 0, "{list}");
    }
}

#[tokio::test]
async fn a_deleted_queue_is_known_as_such_for_a_minute_at_least() {
    let test = "a_deleted_queue_is_known_as_such_for_a_minute_at_least";
    let Some(setting) = Setting::new(test).await else { return };
    let mut client = setting.open().await;
    client.declare("brief", &[("x-expires", 1000.into())]).await;
    client.link.delete_queue("brief").await.unwrap();
    let left: i64 = setting.ask(&["PTTL", "_amqp.queue.brief"]).await;
    assert!((1001..=60_000).contains(&left), "{left}");
}

/// Kombu claims messages by their delivery tags: two with the same one would be one claim.
#[tokio::test]
async fn a_message_for_several_queues_has_a_tag_of_its_own_in_each() {
    let test = "a_message_for_several_queues_has_a_tag_of_its_own_in_each";
    let Some(setting) = Setting::new(test).await else { return };
    let mut client = setting.open().await;
    client.exchange("x", ExchangeKind::Direct).await;
    client.declare("brief", &[("x-message-ttl", 60_000.into())]).await;
    for queue in ["a", "b", "brief"] {
        client.bind("x", "k", queue).await;
    }
    client.publish("x", "k", "m").await;
    let mut tags = std::collections::BTreeSet::new();
    for queue in ["a", "b", "brief"] {
        let items: Vec<String> = setting.ask(&["LRANGE", queue, "0", "-1"]).await;
        tags.extend(items[0].split(r#""delivery_tag":""#).nth(1).map(|tag| tag[..36].to_owned()));
    }
    assert_eq!(tags.len(), 3, "{tags:?}");
}
