//! A Redis that keeps its connections open and says nothing more, or ends one of them.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, split},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};

use super::{
    restore::calls,
    support::{Client, Setting, without_looks},
};
use crate::{
    backend::{Backend, BackendError, ExchangeKind, Published, Wakes},
    redis::{Redis, RedisOptions},
};

/// Relays connections to a port, and lets some of them fall silent.
struct Relay {
    port: u16,
    /// Of each connection whose client has named a word, whether it is silent.
    named: Arc<Mutex<Vec<watch::Sender<bool>>>>,
}

impl Relay {
    async fn start(port: u16, word: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let named = Arc::<Mutex<Vec<watch::Sender<bool>>>>::default();
        let noting = Arc::clone(&named);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                relay(client, server, word, Arc::clone(&noting));
            }
        });
        Relay { port: own, named }
    }

    /// Lets the connections fall silent that have named the word so far; returns how many.
    fn silence(&self) -> usize {
        let named = std::mem::take(&mut *self.named.lock().unwrap());
        for silent in &named {
            silent.send_replace(true);
        }
        named.len()
    }
}

fn relay(
    client: TcpStream,
    server: TcpStream,
    word: &'static str,
    named: Arc<Mutex<Vec<watch::Sender<bool>>>>,
) {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (split(client), split(server));
    let silent = watch::Sender::new(false);
    let mut talking = silent.subscribe();
    tokio::spawn(async move {
        let (mut bytes, mut is_named) = (vec![0; 65536], false);
        while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
            if !is_named && String::from_utf8_lossy(&bytes[..count]).contains(word) {
                is_named = true;
                named.lock().unwrap().push(silent.clone());
            }
            if to_server.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        let mut bytes = vec![0; 65536];
        while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
            let talks = talking.wait_for(|silent| !silent).await.is_ok();
            if !talks || to_client.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    });
}

/// A time in which a Redis answers, though its machine is busy.
const SILENCE: Duration = Duration::from_secs(3);

/// Options that have a silent connection noticed soon.
fn impatient(options: RedisOptions) -> RedisOptions {
    options
        .socket_timeout(Some(SILENCE))
        .socket_connect_timeout(Some(SILENCE))
        .health_check_interval(Duration::from_millis(20))
}

fn options_at(port: u16) -> RedisOptions {
    impatient(RedisOptions::parse(&format!("redis://127.0.0.1:{port}/0")).unwrap())
}

/// Waits until a link is told that Redis is lost; returns what it is told.
async fn lost(client: &Client) -> BackendError {
    let told = async {
        loop {
            if let Some(error) = client.wakes.next().await.lost {
                return error;
            }
        }
    };
    timeout(Duration::from_secs(60), told).await.expect("the news that Redis is lost")
}

#[tokio::test]
async fn a_stopped_redis_is_noticed_by_who_waits_and_by_who_connects() {
    let test = "a_stopped_redis_is_noticed_by_who_waits_and_by_who_connects";
    for resp3 in [true, false] {
        let Some(setting) = Setting::with(test, |options| impatient(options).resp3(resp3)).await else {
            return;
        };
        let client = setting.open().await;
        setting.server.signal("STOP");
        let silent = BackendError::Unavailable("Redis does not answer in time".to_owned());
        assert_eq!(lost(&client).await, silent, "resp3: {resp3}");
        let refused = setting.redis.open(Wakes::default()).await.unwrap_err();
        assert!(matches!(refused, BackendError::Unavailable(_)), "resp3: {resp3}: {refused}");
        setting.server.signal("CONT");
        while setting.redis.open(Wakes::default()).await.is_err() {}
    }
}

#[tokio::test]
async fn a_redis_that_pauses_its_clients_counts_as_lost_until_it_goes_on() {
    let test = "a_redis_that_pauses_its_clients_counts_as_lost_until_it_goes_on";
    let Some(setting) = Setting::with(test, impatient).await else { return };
    let client = setting.open().await;
    let _: () = setting.ask(&["CLIENT", "PAUSE", "6000", "ALL"]).await;
    assert!(matches!(lost(&client).await, BackendError::Unavailable(_)));
    while setting.redis.open(Wakes::default()).await.is_err() {}
}

