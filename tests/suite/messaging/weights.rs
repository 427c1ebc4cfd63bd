//! What a peer can make a server, worker or listener keep: bodies that grow when decompressed, ids,
//! replies to nobody.

use std::{
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::{BoxFuture, join_all};
use messaging::{
    Compression, Context, Error, Exchange, Incoming, PublishOptions, Queue, Serializers, Target, Transport,
    TransportOptions,
    notify::{BatchResult, Event, Level, Notifier},
    rpc::{Client, Endpoint, Failure, RunningServer},
};
use serde_json::{Value, json};
use tests::Usage;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    sync::{Semaphore, mpsc},
};

use super::{
    example::example,
    fixture::{Broker, within},
    on_every_broker_and_redis,
};

const MIB: usize = 1024 * 1024;

/// How many run at once, the highest such number, and a gate for them.
#[derive(Clone)]
struct Work {
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    begun: mpsc::UnboundedSender<()>,
    gate: Arc<Semaphore>,
}

impl Work {
    fn new() -> (Self, mpsc::UnboundedReceiver<()>) {
        let (begun, begins) = mpsc::unbounded_channel();
        let work =
            Work { now: Arc::default(), most: Arc::default(), begun, gate: Arc::new(Semaphore::new(0)) };
        (work, begins)
    }

    async fn run(self) -> Result<(), String> {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        self.begun.send(()).map_err(|error| error.to_string())?;
        self.gate.acquire().await.map_err(|error| error.to_string())?.forget();
        self.now.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }

    /// Lets all of them pass, of which `at_once` run concurrently.
    async fn go(&self, begins: &mut mpsc::UnboundedReceiver<()>, all: usize, at_once: usize) {
        for _ in 0..at_once {
            within(begins.recv()).await.unwrap();
        }
        for _ in 0..all {
            self.gate.add_permits(1);
        }
        for _ in at_once..all {
            within(begins.recv()).await.unwrap();
        }
        assert_eq!(self.most.load(Ordering::SeqCst), at_once);
    }
}

/// Room for three bodies like [`large`] ones at once: a body takes up to four times its size while
/// it is decompressed.
const TOTAL: u64 = 8 * MIB as u64;

async fn narrow(broker: &Broker) -> Transport {
    let options = TransportOptions::new().oslo_decompressed_total(TOTAL);
    within(options.connect(&broker.url)).await.unwrap()
}

fn large() -> Value {
    json!({"text": "x".repeat(MIB * 3 / 2)})
}

async fn compressed_requests_wait_until_there_is_room_and_too_large_ones_are_refused(broker: Broker) {
    let (transport, topic) = (narrow(&broker).await, broker.name("t"));
    let (work, mut begins) = Work::new();
    let working = work.clone();
    let endpoint = Endpoint::new()
        .method("work", move |_, _: Value| {
            let work = working.clone();
            async move { work.run().await.map_err(|why| Failure::new("RuntimeError", why)) }
        })
        .method("now", |_, (): ()| async { Ok("now") });
    let server = transport.rpc_server(Target::topic(&topic).server("s1")).endpoint(endpoint);
    let server = within(server.start()).await.unwrap();
    let other = broker.transport().await;
    let plain = other.rpc_client(Target::topic(&topic));
    let client = plain.clone().compression(Compression::Zlib);
    for _ in 0..5 {
        within(client.cast("work", &large())).await.unwrap();
    }
    within(client.cast("work", &json!({"text": "x".repeat(9 * MIB)}))).await.unwrap();
    for _ in 0..3 {
        within(begins.recv()).await.unwrap();
    }
    // An uncompressed body needs no room.
    assert_eq!(within(plain.call::<String>("now", &()).into_future()).await.unwrap(), "now");
    work.gate.add_permits(5);
    for _ in 3..5 {
        within(begins.recv()).await.unwrap();
    }
    assert_eq!(work.most.load(Ordering::SeqCst), 3);
    within(async {
        while server.metrics().unreadable == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(server.metrics().unreadable, 1);
    within(server.stop()).await.unwrap();
}

/// The size of a result that fits three times, as [`large`].
const LARGE: usize = MIB * 3 / 2;

/// A server of `large` results, which are compressed and sent when the gate is open.
async fn large_results(broker: &Broker, topic: &str, work: &Work) -> RunningServer {
    let working = work.clone();
    let endpoint = Endpoint::new().method("large", move |_, (): ()| {
        let work = working.clone();
        async move {
            work.run().await.map_err(|why| Failure::new("RuntimeError", why))?;
            Ok("x".repeat(LARGE))
        }
    });
    let server = broker.transport().await.rpc_server(Target::topic(topic).server("s1"));
    within(server.endpoint(endpoint).compression(Compression::Zlib).start()).await.unwrap()
}

/// Makes calls whose replies nobody takes, because the calls are not polled once they have begun.
async fn begin<'a>(
    client: &'a Client,
    begins: &mut mpsc::UnboundedReceiver<()>,
    calls: usize,
) -> Vec<BoxFuture<'a, Result<String, Error>>> {
    let mut begun = Vec::new();
    for _ in 0..calls {
        let mut call = client.call("large", &()).into_future();
        tokio::select! {
            early = &mut call => panic!("no gate is open: {early:?}"),
            _ = within(begins.recv()) => begun.push(call),
        }
    }
    begun
}

