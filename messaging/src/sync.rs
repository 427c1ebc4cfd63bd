//! The locks, atomics and limits of this crate.
//!
//! Built with `--cfg shuttle` they are those of shuttle, which decides at each of them who goes on:
//! `schedules` looks for an order in which something goes wrong.

#[cfg(not(shuttle))]
pub(crate) use {
    parking_lot::Mutex,
    std::sync::atomic,
    tokio::sync::{OwnedSemaphorePermit, Semaphore, watch},
};

#[cfg(shuttle)]
pub(crate) use {
    shuttle::sync::atomic,
    shuttle_parking_lot::Mutex,
    shuttle_tokio::sync::{OwnedSemaphorePermit, Semaphore, watch},
};

#[cfg(all(test, shuttle))]
pub(crate) use self::search::search;

/// The search, which all crates share.
#[cfg(all(test, shuttle))]
#[path = "../../tests/search.rs"]
mod search;
