//! Claims: returned, lost, lapsed.

use super::support::{Setting, bodies};
use crate::backend::{Link, Settlement};

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
async fn what_others_have_returned_is_told_when_it_is_settled() {
    let Some(setting) = Setting::new("what_others_have_returned_is_told_when_it_is_settled").await else {
        return;
    };
    let mut client = setting.open().await;
    client.publish("", "q", "one").await;
    let mut claimed = client.claim("q", 1).await;
    let _: () = setting.ask(&["DEL", "unacked", "unacked_index"]).await;
    for settlement in [Settlement::Ack] {
        let claim = claimed.pop().unwrap().claim.unwrap();
        assert_eq!(client.link.settle(vec![(claim, settlement)]).await.unwrap(), 1);
    }
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