/// Calls a method whose reply is not compressed, after all replies that have been sent until now.
async fn pass(client: &Client) {
    for _ in 0..2 {
        assert_eq!(within(client.call::<String>("now", &()).into_future()).await.unwrap(), "now");
    }
}

async fn prompt_server(broker: &Broker, topic: &str) -> RunningServer {
    let endpoint = Endpoint::new().method("now", |_, (): ()| async { Ok("now") });
    let server = broker.transport().await.rpc_server(Target::topic(topic).server("s1"));
    within(server.endpoint(endpoint).start()).await.unwrap()
}

async fn compressed_replies_wait_until_there_is_room_and_hold_up_no_others(broker: Broker) {
    let (topic, prompt) = (broker.name("t"), broker.name("p"));
    let (work, mut begins) = Work::new();
    let server = large_results(&broker, &topic, &work).await;
    let other = prompt_server(&broker, &prompt).await;
    let transport = narrow(&broker).await;
    let client = transport.rpc_client(Target::topic(&topic));
    let mut calls = begin(&client, &mut begins, 5).await;
    work.gate.add_permits(5);
    // The replies have all been sent when the server has stopped.
    within(server.stop()).await.unwrap();
    pass(&transport.rpc_client(Target::topic(&prompt))).await;
    assert_eq!(client.metrics().in_flight, 2, "there is room for three");
    // A call that is dropped leaves its room to the next reply, and so does one that ends.
    drop(calls.remove(0));
    for reply in within(join_all(calls)).await {
        assert_eq!(reply.unwrap().len(), LARGE);
    }
    assert_eq!(client.metrics().in_flight, 0);
    within(other.stop()).await.unwrap();
}

