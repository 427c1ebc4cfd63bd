//! The master by its sentinels.

use std::time::Duration;

use tokio::{net::TcpListener, time::timeout};

use super::super::{
    server::RedisServer,
    support::{Client, Setting, ask},
};
use crate::{
    backend::{Backend, BackendError, Published, Wakes},
    redis::{Redis, RedisLogin, RedisOptions},
};

/// The URL of the master `shop` by sentinels at these ports.
fn url(ports: &[u16]) -> String {
    let sentinels: Vec<_> = ports.iter().map(|port| format!("sentinel://127.0.0.1:{port}")).collect();
    format!("{}/0?master_name=shop", sentinels.join(";"))
}

async fn open(options: RedisOptions) -> Result<Client, BackendError> {
    let wakes = Wakes::default();
    Ok(Client { link: Redis::new(options).open(wakes.clone()).await?, wakes })
}

#[tokio::test]
async fn the_master_is_found_by_its_sentinels() {
    let test = "the_master_is_found_by_its_sentinels";
    let Some(setting) = Setting::new(test).await else { return };
    let Some(sentinel) = RedisServer::sentinel(test, "shop", setting.server.port()).await else { return };
    let url = format!("sentinel://127.0.0.1:{}/0?master_name=", sentinel.port());
    let redis = Redis::new(RedisOptions::parse(&format!("{url}shop")).unwrap());
    let mut client = Client::open(&redis).await;
    assert_eq!(client.publish("", "q", "m").await, Published::Routed);
    assert_eq!(setting.ask::<u32>(&["LLEN", "q"]).await, 1);
    for (query, told) in [("other", "other"), ("shop&min_other_sentinels=1", "1 are needed")] {
        let redis = Redis::new(RedisOptions::parse(&format!("{url}{query}")).unwrap());
        let refused = redis.open(Wakes::default()).await.unwrap_err();
        assert!(matches!(&refused, BackendError::Unavailable(text) if text.contains(told)), "{refused}");
    }
}

#[tokio::test]
async fn without_the_name_of_a_master_no_sentinel_is_asked() {
    let redis = Redis::new(RedisOptions::parse("sentinel://127.0.0.1:1").unwrap());
    let refused = redis.open(Wakes::default()).await.unwrap_err();
    assert!(
        matches!(&refused, BackendError::Unavailable(text) if text.contains("`master_name`")),
        "{refused}"
    );
}

/// As in redis-py, each sentinel is asked until one is believed: the first is not there, the second
/// does not answer, and the third watches another master and is alone.
#[tokio::test]
async fn sentinels_that_know_too_few_others_or_do_not_answer_are_passed_over() {
    let test = "sentinels_that_know_too_few_others_or_do_not_answer_are_passed_over";
    let Some(setting) = Setting::new(test).await else { return };
    let Some(other) = RedisServer::start(test).await else { return };
    let mut sentinels = Vec::new();
    for master in [other.port(), setting.server.port(), setting.server.port()] {
        sentinels.extend(RedisServer::sentinel(test, "shop", master).await);
    }
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut ports = vec![1, mute.local_addr().unwrap().port()];
    ports.extend(sentinels.iter().map(RedisServer::port));
    let arguments = r#"{"socket_timeout": 0.5}"#;
    let options = RedisOptions::parse(&url(&ports)).unwrap().min_other_sentinels(1);
    let options = options.set("sentinel_kwargs", arguments).unwrap();
    // They learn of each other from the master, after seconds.
    let found = async {
        loop {
            match open(options.clone()).await {
                Ok(client) => return client,
                Err(error) => assert!(error.to_string().contains("knows 0 other"), "{error}"),
            }
        }
    };
    let mut client = timeout(Duration::from_secs(60), found).await.expect("two sentinels know each other");
    assert_eq!(client.publish("", "q", "m").await, Published::Routed);
    assert_eq!(setting.ask::<u32>(&["LLEN", "q"]).await, 1);
    let alone = RedisOptions::parse(&url(&ports[..3])).unwrap().set("sentinel_kwargs", arguments).unwrap();
    let mut client = open(alone.clone()).await.ok().unwrap();
    assert_eq!(client.publish("", "q", "m").await, Published::Routed);
    assert_eq!(ask::<u32>(&other.connect().await, &["LLEN", "q"]).await, 1, "nobody asked for others");
    let refused = open(alone.min_other_sentinels(1)).await.err().unwrap();
    for told in ["knows 0 other sentinels, and 1 are needed", "does not answer in time"] {
        assert!(refused.to_string().contains(told), "{refused}");
    }
}

