//! What the options choose.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use amqp_codec::method::basic;
use tokio::time::timeout;

use super::{
    server::RedisServer,
    support::{Client, Setting, bodies},
};
use crate::{
    Broker,
    backend::{BackendError, ExchangeKind, Link, Published, Settlement},
    redis::{Redis, RedisLogin, RedisOptions},
    tests::peer::Peer,
};

#[tokio::test]
async fn every_key_and_channel_has_the_prefix() {
    let test = "every_key_and_channel_has_the_prefix";
    let prefixed = |options: RedisOptions| options.global_keyprefix("{app}:");
    let Some(setting) = Setting::with(test, prefixed).await else { return };
    let mut client = setting.open().await;
    client.exchange("x", ExchangeKind::Direct).await;
    client.exchange("f", ExchangeKind::Fanout).await;
    let retry = [
        ("x-message-ttl", 60_000.into()),
        ("x-dead-letter-exchange", "".into()),
        ("x-dead-letter-routing-key", "q".into()),
    ];
    client.declare("later", &retry).await;
    client.declare("brief", &[("x-expires", 60_000.into())]).await;
    for (exchange, queue) in [("x", "q"), ("x", "brief"), ("f", "fanned")] {
        client.bind(exchange, "", queue).await;
    }
    client.watch("fanned").await;
    for (exchange, key) in [("x", ""), ("", "later"), ("f", "")] {
        assert_eq!(client.publish(exchange, key, "m").await, Published::Routed);
    }
    assert_eq!(client.next("fanned").await.message.body, "m");
    assert_eq!(client.claim("q", 1).await.len(), 1);
    let keys: Vec<String> = setting.ask(&["KEYS", "*"]).await;
    assert!(keys.len() >= 9, "{keys:?}");
    assert!(keys.iter().all(|key| key.starts_with("{app}:")), "{keys:?}");
}

#[tokio::test]
async fn too_few_replicas_mean_that_a_publish_is_not_confirmed() {
    let test = "too_few_replicas_mean_that_a_publish_is_not_confirmed";
    let waiting =
        |options: RedisOptions| options.wait_replicas(1).wait_replicas_timeout(Duration::from_millis(1));
    let Some(setting) = Setting::with(test, waiting).await else { return };
    let mut client = setting.open().await;
    assert_eq!(client.publish("", "q", "m").await, Published::Rejected);
    let replica_of = setting.server.port().to_string();
    let options = ["--replicaof", "127.0.0.1", &replica_of, "--repl-diskless-sync-delay", "0"];
    let Some(_replica) = RedisServer::with(test, &options).await else { return };
    while client.publish("", "q", "m").await != Published::Routed {}
    let two = waiting(RedisOptions::parse(&setting.server.url()).unwrap()).wait_replicas(2);
    let mut careful = Client::open(&Redis::new(two)).await;
    assert_eq!(careful.publish("", "q", "m").await, Published::Rejected, "one of two is too few");
}

/// On a shared connection the other client would get no answer before the replica comes, which is
/// started last.
#[tokio::test]
async fn a_publish_that_waits_for_replicas_holds_up_no_other_client() {
    let test = "a_publish_that_waits_for_replicas_holds_up_no_other_client";
    let waiting =
        |options: RedisOptions| options.wait_replicas(1).wait_replicas_timeout(Duration::from_secs(600));
    let Some(setting) = Setting::with(test, waiting).await else { return };
    let (mut publisher, mut other) = (setting.open().await, setting.open().await);
    let mut hasty = Client::open(&Redis::new(RedisOptions::parse(&setting.server.url()).unwrap())).await;
    for body in ["claimed", "got"] {
        hasty.publish("", "q", body).await;
    }
    let publishing = tokio::spawn(async move { publisher.publish("", "waits", "m").await });
    while setting.ask::<u32>(&["LLEN", "waits"]).await == 0 {}
    other.declare("declared", &[]).await;
    let claimed = other.claim("q", 2).await;
    assert_eq!(bodies(&claimed), ["claimed", "got"]);
    let acks = claimed.into_iter().map(|claimed| (claimed.claim.unwrap(), Settlement::Ack));
    assert_eq!(other.link.settle(acks.collect()).await, Ok(0));
    assert!(!publishing.is_finished());
    let replica_of = setting.server.port().to_string();
    let options = ["--replicaof", "127.0.0.1", &replica_of, "--repl-diskless-sync-delay", "0"];
    let Some(_replica) = RedisServer::with(test, &options).await else { return };
    assert_eq!(publishing.await.unwrap(), Published::Routed);
}

