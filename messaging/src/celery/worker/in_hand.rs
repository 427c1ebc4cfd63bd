//! The tasks that a worker has in hand: what it tells of them, and how it ends them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    celery::{
        remote::info::{ScheduledTask, TaskInfo},
        tasks::message::iso_time,
        worker::{revoked::Revoked, task::call::Call},
    },
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Where a task is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Scheduled,
    Reserved,
    Active,
}

/// The tasks that a worker has in hand, in the order in which they came.
#[derive(Default)]
pub(super) struct InHand {
    tasks: Mutex<BTreeMap<u64, Entry>>,
    next: AtomicU64,
    revoked: Mutex<Revoked>,
    /// The number of times that each task has begun.
    totals: Mutex<HashMap<String, u64>>,
    processed: AtomicU64,
}

struct Entry {
    call: Arc<Call>,
    stage: Stage,
    started: Option<f64>,
    acknowledged: bool,
    terminate: CancellationToken,
}

/// A task in hand.
///
/// # On drop
/// It is in hand no more.
pub(super) struct Held<'a> {
    in_hand: &'a InHand,
    key: u64,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.in_hand.tasks.lock().remove(&self.key);
    }
}

impl Held<'_> {
    pub(super) fn is_now(&self, stage: Stage) {
        let mut tasks = self.in_hand.tasks.lock();
        if let Some(entry) = tasks.get_mut(&self.key) {
            entry.stage = stage;
            if stage == Stage::Active {
                entry.started = Some(now());
                *self.in_hand.totals.lock().entry(entry.call.name.clone()).or_default() += 1;
            }
        }
    }

    pub(super) fn is_acknowledged(&self) {
        if let Some(entry) = self.in_hand.tasks.lock().get_mut(&self.key) {
            entry.acknowledged = true;
        }
    }

    pub(super) fn has_ended(&self) {
        self.in_hand.processed.fetch_add(1, Relaxed);
    }
}

impl InHand {
    /// Takes a task into hand; the token ends it while it runs.
    pub(super) fn take(&self, call: &Arc<Call>, terminate: CancellationToken) -> Held<'_> {
        let key = self.next.fetch_add(1, Relaxed);
        let (call, stage) = (call.clone(), Stage::Reserved);
        let entry = Entry { call, stage, started: None, acknowledged: false, terminate };
        self.tasks.lock().insert(key, entry);
        Held { in_hand: self, key }
    }

    /// Revokes tasks by their ids, and ends those that run if that is wanted.
    pub(super) fn revoke(&self, ids: &[String], terminate: bool) {
        let mut revoked = self.revoked.lock();
        ids.iter().for_each(|id| revoked.add(id));
        drop(revoked);
        if terminate {
            let tasks = self.tasks.lock();
            tasks
                .values()
                .filter(|entry| ids.contains(&entry.call.id))
                .for_each(|entry| entry.terminate.cancel());
        }
    }

    pub(super) fn is_revoked(&self, id: &str) -> bool {
        self.revoked.lock().contains(id)
    }

    pub(super) fn revoked(&self) -> Vec<String> {
        self.revoked.lock().ids()
    }

    pub(super) fn processed(&self) -> u64 {
        self.processed.load(Relaxed)
    }

    pub(super) fn totals(&self) -> Value {
        json!(*self.totals.lock())
    }

    /// Returns the tasks at a stage.
    pub(super) fn at(&self, stage: Stage) -> Vec<TaskInfo> {
        self.tasks.lock().values().filter(|entry| entry.stage == stage).map(Entry::info).collect()
    }

    pub(super) fn scheduled(&self) -> Vec<ScheduledTask> {
        let tasks = self.tasks.lock();
        let scheduled = tasks.values().filter(|entry| entry.stage == Stage::Scheduled);
        let shown = |entry: &Entry| ScheduledTask {
            eta: entry.call.eta.map(iso_time),
            priority: 6,
            request: entry.info(),
        };
        scheduled.map(shown).collect()
    }

    /// Returns the tasks with these ids, each with its stage.
    pub(super) fn with_ids(&self, ids: &[String]) -> Map<String, Value> {
        let tasks = self.tasks.lock();
        let found = tasks.values().filter(|entry| ids.contains(&entry.call.id));
        let shown = |entry: &Entry| {
            let stage = match entry.stage {
                Stage::Active => "active",
                Stage::Reserved | Stage::Scheduled => "reserved",
            };
            (entry.call.id.clone(), json!([stage, entry.info()]))
        };
        found.map(shown).collect()
    }
}

impl Entry {
    fn info(&self) -> TaskInfo {
        let call = &*self.call;
        let delivery = json!({
            "exchange": call.exchange,
            "routing_key": call.routing_key,
            "priority": call.priority,
            "redelivered": call.redelivered,
        });
        let Value::Object(delivery_info) = delivery else { return TaskInfo::default() };
        TaskInfo {
            args: json!(call.arguments.args),
            kwargs: json!(call.arguments.kwargs),
            kind: Some(call.name.clone()),
            time_start: self.started,
            acknowledged: self.acknowledged,
            delivery_info,
            worker_pid: Some(std::process::id().into()),
            ..TaskInfo::new(&call.id, &call.name)
        }
    }
}

/// The time in seconds since 1970-01-01 UTC.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
