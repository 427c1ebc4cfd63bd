//! Servers that run no scripts.

use super::super::{
    server::RedisServer,
    support::{Client, Setting, bodies},
};
use crate::{
    backend::{Link, Settlement, Source},
    redis::Redis,
};

/// A login that may do everything except running scripts.
async fn forbid_scripts(setting: &Setting) {
    let _: () = setting.ask(&["ACL", "SETUSER", "default", "-@scripting"]).await;
}

#[tokio::test]
async fn without_scripts_transactions_do_the_same() {
    let Some(setting) = Setting::new("without_scripts_transactions_do_the_same").await else { return };
    forbid_scripts(&setting).await;
    let mut client = setting.open().await;
    for body in ["1", "2", "3", "4"] {
        client.publish("", "q", body).await;
    }
    let _: () = setting.ask(&["RPUSH", "q", "garbage"]).await;
    let claimed = client.claim("q", 3).await;
    assert_eq!(bodies(&claimed), ["1", "2"]);
    assert_eq!(setting.ask::<Vec<String>>(&["LRANGE", "q.undecodable", "0", "-1"]).await, ["garbage"]);
    assert_eq!(setting.ask::<u32>(&["HLEN", "unacked"]).await, 2);
    assert_eq!(setting.ask::<u32>(&["ZCARD", "unacked_index"]).await, 2);
    let requeues = claimed.into_iter().rev().map(|claimed| (claimed.claim.unwrap(), Settlement::Requeue));
    assert_eq!(client.link.settle(requeues.collect()).await.unwrap(), 0);
    let again = client.claim("q", 9).await;
    assert_eq!(bodies(&again), ["1", "2", "3", "4"]);
    let acks = again.into_iter().map(|claimed| (claimed.claim.unwrap(), Settlement::Ack));
    assert_eq!(client.link.settle(acks.collect()).await.unwrap(), 0);
    assert_eq!(setting.ask::<u32>(&["EXISTS", "unacked", "unacked_index", "q"]).await, 0);
}

#[tokio::test]
async fn transactions_of_several_consumers_take_each_message_once() {
    let test = "transactions_of_several_consumers_take_each_message_once";
    let Some(setting) = Setting::new(test).await else { return };
    forbid_scripts(&setting).await;
    let mut producer = setting.open().await;
    let numbers: Vec<_> = (0..60).map(|number| number.to_string()).collect();
    for number in &numbers {
        producer.publish("", "q", number).await;
    }
    let mut consumers = Vec::new();
    for _ in 0..3 {
        let mut consumer = setting.open().await;
        consumers.push(tokio::spawn(async move {
            let mut taken = Vec::new();
            loop {
                match consumer.claim("q", 1).await.pop() {
                    Some(claimed) => taken.push(claimed),
                    None => return (consumer, taken),
                }
            }
        }));
    }
    let (mut all, mut links) = (Vec::new(), Vec::new());
    for consumer in consumers {
        let (link, taken) = consumer.await.unwrap();
        links.push(link);
        all.extend(bodies(&taken).into_iter().map(str::to_owned));
    }
    all.sort_by_key(|body| body.parse::<u32>().unwrap());
    assert_eq!(all, numbers);
    assert_eq!(setting.ask::<u32>(&["HLEN", "unacked"]).await, 60);
}

#[tokio::test]
async fn transactions_use_their_connections_again() {
    let Some(setting) = Setting::new("transactions_use_their_connections_again").await else { return };
    forbid_scripts(&setting).await;
    let mut client = setting.open().await;
    let opened = async || -> u32 {
        let stats: String = setting.ask(&["INFO", "stats"]).await;
        let count = stats.split_once("total_connections_received:").unwrap().1;
        count.lines().next().unwrap().parse().unwrap()
    };
    let dead = [
        ("x-message-ttl", 1.into()),
        ("x-dead-letter-exchange", "".into()),
        ("x-dead-letter-routing-key", "q".into()),
    ];
    client.declare("later", &dead).await;
    client.watch("q").await;
    client.publish("", "later", "m").await;
    let first = client.next("q").await;
    client.link.settle(vec![(first.claim.unwrap(), Settlement::Requeue)]).await.unwrap();
    let before = opened().await;
    for settlement in [Settlement::Requeue, Settlement::Reject, Settlement::Ack].repeat(5) {
        client.publish("", "later", "m").await;
        let claim = client.next("q").await.claim.unwrap();
        assert_eq!(client.link.settle(vec![(claim, settlement)]).await, Ok(0));
    }
    // As many at most as may run at once.
    let more = opened().await - before;
    assert!(more <= 4, "{more} more connections");
}

