//! A virtual host with its lock and its clock.

use std::{
    sync::Arc,
    task::Waker,
    time::{Duration, SystemTime},
};

use tokio::{sync::Notify, time::Instant};

#[cfg(any(feature = "durable", feature = "simulation"))]
use crate::store::DiskReport;
use crate::{
    session::shared::Shared,
    store::Disk,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

/// A virtual host with its lock and its clock.
pub(crate) struct Host {
    shared: Mutex<Shared>,
    /// How many threads wait for the lock.
    waiting: AtomicUsize,
    disk: Option<Disk>,
    began: Instant,
    /// When the clock wakes up next, in milliseconds. Something that is due earlier has to wake it.
    looks_at: AtomicU64,
    sooner: Notify,
    has_clock: AtomicBool,
}

impl Host {
    /// Creates a virtual host; `began` is the start of its clock.
    pub(crate) fn new(shared: Shared, disk: Option<Disk>, began: Instant) -> Self {
        Host {
            shared: Mutex::new(shared),
            waiting: AtomicUsize::new(0),
            disk,
            began,
            looks_at: AtomicU64::new(u64::MAX),
            sooner: Notify::new(),
            has_clock: AtomicBool::new(false),
        }
    }

    /// Executes an operation in a turn under the lock, then wakes the connections that got output.
    #[inline]
    pub(crate) fn with<R>(&self, act: impl FnOnce(u64, &mut Shared) -> R) -> R {
        self.turn(|now, shared| {
            shared.advance(now);
            act(now, shared)
        })
    }

    /// Does a bounded part of the work that is due or left over; returns when there is more to do.
    fn catch_up(&self) -> u64 {
        self.turn(|now, shared| {
            shared.catch_up(now);
            shared.next_deadline()
        })
    }

    #[inline]
    fn turn<R>(&self, act: impl FnOnce(u64, &mut Shared) -> R) -> R {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut woken: Vec<Waker> = Vec::new();
        let mut shared = self.lock();
        shared.vhost.budget.begin_before(self.waiting.load(Ordering::Relaxed));
        let result = act(now, &mut shared);
        if let Some(disk) = &self.disk
            && let Some(changes) = shared.vhost.take_changes()
        {
            let change = shared.pending_answers.changed();
            if !disk.add(changes, change) {
                shared.disk_follows(false);
            }
        }
        if let Some(disk) = &self.disk {
            shared.disk_backlog = disk.backlog();
        }
        shared.look_at_memory(now);
        shared.outboxes.take_woken(&mut woken);
        let due = shared.next_deadline();
        if shared.vhost.budget.is_over() {
            // The fair unlock hands the lock to a waiting thread, and not back to this one, which
            // just had a whole turn.
            MutexGuard::unlock_fair(shared);
        } else {
            drop(shared);
        }
        woken.into_iter().for_each(Waker::wake);
        if due < self.looks_at.load(Ordering::Relaxed) {
            self.sooner.notify_one();
        }
        result
    }

    /// Takes the lock; while it waits, it is counted, which makes turns shorter.
    #[inline]
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.try_lock().unwrap_or_else(|| self.wait_for_lock())
    }

    #[cold]
    fn wait_for_lock(&self) -> MutexGuard<'_, Shared> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let shared = self.shared.lock();
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        shared
    }

    /// Handles progress of the disk.
    #[cfg(any(feature = "durable", feature = "simulation"))]
    pub(crate) fn tell(&self, progress: &DiskReport) {
        match progress {
            DiskReport::Written { change, has_room } => {
                while !self.with(|_, shared| shared.on_disk(*change, *has_room)) {}
            }
            DiskReport::Failed(_) => self.with(|_, shared| shared.disk_failed()),
        }
    }

    /// Waits until all changes so far are on disk, or never will be.
    pub(crate) async fn flushed(&self) {
        if let Some(disk) = &self.disk {
            disk.flushed().await;
        }
    }

    /// Closes the store in an orderly way.
    pub(crate) async fn close(&self) {
        if let Some(disk) = &self.disk {
            let redelivered = self.with(|_, shared| shared.vhost.redelivered());
            disk.close(redelivered).await;
        }
    }

    /// The clock, for the task that runs it; `None` when it runs already.
    pub(crate) fn claim_clock(host: &Arc<Host>) -> Option<Clock> {
        let taken = host.has_clock.swap(true, Ordering::AcqRel);
        (!taken).then(|| Clock { host: Arc::clone(host) })
    }
}

#[cfg(test)]
#[cfg(feature = "durable")]
impl Host {
    /// Stops or resumes writing to the disk.
    pub(crate) fn pause_disk(&self, is_paused: bool) {
        self.disk.as_ref().unwrap().pause(is_paused);
    }

    /// Makes all writes to the disk fail from now on.
    pub(crate) fn fail_disk(&self) {
        self.disk.as_ref().unwrap().fail();
    }
}

/// Milliseconds since 1970.
pub(crate) fn since_1970() -> u64 {
    let elapsed = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// Handles what falls due when no connection does anything.
///
/// # On drop
/// The clock can be claimed again.
pub(crate) struct Clock {
    host: Arc<Host>,
}

impl Clock {
    pub(crate) async fn run(&self) {
        let host = &*self.host;
        loop {
            let due = host.catch_up();
            host.looks_at.store(due, Ordering::Relaxed);
            // Something earlier may have been set before the line above took effect.
            if host.with(|_, shared| shared.next_deadline()) < due {
                continue;
            }
            if due == 0 {
                // One turn was not enough, so other tasks go first.
                tokio::task::yield_now().await;
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

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, thread};

    use super::*;
    use crate::core::{budget::BUDGET, vhost::Vhost};

    /// The work that each of several threads does in full turns, when all have waited at the same
    /// time.
    fn turns_of_those_who_waited(count: usize) -> Vec<u64> {
        let shared = Shared::new(Vhost::new("/", Default::default()), Default::default(), u64::MAX);
        let host = Host::new(shared, None, Instant::now());
        let turns = Mutex::new(Vec::new());
        let turn = || {
            host.turn(|_, shared| {
                let mut spent = 0;
                while !shared.vhost.budget.is_over() {
                    shared.vhost.budget.spend(1);
                    spent += 1;
                }
                turns.lock().unwrap().push(spent);
            });
        };
        thread::scope(|scope| {
            host.turn(|_, _| {
                (0..count).for_each(|_| drop(scope.spawn(turn)));
                while host.waiting.load(Ordering::Relaxed) < count {
                    thread::yield_now();
                }
            });
        });
        turns.into_inner().unwrap()
    }

    #[test]
    fn the_last_of_those_who_wait_waits_for_no_more_than_a_turn() {
        assert_eq!(turns_of_those_who_waited(1), [BUDGET]);
        for count in [2, 3, 8] {
            let turns = turns_of_those_who_waited(count);
            let (last, before) = turns.split_last().unwrap();
            assert!(before.iter().sum::<u64>() <= BUDGET, "{turns:?}");
            assert!(*last <= BUDGET);
            assert_eq!(turns.len(), count);
        }
    }
}
