//! Watches a process, and kills it before it takes the machine's memory.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tests::Usage;
use tokio::{task::JoinHandle, time::sleep};

const INTERVAL: Duration = Duration::from_millis(20);

/// The watch over one process.
///
/// # On drop
/// It ends.
pub struct Watch {
    pid: u32,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

/// The last observation.
#[derive(Clone, Copy, Default)]
pub struct Seen {
    /// The resources that it has used.
    pub usage: Usage,
    /// Whether it runs.
    pub runs: bool,
    /// Whether it was killed because it exceeded its limit.
    pub killed: bool,
}

impl Watch {
    /// Watches a process that may have `cap` bytes of memory.
    pub fn over(pid: u32, cap: u64) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        look(&seen, pid, cap);
        let task = tokio::spawn({
            let seen = Arc::clone(&seen);
            async move {
                while look(&seen, pid, cap) {
                    sleep(INTERVAL).await;
                }
            }
        });
        Self { pid, seen, task }
    }

    /// The last observation.
    pub fn seen(&self) -> Seen {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the process is idle, or has ended.
    pub async fn rest(&self) {
        if Usage::rest(self.pid).await.is_err() {
            self.end().await;
        }
    }

    /// Returns when the process has ended.
    pub async fn end(&self) {
        while self.seen().runs {
            sleep(INTERVAL).await;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Observes once; returns whether to go on.
fn look(seen: &Mutex<Seen>, pid: u32, cap: u64) -> bool {
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    match Usage::of(pid) {
        Ok(usage) => {
            seen.usage = usage;
            seen.runs = true;
            if usage.resident > cap {
                seen.killed = true;
                let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
                // It fails only if the process has ended.
                let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
            }
        }
        Err(_) => seen.runs = false,
    }
    seen.runs
}
