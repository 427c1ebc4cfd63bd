//! The places of tasks that run at once.

use std::sync::Arc;

use crate::sync::{
    OwnedSemaphorePermit, Semaphore,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// The places of tasks that run at once. There may be more or fewer later.
#[derive(Debug)]
pub(super) struct Slots {
    free: Arc<Semaphore>,
    all: AtomicUsize,
}

impl Slots {
    pub(super) fn new(all: usize) -> Self {
        Slots { free: Arc::new(Semaphore::new(all)), all: AtomicUsize::new(all) }
    }

    /// Waits for a free place. Places are handed out in the order of the calls.
    pub(super) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        self.free.clone().acquire_owned().await.ok()
    }

    pub(super) fn count(&self) -> usize {
        self.all.load(Relaxed)
    }

    pub(super) fn grow(&self, by: usize) {
        let by = by.min(usize::from(u16::MAX));
        self.all.fetch_add(by, Relaxed);
        self.free.add_permits(by);
    }

    /// Takes places away, as soon as they are free. One is left.
    pub(super) fn shrink(&self, by: usize) {
        for _ in 0..by {
            let fewer = |all: usize| all.checked_sub(1).filter(|all| *all > 0);
            if self.all.fetch_update(Relaxed, Relaxed, fewer).is_err() {
                return;
            }
            let free = self.free.clone();
            tokio::spawn(async move {
                if let Ok(place) = free.acquire_owned().await {
                    place.forget();
                }
            });
        }
    }
}