#[tokio::test]
async fn each_connection_that_all_links_share_is_tried() {
    let test = "each_connection_that_all_links_share_is_tried";
    let Some(setting) = Setting::new(test).await else { return };
    // The connection for commands, for announcements, and for channels.
    for (word, resp3) in [("*1\r\n$5\r\nHELLO", true), ("TRACKING", true), ("PSUBSCRIBE", false)] {
        let relay = Relay::start(setting.server.port(), word).await;
        let mut client = Client::open(&Redis::new(options_at(relay.port).resp3(resp3))).await;
        client.exchange("f", ExchangeKind::Fanout).await;
        client.bind("f", "", "fanned").await;
        assert_eq!(relay.silence(), 1, "{word}");
        assert!(matches!(lost(&client).await, BackendError::Unavailable(_)), "{word}");
    }
}

/// Nothing else than the check uses the connections.
#[tokio::test]
async fn a_check_asks_on_each_connection_that_all_links_share() {
    let test = "a_check_asks_on_each_connection_that_all_links_share";
    let Some(setting) = Setting::new(test).await else { return };
    for (word, resp3) in [("*1\r\n$5\r\nHELLO", true), ("TRACKING", true), ("PSUBSCRIBE", false)] {
        let relay = Relay::start(setting.server.port(), word).await;
        let options = without_looks(options_at(relay.port).resp3(resp3));
        let mut client = Client::open(&Redis::new(options)).await;
        client.exchange("f", ExchangeKind::Fanout).await;
        client.bind("f", "", "fanned").await;
        assert_eq!(client.link.check_health().await, Ok(()), "{word}");
        assert_eq!(relay.silence(), 1, "{word}");
        let checked = client.link.check_health().await;
        assert!(matches!(checked, Err(BackendError::Unavailable(_))), "{word}: {checked:?}");
    }
}

#[tokio::test]
async fn a_connection_that_waited_for_replicas_and_fell_silent_is_used_no_more() {
    let test = "a_connection_that_waited_for_replicas_and_fell_silent_is_used_no_more";
    let Some(setting) = Setting::new(test).await else { return };
    let relay = Relay::start(setting.server.port(), "\r\nWAIT\r\n").await;
    let options = without_looks(options_at(relay.port));
    let options = options.wait_replicas(1).wait_replicas_timeout(Duration::from_millis(1));
    let mut client = Client::open(&Redis::new(options)).await;
    assert_eq!(client.publish("", "q", "one").await, Published::Rejected);
    assert_eq!(relay.silence(), 1);
    assert_eq!(client.link.check_health().await, Ok(()), "it is not shared");
    assert_eq!(client.publish("", "q", "two").await, Published::Rejected, "another takes its place");
}

#[tokio::test]
async fn a_publish_may_wait_for_replicas_for_longer_than_answers_take() {
    let test = "a_publish_may_wait_for_replicas_for_longer_than_answers_take";
    let waiting = |options: RedisOptions| {
        let options = options.wait_replicas(1).wait_replicas_timeout(SILENCE + SILENCE / 3);
        options.socket_timeout(Some(SILENCE))
    };
    let Some(setting) = Setting::with(test, waiting).await else { return };
    assert_eq!(setting.open().await.publish("", "q", "m").await, Published::Rejected);
}

