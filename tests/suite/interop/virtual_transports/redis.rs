//! `redis://`, with kombu on the same Redis.

use std::time::Duration;

use messaging::{Consumer, Exchange, PublishOptions, Queue, Transport};
use serde_json::{Value, json};
use tests::{Python, RecordingWorker, Redis};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::sleep,
};

use super::{python::Kombu, within};
use crate::messaging::example::example;

/// The database, which is part of the names of channels.
const DATABASE: u8 = 3;

const POLL_INTERVAL: Duration = Duration::from_millis(20);

struct Peers {
    kombu: Kombu,
    transport: Transport,
    redis: Redis,
}

impl Peers {
    async fn start(test: &str) -> Option<Self> {
        Self::start_with(test, &json!({}), "").await
    }

    /// With these transport options of kombu, and these options of our URL.
    async fn start_with(test: &str, options: &Value, query: &str) -> Option<Self> {
        let python = Python::require(test)?;
        if !Redis::require(test) {
            return None;
        }
        let redis = Redis::start().await.unwrap();
        let transport = within(Transport::connect(&format!("{}{query}", redis.url(DATABASE)))).await.unwrap();
        let kombu = Kombu::start(&python, &redis.url(DATABASE), options);
        Some(Peers { kombu, transport, redis })
    }

    async fn consumer(&self, queue: &str) -> Consumer<Value> {
        within(self.transport.consumer(Queue::new(queue)).prefetch(1).start()).await.unwrap()
    }

    /// The answer of Redis to a command, raw.
    async fn redis(&self, command: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.redis.port())).await.unwrap();
        stream.write_all(format!("SELECT {DATABASE}\r\n{command}\r\nQUIT\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        within(stream.read_to_string(&mut answer)).await.unwrap();
        answer.strip_prefix("+OK\r\n").unwrap().strip_suffix("+OK\r\n").unwrap().to_owned()
    }

    async fn close(self) {
        within(self.transport.close()).await.unwrap();
    }
}

/// The bodies of the next messages, which are acknowledged.
async fn bodies(consumer: &mut Consumer<Value>, count: usize) -> Vec<Value> {
    let mut bodies = Vec::new();
    for _ in 0..count {
        let delivery = within(consumer.recv()).await.unwrap().unwrap();
        bodies.push(delivery.body().clone());
        within(delivery.ack()).await.unwrap();
    }
    bodies
}

fn with_priority(priority: u8) -> PublishOptions {
    PublishOptions::new().priority(priority)
}

#[tokio::test]
async fn what_kombu_writes_is_read_here() {
    let Some(mut peers) = Peers::start("redis::what_kombu_writes_is_read_here").await else { return };
    let message = json!({"key": "q", "bodies": [{"n": 1}], "headers": {"lang": "py", "deep": {"list": [1, null]}}, "correlation_id": "c"});
    peers.kombu.publish(message).await;
    let mut consumer = peers.consumer("q").await;
    let delivery = within(consumer.recv()).await.unwrap().unwrap();
    assert_eq!(delivery.body(), &json!({"n": 1}));
    let properties = delivery.properties().unwrap();
    assert_eq!(properties.correlation_id.unwrap().to_text(), "c");
    assert_eq!(properties.headers.unwrap().get("lang").unwrap().as_str(), Some("py"));
    assert_eq!(peers.redis("HLEN unacked").await, ":1\r\n");
    within(delivery.ack()).await.unwrap();
    peers.close().await;
}

