//! A Redis that is lost, refuses, or is emptied.

use super::support::{Client, Setting, message};
use crate::{
    backend::{Backend, BackendError, Link, Published, Wakes},
    redis::Redis,
};

#[tokio::test]
async fn a_lost_connection_is_told_to_all_and_a_new_one_returns_the_claims() {
    let test = "a_lost_connection_is_told_to_all_and_a_new_one_returns_the_claims";
    let Some(setting) = Setting::new(test).await else { return };
    let (mut one, other) = (setting.open().await, setting.open().await);
    one.publish("", "q", "claimed").await;
    assert_eq!(one.claim("q", 1).await.len(), 1);
    let _: () = setting.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    for client in [&one, &other] {
        while !matches!(client.wakes.next().await.lost, Some(BackendError::Unavailable(_))) {}
    }
    let failed = one.link.publish(&[message("", "q", "late")]).await;
    assert!(matches!(failed, Err(BackendError::Unavailable(_))));
    drop((one, other));

    let mut anew = setting.open().await;
    anew.watch("q").await;
    let claimed = anew.next("q").await;
    assert_eq!(claimed.message.body, "claimed");
    assert!(claimed.redelivered);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_when_a_link_opens() {
    let redis = Redis::new("redis://127.0.0.1:1/0".parse().unwrap());
    let refused = redis.open(Wakes::default()).await.unwrap_err();
    assert!(matches!(refused, BackendError::Unavailable(_)), "{refused}");
}

#[tokio::test]
async fn a_wrong_password_is_told_as_a_refusal() {
    let Some(setting) = Setting::new("a_wrong_password_is_told_as_a_refusal").await else { return };
    let _: () = setting.ask(&["CONFIG", "SET", "requirepass", "secret"]).await;
    for url in [setting.server.url(), setting.server.url().replace("//", "//:wrong@")] {
        let redis = Redis::new(url.parse().unwrap());
        let refused = redis.open(Wakes::default()).await.unwrap_err();
        assert!(matches!(refused, BackendError::AccessRefused(_)), "{refused}");
        assert!(!refused.to_string().contains("wrong@"));
    }
    let right = Redis::new(setting.server.url().replace("//", "//:secret@").parse().unwrap());
    assert_eq!(Client::open(&right).await.publish("", "q", "m").await, Published::Routed);
}

#[tokio::test]
async fn a_database_that_is_emptied_forgets_what_was_known() {
    let Some(setting) = Setting::new("a_database_that_is_emptied_forgets_what_was_known").await else {
        return;
    };
    let mut client = setting.open().await;
    client.exchange("x", crate::backend::ExchangeKind::Direct).await;
    client.bind("x", "k", "q").await;
    client.watch("q").await;
    assert_eq!(client.publish("x", "k", "m").await, Published::Routed);
    let _: () = setting.ask(&["FLUSHALL"]).await;
    while client.publish("x", "k", "m").await == Published::Routed {}
    let _: () = setting.ask(&["DEL", "q"]).await;
    let (claimed, _) = tokio::join!(client.next("q"), async {
        let mut other = setting.open().await;
        other.publish("", "q", "after").await
    });
    assert_eq!(claimed.message.body, "after");
}

#[tokio::test]
async fn a_replica_counts_as_lost() {
    let Some(setting) = Setting::new("a_replica_counts_as_lost").await else { return };
    let mut client = setting.open().await;
    let _: () = setting.ask(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let failed = client.link.publish(&[message("", "q", "m")]).await;
    assert!(matches!(failed, Err(BackendError::Unavailable(_))), "{failed:?}");
    while !matches!(client.wakes.next().await.lost, Some(BackendError::Unavailable(_))) {}
}
