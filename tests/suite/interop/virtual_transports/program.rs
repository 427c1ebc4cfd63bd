//! `amqp-broker --redis`: AMQP clients in other languages on the queues that kombu uses.

use std::process::Stdio;

use messaging::{Exchange, PublishOptions, Queue, Transport};
use serde_json::{Value, json};
use tests::{EmbeddedBroker, Python, Redis, leave_out};
use tokio::{io::AsyncWriteExt as _, process::Command};

use super::{python::Kombu, within};

const SCRIPT: &str = include_str!("program.py");
/// A queue as Celery declares it.
const QUEUE: &str = "celery";

/// The program in front of a Redis, and kombu on the same one.
struct Setting {
    // Fields are dropped in this order: first the clients of Redis.
    program: EmbeddedBroker,
    kombu: Kombu,
    python: Python,
    redis: Redis,
}

impl Setting {
    async fn start(test: &str) -> Option<Self> {
        Self::start_with(test, "").await
    }

    /// With these options of the program's URL.
    async fn start_with(test: &str, query: &str) -> Option<Self> {
        let (python, program) = (Python::require(test)?, EmbeddedBroker::require(test)?);
        if !Redis::require(test) {
            return None;
        }
        let redis = Redis::start().await.unwrap();
        let program =
            EmbeddedBroker::start_in_memory(program, &["--redis", &format!("{}{query}", redis.url(0))])
                .await
                .unwrap();
        let mut kombu = Kombu::start(&python, &redis.url(0), &json!({}));
        kombu.declare(json!({"name": QUEUE, "exchange": QUEUE, "key": QUEUE})).await;
        Some(Setting { program, kombu, python, redis })
    }

