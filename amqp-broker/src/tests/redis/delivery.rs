//! From a publish to a settled message.

use super::support::{Client, Setting, bodies, message, without_looks};
use crate::{
    backend::{ExchangeKind, Link, Published, Settlement, Source},
    redis::{Redis, RedisOptions},
};

#[tokio::test]
async fn a_message_is_published_claimed_and_settled() {
    let Some(setting) = Setting::new("a_message_is_published_claimed_and_settled").await else { return };
    let mut client = setting.open().await;
    client.exchange("x", ExchangeKind::Direct).await;
    assert_eq!(client.declare("q", &[]).await, 0);
    client.bind("x", "k", "q").await;
    assert_eq!(setting.ask::<Vec<String>>(&["SMEMBERS", "_kombu.binding.x"]).await, ["k\x06\x16\x06\x16q"]);
    assert_eq!(
        setting.ask::<Vec<String>>(&["SMEMBERS", "_kombu.binding_permanent.x"]).await,
        ["k\x06\x16\x06\x16q"]
    );

    assert_eq!(client.publish("x", "k", "one").await, Published::Routed);
    assert_eq!(client.publish("x", "other", "lost").await, Published::Unroutable);
    assert_eq!(client.declare("q", &[]).await, 1);
    let mut claimed = client.claim("q", 10).await;
    assert_eq!(bodies(&claimed), ["one"]);
    let one = claimed.pop().unwrap();
    assert_eq!((one.message.exchange.as_str(), one.message.routing_key.as_str()), (Ok("x"), Ok("k")));
    assert!(!one.redelivered);
    assert_eq!(setting.ask::<u32>(&["HLEN", "unacked"]).await, 1);
    assert_eq!(setting.ask::<u32>(&["ZCARD", "unacked_index"]).await, 1);

    let settled = client.link.settle(vec![(one.claim.unwrap(), Settlement::Ack)]).await.unwrap();
    assert_eq!(settled, 0, "none was returned by others");
    assert_eq!(setting.ask::<u32>(&["EXISTS", "unacked", "unacked_index", "q"]).await, 0);
}

#[tokio::test]
async fn a_waiting_consumer_is_woken_without_a_pop() {
    let test = "a_waiting_consumer_is_woken_without_a_pop";
    let Some(setting) = Setting::with(test, without_looks).await else { return };
    let other = Redis::new(RedisOptions::parse(&setting.server.url()).unwrap());
    let (mut consumer, mut producer) = (setting.open().await, Client::open(&other).await);
    consumer.watch("q").await;
    for body in ["one", "two", "three"] {
        let (claimed, published) = tokio::join!(consumer.next("q"), producer.publish("", "q", body));
        assert_eq!(published, Published::Routed);
        assert_eq!(claimed.message.body, body);
    }
    let stats: String = setting.ask(&["INFO", "commandstats"]).await;
    for pop in ["blpop", "brpop", "brpoplpush", "blmove", "blmpop", "bzpopmin"] {
        assert!(!stats.contains(&format!("cmdstat_{pop}:")), "{stats}");
    }
}

#[tokio::test]
async fn messages_without_acknowledgement_leave_no_claims() {
    let Some(setting) = Setting::new("messages_without_acknowledgement_leave_no_claims").await else {
        return;
    };
    let mut client = setting.open().await;
    client.publish("", "q", "one").await;
    let claimed = client.link.claim(&[Source { queue: "q", no_ack: true, most: 5 }]).await.unwrap();
    assert_eq!(bodies(&claimed), ["one"]);
    assert!(claimed[0].claim.is_none());
    assert_eq!(setting.ask::<u32>(&["EXISTS", "unacked", "unacked_index", "q"]).await, 0);
}

#[tokio::test]
async fn a_batch_keeps_its_order_and_ends_with_what_is_refused() {
    let Some(setting) = Setting::new("a_batch_keeps_its_order_and_ends_with_what_is_refused").await else {
        return;
    };
    let mut client = setting.open().await;
    let batch =
        [message("", "q", "1"), message("", "p", "2"), message("", "q", "3"), message("nowhere", "k", "4")];
    let published = client.link.publish(&[&batch[..], &[message("", "q", "5")]].concat()).await.unwrap();
    assert_eq!(published[..3], [const { Published::Routed }; 3]);
    assert!(matches!(published[3], Published::Refused(_)));
    assert_eq!(published.len(), 4);
    assert_eq!(bodies(&client.claim("q", 9).await), ["1", "3"]);
}

/// A confirm means that Redis has the message. Others of the same batch have theirs.
#[tokio::test]
async fn what_redis_refuses_is_not_confirmed() {
    let Some(setting) = Setting::new("what_redis_refuses_is_not_confirmed").await else { return };
    let mut client = setting.open().await;
    let _: () = setting.ask(&["SET", "taken", "no list"]).await;
    let batch = [message("", "q", "one"), message("", "taken", "two"), message("", "q", "three")];
    let published = client.link.publish(&batch).await.unwrap();
    assert_eq!(published, [Published::Routed, Published::Rejected, Published::Routed]);
    let _: () = setting.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_eq!(client.publish("", "q", "four").await, Published::Rejected);
    let _: () = setting.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
    assert_eq!(bodies(&client.claim("q", 9).await), ["one", "three"]);
}

/// As by kombu's pops: all lists of one priority come before those of the next.
#[tokio::test]
async fn a_priority_counts_in_all_queues_of_a_link() {
    let Some(setting) = Setting::new("a_priority_counts_in_all_queues_of_a_link").await else { return };
    for scripting in [true, false] {
        let options: RedisOptions = setting.server.url().parse().unwrap();
        let mut client = Client::open(&Redis::new(options.scripting(scripting))).await;
        for (queue, priority) in [("a", 9), ("b", 3), ("a", 0), ("b", 6)] {
            let mut message = message("", queue, &priority.to_string());
            message.properties.priority = Some(priority);
            client.link.publish(&[message]).await.unwrap();
        }
        let sources = ["a", "b"].map(|queue| Source { queue, no_ack: true, most: 9 });
        let claimed = client.link.claim(&sources).await.unwrap();
        assert_eq!(bodies(&claimed), ["0", "3", "6", "9"], "scripting: {scripting}");
    }
}
