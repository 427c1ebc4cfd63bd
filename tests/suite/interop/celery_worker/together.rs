//! Our worker beside those of Python, killed, watched and steered.

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::sleep,
};

use super::setting::{DEADLINE, NAME, Setting, within};
use crate::messaging::example::example;

pub(super) async fn workers_of_both_share_a_queue(setting: Setting) {
    let worker = setting.worker().prefetch_multiplier(1).concurrency(1).start();
    let worker = within(worker).await.unwrap();
    let _python = setting.python_worker("tasks").await;
    let mut who = BTreeMap::<String, u32>::new();
    while who.len() < 2 {
        let mut results = Vec::new();
        for _ in 0..20 {
            results.push(setting.app.task("tests.who").send::<String>().await.unwrap());
        }
        for result in results {
            *who.entry(within(result.get(DEADLINE)).await.unwrap()).or_default() += 1;
        }
    }
    assert!(who.contains_key("rust") && who.contains_key("python"), "{who:?}");
    within(worker.stop()).await;
}

pub(super) async fn celerys_tools_show_the_worker(setting: Setting) {
    let mut peer = setting.peer();
    assert_eq!(peer.ask("watch", json!({})).await, Ok(json!(true)));
    let worker = within(setting.worker().task_events(true).start()).await.unwrap();
    let running = setting.app.task("rust.sleep").args((600,)).send::<f64>().await.unwrap();
    let done = setting.app.task("rust.add").args((1, 2)).send::<i64>().await.unwrap();
    assert_eq!(done.get(DEADLINE).await.unwrap(), 3);
    let failed = setting.app.task("rust.fail").args(("no luck",)).send::<i64>().await.unwrap();
    failed.get(DEADLINE).await.unwrap_err();
    let active = peer.ask("inspect", json!({"what": "active", "node": NAME})).await.unwrap();
    assert_eq!(active[NAME][0]["id"], running.id());
    let registered = peer.ask("inspect", json!({"what": "registered", "node": NAME})).await.unwrap();
    assert!(registered[NAME].as_array().unwrap().contains(&json!("rust.add")));
    let stats = peer.ask("inspect", json!({"what": "stats", "node": NAME})).await.unwrap();
    assert_eq!(stats[NAME]["total"]["rust.add"], 1);
    let expected = json!({
        running.id(): ["rust.sleep", "STARTED"],
        done.id(): ["rust.add", "SUCCESS"],
        failed.id(): ["rust.fail", "FAILURE"],
    });
    let seen = async { while peer.ask("seen", json!({})).await.unwrap() != expected {} };
    within(seen).await;
    assert_eq!(peer.ask("workers", json!({})).await.unwrap()[NAME], true);
    peer.ask("revoke", json!({"id": running.id(), "terminate": true, "node": NAME})).await.unwrap();
    running.get(DEADLINE).await.unwrap_err();
    let mut worker = worker;
    setting.app_control().shutdown().to([NAME]).cast().await.unwrap();
    within(worker.wait()).await.unwrap();
    let gone = async { while peer.ask("workers", json!({})).await.unwrap()[NAME] != false {} };
    within(gone).await;
}

/// The example program as a worker that acknowledges late, ready.
async fn program(setting: &Setting, path: &std::path::Path, nth: usize) -> Child {
    let mut command = Command::new(path);
    let mut url = setting.url.clone();
    if url.starts_with("redis:") {
        // What a killed one had is soon given to another.
        url.push_str("?visibility_timeout=2&unacked_restore_interval=1&unacked_restore_throttle=1");
    }
    let (queue, name) = (setting.queue(), format!("{}{nth}@host", setting.prefix));
    command.args([&url, "--queue", queue.name(), "--name", &name, "--acks-late", "--concurrency", "4"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(within(lines.next_line()).await.unwrap().as_deref(), Some("ready"));
    child
}

pub(super) async fn no_task_is_lost_with_a_killed_worker(setting: Setting) {
    let Some(path) = example("celery_worker", "celery_worker") else { return };
    let (kills, count) = (3 * tests::scale(), 200 * i64::try_from(tests::scale()).unwrap());
    let mut results = Vec::new();
    for number in 0..count {
        results.push(within(setting.app.task("proj.add").args((number, 1)).send::<i64>()).await.unwrap());
    }
    for nth in 0..kills {
        let mut worker = program(&setting, &path, nth).await;
        sleep(Duration::from_millis(fastrand::u64(0..50))).await;
        worker.kill().await.unwrap();
    }
    let _worker = program(&setting, &path, kills).await;
    for (number, result) in (0..).zip(results) {
        assert_eq!(result.get(DEADLINE * 3).await.unwrap(), number + 1);
    }
}