#[tokio::test]
async fn a_server_whose_commands_for_scripts_have_other_names_will_do() {
    let test = "a_server_whose_commands_for_scripts_have_other_names_will_do";
    let renamed = [
        ["--rename-command", "EVAL", "HIDDEN-EVAL"],
        ["--rename-command", "EVALSHA", "HIDDEN-EVALSHA"],
        ["--rename-command", "SCRIPT", "HIDDEN-SCRIPT"],
    ];
    let Some(server) = RedisServer::with(test, renamed.as_flattened()).await else { return };
    let mut client = Client::open(&Redis::new(server.url().parse().unwrap())).await;
    client.publish("", "q", "m").await;
    assert_eq!(bodies(&client.claim("q", 1).await), ["m"]);
}

/// Somebody else uses the keys for something else.
async fn claim_where_keys_are_of_others(test: &str, scripting: bool) {
    let Some(setting) = Setting::with(test, |options| options.scripting(scripting)).await else { return };
    let mut client = setting.open().await;
    client.publish("", "q", "m").await;
    for key in ["unacked", "unacked_index"] {
        let _: () = setting.ask(&["SET", key, "no claims"]).await;
        let claimed = client.link.claim(&[Source { queue: "q", no_ack: false, most: 1 }]).await;
        assert!(claimed.is_err(), "{key}: {claimed:?}");
        assert_eq!(setting.ask::<u32>(&["LLEN", "q"]).await, 1, "{key}");
        let _: u32 = setting.ask(&["DEL", key]).await;
        assert_eq!(setting.ask::<u32>(&["EXISTS", "unacked", "unacked_index"]).await, 0, "{key}");
    }
    assert_eq!(bodies(&client.claim("q", 1).await), ["m"]);
}

#[tokio::test]
async fn what_cannot_be_claimed_stays_in_its_queue() {
    claim_where_keys_are_of_others("what_cannot_be_claimed_stays_in_its_queue", true).await;
}

#[tokio::test]
async fn without_scripts_what_cannot_be_claimed_stays_in_its_queue() {
    claim_where_keys_are_of_others("without_scripts_what_cannot_be_claimed_stays_in_its_queue", false).await;
}

/// The queue for dead letters is somebody else's key.
async fn settle_where_keys_are_of_others(test: &str, scripting: bool) {
    let Some(setting) = Setting::with(test, |options| options.scripting(scripting)).await else { return };
    let mut client = setting.open().await;
    let dead = [("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", "dead".into())];
    client.declare("q", &dead).await;
    client.publish("", "q", "m").await;
    let claim = client.claim("q", 1).await.pop().unwrap().claim.unwrap();
    let _: () = setting.ask(&["SET", "dead", "no list"]).await;
    let settled = client.link.settle(vec![(claim, Settlement::Reject)]).await;
    assert!(settled.is_err(), "{settled:?}");
    assert_eq!(setting.ask::<u32>(&["HLEN", "unacked"]).await, 1);
    assert_eq!(setting.ask::<u32>(&["ZCARD", "unacked_index"]).await, 1);
}

#[tokio::test]
async fn what_cannot_be_moved_stays_claimed() {
    settle_where_keys_are_of_others("what_cannot_be_moved_stays_claimed", true).await;
}

#[tokio::test]
async fn without_scripts_what_cannot_be_moved_stays_claimed() {
    settle_where_keys_are_of_others("without_scripts_what_cannot_be_moved_stays_claimed", false).await;
}
