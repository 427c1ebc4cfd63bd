//! Tasks of ours run in workers of Celery, and their results come back.

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use amqp_broker::{Broker, Listener};
use messaging::{
    Queue, Transport,
    celery::{AsyncResult, Celery, Chain, Control, Group, Routes, TaskError, TaskState},
    mailbox::Kind,
};
use serde_json::{Value, json};
use tests::{Python, Redis, scale};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};
use uuid::Uuid;

use crate::messaging::example::example;

const SCRIPT: &str = include_str!("celery_tasks.py");
/// The longest that anything takes.
const DEADLINE: Duration = Duration::from_secs(60);

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("nothing within the deadline")
}

/// A broker and an application, with names that no other test uses.
struct Setting {
    python: Python,
    url: String,
    prefix: String,
    transport: Transport,
    app: Celery,
    _listener: Option<Listener>,
    _redis: Option<Redis>,
}

impl Setting {
    async fn new(python: Python, url: String) -> Self {
        let prefix = format!("celery-{}-", Uuid::new_v4());
        let transport = within(Transport::connect(&url)).await.unwrap();
        let mailbox = transport.mailbox(&format!("{prefix}control")).kind(Kind::Fanout).open();
        let control = Control::new(&transport, mailbox);
        let app = Celery::new(&transport).default_queue(format!("{prefix}tasks")).control(control);
        Setting { python, url, prefix, transport, app, _listener: None, _redis: None }
    }

    async fn embedded(python: Python) -> Self {
        let listener = Broker::builder().build().listen("127.0.0.1:0").await.unwrap();
        let url = format!("amqp://guest:guest@{}//", listener.local_addr());
        Setting { _listener: Some(listener), ..Self::new(python, url).await }
    }

    async fn redis(python: Python) -> Self {
        let redis = Redis::start().await.unwrap();
        let url = redis.url(3);
        Setting { _redis: Some(redis), ..Self::new(python, url).await }
    }

