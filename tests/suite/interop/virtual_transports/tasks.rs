//! Celery's tasks on a Redis: ours are run by its workers, and its own are handled here.

use std::process::Stdio;

use messaging::{Exchange, Incoming, PublishOptions, Queue, Transport};
use serde_json::{Value, json};
use tests::{Python, Redis};
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
