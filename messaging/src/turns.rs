//! How many messages are worked on at once, and until when.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::{Notify, watch};

/// The turns of a service.
pub(crate) struct Turns {
    free: AtomicUsize,
    freed: Notify,
    stopping: watch::Receiver<bool>,
}

/// The right to work on one message. Dropping it lets the next one in.
pub(crate) struct Turn(Arc<Turns>);

/// Tells a task when its service is to stop.
#[derive(Clone)]
pub(crate) struct Stopping(watch::Receiver<bool>);

impl Turns {
    pub(crate) fn new(at_once: usize, stopping: watch::Receiver<bool>) -> Self {
        Turns { free: AtomicUsize::new(at_once), freed: Notify::new(), stopping }
    }

    /// A turn, as soon as one is free.
    pub(crate) async fn turn(self: &Arc<Self>) -> Turn {
        if !self.take() {
            loop {
                let mut freed = pin!(self.freed.notified());
                // From here on it is told of turns that are freed while it looks for one.
                freed.as_mut().enable();
                if self.take() {
                    break;
                }
                freed.await;
            }
        }
        Turn(self.clone())
    }

    pub(crate) fn stopping(&self) -> Stopping {
        Stopping(self.stopping.clone())
    }

    fn take(&self) -> bool {
        let taken = self.free.fetch_update(Ordering::Acquire, Ordering::Relaxed, |free| free.checked_sub(1));
        taken.is_ok()
    }
}

impl Turn {
    /// When the service is to stop.
    pub(crate) fn stopping(&self) -> Stopping {
        self.0.stopping()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::Release);
        self.0.freed.notify_one();
    }
}

impl Stopping {
    /// Ready when the service is to stop.
    pub(crate) async fn requested(&mut self) {
        // An error means that the service is gone: stop, too.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_turn_that_is_dropped_goes_to_one_who_waits() {
        let (_stop, stopping) = watch::channel(false);
        let turns = Arc::new(Turns::new(2, stopping));
        let (one, _other) = (turns.turn().await, turns.turn().await);
        let mut waiting = [Box::pin(turns.turn()), Box::pin(turns.turn())];
        assert!(waiting.iter_mut().all(|turn| turn.now_or_never().is_none()));
        drop(one);
        let taken: Vec<_> = waiting.iter_mut().filter_map(FutureExt::now_or_never).collect();
        assert_eq!(taken.len(), 1);
    }
}
