//! `filesystem://`, with kombu on the same folders.

use std::{path::Path, process::Stdio};

use messaging::{Exchange, Queue, Transport};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::Python;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use super::{python::Kombu, within};

const FOLDERS: [&str; 3] = ["data_folder_in", "data_folder_out", "control_folder"];

/// The folders of one queue and its bindings; what is written is read.
fn folders(folder: &TempDir) -> [(&'static str, String); 3] {
    let path = |name: &str| folder.path().join(name).display().to_string();
    FOLDERS.map(|option| (option, path(if option == "control_folder" { "control" } else { "data" })))
}

struct Peers {
    kombu: Kombu,
    transport: Transport,
    folder: TempDir,
}

impl Peers {
    async fn start(test: &str) -> Option<Self> {
        let python = Python::require(test)?;
        let folder = tempfile::tempdir().unwrap();
        let options: Vec<_> = folders(&folder).iter().map(|(key, value)| format!("{key}={value}")).collect();
        let url = format!("filesystem://?{}", options.join("&"));
        let transport = within(Transport::connect(&url)).await.unwrap();
        let options: Value =
            folders(&folder).into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect();
        let kombu = Kombu::start(&python, "filesystem://", &options);
        Some(Peers { kombu, transport, folder })
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }
}

/// Sorts bodies: what both sides write within a millisecond has no order.
fn in_any_order(mut bodies: Vec<Value>) -> Vec<Value> {
    bodies.sort_by_key(Value::to_string);
    bodies
}

fn count(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[tokio::test]
async fn what_kombu_writes_is_read_here_in_its_order() {
    let Some(mut peers) = Peers::start("filesystem::what_kombu_writes_is_read_here_in_its_order").await
    else {
        return;
    };
    peers
        .kombu
        .publish(json!({"key": "q", "bodies": [{"n": 1}], "headers": {"lang": "py"}, "correlation_id": "c"}))
        .await;
    let mut consumer = within(peers.transport.consumer(Queue::new("q")).start::<Value>()).await.unwrap();
    let delivery = within(consumer.recv()).await.unwrap().unwrap();
    assert_eq!(delivery.body(), &json!({"n": 1}));
    let properties = delivery.properties().unwrap();
    assert_eq!(properties.correlation_id.unwrap().to_text(), "c");
    assert_eq!(properties.headers.unwrap().get("lang").unwrap().as_str(), Some("py"));
    within(delivery.ack()).await.unwrap();
    within(peers.transport.close()).await.unwrap();
    assert_eq!(count(&peers.data()), 0, "an acknowledged message is gone");
}

#[tokio::test]
async fn what_is_written_here_is_read_by_kombu() {
    let Some(mut peers) = Peers::start("filesystem::what_is_written_here_is_read_by_kombu").await else {
        return;
    };
    let producer = peers.transport.producer(Exchange::default());
    for number in 0..5 {
        within(producer.ensure_publish("q", &json!({"n": number}))).await.unwrap();
    }
    assert_eq!(peers.kombu.size("q").await, 5);
    let got = peers.kombu.consume(json!("q"), 5).await;
    let bodies: Vec<_> = got.iter().map(|message| message["body"]["n"].as_u64().unwrap()).collect();
    assert_eq!(bodies, [0, 1, 2, 3, 4]);
    within(peers.transport.close()).await.unwrap();
}

#[tokio::test]
async fn bindings_of_either_side_route_for_both() {
    let Some(mut peers) = Peers::start("filesystem::bindings_of_either_side_route_for_both").await else {
        return;
    };
    let stock = Exchange::topic("stock");
    peers
        .kombu
        .declare(json!({"name": "theirs", "exchange": "stock", "type": "topic", "key": "stock.*.nyse"}))
        .await;
    let ours = peers.transport.consumer(Queue::new("ours")).bind(&stock, "stock.#");
    let mut ours = within(ours.start::<Value>()).await.unwrap();

    let by_kombu =
        json!({"exchange": "stock", "type": "topic", "key": "stock.us.nyse", "bodies": ["by kombu"]});
    peers.kombu.publish(by_kombu).await;
    within(peers.transport.producer(stock).ensure_publish("stock.eu.nyse", &"by us")).await.unwrap();
    let mut here = Vec::new();
    for _ in 0..2 {
        let delivery = within(ours.recv()).await.unwrap().unwrap();
        here.push(delivery.body().clone());
        within(delivery.ack()).await.unwrap();
    }
    assert_eq!(in_any_order(here), ["by kombu", "by us"]);
    let queue = json!({"name": "theirs", "exchange": "stock", "type": "topic", "key": "stock.*.nyse"});
    let there: Vec<_> = peers.kombu.consume(queue, 2).await.iter().map(|got| got["body"].clone()).collect();
    assert_eq!(in_any_order(there), ["by kombu", "by us"]);
    within(peers.transport.close()).await.unwrap();
}

#[tokio::test]
async fn a_fanout_reaches_the_queues_of_both() {
    let Some(mut peers) = Peers::start("filesystem::a_fanout_reaches_the_queues_of_both").await else {
        return;
    };
    let theirs = json!({"name": "theirs", "exchange": "news", "type": "fanout", "key": ""});
    peers.kombu.declare(theirs.clone()).await;
    let news = Exchange::fanout("news");
    let ours = peers.transport.consumer(Queue::new("ours")).bind(&news, "");
    let mut ours = within(ours.start::<Value>()).await.unwrap();
    within(peers.transport.producer(news).ensure_publish("", &"by us")).await.unwrap();
    peers
        .kombu
        .publish(json!({"exchange": "news", "type": "fanout", "key": "", "bodies": ["by kombu"]}))
        .await;
    let mut here = Vec::new();
    for _ in 0..2 {
        let delivery = within(ours.recv()).await.unwrap().unwrap();
        here.push(delivery.body().clone());
        within(delivery.ack()).await.unwrap();
    }
    assert_eq!(in_any_order(here), ["by kombu", "by us"]);
    assert_eq!(peers.kombu.consume(theirs, 2).await.len(), 2);
    within(peers.transport.close()).await.unwrap();
}

/// Holds a lock on a file as kombu does, until its standard input ends.
const LOCK: &str = "
import fcntl, sys
with open(sys.argv[1], 'r+b') as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print('locked', flush=True)
    sys.stdin.read()
";

/// A process of Python that holds such a lock.
async fn locked(file: &Path) -> Option<Child> {
    let python = Python::available()?;
    let mut command = Command::from(python.command(LOCK, &[file.to_str().unwrap()]));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(within(said.next_line()).await.unwrap().as_deref(), Some("locked"));
    Some(child)
}

#[tokio::test]
async fn a_table_that_kombu_has_locked_is_waited_for() {
    let test = "filesystem::a_table_that_kombu_has_locked_is_waited_for";
    let Some(mut peers) = Peers::start(test).await else { return };
    let theirs = json!({"name": "theirs", "exchange": "stock", "type": "topic", "key": "stock.a"});
    peers.kombu.declare(theirs).await;
    let table = peers.folder.path().join("control/stock.exchange");
    let mut lock = locked(&table).await.unwrap();
    let stock = Exchange::topic("stock");
    let binding = peers.transport.consumer(Queue::new("ours")).bind(&stock, "stock.b");
    let mut starting = std::pin::pin!(binding.start::<Value>());
    let pause = std::time::Duration::from_millis(200);
    assert!(tokio::time::timeout(pause, &mut starting).await.is_err(), "it is bound under a lock");
    assert!(!std::fs::read_to_string(&table).unwrap().contains("ours"));
    drop(lock.stdin.take());
    let _consumer = within(starting).await.unwrap();
    let rows = std::fs::read_to_string(&table).unwrap();
    assert!(rows.contains("ours") && rows.contains("theirs"), "{rows}");
    within(peers.transport.close()).await.unwrap();
}

#[tokio::test]
async fn bindings_that_both_sides_add_at_once_are_all_there() {
    const EACH: usize = 30;
    let test = "filesystem::bindings_that_both_sides_add_at_once_are_all_there";
    let Some(mut peers) = Peers::start(test).await else { return };
    let stock = Exchange::direct("stock");
    peers.kombu.declare(json!({"name": "q0", "exchange": "stock", "key": "first"})).await;
    let transport = peers.transport.clone();
    let ours = async {
        for number in 1..EACH {
            let queue = Queue::new(format!("ours{number}"));
            let consumer = transport.consumer(queue).bind(&stock, "k");
            within(consumer.start::<Value>()).await.unwrap();
        }
    };
    let theirs = async {
        for number in 1..EACH {
            let name = format!("theirs{number}");
            peers.kombu.declare(json!({"name": name, "exchange": "stock", "key": "k"})).await;
        }
    };
    tokio::join!(ours, theirs);
    let table = std::fs::read(peers.folder.path().join("control/stock.exchange")).unwrap();
    let rows: Vec<(String, String, String)> = serde_json::from_slice(&table).unwrap();
    for side in ["ours", "theirs"] {
        let found = rows.iter().filter(|(_, _, queue)| queue.starts_with(side)).count();
        assert_eq!(found, EACH - 1, "{side}");
    }
    within(peers.transport.close()).await.unwrap();
}

#[tokio::test]
async fn a_message_that_its_writer_has_locked_is_left_until_it_is_done() {
    let test = "filesystem::a_message_that_its_writer_has_locked_is_left_until_it_is_done";
    let Some(mut peers) = Peers::start(test).await else { return };
    peers.kombu.publish(json!({"key": "q", "bodies": ["first"]})).await;
    let first = std::fs::read_dir(peers.data()).unwrap().next().unwrap().unwrap().path();
    let mut lock = locked(&first).await.unwrap();
    peers.kombu.publish(json!({"key": "q", "bodies": ["second"]})).await;
    let mut consumer = within(peers.transport.consumer(Queue::new("q")).start::<Value>()).await.unwrap();
    let delivery = within(consumer.recv()).await.unwrap().unwrap();
    assert_eq!(delivery.body(), "second", "the first is not done");
    within(delivery.ack()).await.unwrap();
    drop(lock.stdin.take());
    let delivery = within(consumer.recv()).await.unwrap().unwrap();
    assert_eq!(delivery.body(), "first");
    within(delivery.ack()).await.unwrap();
    within(peers.transport.close()).await.unwrap();
}

#[tokio::test]
async fn what_is_held_here_comes_to_kombu_when_it_is_given_back() {
    let test = "filesystem::what_is_held_here_comes_to_kombu_when_it_is_given_back";
    let Some(mut peers) = Peers::start(test).await else { return };
    peers.kombu.publish(json!({"key": "q", "bodies": ["x"]})).await;
    let mut consumer = within(peers.transport.consumer(Queue::new("q")).start::<Value>()).await.unwrap();
    let delivery = within(consumer.recv()).await.unwrap().unwrap();
    assert_eq!(peers.kombu.size("q").await, 0, "kombu does not take a claimed file for a message");
    drop(delivery);
    within(peers.transport.close()).await.unwrap();
    let got = peers.kombu.consume(json!("q"), 1).await;
    assert_eq!(got[0]["body"], "x");
    assert_eq!(got[0]["headers"]["redelivered"], true);
}