#[tokio::test]
async fn sentinels_have_a_login_of_their_own() {
    let test = "sentinels_have_a_login_of_their_own";
    let Some(setting) = Setting::new(test).await else { return };
    let Some(sentinel) = RedisServer::sentinel(test, "shop", setting.server.port()).await else { return };
    let plain = sentinel.connect().await;
    let _: () = ask(&plain, &["ACL", "SETUSER", "watcher", "on", ">word", "~*", "&*", "+@all"]).await;
    // This is what requirepass sets.
    let _: () = ask(&plain, &["ACL", "SETUSER", "default", "resetpass", ">secret"]).await;
    let options = || RedisOptions::parse(&url(&[sentinel.port()])).unwrap();
    for arguments in [r#"{"password": "secret"}"#, r#"{"username": "watcher", "password": "word"}"#] {
        let mut client = open(options().set("sentinel_kwargs", arguments).unwrap()).await.ok().unwrap();
        assert_eq!(client.publish("", "q", "m").await, Published::Routed);
    }
    let login = RedisLogin { user: Some("watcher".to_owned()), password: Some("word".to_owned()) };
    assert!(open(options().sentinel_login(login)).await.is_ok());
    let wrong = options().set("sentinel_kwargs", r#"{"username": "watcher", "password": "wrong1"}"#).unwrap();
    for options in [options(), wrong] {
        let refused = open(options).await.err().unwrap().to_string();
        assert!(refused.contains("no sentinel knows the master 'shop'"), "{refused}");
        assert!(!refused.contains("wrong1"), "{refused}");
    }
    assert_eq!(setting.ask::<u32>(&["LLEN", "q"]).await, 2);
}

/// The login of the URL is the master's, and the sentinels have none.
#[tokio::test]
async fn a_master_has_a_login_of_its_own() {
    let test = "a_master_has_a_login_of_its_own";
    let Some(setting) = Setting::new(test).await else { return };
    let plain = setting.server.connect().await;
    let _: () = ask(&plain, &["ACL", "SETUSER", "clerk", "on", ">word", "~*", "&*", "+@all"]).await;
    let _: () = ask(&plain, &["ACL", "SETUSER", "watcher", "on", ">seen", "&*", "+@all"]).await;
    let _: () = ask(&plain, &["ACL", "SETUSER", "default", "resetpass", ">secret"]).await;
    let lines = "sentinel auth-user shop watcher\nsentinel auth-pass shop seen\n";
    let sentinel = RedisServer::sentinel_with(test, "shop", setting.server.port(), lines).await;
    let Some(sentinel) = sentinel else { return };
    let url = |login: &str| format!("sentinel://{login}127.0.0.1:{}/0?master_name=shop", sentinel.port());
    for login in ["clerk:word@", ":secret@"] {
        let mut client = open(RedisOptions::parse(&url(login)).unwrap()).await.ok().unwrap();
        assert_eq!(client.publish("", "q", "m").await, Published::Routed);
    }
    for login in ["", "clerk:wrong1@"] {
        let refused = open(RedisOptions::parse(&url(login)).unwrap()).await.err().unwrap().to_string();
        assert!(refused.contains("it names 127.0.0.1"), "{refused}");
        assert!(!refused.contains("wrong1"), "{refused}");
    }
    assert_eq!(ask::<u32>(&plain, &["LLEN", "q"]).await, 2);
}

/// The sentinel has no login for the master, and so takes it for down, which it is not.
#[tokio::test]
async fn a_master_that_its_sentinel_takes_for_down_is_not_used() {
    let test = "a_master_that_its_sentinel_takes_for_down_is_not_used";
    let Some(setting) = Setting::new(test).await else { return };
    let _: () = setting.ask(&["CONFIG", "SET", "requirepass", "secret"]).await;
    let lines = "sentinel down-after-milliseconds shop 500\n";
    let sentinel = RedisServer::sentinel_with(test, "shop", setting.server.port(), lines).await;
    let Some(sentinel) = sentinel else { return };
    // Its opinion alone is not that of all. It does so, and says that its file is gone.
    let mut quorum = redis::cmd("SENTINEL");
    quorum.arg("SET").arg("shop").arg("quorum").arg(2);
    _ = quorum.exec_async(&mut sentinel.connect().await).await;
    let url = format!("sentinel://:secret@127.0.0.1:{}/0?master_name=shop", sentinel.port());
    let refused = async {
        loop {
            if let Err(error) = open(RedisOptions::parse(&url).unwrap()).await {
                return error.to_string();
            }
        }
    };
    let refused = timeout(Duration::from_secs(60), refused).await.expect("a refusal");
    assert!(refused.contains("takes the master for down, with the flags s_down,master"), "{refused}");
}

/// Sentinels that have not heard of a failover name the old master, which may be a replica again.
#[tokio::test]
async fn a_replica_that_a_sentinel_names_is_not_used() {
    let test = "a_replica_that_a_sentinel_names_is_not_used";
    let Some(setting) = Setting::new(test).await else { return };
    let master = setting.server.port().to_string();
    let Some(replica) = RedisServer::with(test, &["--replicaof", "127.0.0.1", &master]).await else { return };
    let Some(sentinel) = RedisServer::sentinel(test, "shop", replica.port()).await else { return };
    let refused = open(RedisOptions::parse(&url(&[sentinel.port()])).unwrap()).await.err().unwrap();
    assert!(refused.to_string().contains("whose role is slave"), "{refused}");
}