#[tokio::test]
async fn a_connection_for_transactions_that_fell_silent_is_used_no_more() {
    let test = "a_connection_for_transactions_that_fell_silent_is_used_no_more";
    let Some(setting) = Setting::new(test).await else { return };
    let relay = Relay::start(setting.server.port(), "WATCH").await;
    let mut client = Client::open(&Redis::new(options_at(relay.port).scripting(false))).await;
    client.publish("", "q", "one").await;
    assert_eq!(client.claim("q", 1).await.len(), 1);
    let connections = async || -> HashSet<String> {
        let list: String = setting.ask(&["CLIENT", "LIST"]).await;
        let others = list.lines().filter(|line| !line.contains("cmd=client"));
        others.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    };
    let before = connections().await;
    let silent = relay.silence();
    assert!(silent > 0);
    // They are tried, and closed when they have not answered.
    while before.difference(&connections().await).count() < silent {}
    client.publish("", "q", "two").await;
    assert_eq!(client.claim("q", 1).await.len(), 1, "another takes its place");
}

#[tokio::test]
async fn a_connection_for_channels_that_is_ended_is_told_as_lost() {
    let test = "a_connection_for_channels_that_is_ended_is_told_as_lost";
    let second = |options: RedisOptions| without_looks(options.resp3(false));
    let Some(setting) = Setting::with(test, second).await else { return };
    let mut client = setting.open().await;
    client.exchange("f", ExchangeKind::Fanout).await;
    client.bind("f", "", "fanned").await;
    assert_eq!(setting.ask::<u32>(&["CLIENT", "KILL", "TYPE", "pubsub"]).await, 1);
    let told = BackendError::Unavailable("Redis has closed the connection for channels".to_owned());
    assert_eq!(lost(&client).await, told);
}

#[tokio::test]
async fn a_consumer_is_woken_although_the_connections_that_waited_for_it_are_gone() {
    let test = "a_consumer_is_woken_although_the_connections_that_waited_for_it_are_gone";
    let second = |options: RedisOptions| without_looks(options.resp3(false));
    let Some(setting) = Setting::with(test, second).await else { return };
    let mut client = setting.open().await;
    client.watch("q").await;
    assert!(client.claim("q", 1).await.is_empty(), "its next message is waited for");
    let waiting = async || -> Vec<String> {
        let list: String = setting.ask(&["CLIENT", "LIST"]).await;
        let waiting = list.lines().filter(|line| line.contains("cmd=blmove"));
        waiting.map(|line| line.split(['=', ' ']).nth(1).unwrap().to_owned()).collect()
    };
    while waiting().await.len() < 4 {}
    for id in waiting().await {
        let _: u32 = setting.ask(&["CLIENT", "KILL", "ID", &id]).await;
    }
    setting.open().await.publish("", "q", "m").await;
    assert_eq!(client.next("q").await.message.body, "m");
}

#[tokio::test]
async fn a_consumer_is_woken_although_the_connections_that_wait_for_it_are_silent() {
    let test = "a_consumer_is_woken_although_the_connections_that_wait_for_it_are_silent";
    let Some(setting) = Setting::new(test).await else { return };
    let relay = Relay::start(setting.server.port(), "BLMOVE").await;
    let mut client = Client::open(&Redis::new(options_at(relay.port).resp3(false))).await;
    client.watch("q").await;
    assert!(client.claim("q", 1).await.is_empty(), "its next message is waited for");
    let mut silent = 0;
    while silent < 4 {
        silent += relay.silence();
        tokio::task::yield_now().await;
    }
    setting.open().await.publish("", "q", "m").await;
    assert_eq!(client.next("q").await.message.body, "m", "queues are looked at too");
}

/// Queues are looked at after a day only.
#[tokio::test]
async fn connections_are_tried_as_often_as_is_wanted() {
    let test = "connections_are_tried_as_often_as_is_wanted";
    let often =
        |options: RedisOptions| without_looks(options).health_check_interval(Duration::from_millis(5));
    let Some(setting) = Setting::with(test, often).await else { return };
    let _client = setting.open().await;
    let _: () = setting.ask(&["CONFIG", "RESETSTAT"]).await;
    let tried = async { while calls(&setting, "ping").await < 6 {} };
    timeout(Duration::from_secs(60), tried).await.expect("further checks");
}