#[tokio::test]
async fn what_is_written_here_is_read_by_kombu() {
    let Some(mut peers) = Peers::start("redis::what_is_written_here_is_read_by_kombu").await else { return };
    let producer = peers.transport.producer(Exchange::default());
    for number in 0..5 {
        within(producer.ensure_publish("q", &json!({"n": number}))).await.unwrap();
    }
    assert_eq!(peers.kombu.size("q").await, 5);
    let got = peers.kombu.consume(json!("q"), 5).await;
    let numbers: Vec<_> = got.iter().map(|message| message["body"]["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
    peers.close().await;
}

#[tokio::test]
async fn a_time_to_live_is_honoured_here_and_told_to_kombu() {
    let Some(mut peers) = Peers::start("redis::a_time_to_live_is_honoured_here_and_told_to_kombu").await
    else {
        return;
    };
    let producer = peers.transport.producer(Exchange::default());
    let brief = PublishOptions::new().expiration(Duration::from_millis(1));
    let late = async || {
        within(producer.ensure_publish(("q", &brief), &json!("late"))).await.unwrap();
        sleep(Duration::from_millis(2)).await;
    };
    late().await;
    let got = peers.kombu.consume(json!("q"), 1).await;
    assert_eq!((&got[0]["body"], &got[0]["expiration"]), (&json!("late"), &json!("1")));
    late().await;
    let long = PublishOptions::new().expiration(Duration::from_secs(600));
    within(producer.ensure_publish(("q", &long), &json!("in time"))).await.unwrap();
    let mut consumer = peers.consumer("q").await;
    assert_eq!(bodies(&mut consumer, 1).await, ["in time"]);
    peers.close().await;
}

#[tokio::test]
async fn priorities_have_kombus_order_for_both() {
    let Some(mut peers) = Peers::start("redis::priorities_have_kombus_order_for_both").await else { return };
    let expected = ["0", "5", "9"];
    for _ in 0..2 {
        for priority in [9, 0, 5] {
            let body = json!([priority.to_string()]);
            peers.kombu.publish(json!({"key": "q", "bodies": body, "priority": priority})).await;
        }
        let mut consumer = peers.consumer("q").await;
        assert_eq!(bodies(&mut consumer, 3).await, expected, "written by kombu, read here");
        within(consumer.close()).await.unwrap();
        for priority in [9, 0, 5] {
            let producer = peers.transport.producer(Exchange::default());
            let options = with_priority(priority);
            within(producer.ensure_publish(("q", &options), &priority.to_string())).await.unwrap();
        }
        let got = peers.kombu.consume(json!("q"), 3).await;
        let read: Vec<_> = got.iter().map(|message| message["body"].clone()).collect();
        assert_eq!(read, expected, "written here, read by kombu");
    }
    peers.close().await;
}

#[tokio::test]
async fn topic_bindings_of_either_side_route_for_both() {
    let test = "redis::topic_bindings_of_either_side_route_for_both";
    let Some(mut peers) = Peers::start(test).await else { return };
    let theirs = json!({"name": "theirs", "exchange": "stock", "type": "topic", "key": "stock.*.nyse"});
    peers.kombu.declare(theirs.clone()).await;
    let stock = Exchange::topic("stock");
    let ours = peers.transport.consumer(Queue::new("ours")).bind(&stock, "stock.#");
    let mut ours = within(ours.start::<Value>()).await.unwrap();
    let by_kombu =
        json!({"exchange": "stock", "type": "topic", "key": "stock.us.nyse", "bodies": ["by kombu"]});
    peers.kombu.publish(by_kombu).await;
    within(peers.transport.producer(stock).ensure_publish("stock.eu.nyse", &"by us")).await.unwrap();
    assert_eq!(bodies(&mut ours, 2).await, ["by kombu", "by us"]);
    let there: Vec<_> = peers.kombu.consume(theirs, 2).await.iter().map(|got| got["body"].clone()).collect();
    assert_eq!(there, ["by kombu", "by us"]);
    peers.close().await;
}

#[tokio::test]
async fn a_fanout_of_kombu_reaches_every_queue_here() {
    let Some(mut peers) = Peers::start("redis::a_fanout_of_kombu_reaches_every_queue_here").await else {
        return;
    };
    let news = Exchange::fanout("news");
    let mut consumers = Vec::new();
    for queue in ["one", "two"] {
        let consumer = peers.transport.consumer(Queue::new(queue)).bind(&news, "");
        consumers.push(within(consumer.start::<Value>()).await.unwrap());
    }
    peers
        .kombu
        .publish(json!({"exchange": "news", "type": "fanout", "key": "", "bodies": ["by kombu"]}))
        .await;
    within(peers.transport.producer(news).ensure_publish("", &"by us")).await.unwrap();
    for consumer in &mut consumers {
        assert_eq!(bodies(consumer, 2).await, ["by kombu", "by us"]);
    }
    peers.close().await;
}

/// A Broadcast consumer of kombu's own hears what is published on either side, and so does ours.
async fn broadcasts_are_heard(test: &str, options: Value, query: &str) {
    let Some(mut peers) = Peers::start_with(test, &options, query).await else { return };
    peers.kombu.listen("news").await;
    let subscribed = async {
        while peers.redis("PUBSUB NUMPAT").await == ":0\r\n" {
            sleep(POLL_INTERVAL).await;
        }
    };
    within(subscribed).await;
    let news = Exchange::fanout("news");
    let ours = peers.transport.consumer(Queue::new("ours")).bind(&news, "");
    let mut ours = within(ours.start::<Value>()).await.unwrap();
    within(peers.transport.producer(news).ensure_publish("", &"by us")).await.unwrap();
    let by_kombu = json!({"exchange": "news", "type": "fanout", "key": "", "bodies": ["by kombu"]});
    peers.kombu.publish(by_kombu).await;
    assert_eq!(peers.kombu.hear(2).await, json!(["by us", "by kombu"]));
    assert_eq!(bodies(&mut ours, 2).await, ["by us", "by kombu"]);
    peers.close().await;
}

#[tokio::test]
async fn broadcast_consumers_of_kombu_hear_fanouts_of_both() {
    let test = "redis::broadcast_consumers_of_kombu_hear_fanouts_of_both";
    broadcasts_are_heard(test, json!({}), "").await;
}

#[tokio::test]
async fn with_a_prefix_broadcast_consumers_of_kombu_hear_fanouts_of_both() {
    let test = "redis::with_a_prefix_broadcast_consumers_of_kombu_hear_fanouts_of_both";
    let options = json!({"global_keyprefix": "{app}:"});
    broadcasts_are_heard(test, options, "?global_keyprefix=%7Bapp%7D:").await;
}

#[tokio::test]
async fn with_other_names_of_channels_broadcast_consumers_of_kombu_hear_fanouts_of_both() {
    let test = "redis::with_other_names_of_channels_broadcast_consumers_of_kombu_hear_fanouts_of_both";
    for (options, query) in [
        (
            json!({"fanout_prefix": false, "fanout_patterns": false}),
            "fanout_prefix=False&fanout_patterns=False",
        ),
        (json!({"fanout_prefix": "/x{db}."}), "fanout_prefix=/x{db}."),
    ] {
        broadcasts_are_heard(test, options, &format!("?{query}")).await;
    }
}

/// Keys, separators and steps that differ from kombu's defaults.
fn renamed() -> (Value, &'static str) {
    let options = json!({
        "sep": ":", "priority_steps": [0, 5], "unacked_key": "u", "unacked_index_key": "ui",
        "unacked_mutex_key": "um", "body_encoding": "utf-8", "visibility_timeout": 1,
    });
    let query = "?sep=:&priority_steps=0,5&unacked_key=u&unacked_index_key=ui&unacked_mutex_key=um\
                 &body_encoding=utf-8&unacked_restore_interval=1&unacked_restore_throttle=1";
    (options, query)
}

#[tokio::test]
async fn other_keys_separators_and_steps_are_those_of_both() {
    let test = "redis::other_keys_separators_and_steps_are_those_of_both";
    let (options, query) = renamed();
    let Some(mut peers) = Peers::start_with(test, &options, query).await else { return };
    let queue = json!({"name": "q", "exchange": "stock", "type": "topic", "key": "stock.*"});
    peers.kombu.declare(queue.clone()).await;
    let stock = Exchange::topic("stock");
    for priority in [9, 0, 5] {
        let (options, body) = (with_priority(priority), format!("{priority}\u{e9}"));
        within(peers.transport.producer(stock.clone()).ensure_publish(("stock.us", &options), &body))
            .await
            .unwrap();
    }
    for (list, length) in [("q", 1), ("q:5", 2)] {
        assert_eq!(peers.redis(&format!("LLEN {list}")).await, format!(":{length}\r\n"), "{list}");
    }
    assert!(peers.redis("LINDEX q 0").await.contains(r#"{"body":"\"0"#), "a body is text");
    let got = peers.kombu.consume(queue, 3).await;
    let read: Vec<_> = got.iter().map(|message| message["body"].clone()).collect();
    assert_eq!(read, ["0\u{e9}", "9\u{e9}", "5\u{e9}"], "5 and 9 are of one step");
    for priority in [9, 0, 5] {
        let message = json!({"exchange": "stock", "type": "topic", "key": "stock.eu", "bodies": [priority], "priority": priority});
        peers.kombu.publish(message).await;
    }
    let mut consumer = peers.consumer("q").await;
    assert_eq!(bodies(&mut consumer, 3).await, [0, 9, 5]);
    peers.close().await;
}

#[tokio::test]
async fn claims_under_other_keys_are_restored_by_either_side() {
    let test = "redis::claims_under_other_keys_are_restored_by_either_side";
    let (options, query) = renamed();
    let Some(mut peers) = Peers::start_with(test, &options, query).await else { return };
    peers.kombu.publish(json!({"key": "q", "bodies": ["a"]})).await;
    let mut consumer = peers.consumer("q").await;
    let held = within(consumer.recv()).await.unwrap().unwrap();
    assert_eq!(peers.redis("HLEN u").await, ":1\r\n");
    let index = peers.redis("ZRANGE ui 0 -1").await;
    peers.redis(&format!("ZADD ui 1 {}", index.lines().last().unwrap())).await;
    peers.kombu.restore().await;
    let again = within(consumer.recv());
    held.ack().await.unwrap();
    let again = again.await.unwrap().unwrap();
    assert!(again.redelivered(), "kombu has returned it");
    again.ack().await.unwrap();
    within(consumer.close()).await.unwrap();
    peers.kombu.publish(json!({"key": "p", "bodies": ["b"]})).await;
    assert_eq!(peers.kombu.hold("p", 1).await.len(), 1);
    peers.kombu.kill().await;
    let index = peers.redis("ZRANGE ui 0 -1").await;
    peers.redis(&format!("ZADD ui 1 {}", index.lines().last().unwrap())).await;
    let mut consumer = peers.consumer("p").await;
    let returned = within(consumer.recv()).await.unwrap().unwrap();
    assert!(returned.redelivered() && returned.body() == "b");
    returned.ack().await.unwrap();
    peers.close().await;
}

#[tokio::test]
async fn priorities_that_are_turned_round_have_kombus_order_for_kombu() {
    let test = "redis::priorities_that_are_turned_round_have_kombus_order_for_kombu";
    let Some(mut peers) = Peers::start_with(test, &json!({}), "?higher_first=true").await else { return };
    for priority in [5, 0, 9] {
        let producer = peers.transport.producer(Exchange::default());
        let options = with_priority(priority);
        within(producer.ensure_publish(("q", &options), &priority.to_string())).await.unwrap();
    }
    let got = peers.kombu.consume(json!("q"), 3).await;
    let read: Vec<_> = got.iter().map(|message| (&message["body"], &message["priority"])).collect();
    let expected = [("9", 0), ("5", 4), ("0", 9)].map(|(body, priority)| (json!(body), json!(priority)));
    assert!(read.iter().copied().eq(expected.iter().map(|(body, priority)| (body, priority))), "{read:?}");
    for priority in [5, 0, 9] {
        let body = json!([priority.to_string()]);
        peers.kombu.publish(json!({"key": "q", "bodies": body, "priority": priority})).await;
    }
    let mut consumer = peers.consumer("q").await;
    assert_eq!(bodies(&mut consumer, 3).await, ["0", "5", "9"], "kombu's numbers have kombu's order");
    peers.close().await;
}

#[tokio::test]
async fn kombu_restores_what_a_process_of_ours_held() {
    let test = "redis::kombu_restores_what_a_process_of_ours_held";
    let options = json!({"visibility_timeout": 1});
    let Some(mut peers) = Peers::start_with(test, &options, "").await else { return };
    peers.kombu.publish(json!({"key": "q", "bodies": ["a"]})).await;
    let mut consumer = peers.consumer("q").await;
    let held = within(consumer.recv()).await.unwrap().unwrap();
    // As long ago as a process would be dead.
    let index = peers.redis("ZRANGE unacked_index 0 -1").await;
    let tag = index.lines().last().unwrap().to_owned();
    peers.redis(&format!("ZADD unacked_index 1 {tag}")).await;
    peers.kombu.restore().await;
    assert_eq!(peers.redis("HLEN unacked").await, ":0\r\n");
    // The late acknowledgement takes nothing away from the next reader.
    within(held.ack()).await.unwrap();
    let delivery = within(consumer.recv()).await.unwrap().unwrap();
    assert_eq!(delivery.body(), "a");
    assert!(delivery.redelivered());
    // The message came again because there was room for it: its acknowledgement was handled.
    assert_eq!(peers.transport.metrics().settled_too_late, 1);
    within(delivery.ack()).await.unwrap();
    within(consumer.close()).await.unwrap();
    assert_eq!(peers.redis("HLEN unacked").await, ":0\r\n");
    assert_eq!(peers.transport.metrics().settled_too_late, 1, "this one was in time");
    peers.close().await;
}

#[tokio::test]
async fn kombu_restores_what_a_killed_worker_of_ours_held() {
    let test = "redis::kombu_restores_what_a_killed_worker_of_ours_held";
    let options = json!({"visibility_timeout": 1});
    let Some(mut peers) = Peers::start_with(test, &options, "").await else { return };
    let Some(program) = example("recording_worker", test) else { return };
    let mut worker = RecordingWorker::start_holding(&program, &peers.redis.url(DATABASE), "q").unwrap();
    peers.kombu.publish(json!({"key": "q", "bodies": [1, 2]})).await;
    let mut held = Vec::new();
    while held.len() < 2 {
        assert_eq!(worker.ended().unwrap(), None);
        held.extend(worker.records().unwrap());
        sleep(POLL_INTERVAL).await;
    }
    worker.kill().unwrap();
    assert_eq!(peers.redis("HLEN unacked").await, ":2\r\n");
    let restoring = async {
        while peers.kombu.size("q").await < 2 {
            sleep(POLL_INTERVAL).await;
            peers.kombu.restore().await;
        }
    };
    within(restoring).await;
    let mut got = peers.kombu.consume(json!("q"), 2).await;
    got.sort_by_key(|message| message["body"].as_u64());
    let bodies: Vec<_> = got.iter().map(|message| message["body"].clone()).collect();
    assert_eq!(bodies, [1, 2]);
    assert!(got.iter().all(|message| message["headers"]["redelivered"] == true), "{got:?}");
    assert_eq!(peers.redis("HLEN unacked").await, ":0\r\n");
    peers.close().await;
}

#[tokio::test]
async fn what_a_killed_kombu_held_is_restored_here() {
    let test = "redis::what_a_killed_kombu_held_is_restored_here";
    let query = "?visibility_timeout=1&unacked_restore_interval=1&unacked_restore_throttle=1";
    let Some(mut peers) = Peers::start_with(test, &json!({}), query).await else { return };
    peers.kombu.publish(json!({"key": "q", "bodies": ["a", "b"]})).await;
    assert_eq!(peers.kombu.hold("q", 2).await.len(), 2);
    assert_eq!(peers.redis("HLEN unacked").await, ":2\r\n");
    peers.kombu.kill().await;
    let mut consumer = peers.consumer("q").await;
    let mut got = bodies(&mut consumer, 2).await;
    got.sort_by_key(ToString::to_string);
    assert_eq!(got, ["a", "b"]);
    peers.close().await;
}

#[tokio::test]
async fn keys_have_the_prefix_of_both() {
    let options = json!({"global_keyprefix": "{app}:"});
    let test = "redis::keys_have_the_prefix_of_both";
    let query = "?global_keyprefix=%7Bapp%7D:";
    let Some(mut peers) = Peers::start_with(test, &options, query).await else { return };
    peers.kombu.publish(json!({"key": "q", "bodies": ["by kombu"]})).await;
    assert_eq!(peers.redis("LLEN {app}:q").await, ":1\r\n");
    let mut consumer = peers.consumer("q").await;
    assert_eq!(bodies(&mut consumer, 1).await, ["by kombu"]);
    within(consumer.close()).await.unwrap();
    within(peers.transport.producer(Exchange::default()).ensure_publish("q", &"by us")).await.unwrap();
    assert_eq!(peers.kombu.consume(json!("q"), 1).await[0]["body"], "by us");
    let keys = peers.redis("KEYS *").await;
    let foreign = keys.lines().filter(|line| !line.starts_with(['*', '$']) && !line.starts_with("{app}:"));
    assert_eq!(foreign.collect::<Vec<_>>(), [""; 0]);
    peers.close().await;
}

#[tokio::test]
async fn malformed_items_are_set_aside_and_harm_nobody() {
    let test = "redis::malformed_items_are_set_aside_and_harm_nobody";
    let Some(mut peers) = Peers::start(test).await else { return };
    peers.redis("LPUSH q nonsense").await;
    peers.redis(r#"LPUSH q "{\"body\": 1}""#).await;
    peers.kombu.publish(json!({"key": "q", "bodies": ["good"]})).await;
    let mut consumer = peers.consumer("q").await;
    assert_eq!(bodies(&mut consumer, 1).await, ["good"]);
    assert_eq!(peers.redis("LLEN q.undecodable").await, ":2\r\n");
    assert_eq!(peers.transport.metrics().undecodable_items, 2);
    assert_eq!(peers.redis("LLEN q").await, ":0\r\n");
    peers.close().await;
}

#[tokio::test]
async fn a_consumer_that_waits_is_woken_by_kombu() {
    let Some(mut peers) = Peers::start("redis::a_consumer_that_waits_is_woken_by_kombu").await else {
        return;
    };
    let mut consumer = peers.consumer("q").await;
    // That nothing but the announcement wakes it is tested in the broker.
    for round in 0..3 {
        // It has been idle for a while.
        sleep(Duration::from_millis(20)).await;
        peers.kombu.publish(json!({"key": "q", "bodies": [round]})).await;
        assert_eq!(bodies(&mut consumer, 1).await, [round]);
    }
    peers.close().await;
}

#[tokio::test]
async fn simple_queues_of_both_are_the_same() {
    let Some(mut peers) = Peers::start("redis::simple_queues_of_both_are_the_same").await else { return };
    let queue = peers.transport.simple_queue("simple");
    assert_eq!(peers.kombu.simple(json!({"name": "simple", "bodies": [1, {"n": 2}]})).await, json!([]));
    let mut taker = within(queue.taker::<Value>()).await.unwrap();
    for expected in [json!(1), json!({"n": 2})] {
        let delivery = within(taker.get(Duration::from_secs(20))).await.unwrap().unwrap();
        assert_eq!(delivery.body(), &expected);
        within(delivery.ack()).await.unwrap();
    }
    drop(taker);
    for number in [3, 4] {
        within(queue.put(&number)).await.unwrap();
    }
    assert_eq!(peers.kombu.simple(json!({"name": "simple", "count": 2})).await, json!([3, 4]));
    peers.close().await;
}

#[tokio::test]
async fn a_sweep_of_kombu_leaves_our_bindings_alone() {
    let Some(mut peers) = Peers::start("redis::a_sweep_of_kombu_leaves_our_bindings_alone").await else {
        return;
    };
    let stock = Exchange::topic("stock");
    let ours = peers.transport.consumer(Queue::new("ours")).bind(&stock, "stock.#");
    let mut ours = within(ours.start::<Value>()).await.unwrap();
    let theirs =
        json!({"name": "theirs", "exchange": "stock", "type": "topic", "key": "stock.#", "expires": 60});
    peers.kombu.declare(theirs).await;
    let gone = json!({"name": "gone", "exchange": "gone", "type": "topic", "key": "#", "expires": 60});
    peers.kombu.declare(gone).await;
    // Nobody has refreshed the bindings of the queues that expire.
    for exchange in ["stock", "gone"] {
        assert_eq!(peers.redis(&format!("ZADD _kombu.binding_deadlines 1 {exchange}")).await, ":0\r\n");
    }
    peers.kombu.sweep().await;
    assert_eq!(peers.redis("EXISTS _kombu.binding.gone").await, ":0\r\n", "it does sweep");
    peers
        .kombu
        .publish(json!({"exchange": "stock", "type": "topic", "key": "stock.us", "bodies": ["kept"]}))
        .await;
    assert_eq!(bodies(&mut ours, 1).await, ["kept"]);
    peers.close().await;
}
