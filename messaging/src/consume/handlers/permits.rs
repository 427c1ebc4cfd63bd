//! The limit on how many messages are handled at once, and the signal to stop.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use crate::consume::handlers::held::{Held, MOST};
use crate::sync::{
    Semaphore,
    atomic::{AtomicUsize, Ordering::Relaxed},
    watch,
};

/// The permits of a service.
pub(crate) struct Permits {
    free: Semaphore,
    /// How many tasks wait for a permit.
    waiting: AtomicUsize,
    at_once: usize,
    held: Held,
    stopping: watch::Receiver<bool>,
}

/// The right to handle one message. Dropping it frees it for the next message.
pub(crate) struct Permit {
    permits: Arc<Permits>,
    is_over: bool,
}

/// Tells a task when its service is to stop.
#[derive(Clone)]
pub(crate) struct Stopping(watch::Receiver<bool>);

impl Permits {
    pub(crate) fn new(at_once: usize, stopping: watch::Receiver<bool>) -> Self {
        Permits::holding(at_once, MOST, stopping)
    }

    /// Returns permits of a service that may hold so many messages without a permit.
    pub(crate) fn holding(at_once: usize, most_held: usize, stopping: watch::Receiver<bool>) -> Self {
        let (free, waiting) = (Semaphore::new(at_once), AtomicUsize::default());
        Permits { free, waiting, at_once, held: Held::new(most_held), stopping }
    }

    /// Waits for a permit. Permits are handed out in the order of the calls.
    pub(crate) async fn permit(self: &Arc<Self>) -> Permit {
        match self.free.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(_) => {
                let _waiting = Waiting::new(&self.waiting);
                // The semaphore is never closed, so this cannot fail.
                if let Ok(permit) = self.free.acquire().await {
                    permit.forget();
                }
            }
        }
        Permit { permits: self.clone(), is_over: false }
    }

    /// Returns the messages that are held without a permit while others are handled.
    pub(crate) fn held(&self) -> &Held {
        &self.held
    }

    pub(crate) fn stopping(&self) -> Stopping {
        Stopping(self.stopping.clone())
    }

    /// Returns how many messages are handled now.
    pub(crate) fn in_use(&self) -> usize {
        self.at_once.saturating_sub(self.free.available_permits())
    }
}

impl Permit {
    /// Releases the permit while a message of `bytes` bytes is held for `time`, then waits for a
    /// permit again. The message `is_new` when it is held for the first time. Returns whether it
    /// has a permit again: it has none when the service is to stop.
    pub(crate) async fn hold(&mut self, bytes: usize, is_new: bool, time: Duration) -> bool {
        self.end();
        let permits = self.permits.clone();
        let held = OneHeld::new(&permits, bytes, is_new);
        let mut stopping = permits.stopping();
        let again = async {
            sleep(time).await;
            drop(held);
            permits.permit().await
        };
        tokio::select! {
            biased;
            () = stopping.requested() => false,
            permit = again => {
                *self = permit;
                true
            }
        }
    }

    /// Releases the permit early; the handler keeps running.
    pub(crate) fn end(&mut self) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.permits.free.add_permits(1);
        }
    }

    /// Whether the next message can reuse this permit: it was not released, and nobody waits for
    /// one.
    pub(crate) fn is_to_spare(&self) -> bool {
        !self.is_over && self.permits.waiting.load(Relaxed) == 0
    }

    /// Returns the signal that the service is to stop.
    #[cfg(feature = "oslo")]
    pub(crate) fn stopping(&self) -> Stopping {
        self.permits.stopping()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.end();
    }
}

/// A guard that counts one held message for as long as it lives.
struct OneHeld<'a> {
    held: &'a Held,
    bytes: usize,
}

impl<'a> OneHeld<'a> {
    fn new(permits: &'a Permits, bytes: usize, is_new: bool) -> Self {
        permits.held.one_more(bytes, is_new, permits.at_once);
        OneHeld { held: &permits.held, bytes }
    }
}

impl Drop for OneHeld<'_> {
    fn drop(&mut self) {
        self.held.one_less(self.bytes);
    }
}

/// A guard that counts one waiting task for as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Stopping {
    /// Waits until the service is to stop.
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
        let permits = Arc::new(Permits::new(2, stopping));
        let (one, _other) = (permits.permit().await, permits.permit().await);
        let mut waiting = [Box::pin(permits.permit()), Box::pin(permits.permit())];
        assert!(waiting.iter_mut().all(|permit| permit.now_or_never().is_none()));
        drop(one);
        // Permits go to those that waited longer first.
        assert!(permits.permit().now_or_never().is_none());
        let taken: Vec<_> = waiting.iter_mut().filter_map(FutureExt::now_or_never).collect();
        assert_eq!(taken.len(), 1);
    }

    #[tokio::test]
    async fn a_turn_is_to_spare_until_it_has_ended_or_another_waits_for_one() {
        let (_stop, stopping) = watch::channel(false);
        let permits = Arc::new(Permits::new(1, stopping));
        let mut permit = permits.permit().await;
        assert!(permit.is_to_spare());
        let mut waiting = Box::pin(permits.permit());
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(!permit.is_to_spare());
        drop(waiting);
        assert!(permit.is_to_spare());
        permit.end();
        assert!(!permit.is_to_spare());
        let other = permits.permit().await;
        // A permit that was released early is not freed a second time.
        drop(permit);
        assert!(permits.permit().now_or_never().is_none());
        drop(other);
    }
}
