//! How many messages are worked on at once, and until when.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, watch},
    time::sleep,
};

use crate::consume::held::Held;

/// The turns of a service.
pub(crate) struct Turns {
    free: Semaphore,
    /// Who waits for one to be freed.
    waiting: AtomicUsize,
    at_once: usize,
    held: Held,
    stopping: watch::Receiver<bool>,
}

/// The right to work on one message. Dropping it lets the next one in.
pub(crate) struct Turn {
    turns: Arc<Turns>,
    is_over: bool,
}

/// Tells a task when its service is to stop.
#[derive(Clone)]
pub(crate) struct Stopping(watch::Receiver<bool>);

impl Turns {
    pub(crate) fn new(at_once: usize, stopping: watch::Receiver<bool>) -> Self {
        let (waiting, held) = Default::default();
        Turns { free: Semaphore::new(at_once), waiting, at_once, held, stopping }
    }

    /// A turn, as soon as one is free, first come, first served.
    pub(crate) async fn turn(self: &Arc<Self>) -> Turn {
        match self.free.try_acquire() {
            Ok(turn) => turn.forget(),
            Err(_) => {
                let _waiting = Waiting::new(&self.waiting);
                // Nobody closes the semaphore.
                if let Ok(turn) = self.free.acquire().await {
                    turn.forget();
                }
            }
        }
        Turn { turns: self.clone(), is_over: false }
    }

    /// The messages that are held while others have their turn.
    pub(crate) fn held(&self) -> &Held {
        &self.held
    }

    pub(crate) fn stopping(&self) -> Stopping {
        Stopping(self.stopping.clone())
    }
}

impl Turn {
    /// Lets others have their turn while this message, of so many bytes, is held for so long, for the first time when it `is_new`.
    /// Tells whether it has its turn again: not when the service is to stop.
    pub(crate) async fn hold(&mut self, bytes: usize, is_new: bool, time: Duration) -> bool {
        self.end();
        let turns = self.turns.clone();
        let held = OneHeld::new(&turns, bytes, is_new);
        let mut stopping = turns.stopping();
        let again = async {
            sleep(time).await;
            drop(held);
            turns.turn().await
        };
        tokio::select! {
            biased;
            () = stopping.requested() => false,
            turn = again => {
                *self = turn;
                true
            }
        }
    }

    /// Lets the next one in, while this message's work goes on without a turn.
    pub(crate) fn end(&mut self) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.turns.free.add_permits(1);
        }
    }

    /// Whether the next message can have this turn: it has not ended, and nobody else waits for one.
    pub(crate) fn is_to_spare(&self) -> bool {
        !self.is_over && self.turns.waiting.load(Relaxed) == 0
    }

    /// When the service is to stop.
    #[cfg(feature = "oslo")]
    pub(crate) fn stopping(&self) -> Stopping {
        self.turns.stopping()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.end();
    }
}

/// Among those that are held for as long as it lives.
struct OneHeld<'a> {
    held: &'a Held,
    bytes: usize,
}

impl<'a> OneHeld<'a> {
    fn new(turns: &'a Turns, bytes: usize, is_new: bool) -> Self {
        turns.held.one_more(bytes, is_new, turns.at_once);
        OneHeld { held: &turns.held, bytes }
    }
}

impl Drop for OneHeld<'_> {
    fn drop(&mut self) {
        self.held.one_less(self.bytes);
    }
}

/// Counted for as long as it lives.
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
        // Nobody comes before them.
        assert!(turns.turn().now_or_never().is_none());
        let taken: Vec<_> = waiting.iter_mut().filter_map(FutureExt::now_or_never).collect();
        assert_eq!(taken.len(), 1);
    }

    #[tokio::test]
    async fn a_turn_is_to_spare_until_it_has_ended_or_another_waits_for_one() {
        let (_stop, stopping) = watch::channel(false);
        let turns = Arc::new(Turns::new(1, stopping));
        let mut turn = turns.turn().await;
        assert!(turn.is_to_spare());
        let mut waiting = Box::pin(turns.turn());
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(!turn.is_to_spare());
        drop(waiting);
        assert!(turn.is_to_spare());
        turn.end();
        assert!(!turn.is_to_spare());
        let other = turns.turn().await;
        // One that has ended is not freed again.
        drop(turn);
        assert!(turns.turn().now_or_never().is_none());
        drop(other);
    }
}
