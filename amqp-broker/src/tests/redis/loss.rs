//! A Redis that is lost, refuses, is emptied, or answers late.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, split},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

use super::support::{Client, Setting, message, without_looks};
use crate::{
    backend::{Backend, BackendError, Link, Published, Source, Wakes},
    redis::{Redis, RedisOptions},
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
    client.declare("brief", &[("x-expires", 60_000.into())]).await;
    assert_eq!(client.publish("", "brief", "m").await, Published::Routed);
    assert_eq!(client.publish("x", "k", "m").await, Published::Routed);
    let _: () = setting.ask(&["FLUSHALL"]).await;
    while client.publish("x", "k", "m").await == Published::Routed {}
    let _: () = setting.ask(&["DEL", "q"]).await;
    client.publish("", "brief", "m").await;
    assert_eq!(setting.ask::<i64>(&["PTTL", "brief"]).await, -1, "its declaration is gone");
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

/// Relays connections to a port. While a client's commands name `slow` just once, it gets no
/// answers: its second command of that name lets both answers through.
pub(super) async fn relay(port: u16, slow: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
                (split(client), split(server));
            let seen = watch::Sender::new(0);
            let mut passing = seen.subscribe();
            tokio::spawn(async move {
                let mut bytes = vec![0; 65536];
                while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
                    let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                    seen.send_modify(|seen| *seen += text.matches(slow).count());
                    if to_server.write_all(&bytes[..count]).await.is_err() {
                        return;
                    }
                }
            });
            tokio::spawn(async move {
                let mut bytes = vec![0; 65536];
                while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
                    let passed = passing.wait_for(|seen| *seen != 1).await.is_ok();
                    if !passed || to_client.write_all(&bytes[..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    own
}

#[tokio::test]
async fn what_takes_too_long_is_asked_again_on_demand() {
    let Some(setting) = Setting::new("what_takes_too_long_is_asked_again_on_demand").await else { return };
    let mut producer = setting.open().await;
    producer.publish("", "q", "m").await;
    // Nobody restores claims meanwhile, but asks for it at first: that must not be asked twice.
    let _: () = setting.ask(&["SET", "unacked_mutex", "held"]).await;
    for retry in [false, true] {
        let port = relay(setting.server.port(), "_amqp.queue.slow").await;
        let options = RedisOptions::parse(&format!("redis://127.0.0.1:{port}/0")).unwrap();
        let options = options.socket_timeout(Some(Duration::from_secs(1))).retry_on_timeout(retry);
        let _: () = setting.ask(&["CONFIG", "RESETSTAT"]).await;
        let mut client = Client::open(&Redis::new(options)).await;
        while !setting.ask::<String>(&["INFO", "commandstats"]).await.contains("cmdstat_set:") {
            tokio::task::yield_now().await;
        }
        // With the answer to this, all that was sent before it is answered.
        client.link.find_queue("q").await.unwrap();
        let found = client.link.find_queue("slow").await;
        match retry {
            true => assert!(matches!(found, Err(BackendError::NotFound(_))), "{found:?}"),
            false => assert!(matches!(found, Err(BackendError::Unavailable(_))), "{found:?}"),
        }
        let goes_on = client.link.find_queue("q").await;
        assert_eq!(goes_on.is_ok(), retry, "{goes_on:?}");
    }
}

#[tokio::test]
async fn what_puts_a_message_is_not_asked_again() {
    let Some(setting) = Setting::new("what_puts_a_message_is_not_asked_again").await else { return };
    // The body in Base64, which a publish names once.
    let port = relay(setting.server.port(), "b25jZS1vbmx5").await;
    let options = RedisOptions::parse(&format!("redis://127.0.0.1:{port}/0")).unwrap();
    let options = options.socket_timeout(Some(Duration::from_secs(1))).retry_on_timeout(true);
    let mut client = Client::open(&Redis::new(options)).await;
    let published = client.link.publish(&[message("", "q", "once-only")]).await;
    assert!(matches!(published, Err(BackendError::Unavailable(_))), "{published:?}");
    assert_eq!(setting.ask::<u32>(&["LLEN", "q"]).await, 1);
}

/// Not even a connection for transactions can be opened.
#[tokio::test]
async fn a_redis_that_takes_no_more_connections_counts_as_lost() {
    let test = "a_redis_that_takes_no_more_connections_counts_as_lost";
    let alone = |options: RedisOptions| without_looks(options.scripting(false));
    let Some(setting) = Setting::with(test, alone).await else { return };
    let mut client = setting.open().await;
    client.publish("", "q", "m").await;
    let _: () = setting.ask(&["CONFIG", "SET", "maxclients", "1"]).await;
    let failed = client.link.claim(&[Source { queue: "q", no_ack: false, most: 1 }]).await;
    assert!(matches!(failed, Err(BackendError::Unavailable(_))), "{failed:?}");
    let told = async { while client.wakes.next().await.lost.is_none() {} };
    timeout(Duration::from_secs(60), told).await.expect("the news that Redis is lost");
}
