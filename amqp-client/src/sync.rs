//! The locks and atomics of this crate, and how its tasks begin.
//!
//! Built with `--cfg shuttle` they are those of shuttle, which decides at each of them who goes on:
//! `schedules` looks for an order in which something goes wrong.

#[cfg(not(shuttle))]
pub(crate) use {parking_lot::Mutex, std::sync::atomic, tokio::spawn};

#[cfg(shuttle)]
pub(crate) use {shuttle::sync::atomic, shuttle_parking_lot::Mutex};

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
