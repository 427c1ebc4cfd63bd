//! Celery's tasks on a Redis: ours are run by its workers, and its own are handled here.

use std::process::Stdio;

use messaging::{Exchange, Incoming, PublishOptions, Queue, Transport};
use serde_json::{Value, json};
use tests::{EmbeddedBroker, Python, Redis};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::mpsc,
};
use uuid::Uuid;

use super::within;

const SCRIPT: &str = include_str!("../celery_peer.py");
const NAMESPACE: &str = "shop";
const QUEUE: &str = "shop.tasks";

struct Setting {
    python: Python,
    redis: Redis,
}

impl Setting {
    async fn start(test: &str) -> Option<Self> {
        let python = Python::require(test)?;
        if !Redis::require(test) {
            return None;
        }
        Some(Setting { python, redis: Redis::start().await.unwrap() })
    }

    /// Lets Celery's results come back as messages.
    async fn calls(&self) -> String {
        let mut calling = self.celery("call", &[]);
        let output = within(calling.env("RESULT_BACKEND", "rpc://").output()).await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn celery(&self, mode: &str, arguments: &[&str]) -> Command {
        let url = self.redis.url(0);
        let arguments = [&[mode, &url, NAMESPACE], arguments].concat();
        let mut command = Command::from(self.python.command(SCRIPT, &arguments));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// What a mode of the script prints.
    async fn says(&self, mode: &str, arguments: &[&str]) -> String {
        let output = within(self.celery(mode, arguments).output()).await.unwrap();
        assert!(output.status.success(), "{mode}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A worker that is ready.
    async fn worker(&self) -> Child {
        let mut child = self.celery("worker", &["w1@host"]).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        while !within(log.next_line()).await.unwrap().expect("the worker has ended").contains(" ready.") {}
        // It goes on to log.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        child
    }

    async fn transport(&self) -> Transport {
        within(Transport::connect(&self.redis.url(0))).await.unwrap()
    }
}

/// The headers of a task, as Celery's second message protocol demands them.
fn task(name: &str, id: &str) -> PublishOptions {
    let mut options = PublishOptions::new().correlation_id(id).unwrap();
    for (header, value) in [("lang", "rust"), ("task", name), ("id", id), ("root_id", id)] {
        options = options.header(header, value).unwrap();
    }
    options
}

#[tokio::test]
async fn a_task_of_ours_is_run_by_a_worker_of_celery() {
    let test = "tasks::a_task_of_ours_is_run_by_a_worker_of_celery";
    let Some(setting) = Setting::start(test).await else { return };
    let _worker = setting.worker().await;
    let transport = setting.transport().await;
    let producer = transport.producer(Exchange::default());
    let embed = json!({"callbacks": null, "errbacks": null, "chain": null, "chord": null});
    for (a, b) in [(1, 2), (40, 2)] {
        let (id, body) = (Uuid::new_v4().to_string(), json!([[a, b], {}, embed]));
        let options = task("tests.add", &id);
        within(producer.ensure_publish((QUEUE, &options), &body)).await.unwrap();
        assert_eq!(setting.says("result", &[&id]).await, (a + b).to_string());
    }
    within(transport.close()).await.unwrap();
}

#[tokio::test]
async fn a_task_of_celery_is_handled_here() {
    let Some(setting) = Setting::start("tasks::a_task_of_celery_is_handled_here").await else { return };
    let transport = setting.transport().await;
    let (handled, mut tasks) = mpsc::unbounded_channel();
    let worker = transport.worker(Queue::durable(QUEUE)).start(move |task: Incoming<Value>| {
        let headers = task.properties().headers.clone().unwrap();
        let header = |name| headers.get(name).and_then(|value| value.as_str().map(str::to_owned));
        let sent = handled.send((header("task"), header("id"), task.body().clone()));
        async move { sent.map_err(|error| error.to_string()) }
    });
    let worker = within(worker).await.unwrap();
    let id = setting.says("send", &[]).await;
    let (name, handled, body) = within(tasks.recv()).await.unwrap();
    assert_eq!((name.as_deref(), handled), (Some("tests.add"), Some(id)));
    assert_eq!(body[0], json!([1, 2]));
    within(worker.stop()).await;
    within(transport.close()).await.unwrap();
}

#[tokio::test]
async fn a_result_of_ours_is_what_celery_waits_for() {
    let test = "tasks::a_result_of_ours_is_what_celery_waits_for";
    let Some(setting) = Setting::start(test).await else { return };
    let transport = setting.transport().await;
    let results = transport.producer(Exchange::default());
    let worker = transport.worker(Queue::durable(QUEUE)).start(move |task: Incoming<Value>| {
        let results = results.clone();
        let sum = task.body()[0][0].as_u64().unwrap() + task.body()[0][1].as_u64().unwrap();
        let [reply_to, id] = [&task.properties().reply_to, &task.properties().correlation_id]
            .map(|text| text.clone().unwrap().to_text().into_owned());
        async move {
            // A result as Celery's own workers send it.
            let result = json!({
                "task_id": id, "status": "SUCCESS", "result": sum, "traceback": null, "children": [],
            });
            let options = PublishOptions::new().correlation_id(&id).unwrap();
            let sent = results.ensure_publish((&*reply_to, &options), &result).await;
            sent.map(drop).map_err(|error| error.to_string())
        }
    });
    let worker = within(worker).await.unwrap();
    assert_eq!(setting.calls().await, "3");
    within(worker.stop()).await;
    within(transport.close()).await.unwrap();
}

/// The program in front of the Redis, and pika on it.
async fn pika(setting: &Setting, program: &EmbeddedBroker, arguments: &[&str]) -> String {
    let url = format!("amqp://guest:guest@127.0.0.1:{}/", program.port());
    let (job, arguments) = arguments.split_first().unwrap();
    let arguments = [&[*job, &url, QUEUE], arguments].concat();
    let output = setting.python.run(include_str!("program.py"), &arguments).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_task_of_pika_is_run_by_a_worker_of_celery_and_one_of_celery_comes_to_pika() {
    let test = "tasks::a_task_of_pika_is_run_by_a_worker_of_celery_and_one_of_celery_comes_to_pika";
    let (Some(program), Some(setting)) = (EmbeddedBroker::require(test), Setting::start(test).await) else {
        return;
    };
    let arguments = ["--redis", &setting.redis.url(0)];
    let program = EmbeddedBroker::start_in_memory(program, &arguments).await.unwrap();
    let id = setting.says("send", &[]).await;
    let got: Value = serde_json::from_str(&pika(&setting, &program, &["consume", "1"]).await).unwrap();
    let headers = &got[0]["headers"];
    assert_eq!((&headers["task"], &headers["id"]), (&json!("tests.add"), &json!(id)));
    assert_eq!(got[0]["body"][0], json!([1, 2]));

    let _worker = setting.worker().await;
    let id = Uuid::new_v4().to_string();
    pika(&setting, &program, &["task", &id, "40", "2"]).await;
    assert_eq!(setting.says("result", &[&id]).await, "42");
}