/// Makes the users `old` and `new`. Returns options whose credentials are those of `old` until the
/// flag is set.
pub(super) async fn rotating(setting: &Setting) -> (Arc<AtomicBool>, RedisOptions) {
    for (user, word) in [("old", ">one"), ("new", ">two")] {
        let _: () = setting.ask(&["ACL", "SETUSER", user, "on", word, "~*", "&*", "+@all"]).await;
    }
    let rotated = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&rotated);
    let credentials = move || {
        let (user, word) = if asked.load(Ordering::Relaxed) { ("new", "two") } else { ("old", "one") };
        RedisLogin { user: Some(user.to_owned()), password: Some(word.to_owned()) }
    };
    let options = RedisOptions::parse(&setting.server.url()).unwrap().credentials(credentials);
    (rotated, options.reauth_check_interval(Duration::from_millis(1)))
}

/// Sets the flag, waits until no connection is of the user `old`, and deletes that user.
pub(super) async fn rotate(setting: &Setting, rotated: &AtomicBool) {
    rotated.store(true, Ordering::Relaxed);
    let changed = async {
        while setting.ask::<String>(&["CLIENT", "LIST"]).await.contains("user=old") {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(60), changed).await.expect("no connection of the old user is left");
    let _: () = setting.ask(&["ACL", "DELUSER", "old"]).await;
}

#[tokio::test]
async fn connections_for_waiting_publishes_are_used_again_and_log_in_with_new_credentials() {
    let test = "connections_for_waiting_publishes_are_used_again_and_log_in_with_new_credentials";
    let Some(setting) = Setting::new(test).await else { return };
    let (rotated, options) = rotating(&setting).await;
    let options = options.wait_replicas(1).wait_replicas_timeout(Duration::from_millis(1));
    let redis = Redis::new(options);
    let mut client = Client::open(&redis).await;
    for _ in 0..3 {
        assert_eq!(client.publish("", "q", "m").await, Published::Rejected);
    }
    let clients: String = setting.ask(&["CLIENT", "LIST"]).await;
    assert_eq!(clients.matches("user=old").count(), 3, "{clients}");
    rotate(&setting, &rotated).await;
    assert_eq!(client.publish("", "q", "m").await, Published::Rejected);
}

#[tokio::test]
async fn no_more_connections_wait_for_replicas_than_are_wanted() {
    let test = "no_more_connections_wait_for_replicas_than_are_wanted";
    let waiting =
        |options: RedisOptions| options.wait_replicas(1).wait_replicas_timeout(Duration::from_millis(50));
    let Some(setting) = Setting::with(test, waiting).await else { return };
    for most in [0, 1, 2, 3] {
        let options = waiting(RedisOptions::parse(&setting.server.url()).unwrap()).max_connections(most);
        let redis = Redis::new(options.client_name(format!("most-{most}")));
        let mut clients =
            [Client::open(&redis).await, Client::open(&redis).await, Client::open(&redis).await];
        let [one, two, three] = &mut clients;
        let published =
            tokio::join!(one.publish("", "q", "1"), two.publish("", "q", "2"), three.publish("", "q", "3"));
        assert_eq!(published, (Published::Rejected, Published::Rejected, Published::Rejected));
        let all: String = setting.ask(&["CLIENT", "LIST"]).await;
        let spare = all.matches(&format!("name=most-{most} ")).count() - 2;
        assert_eq!(spare, most.max(1) as usize, "{all}");
    }
}

#[tokio::test]
async fn what_no_queue_takes_goes_to_the_queue_for_it() {
    let test = "what_no_queue_takes_goes_to_the_queue_for_it";
    let lost = |options: RedisOptions| options.deadletter_queue("lost");
    let Some(setting) = Setting::with(test, lost).await else { return };
    let mut client = setting.open().await;
    client.exchange("x", ExchangeKind::Direct).await;
    assert_eq!(client.publish("x", "nowhere", "m").await, Published::Routed);
    assert_eq!(bodies(&client.claim("lost", 1).await), ["m"]);
}

#[tokio::test]
async fn priorities_are_turned_round_on_demand() {
    let test = "priorities_are_turned_round_on_demand";
    let turned = |options: RedisOptions| options.higher_first(true);
    let Some(setting) = Setting::with(test, turned).await else { return };
    let mut client = setting.open().await;
    for priority in [0, 9, 5] {
        let mut message = super::support::message("", "q", &priority.to_string());
        message.properties.priority = Some(priority);
        client.link.publish(&[message]).await.unwrap();
    }
    let claimed = client.claim("q", 3).await;
    assert_eq!(bodies(&claimed), ["9", "5", "0"]);
    let priorities: Vec<_> = claimed.iter().map(|claimed| claimed.message.properties.priority).collect();
    assert_eq!(priorities, [Some(9), Some(5), Some(0)], "the sender's numbers come back");
}

#[tokio::test]
async fn a_login_that_may_not_write_is_refused_and_keeps_its_link() {
    let test = "a_login_that_may_not_write_is_refused_and_keeps_its_link";
    let Some(setting) = Setting::new(test).await else { return };
    let user = [
        "ACL",
        "SETUSER",
        "reader",
        "on",
        ">word",
        "~*",
        "&*",
        "+@read",
        "+@connection",
        "+@pubsub",
        "+@transaction",
    ];
    let _: () = setting.ask(&user).await;
    let login = RedisLogin { user: Some("reader".to_owned()), password: Some("word".to_owned()) };
    let redis = Redis::new(RedisOptions::parse(&setting.server.url()).unwrap().login(login));
    let mut client = Client::open(&redis).await;
    let refused = client.link.declare_queue(&super::support::queue("q", &[])).await;
    assert!(matches!(refused, Err(BackendError::AccessRefused(_))), "{refused:?}");
    assert!(matches!(client.link.find_queue("q").await, Err(BackendError::NotFound(_))));
}

#[tokio::test]
async fn credentials_may_change_while_connections_last() {
    let test = "credentials_may_change_while_connections_last";
    let Some(setting) = Setting::new(test).await else { return };
    let (rotated, options) = rotating(&setting).await;
    let redis = Redis::new(options);
    let mut client = Client::open(&redis).await;
    rotate(&setting, &rotated).await;
    assert_eq!(client.publish("", "q", "m").await, Published::Routed);
}

#[tokio::test]
async fn connections_have_the_clients_name() {
    let test = "connections_have_the_clients_name";
    let named = |options: RedisOptions| options.client_name("gateway-7");
    let Some(setting) = Setting::with(test, named).await else { return };
    let _client = setting.open().await;
    let clients: String = setting.ask(&["CLIENT", "LIST"]).await;
    assert_eq!(clients.matches("name=gateway-7 ").count(), 2, "{clients}");
}

#[tokio::test]
async fn a_socket_of_the_file_system_will_do() {
    let test = "a_socket_of_the_file_system_will_do";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("redis.sock");
    let Some(_server) = RedisServer::with(test, &["--unixsocket", path.to_str().unwrap()]).await else {
        return;
    };
    let redis = Redis::new(RedisOptions::parse(&format!("redis+socket://{}", path.display())).unwrap());
    assert_eq!(Client::open(&redis).await.publish("", "q", "m").await, Published::Routed);
}

/// The timers of this process's connections to a port, as the kernel shows them: the kind of each,
/// 2 for keep-alive, and how many hundredths of a second are left.
#[cfg(target_os = "linux")]
fn timers(port: u16) -> Vec<(String, u64)> {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let (remote, mut timers) = (format!("0100007F:{port:04X}"), Vec::new());
    for line in table.lines() {
        let columns: Vec<_> = line.split_whitespace().collect();
        if columns[2] == remote && columns[3] == "01" {
            let (kind, left) = columns[5].split_once(':').unwrap();
            timers.push((kind.to_owned(), u64::from_str_radix(left, 16).unwrap()));
        }
    }
    timers
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn sockets_have_the_keep_alive_that_is_wanted() {
    let test = "sockets_have_the_keep_alive_that_is_wanted";
    let Some(server) = RedisServer::start(test).await else { return };
    let (hour, idle) = (360_000, r#"{"TCP_KEEPIDLE": 1800}"#);
    let options = || RedisOptions::parse(&server.url()).unwrap();
    let on = options().socket_keepalive(true);
    let soon = on.clone().set("socket_keepalive_options", idle).unwrap();
    for (options, is_on, is_soon) in [(options(), false, false), (on, true, false), (soon, true, true)] {
        let redis = Redis::new(options);
        let _client = Client::open(&redis).await;
        // Another timer takes the place of keep-alive's while an octet is on its way.
        let as_wanted = async {
            let is_as_wanted = |(kind, left): &(String, u64)| {
                (kind == "02") == is_on && (!is_soon || (1..hour).contains(left))
            };
            let both = |timers: &[(String, u64)]| timers.len() == 2 && timers.iter().all(is_as_wanted);
            while !both(&timers(server.port())) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(60), as_wanted).await.expect("both sockets are as wanted");
    }
}

#[tokio::test]
async fn queues_with_a_shared_prefetch_are_emptied_in_the_order_that_is_wanted() {
    let test = "queues_with_a_shared_prefetch_are_emptied_in_the_order_that_is_wanted";
    let Some(server) = RedisServer::start(test).await else { return };
    for (order, expected) in [
        ("round_robin", ["b1", "a1", "b2", "a2"]),
        ("priority", ["b1", "b2", "a1", "a2"]),
        ("sorted", ["b1", "a1", "a2", "b2"]),
    ] {
        let options = RedisOptions::parse(&server.url()).unwrap().set("queue_order_strategy", order).unwrap();
        let mut peer = Peer::open(&Broker::builder().backend("/", Redis::new(options)).build()).await;
        for (queue, body) in [("b", "b1"), ("b", "b2"), ("a", "a1"), ("a", "a2")] {
            peer.publish("", queue, body).await;
        }
        peer.call(1, basic::Qos { prefetch_count: 1, global: true, ..Default::default() }).await;
        // The first queue gives a message before there is another.
        peer.consume("b", "b").await;
        let (mut tag, _, body) = peer.delivery().await;
        peer.consume("a", "a").await;
        let mut bodies = vec![body];
        while bodies.len() < 4 {
            peer.send(1, basic::Ack { delivery_tag: tag, multiple: false }).await;
            let (next, _, body) = peer.delivery().await;
            bodies.push(body);
            tag = next;
        }
        peer.send(1, basic::Ack { delivery_tag: tag, multiple: false }).await;
        peer.settle_down().await;
        assert_eq!(bodies, expected, "{order}");
    }
}

#[tokio::test]
async fn credentials_are_asked_for_before_the_first_login() {
    let test = "credentials_are_asked_for_before_the_first_login";
    let Some(setting) = Setting::new(test).await else { return };
    let (_, options) = rotating(&setting).await;
    let _: () = setting.ask(&["ACL", "SETUSER", "default", "resetpass"]).await;
    let mut client = Client::open(&Redis::new(options)).await;
    assert_eq!(client.publish("", "q", "m").await, Published::Routed);
}
