//! A virtual host with its lock and its clock.

use std::{
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    task::Waker,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use crate::session::shared::Shared;

/// A virtual host with its lock and its clock.
pub(crate) struct Host {
    shared: Mutex<Shared>,
    began: Instant,
    /// When the clock will look next, in milliseconds; what is due earlier must wake it.
    looks_at: AtomicU64,
    sooner: Notify,
    has_clock: AtomicBool,
}

impl Host {
    pub(crate) fn new(mut shared: Shared) -> Self {
        shared.vhost.began = since_1970();
        Host {
            shared: Mutex::new(shared),
            began: Instant::now(),
            looks_at: AtomicU64::new(u64::MAX),
            sooner: Notify::new(),
            has_clock: AtomicBool::new(false),
        }
    }

    /// Does something under the lock, then wakes the connections that have got something to write.
    #[inline]
    pub(crate) fn with<R>(&self, act: impl FnOnce(u64, &mut Shared) -> R) -> R {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut woken: Vec<Waker> = Vec::new();
        let mut shared = self.shared.lock();
        shared.advance(now);
        let result = act(now, &mut shared);
        shared.look_at_memory(now);
        shared.outboxes.take_woken(&mut woken);
        let due = shared.next_deadline();
        drop(shared);
        woken.into_iter().for_each(Waker::wake);
        if due < self.looks_at.load(Ordering::Relaxed) {
            self.sooner.notify_one();
        }
        result
    }

    /// The clock, for the one who runs it; `None` when somebody does.
    pub(crate) fn claim_clock(host: &Arc<Host>) -> Option<Clock> {
        let taken = host.has_clock.swap(true, Ordering::AcqRel);
        (!taken).then(|| Clock { host: Arc::clone(host) })
    }
}

/// Milliseconds since 1970.
fn since_1970() -> u64 {
    let elapsed = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// Lets things fall due although nobody does anything.
///
/// # On drop
/// Another may be claimed.
pub(crate) struct Clock {
    host: Arc<Host>,
}

impl Clock {
    pub(crate) async fn run(&self) {
        let host = &*self.host;
        loop {
            let due = host.with(|_, shared| shared.next_deadline());
            host.looks_at.store(due, Ordering::Relaxed);
            // It may have become sooner before the line above was seen.
            if host.with(|_, shared| shared.next_deadline()) < due {
                continue;
            }
            let sleep = async {
                match due {
                    u64::MAX => std::future::pending().await,
                    due => tokio::time::sleep_until(host.began + Duration::from_millis(due)).await,
                }
            };
            tokio::select! {
                () = sleep => {}
                () = host.sooner.notified() => {}
            }
        }
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.host.has_clock.store(false, Ordering::Release);
    }
}