async fn compressed_replies_wait_no_longer_than_the_calls(broker: Broker) {
    let (topic, prompt) = (broker.name("t"), broker.name("p"));
    let (work, mut begins) = Work::new();
    let server = large_results(&broker, &topic, &work).await;
    let other = prompt_server(&broker, &prompt).await;
    let transport = narrow(&broker).await;
    let client = transport.rpc_client(Target::topic(&topic)).timeout(Duration::from_secs(3));
    let calls = begin(&client, &mut begins, 4).await;
    work.gate.add_permits(4);
    // Three replies take all the room.
    within(async {
        while client.metrics().in_flight > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    work.gate.add_permits(1);
    let late = within(client.call::<String>("large", &()).into_future()).await;
    assert!(matches!(late, Err(Error::Timeout { .. })), "{:?}", late.map(|text| text.len()));
    pass(&transport.rpc_client(Target::topic(&prompt))).await;
    // Both that found no room are forgotten; else they would come now, and late.
    drop(calls);
    work.gate.add_permits(1);
    let reply = within(client.call::<String>("large", &()).into_future()).await;
    assert_eq!(reply.unwrap().len(), LARGE);
    assert_eq!(client.metrics().late_replies, 0);
    within(server.stop()).await.unwrap();
    within(other.stop()).await.unwrap();
}

async fn compressed_messages_wait_for_room_before_their_handler(broker: Broker) {
    let (transport, queue) = (broker.transport().await, broker.name("q"));
    let (work, mut begins) = Work::new();
    let working = work.clone();
    let worker = transport
        .worker(Queue::new(&queue).auto_delete(true))
        .concurrency(8)
        .serializers(Serializers::new().decompressed_total(TOTAL))
        .start(move |_: Incoming<Value>| working.clone().run());
    let worker = within(worker).await.unwrap();
    let options = PublishOptions::new().compression(Compression::Zlib);
    let producer = transport.producer(Exchange::default());
    for _ in 0..5 {
        within(producer.ensure_publish((&queue, &options), &large())).await.unwrap();
    }
    work.go(&mut begins, 5, 3).await;
    within(worker.stop()).await;
}

async fn a_batch_has_no_more_than_there_is_room_for(broker: Broker) {
    let (transport, topic) = (narrow(&broker).await, broker.name("n"));
    let (told, mut batches) = mpsc::unbounded_channel();
    let listener = transport.batch_listener(&topic, 5).timeout(Duration::from_secs(3600)).on(
        Level::Info,
        move |events: Vec<Event>| {
            let _ = told.send(events.len());
            async { BatchResult::Handled }
        },
    );
    let listener = within(listener.start()).await.unwrap();
    let driver = transport.notification_driver(&topic).compression(Compression::Zlib);
    let notifier = Notifier::new("p").driver(driver);
    for _ in 0..5 {
        within(notifier.info(&Context::new(), "e", &large())).await.unwrap();
    }
    // The others wait until there are five, or for the end.
    assert_eq!(within(batches.recv()).await, Some(3));
    within(listener.stop()).await;
    assert_eq!(batches.recv().await, Some(2));
}

on_every_broker_and_redis!(
    compressed_requests_wait_until_there_is_room_and_too_large_ones_are_refused,
    compressed_messages_wait_for_room_before_their_handler,
    compressed_replies_wait_until_there_is_room_and_hold_up_no_others,
    compressed_replies_wait_no_longer_than_the_calls,
    a_batch_has_no_more_than_there_is_room_for,
);

/// The example server as a separate process, so that its memory can be measured.
struct Program {
    process: Child,
    topic: String,
    client: Client,
    /// Its standard output, which has to stay open.
    _said: Lines<BufReader<ChildStdout>>,
}

impl Program {
    async fn start(program: &Path, broker: &Broker) -> Self {
        let topic = broker.name("t");
        let mut command = Command::new(program);
        command.args([&broker.url, &topic, "s1"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.kill_on_drop(true).spawn().unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap()).lines();
        assert_eq!(within(said.next_line()).await.unwrap().as_deref(), Some("ready"));
        let transport = broker.transport().await;
        let client = transport.rpc_client(Target::topic(&topic));
        Program { process, topic, client, _said: said }
    }

    fn peak(&self) -> usize {
        usize::try_from(Usage::of(self.process.id().unwrap()).unwrap().peak).unwrap()
    }
}

/// Sends compressed requests that no client could send: `echo` of a text.
async fn send(broker: &Broker, topic: &str, requests: impl Iterator<Item = Value>) {
    let transport = broker.transport().await;
    let options = PublishOptions::new().compression(Compression::Zlib);
    let producer = transport.producer(Exchange::topic("openstack")).mandatory(true);
    for request in requests {
        within(producer.ensure_publish((topic, &options), &request)).await.unwrap();
    }
}

async fn keeps_little(broker: Broker, program: &Path, request: fn(usize) -> Value, most: usize) {
    const REQUESTS: usize = 200;
    let server = Program::start(program, &broker).await;
    let before = server.peak();
    send(&broker, &server.topic, (0..REQUESTS).map(request)).await;
    // It is served after them.
    let echoed: Value = within(server.client.call("echo", &json!({"value": 1})).into_future()).await.unwrap();
    assert_eq!(echoed, json!(1));
    let grown = server.peak().saturating_sub(before);
    assert!(grown < most, "{REQUESTS} requests made it grow by {} MiB", grown / MIB);
}

/// A request with an id of 200 MiB.
fn long_id(number: usize) -> Value {
    json!({"method": "whoami", "args": {}, "_unique_id": format!("{number}{}", "x".repeat(MIB))})
}

/// A request of 200 MiB whose reply queue does not exist.
fn unclaimed(number: usize) -> Value {
    let id = format!("{number:0>32}");
    json!({
        "method": "echo", "args": {"value": "x".repeat(MIB)}, "_unique_id": id, "_msg_id": id, "_reply_q": format!("gone-{number}"),
    })
}

#[tokio::test]
async fn ids_of_any_length_are_remembered_in_the_same_room() {
    let test = "messaging::weights::ids_of_any_length_are_remembered_in_the_same_room";
    let Some(program) = example("rpc_server", test) else { return };
    keeps_little(Broker::embedded().await, &program, long_id, 100 * MIB).await;
}

#[tokio::test]
async fn ids_of_any_length_are_remembered_in_the_same_room_with_rabbitmq() {
    let test = "messaging::weights::ids_of_any_length_are_remembered_in_the_same_room_with_rabbitmq";
    let (Some(program), Some(broker)) = (example("rpc_server", test), Broker::rabbitmq(test)) else { return };
    keeps_little(broker, &program, long_id, 100 * MIB).await;
}

#[tokio::test]
async fn replies_to_queues_that_are_gone_are_weighed() {
    let test = "messaging::weights::replies_to_queues_that_are_gone_are_weighed";
    let Some(program) = example("rpc_server", test) else { return };
    // 64 MiB may wait, and some are being handled.
    keeps_little(Broker::embedded().await, &program, unclaimed, 200 * MIB).await;
}

#[tokio::test]
async fn replies_to_queues_that_are_gone_are_weighed_with_rabbitmq() {
    let test = "messaging::weights::replies_to_queues_that_are_gone_are_weighed_with_rabbitmq";
    let (Some(program), Some(broker)) = (example("rpc_server", test), Broker::rabbitmq(test)) else { return };
    keeps_little(broker, &program, unclaimed, 200 * MIB).await;
}