    fn celery(&self, mode: &str, arguments: &[&str]) -> Command {
        let arguments = [&[mode, &self.url, &self.prefix], arguments].concat();
        let mut command = Command::from(self.python.command(SCRIPT, &arguments));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// A worker that is ready.
    async fn worker(&self) -> Child {
        let mut child = self.celery("worker", &[]).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        while !within(log.next_line()).await.unwrap().expect("the worker has ended").contains(" ready.") {}
        // It goes on to log.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        child
    }
}

async fn a_result_is_what_the_task_returns_or_why_it_does_not(setting: Setting) {
    let _worker = setting.worker().await;
    let app = &setting.app;
    let sum: AsyncResult<i64> = app.task("tests.add").args((2, 3)).send().await.unwrap();
    assert_eq!(sum.get(DEADLINE).await.unwrap(), 5);
    assert_eq!((sum.state(), sum.get(Duration::ZERO).await.unwrap()), (TaskState::Success, 5));
    let named = app.task("tests.add").kwargs(json!({"a": 1.5, "b": 2})).send::<f64>().await.unwrap();
    assert!((named.get(DEADLINE).await.unwrap() - 3.5).abs() < 1e-9);

    let limits = (Some(Duration::from_secs(50)), Some(Duration::from_millis(60_500)));
    let shown = app.task("tests.shown").args((1, "it's")).kwargs(BTreeMap::from([("x", ())]));
    let shown = shown.priority(4).time_limits(limits.0, limits.1).send::<Value>().await.unwrap();
    let id = shown.id().to_owned();
    let expected = json!({
        "args": [1, "it's"], "kwargs": {"x": null}, "id": id, "root": id, "parent": null, "group": null,
        "timelimit": [60.5, 50], "priority": 4, "argsrepr": "(1, 'it\\'s')", "kwargsrepr": "{'x': None}",
    });
    assert_eq!(shown.get(DEADLINE).await.unwrap(), expected);

    let failed = app.task("tests.fail").args(("no luck",)).send::<()>().await.unwrap();
    let error = failed.get(DEADLINE).await.unwrap_err();
    assert_eq!(error.to_string(), format!("task {} failed: ValueError: no luck, 7", failed.id()));
    let TaskError::Failed { failure, .. } = error else { panic!("{error}") };
    assert_eq!((failure.exception.as_str(), failure.module.as_deref()), ("ValueError", Some("builtins")));
    assert!(failure.traceback.unwrap().contains("ValueError"));

    let other = app.task("tests.add").args((2, 3)).send::<String>().await.unwrap();
    assert!(matches!(other.get(DEADLINE).await, Err(TaskError::Type { .. })));
    let ignored = app.task("tests.note").args(("ignored",)).ignore_result(true).send::<()>().await.unwrap();
    assert!(matches!(ignored.get(DEADLINE).await, Err(TaskError::Ignored { .. })));
    let noted = app.task("tests.noted").send::<Vec<String>>().await.unwrap();
    assert_eq!(noted.get(DEADLINE).await.unwrap(), ["ignored"]);
}

async fn what_nobody_runs_has_no_result(setting: Setting) {
    let app = setting.app.clone().routes(Routes::new().to("*.lost", format!("{}lost", setting.prefix)));
    let lost = app.task("tests.lost").send::<()>().await.unwrap();
    let error = lost.get(Duration::from_millis(10)).await.unwrap_err();
    assert!(matches!(error, TaskError::Timeout { state: TaskState::Pending, .. }), "{error}");
    let wrong = app.task("tests.add").args(7).send::<()>().await.unwrap_err();
    assert_eq!(wrong.to_string(), "cannot encode positional arguments as JSON");
    assert!(app.task("tests.add").kwargs([1]).send::<()>().await.is_err());
    let closed = app.task("tests.lost").send::<()>().await.unwrap();
    within(setting.transport.close()).await.unwrap();
    assert!(matches!(within(closed.get(DEADLINE)).await, Err(TaskError::Closed)));
}

async fn tasks_wait_expire_and_are_revoked(setting: Setting) {
    let app = &setting.app;
    // What has expired before there is a worker is dropped by the broker or revoked by the worker.
    let expired = app.task("tests.note").args(("expired",)).expires(Duration::from_millis(1));
    let expired = expired.send::<()>().await.unwrap();
    let _worker = setting.worker().await;
    let later = app.task("tests.add").args((1, 1)).countdown(Duration::from_millis(1500));
    let later = later.send::<i64>().await.unwrap();
    let revoked = app.task("tests.note").args(("revoked",)).countdown(Duration::from_secs(2));
    let revoked = revoked.send::<()>().await.unwrap();
    let sooner = app.task("tests.add").args((2, 2)).send::<i64>().await.unwrap();
    assert_eq!(sooner.get(DEADLINE).await.unwrap(), 4);
    within(revoked.revoke()).await.unwrap();
    assert_eq!(later.state(), TaskState::Pending);
    assert_eq!(later.get(DEADLINE).await.unwrap(), 2);
    let error = revoked.get(DEADLINE).await.unwrap_err();
    assert_eq!(error.to_string(), format!("task {} was revoked: TaskRevokedError: revoked", revoked.id()));
    let noted = app.task("tests.noted").send::<Vec<String>>().await.unwrap();
    assert!(noted.get(DEADLINE).await.unwrap().is_empty());
    assert!(expired.get(Duration::ZERO).await.is_err());
}

async fn tasks_follow_one_another(setting: Setting) {
    let _worker = setting.worker().await;
    let app = &setting.app;
    let add = |number: i64| app.task("tests.add").args((number,));
    let chain = Chain::new(add(2)).then(add(3)).then(add(10)).send::<i64>().await.unwrap();
    assert_eq!(chain.get(DEADLINE).await.unwrap(), 15);
    let alone = Chain::new(add(2)).send::<i64>().await.unwrap();
    assert_eq!(alone.get(DEADLINE).await.unwrap(), 2);
    let first = app.task("tests.shown");
    let immutable = Chain::new(add(1)).then(first.clone().args(("as it is",)).immutable());
    let shown = immutable.send::<Value>().await.unwrap().get(DEADLINE).await.unwrap();
    assert_eq!(shown["args"], json!(["as it is"]));
    assert_ne!(shown["root"], shown["id"]);
    assert_eq!(shown["parent"], shown["root"]);

    let group = Group::new((0..20).map(add)).and(first.clone()).send::<Value>().await.unwrap();
    let mut all = group.get(DEADLINE).await.unwrap();
    assert_eq!(all.pop().unwrap()["group"], group.id());
    assert_eq!(all, (0..20).map(Value::from).collect::<Vec<_>>());

    let note = |text: &str| app.task("tests.note").args((text,)).ignore_result(true);
    let linked = add(5).link(app.task("tests.note")).link_error(note("never").immutable());
    assert_eq!(linked.send::<i64>().await.unwrap().get(DEADLINE).await.unwrap(), 5);
    let fails = app.task("tests.fail").args(("",)).link(note("never")).link_error(note("failed").immutable());
    assert!(fails.send::<()>().await.unwrap().get(DEADLINE).await.is_err());
    let noted = async {
        loop {
            let noted = app.task("tests.noted").send::<Vec<Value>>().await.unwrap();
            let noted = noted.get(DEADLINE).await.unwrap();
            if noted.len() >= 2 {
                return noted;
            }
        }
    };
    assert_eq!(within(noted).await, [json!(5), json!("failed")]);
}

/// Both sides send the same task; only ids, names and places of sending differ.
async fn the_message_of_a_task_is_as_python_writes_it(setting: Setting) {
    let queue = format!("{}tasks", setting.prefix);
    let limits = (Some(Duration::from_secs(5)), None);
    let task = setting.app.task("tests.shown").args((2, "it's")).kwargs(json!({"b": null}));
    let ours = task.priority(3).time_limits(limits.0, limits.1).send::<()>().await.unwrap();
    let theirs = Uuid::new_v4().to_string();
    let sent = within(setting.celery("send", &[&theirs]).output()).await.unwrap();
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    let consumer = setting.transport.consumer(Queue::durable(&queue));
    let mut consumer = within(consumer.start::<Value>()).await.unwrap();
    let mut messages = Vec::new();
    for id in [ours.id(), &theirs] {
        let message = within(consumer.recv()).await.unwrap().unwrap();
        let mut properties = message.properties().unwrap();
        let mut headers = properties.headers.take().unwrap();
        for name in ["id", "root_id"] {
            assert_eq!(headers.get(name).unwrap().as_str(), Some(id));
            headers.remove(name);
        }
        let origin = headers.get("origin").unwrap();
        assert!(origin.as_str().is_some_and(|origin| origin.starts_with("gen") && origin.contains('@')));
        headers.remove("origin");
        headers.sort();
        assert_eq!(properties.correlation_id.take().unwrap(), id);
        assert_eq!(properties.reply_to.take().unwrap().len(), 36);
        messages.push((message.body().clone(), headers, properties));
        message.ack().await.unwrap();
    }
    let theirs = messages.pop().unwrap();
    assert_eq!(messages.pop().unwrap(), theirs);
}

async fn the_example_program_prints_results_and_exceptions(setting: Setting) {
    let Some(program) = example("celery_send", "celery_send") else { return };
    let _worker = setting.worker().await;
    let queue = format!("{}tasks", setting.prefix);
    let sent = async |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args([&setting.url]).args(arguments).args(["--queue", &queue, "--timeout", "60"]);
        let output = within(command.env_remove("RUST_LOG").kill_on_drop(true).output()).await.unwrap();
        let texts = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (output.status.code(), texts)
    };
    assert_eq!(sent(&["tests.add", "[2, 3]"]).await, (Some(0), ["5\n".to_owned(), String::new()]));
    let named = sent(&["tests.add", "--kwargs", r#"{"a": 2}"#]).await;
    assert_eq!(named, (Some(0), ["2\n".to_owned(), String::new()]));
    let (code, [said, error]) = sent(&["tests.fail", "[\"no luck\"]"]).await;
    assert_eq!((code, said.as_str()), (Some(1), ""));
    assert!(
        error.starts_with("celery_send: task ") && error.ends_with("failed: ValueError: no luck, 7\n"),
        "{error}"
    );
}

async fn of_many_tasks_none_is_lost(setting: Setting) {
    let _worker = setting.worker().await;
    let count = 300 * i64::try_from(scale()).unwrap();
    let mut results = Vec::new();
    for number in 0..count {
        let task = setting.app.task("tests.add").args((number, 1));
        results.push(within(task.send::<i64>()).await.unwrap());
    }
    for (number, result) in (0..).zip(results) {
        assert_eq!(result.get(DEADLINE).await.unwrap(), number + 1);
    }
}

/// The same tests on each broker.
macro_rules! on_every_broker {
    ($($name:ident),* $(,)?) => {
        mod embedded {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let test = concat!(module_path!(), "::", stringify!($name));
                let Some(python) = Python::require(test) else { return };
                super::$name(Setting::embedded(python).await).await;
            })*
        }

        mod redis {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let test = concat!(module_path!(), "::", stringify!($name));
                let Some(python) = Python::require(test) else { return };
                if Redis::require(test) {
                    super::$name(Setting::redis(python).await).await;
                }
            })*
        }

        mod rabbitmq {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let test = concat!(module_path!(), "::", stringify!($name));
                let Some(python) = Python::require(test) else { return };
                let Some(node) = tests::Node::require(test) else { return };
                super::$name(Setting::new(python, node.uri().to_owned()).await).await;
            })*
        }
    };
}

on_every_broker! {
    a_result_is_what_the_task_returns_or_why_it_does_not,
    what_nobody_runs_has_no_result,
    tasks_wait_expire_and_are_revoked,
    tasks_follow_one_another,
    the_message_of_a_task_is_as_python_writes_it,
    the_example_program_prints_results_and_exceptions,
    of_many_tasks_none_is_lost,
}
