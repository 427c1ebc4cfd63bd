//! What a node tells of the service that it belongs to.

use serde_json::{Map, Value};

use crate::celery::remote::info::{QueueInfo, ScheduledTask, TaskInfo};

/// A service that answers Celery's remote control as a worker does. Every method has a default: a
/// service without tasks. The methods are called for each command, and have to be quick.
pub trait Service: Send + Sync + 'static {
    /// Returns the tasks that run.
    fn active(&self) -> Vec<TaskInfo> {
        Vec::new()
    }

    /// Returns the tasks that were received and wait to run.
    fn reserved(&self) -> Vec<TaskInfo> {
        Vec::new()
    }

    /// Returns the tasks that wait for their time.
    fn scheduled(&self) -> Vec<ScheduledTask> {
        Vec::new()
    }

    /// Returns the names of the tasks that it can run.
    fn registered(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the ids of the tasks that are revoked.
    fn revoked(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the queues that it consumes from.
    fn active_queues(&self) -> Vec<QueueInfo> {
        Vec::new()
    }

    /// Returns its settings. They are shown to everybody who may use the broker: no secrets.
    fn conf(&self) -> Map<String, Value> {
        Map::new()
    }

    /// Returns statistics, which replace those of the same names that the node knows itself: `pid`,
    /// `clock`, `uptime`, `total` (how often each task ran), `pool`, `broker`, `prefetch_count`,
    /// `rusage`.
    fn stats(&self) -> Map<String, Value> {
        Map::new()
    }

    /// Returns a text for bug reports: versions and settings.
    fn report(&self) -> String {
        format!("software -> messaging:{} (Rust)\n", env!("CARGO_PKG_VERSION"))
    }

    /// Returns how many tasks it has finished. It is told in heartbeats; [`stats`](Self::stats) has
    /// `total`, the number of each task.
    fn processed(&self) -> u64 {
        0
    }

    /// Called when the node is told to stop, before it stops; `reason` is the sender's.
    fn shutdown(&self, reason: &str) {
        let _ = reason;
    }
}
