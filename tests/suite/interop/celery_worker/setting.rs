//! A broker, a worker of ours, and an application in Python.

use std::{process::Stdio, time::Duration};

use amqp_broker::{Broker, Listener};
use messaging::{
    Queue, Transport,
    celery::{Celery, Control, Raise, Routes, Task, TaskContext, TaskFailure, WorkerBuilder},
    mailbox::Kind,
};
use serde_json::{Value, json};
use tests::{Python, PythonPeer, Redis};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};
use uuid::Uuid;

const SCRIPT: &str = include_str!("peer.py");
/// The longest that anything takes.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);
/// The name of our worker.
pub(super) const NAME: &str = "rust@host";

pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("nothing within the deadline")
}

/// A broker and an application, with names that no other test uses.
pub(super) struct Setting {
    python: Python,
    pub(super) url: String,
    pub(super) prefix: String,
    pub(super) transport: Transport,
    pub(super) app: Celery,
    control: Control,
    _listener: Option<Listener>,
    _redis: Option<Redis>,
}

impl Setting {
    pub(super) async fn new(python: Python, url: String) -> Self {
        let prefix = format!("celery-{}-", Uuid::new_v4());
        let transport = within(Transport::connect(&url)).await.unwrap();
        let mailbox = transport.mailbox(&format!("{prefix}control")).kind(Kind::Fanout).open();
        let control = Control::new(&transport, mailbox).event_exchange(format!("{prefix}events"));
        let routes = Routes::new().to("python.*", format!("{prefix}python"));
        let app = Celery::new(&transport).default_queue(format!("{prefix}tasks"));
        let app = app.control(control.clone()).routes(routes);
        Setting { python, url, prefix, transport, app, control, _listener: None, _redis: None }
    }

    pub(super) async fn embedded(python: Python) -> Self {
        let listener = Broker::builder().build().listen("127.0.0.1:0").await.unwrap();
        let url = format!("amqp://guest:guest@{}//", listener.local_addr());
        Setting { _listener: Some(listener), ..Self::new(python, url).await }
    }

    pub(super) async fn redis(python: Python) -> Self {
        let redis = Redis::start().await.unwrap();
        let url = redis.url(3);
        Setting { _redis: Some(redis), ..Self::new(python, url).await }
    }

    pub(super) fn app_control(&self) -> &Control {
        &self.control
    }

    /// Our queue of tasks.
    pub(super) fn queue(&self) -> Queue {
        Queue::durable(format!("{}tasks", self.prefix))
    }

    /// A worker of ours with tasks.
    pub(super) fn worker(&self) -> WorkerBuilder {
        let worker = self.app.worker().name(NAME).concurrency(4);
        tasks().into_iter().fold(worker, WorkerBuilder::task)
    }

    /// Starts a process in Python that sends tasks.
    pub(super) fn peer(&self) -> Peer {
        Peer(PythonPeer::start(&self.python, SCRIPT, &["peer", &self.url, &self.prefix]).unwrap())
    }

    /// A worker in Python for this queue of ours that is ready.
    pub(super) async fn python_worker(&self, queue: &str) -> Child {
        let queue = format!("{}{queue}", self.prefix);
        let arguments = ["worker", &self.url, &self.prefix, &queue];
        let mut command = Command::from(self.python.command(SCRIPT, &arguments));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        while !within(log.next_line()).await.unwrap().expect("the worker has ended").contains(" ready.") {}
        // It goes on to log.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        child
    }
}

/// Sends tasks in Python.
pub(super) struct Peer(PythonPeer);

impl Peer {
    pub(super) async fn ask(&mut self, what: &str, command: Value) -> Result<Value, String> {
        within(self.0.ask(what, command)).await.unwrap()
    }

    /// Has a task run, and returns its result or its exception.
    pub(super) async fn call(&mut self, task: &str, args: Value) -> Result<Value, String> {
        self.ask("call", json!({"task": [task, args]})).await
    }
}

fn tasks() -> Vec<Task> {
    #[derive(serde::Deserialize)]
    struct Add {
        a: i64,
        #[serde(default)]
        b: i64,
    }
    vec![
        Task::new("rust.add", |_, Add { a, b }| async move { Ok::<_, Raise>(a + b) }),
        Task::blocking("rust.blocking", |_, Add { a, b }| Ok::<_, Raise>(a * b)),
        Task::new("rust.fail", |_, (text,): (String,)| async move {
            Err::<(), Raise>(TaskFailure::new("ValueError", text).module("builtins").into())
        }),
        Task::new("rust.error", |_, (text,): (String,)| async move { Ok::<i64, Raise>(text.parse()?) }),
        Task::new("rust.panic", |_, (): ()| async move { panic!("no luck") as Result<(), Raise> }),
        Task::new("rust.retry", |task: TaskContext, (times,): (u32,)| async move {
            let pause = Duration::from_millis(10);
            match task.retries() {
                retries if retries >= times => Ok(retries),
                _ => Err(Raise::from(task.retry().countdown(pause))),
            }
        }),
        Task::new("rust.shown", |task: TaskContext, args: Vec<Value>| async move {
            Ok::<_, Raise>(json!({
                "args": args, "id": task.id(), "root": task.root_id(), "parent": task.parent_id(),
                "group": task.group(), "retries": task.retries(),
            }))
        }),
        Task::new("rust.sleep", |_, (seconds,): (f64,)| async move {
            tokio::time::sleep(Duration::try_from_secs_f64(seconds)?).await;
            Ok::<_, Raise>(seconds)
        }),
        Task::new("rust.patient", |task: TaskContext, (): ()| async move {
            task.soft_limit().exceeded().await;
            Ok::<_, Raise>("told")
        }),
        Task::new("rust.parent", |task: TaskContext, (): ()| async move {
            let child = task.app().task("rust.shown").send::<Value>().await?;
            Ok::<_, Raise>(child.get(DEADLINE).await?)
        }),
        Task::new("tests.who", |_, (): ()| async move { Ok::<_, Raise>("rust") }),
    ]
}
