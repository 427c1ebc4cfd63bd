//! Tasks that Python sends run in our worker, as they do in one of Python.

use std::time::Duration;

use messaging::celery::{AsyncResult, Chain, TaskError, TaskState};
use serde_json::{Value, json};

use super::setting::{DEADLINE, NAME, Setting, within};

pub(super) async fn results_and_failures_are_those_of_python(setting: Setting) {
    let worker = within(setting.worker().start()).await.unwrap();
    let mut peer = setting.peer();
    assert_eq!(peer.call("rust.add", json!([2, 3])).await, Ok(json!(5)));
    assert_eq!(peer.ask("call", json!({"task": ["rust.add", [2], {"b": 5}]})).await, Ok(json!(7)));
    assert_eq!(peer.call("rust.blocking", json!([2, 3])).await, Ok(json!(6)));
    assert_eq!(peer.call("rust.retry", json!([2])).await, Ok(json!(2)));
    for (task, args, raised) in [
        ("rust.fail", json!(["no luck"]), "ValueError: \"no luck\""),
        ("rust.error", json!(["x"]), "ParseIntError: \"invalid digit found in string\""),
        ("rust.panic", json!([]), "WorkerLostError: \"it panicked: no luck\""),
        ("rust.add", json!([1, 2, 3]), "TypeError: \"takes 2 positional arguments but 3 were given\""),
        ("rust.retry", json!([9]), "MaxRetriesExceededError: "),
        ("rust.nosuch", json!([]), "NotRegistered: "),
    ] {
        let error = peer.call(task, args).await.unwrap_err();
        assert!(error.starts_with(raised), "{error}");
    }
    let shown =
        peer.ask("call", json!({"task": ["rust.shown", [1], {}, {"task_id": "mine"}]})).await.unwrap();
    let expected =
        json!({"args": [1], "id": "mine", "root": "mine", "parent": null, "group": null, "retries": 0});
    assert_eq!(shown, expected);
    let child =
        peer.ask("call", json!({"task": ["rust.parent", [], {}, {"task_id": "parent"}]})).await.unwrap();
    assert_eq!((&child["root"], &child["parent"]), (&json!("parent"), &json!("parent")));
    within(worker.stop()).await;
}

pub(super) async fn limits_end_tasks(setting: Setting) {
    let worker = within(setting.worker().start()).await.unwrap();
    let app = &setting.app;
    let short = Some(Duration::from_millis(100));
    let slow = app.task("rust.sleep").args((600,)).time_limits(None, short).send::<f64>().await.unwrap();
    let TaskError::Failed { failure, .. } = slow.get(DEADLINE).await.unwrap_err() else { panic!() };
    assert_eq!((failure.exception.as_str(), failure.arguments), ("TimeLimitExceeded", vec![json!(0.1)]));
    let told = app.task("rust.patient").time_limits(short, None).send::<String>().await.unwrap();
    assert_eq!(told.get(DEADLINE).await.unwrap(), "told");
    within(worker.stop()).await;
}

pub(super) async fn tasks_wait_expire_and_are_revoked(setting: Setting) {
    let app = &setting.app;
    let expired =
        app.task("rust.add").args((1, 1)).expires(Duration::from_millis(1)).send::<i64>().await.unwrap();
    let worker = setting.worker().concurrency(1).prefetch_multiplier(1).start();
    let worker = within(worker).await.unwrap();
    // Tasks that wait do not take the place of others, however many they are.
    let mut later = Vec::new();
    for number in 0..20 {
        let task = app.task("rust.add").args((number, 1)).countdown(Duration::from_millis(2000));
        later.push(task.send::<i64>().await.unwrap());
    }
    let revoked = app.task("rust.add").args((1, 1)).countdown(Duration::from_millis(2000));
    let revoked = revoked.send::<i64>().await.unwrap();
    let sooner = app.task("rust.add").args((2, 2)).send::<i64>().await.unwrap();
    assert_eq!(sooner.get(DEADLINE).await.unwrap(), 4);
    assert_eq!(later[0].state(), TaskState::Pending);
    within(revoked.revoke()).await.unwrap();
    for (number, later) in (0..).zip(&later) {
        assert_eq!(later.get(DEADLINE).await.unwrap(), number + 1);
    }
    let error = revoked.get(DEADLINE).await.unwrap_err();
    assert_eq!(error.to_string(), format!("task {} was revoked: TaskRevokedError: revoked", revoked.id()));
    assert!(expired.get(Duration::ZERO).await.is_err());
    let running = app.task("rust.sleep").args((600,)).track(&setting).await;
    let mut peer = setting.peer();
    let command = json!({"id": running.id(), "terminate": true, "node": NAME});
    peer.ask("revoke", command).await.unwrap();
    let error = running.get(DEADLINE).await.unwrap_err();
    assert!(error.to_string().ends_with("TaskRevokedError: terminated"), "{error}");
    within(worker.stop()).await;
}

