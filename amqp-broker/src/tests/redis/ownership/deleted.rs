//! Messages that are sent to queues that were deleted.

use super::{Client, Setting, queue};
use crate::{
    backend::{Link, Published, QueueDeclaration, Settlement},
    redis::Redis,
};

#[tokio::test]
async fn late_replies_are_unroutable_and_fill_no_list() {
    let Some(setting) = Setting::new("late_replies_are_unroutable_and_fill_no_list").await else { return };
    let elsewhere = Redis::new(setting.server.url().parse().unwrap());
    let (mut client, mut other) = (setting.open().await, Client::open(&elsewhere).await);
    let exclusive = QueueDeclaration { exclusive: true, ..queue("replies", &[]) };
    let expiring = queue("replies", &[("x-expires", 60_000.into())]);
    for (declared, longest) in [(exclusive, 3_600_000), (expiring, 60_000)] {
        client.link.declare_queue(&declared).await.unwrap();
        assert_eq!(other.publish("", "replies", "in time").await, Published::Routed);
        assert_eq!(client.link.delete_queue("replies").await.unwrap(), 1);
        assert_eq!(client.publish("", "replies", "late").await, Published::Unroutable);
        assert!(client.link.find_queue("replies").await.is_err());
        // Redis tells others of the change; the reply before the news reaches a list that expires.
        while other.publish("", "replies", "late").await != Published::Unroutable {
            assert!(setting.ask::<i64>(&["PTTL", "replies"]).await > 0);
        }
        let _: () = setting.ask(&["DEL", "replies"]).await;
        assert_eq!(client.link.delete_queue("replies").await.unwrap(), 0);
        let left: i64 = setting.ask(&["PTTL", "_amqp.queue.replies"]).await;
        assert!((longest - 59_000..=longest).contains(&left), "{left}");
    }
    // A queue of this name is a new one.
    other.link.declare_queue(&queue("replies", &[])).await.unwrap();
    while client.publish("", "replies", "again").await != Published::Routed {}
    assert_eq!(setting.ask::<i64>(&["PTTL", "replies"]).await, -1);
}

#[tokio::test]
async fn a_list_needs_no_declaration() {
    let Some(setting) = Setting::new("a_list_needs_no_declaration").await else { return };
    let mut client = setting.open().await;
    assert_eq!(client.publish("", "of kombu", "one").await, Published::Routed);
    client.declare("q", &[]).await;
    client.link.delete_queue("q").await.unwrap();
    assert_eq!(client.publish("", "q", "for whoever of kombu waits for it").await, Published::Routed);
}

#[tokio::test]
async fn whoever_binds_a_deleted_queue_gets_its_messages() {
    let test = "whoever_binds_a_deleted_queue_gets_its_messages";
    let Some(setting) = Setting::new(test).await else { return };
    let mut client = setting.open().await;
    client.declare("q", &[("x-expires", 60_000.into())]).await;
    client.link.delete_queue("q").await.unwrap();
    let _: () = setting.ask(&["SADD", "_kombu.binding.d", "k\x06\x16\x06\x16q"]).await;
    assert_eq!(client.publish("d", "k", "by kombu's binding").await, Published::Routed);
}

#[tokio::test]
async fn messages_cost_no_command_more() {
    let Some(setting) = Setting::new("messages_cost_no_command_more").await else { return };
    let (mut client, mut other) = (setting.open().await, setting.open().await);
    client.link.declare_queue(&QueueDeclaration { exclusive: true, ..queue("q", &[]) }).await.unwrap();
    client.watch("q").await;
    for round in 0..2 {
        other.publish("", "q", "m").await;
        let claimed = client.next("q").await;
        client.link.settle(vec![(claimed.claim.unwrap(), Settlement::Ack)]).await.unwrap();
        let used: String = setting.ask(&["INFO", "commandstats"]).await;
        // The record of the declaration is read once.
        for command in ["cmdstat_get:", "cmdstat_watch:", "cmdstat_client"] {
            assert!(round == 0 || !used.contains(command), "{used}");
        }
        let _: () = setting.ask(&["CONFIG", "RESETSTAT"]).await;
    }
}