    /// Runs a job of pika, and returns what it prints.
    async fn pika(&self, job: &str, arguments: &[&str]) -> String {
        let url = format!("amqp://guest:guest@127.0.0.1:{}/", self.program.port());
        let all = [&[job, &url, QUEUE], arguments].concat();
        let output = self.python.run(SCRIPT, &all).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "pika, {arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Lets pika publish tasks of these priorities.
    async fn pika_publishes(&self, exchange: &str, priorities: &[u8]) {
        self.pika("publish", &[exchange, &json!(priorities).to_string()]).await;
    }

    /// The messages that pika consumes and acknowledges.
    async fn pika_consumes(&self, count: usize) -> Vec<Value> {
        serde_json::from_str(&self.pika("consume", &[&count.to_string()]).await).unwrap()
    }

    async fn kombu_consumes(&mut self, count: usize) -> Vec<Value> {
        self.kombu.consume(json!(QUEUE), count).await
    }

    /// Runs a program of amqp-tools; returns its output.
    async fn tool(&self, line: &str, input: &str) -> String {
        let mut words = line.split(' ');
        let mut child = Command::new(words.next().unwrap())
            .args(words)
            .args(["--server=127.0.0.1", &format!("--port={}", self.program.port())])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        // A program that needs no input may have ended already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes()).await;
        let output = within(child.wait_with_output()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn bodies(messages: &[Value]) -> Vec<Value> {
    messages.iter().map(|message| message["body"].clone()).collect()
}

fn tasks(priorities: &[u8]) -> Vec<Value> {
    priorities.iter().map(|priority| json!([priority, "\u{e9}"])).collect()
}

#[tokio::test]
async fn kombu_reads_the_tasks_that_pika_publishes() {
    let test = "program::kombu_reads_the_tasks_that_pika_publishes";
    let Some(mut setting) = Setting::start(test).await else { return };
    // By the default exchange, and by Celery's own, which only kombu has declared.
    for exchange in ["", QUEUE] {
        setting.pika_publishes(exchange, &[9, 0, 5]).await;
        let got = setting.kombu_consumes(3).await;
        assert_eq!(bodies(&got), tasks(&[0, 5, 9]), "the lowest priority is the first, as for kombu");
        let first = &got[0];
        assert_eq!(
            first["headers"],
            json!({"lang": "py", "task": "demo.add", "nested": {"list": [1, null]}})
        );
        assert_eq!([&first["correlation_id"], &first["exchange"]], [&json!("pika-0"), &json!(exchange)]);
        assert_eq!(got[2]["priority"], 9);
    }
}

#[tokio::test]
async fn pika_consumes_and_acknowledges_what_kombu_publishes() {
    let test = "program::pika_consumes_and_acknowledges_what_kombu_publishes";
    let Some(mut setting) = Setting::start(test).await else { return };
    for priority in [9, 0, 5] {
        let message =
            json!({"key": QUEUE, "bodies": [priority], "priority": priority, "headers": {"task": "t"}});
        setting.kombu.publish(message).await;
    }
    let got = setting.pika_consumes(3).await;
    assert_eq!(bodies(&got), [0, 5, 9]);
    assert_eq!((&got[1]["priority"], &got[1]["headers"]["task"]), (&json!(5), &json!("t")));
    assert_eq!(setting.kombu.size(QUEUE).await, 0);
    // What is acknowledged is not restored, whoever looks for it.
    setting.kombu.restore().await;
    assert_eq!(setting.kombu.size(QUEUE).await, 0);
}

#[tokio::test]
async fn pika_has_kombus_order_of_priorities_or_amqps_if_they_are_turned_round() {
    let test = "program::pika_has_kombus_order_of_priorities_or_amqps_if_they_are_turned_round";
    for (query, order, written) in [("", [0, 5, 9], [0, 5, 9]), ("?higher_first=true", [9, 5, 0], [0, 4, 9])]
    {
        let Some(mut setting) = Setting::start_with(test, query).await else { return };
        setting.pika_publishes("", &[5, 0, 9]).await;
        let got = setting.pika_consumes(3).await;
        assert_eq!(bodies(&got), tasks(&order), "{query}");
        let told: Vec<_> = got.iter().map(|message| message["priority"].clone()).collect();
        assert_eq!(told, order, "{query}: pika gets the numbers that it gave");
        setting.pika_publishes("", &[5, 0, 9]).await;
        let got = setting.kombu_consumes(3).await;
        assert_eq!(bodies(&got), tasks(&order), "{query}");
        let told: Vec<_> = got.iter().map(|message| message["priority"].clone()).collect();
        assert_eq!(told, written, "{query}: the numbers of kombu");
    }
}

#[tokio::test]
async fn pika_and_messaging_have_the_same_order_of_priorities() {
    let test = "program::pika_and_messaging_have_the_same_order_of_priorities";
    let Some(setting) = Setting::start(test).await else { return };
    let transport = within(Transport::connect(&setting.redis.url(0))).await.unwrap();
    setting.pika_publishes("", &[9, 0, 5]).await;
    let mut consumer =
        within(transport.consumer(Queue::new(QUEUE)).prefetch(1).start::<Value>()).await.unwrap();
    for task in tasks(&[0, 5, 9]) {
        let delivery = within(consumer.recv()).await.unwrap().unwrap();
        assert_eq!(delivery.body(), &task);
        within(delivery.ack()).await.unwrap();
    }
    within(consumer.close()).await.unwrap();
    for priority in [9, 0, 5] {
        let options = PublishOptions::new().priority(priority);
        let producer = transport.producer(Exchange::default());
        within(producer.ensure_publish((QUEUE, &options), &priority)).await.unwrap();
    }
    assert_eq!(bodies(&setting.pika_consumes(3).await), [0, 5, 9]);
    within(transport.close()).await.unwrap();
}

#[tokio::test]
async fn debians_amqp_tools_work_on_kombus_queues() {
    let test = "program::debians_amqp_tools_work_on_kombus_queues";
    if Command::new("amqp-publish").arg("--help").output().await.is_err() {
        return leave_out(test, "no amqp-tools (run tests/run)");
    }
    let Some(mut setting) = Setting::start(test).await else { return };
    let publish = format!("amqp-publish -r {QUEUE} -C application/json -E utf-8 -p");
    setting.tool(&format!("{publish} -b [1]"), "").await;
    setting.tool(&format!("{publish} -l"), "[2]\n[3]\n").await;
    setting.tool(&format!("{publish} -e {QUEUE} -b [4]"), "").await;
    assert_eq!(bodies(&setting.kombu_consumes(4).await), [json!([1]), json!([2]), json!([3]), json!([4])]);

    setting.kombu.publish(json!({"key": QUEUE, "bodies": [[5], [6], [7], [8]]})).await;
    assert_eq!(setting.tool(&format!("amqp-get -q {QUEUE}"), "").await, "[5]");
    assert_eq!(setting.tool(&format!("amqp-consume -q {QUEUE} -c 2 cat"), "").await, "[6][7]");
    assert_eq!(setting.kombu.size(QUEUE).await, 1);
    assert_eq!(setting.tool(&format!("amqp-delete-queue -q {QUEUE}"), "").await, "1\n");
    assert_eq!(setting.kombu.size(QUEUE).await, 0);
}