pub(super) async fn tasks_of_both_follow_one_another(setting: Setting) {
    let worker = within(setting.worker().start()).await.unwrap();
    let _python = setting.python_worker("python").await;
    let mut peer = setting.peer();
    let tasks = json!([["python.add", [1]], ["rust.add", [10]], ["python.add", [100]], ["rust.add", [1000]]]);
    assert_eq!(peer.ask("chain", json!({"tasks": tasks})).await, Ok(json!(1111)));
    let group: Vec<_> =
        (0..10).map(|n| json!([if n % 2 == 0 { "python.add" } else { "rust.add" }, [n, n]])).collect();
    let sums: Vec<_> = (0..10).map(|n| n * 2).collect();
    assert_eq!(peer.ask("group", json!({"tasks": group})).await, Ok(json!(sums)));
    let app = &setting.app;
    let add = |task: &str, number: i64| app.task(task).args((number,));
    let chain = Chain::new(add("rust.add", 2)).then(add("python.add", 3)).then(add("rust.add", 10));
    assert_eq!(chain.send::<i64>().await.unwrap().get(DEADLINE).await.unwrap(), 15);
    // A failure reaches whoever waits for the end of the chain.
    let failing = json!([["rust.fail", ["no luck"]], ["python.add", [1]], ["rust.add", [1]]]);
    let error = peer.ask("chain", json!({"tasks": failing})).await.unwrap_err();
    assert_eq!(error, "ValueError: \"no luck\"");
    let failing = Chain::new(app.task("rust.fail").args(("no luck",))).then(add("rust.add", 1));
    let failing: AsyncResult<Value> = failing.send().await.unwrap();
    assert!(matches!(failing.get(DEADLINE).await, Err(TaskError::Failed { .. })));
    within(worker.stop()).await;
}

pub(super) async fn of_many_tasks_none_is_lost(setting: Setting) {
    let worker = within(setting.worker().start()).await.unwrap();
    let mut peer = setting.peer();
    let count = 100 * i64::try_from(tests::scale()).unwrap();
    let mut ids = Vec::new();
    for number in 0..count {
        ids.push(peer.ask("send", json!({"task": ["rust.add", [number, 1]]})).await.unwrap());
    }
    for (number, id) in (0..).zip(ids) {
        assert_eq!(peer.ask("get", json!({"id": id})).await, Ok(json!(number + 1)));
    }
    within(worker.stop()).await;
}

/// Sends a task, and waits until it runs.
trait Track {
    async fn track(self, setting: &Setting) -> AsyncResult<Value>;
}

impl Track for messaging::celery::Signature {
    async fn track(self, setting: &Setting) -> AsyncResult<Value> {
        let sent = self.send::<Value>().await.unwrap();
        let mut peer = setting.peer();
        let is_active = async {
            loop {
                let active = peer.ask("inspect", json!({"what": "active", "node": NAME})).await.unwrap();
                let ids = active[NAME].as_array().unwrap().iter().map(|task| task["id"].clone());
                if ids.into_iter().any(|id| id == sent.id()) {
                    return;
                }
            }
        };
        within(is_active).await;
        sent
    }
}
