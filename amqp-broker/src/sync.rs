//! The locks and atomics of this crate, and how its threads and tasks begin.
//!
//! Built with `--cfg shuttle` they are those of shuttle, which decides at each of them who goes on:
//! `schedules` looks for an order in which something goes wrong.

#[cfg(not(shuttle))]
pub(crate) use {
    parking_lot::{Condvar, Mutex, MutexGuard, RwLock},
    std::sync::atomic,
    tokio::{spawn, sync::watch},
};

#[cfg(shuttle)]
pub(crate) use {
    shuttle::sync::atomic,
    shuttle_parking_lot::{Mutex, MutexGuard, RwLock},
    shuttle_tokio::sync::watch,
};

#[cfg(shuttle)]
pub(crate) use self::condvar::Condvar;
#[cfg(all(feature = "durable", shuttle))]
pub(crate) use shuttle::thread;
#[cfg(all(feature = "durable", not(shuttle)))]
pub(crate) use std::thread;

/// shuttle's condition variable for the locks of its parking_lot, which has none.
#[cfg(shuttle)]
mod condvar {
    use std::{sync::PoisonError, time::Instant};

    use shuttle::sync;
    use shuttle_parking_lot::MutexGuard;

    #[derive(Default)]
    pub(crate) struct Condvar {
        turn: sync::Mutex<()>,
        told: sync::Condvar,
    }

    impl Condvar {
        pub(crate) fn new() -> Self {
            Condvar::default()
        }

        /// Waits until it is told. It has its turn before it releases the lock of the caller, so
        /// that it hears whoever takes that lock afterwards.
        pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            MutexGuard::unlocked(guard, || drop(self.told.wait(turn)));
        }

        /// Waits as [`wait`](Self::wait) does: no time passes while schedules are searched.
        pub(crate) fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, _: Instant) {
            self.wait(guard);
        }

        pub(crate) fn notify_one(&self) {
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            self.told.notify_one();
        }
    }
}

/// Begins a task, which has to end before the schedule does.
#[cfg(shuttle)]
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    // A task whose handle is dropped is cut off at the end, with the locks that it holds.
    std::mem::forget(shuttle::future::spawn(task));
}

#[cfg(all(test, shuttle))]
pub(crate) use self::search::search;

/// The search, which all crates share.
#[cfg(all(test, shuttle))]
#[path = "../../tests/search.rs"]
mod search;
