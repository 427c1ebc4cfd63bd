//! A consumer's inbox, through which the reader passes deliveries to the user.
//!
//! The reader appends the deliveries of one read as one batch; the user takes all there are at
//! once. Neither delays the other by more than moving a queue takes.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Poll, Waker},
};

use crate::error::Error;
use crate::proto::consuming::{delivery::RawDelivery, subscription::Subscription};
use crate::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

/// How many bytes of deliveries wait for their user, over the whole connection: those that no
/// prefetch bounds, and all of them.
///
/// While either exceeds its limit the driver does not read, so that TCP stops the broker's sending.
#[derive(Debug)]
pub(crate) struct Backlog {
    unbounded: Account,
    all: Account,
}

#[derive(Debug)]
struct Account {
    bytes: AtomicUsize,
    limit: usize,
}

impl Account {
    fn new(limit: usize) -> Self {
        Account { bytes: AtomicUsize::new(0), limit }
    }

    fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Acquire) > self.limit
    }

    fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Subtracts bytes. Returns whether the account was full and is not any more.
    fn remove(&self, bytes: usize) -> bool {
        let before = self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        before > self.limit && before.saturating_sub(bytes) <= self.limit
    }
}

impl Backlog {
    /// Takes the limits for unbounded deliveries, and for all.
    pub(crate) fn new(unbounded: usize, all: usize) -> Self {
        Backlog { unbounded: Account::new(unbounded), all: Account::new(all) }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.unbounded.is_full() || self.all.is_full()
    }

    fn add(&self, bytes: usize, is_bounded: bool) {
        self.all.add(bytes);
        if !is_bounded {
            self.unbounded.add(bytes);
        }
    }

    /// Subtracts bytes. Returns whether an account was full and is not any more, so that the driver
    /// has to be woken.
    fn remove(&self, bytes: usize, is_bounded: bool) -> bool {
        let is_free = self.all.remove(bytes);
        is_free | (!is_bounded && self.unbounded.remove(bytes))
    }
}

#[derive(Debug)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    backlog: Arc<Backlog>,
    /// Whether a prefetch bounds what can wait here.
    is_bounded: bool,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<RawDelivery>,
    bytes: usize,
    /// Why nothing more will come; `Some(None)` after a cancel by the user.
    ended: Option<Option<Error>>,
    /// The consumer's subscription when the broker cancelled it, or refused to start it again.
    cancelled: Option<Box<Subscription>>,
    waker: Option<Waker>,
    /// Set when nothing has come for a while, and the waiting user has not been told.
    is_quiet: bool,
}

/// The result of taking from an inbox.
#[derive(Debug)]
pub(crate) enum Taken {
    Deliveries,
    Ended(Option<Error>),
}

impl Inbox {
    pub(crate) fn new(backlog: Arc<Backlog>, is_bounded: bool) -> Self {
        Inbox { state: Mutex::default(), backlog, is_bounded }
    }

    /// Appends a batch of this size, and leaves the reader an empty queue. Returns the waker to
    /// wake.
    pub(crate) fn put(&self, batch: &mut VecDeque<RawDelivery>, bytes: usize) -> Option<Waker> {
        let mut state = self.state.lock();
        state.bytes += bytes;
        self.backlog.add(bytes, self.is_bounded);
        if state.queue.is_empty() {
            std::mem::swap(&mut state.queue, batch);
        } else {
            state.queue.append(batch);
        }
        state.waker.take()
    }

    /// Ends the inbox. The first reason stays.
    pub(crate) fn end(&self, reason: Option<Error>) -> Option<Waker> {
        let mut state = self.state.lock();
        state.ended.get_or_insert(reason);
        state.waker.take()
    }

    /// Keeps the subscription of a consumer that the broker has cancelled.
    pub(crate) fn keep_cancelled(&self, subscription: Subscription) {
        self.state.lock().cancelled = Some(Box::new(subscription));
    }

    /// Takes the subscription that the broker has cancelled.
    pub(crate) fn take_cancelled(&self) -> Option<Subscription> {
        self.state.lock().cancelled.take().map(|subscription| *subscription)
    }

    /// Moves everything into `local`, which is empty. It counts as waiting until it is [let
    /// go](Self::let_go).
    pub(crate) fn poll_take(&self, local: &mut VecDeque<RawDelivery>, waker: &Waker) -> Poll<Taken> {
        let mut state = self.state.lock();
        if !state.queue.is_empty() {
            std::mem::swap(&mut state.queue, local);
            state.bytes = 0;
            return Poll::Ready(Taken::Deliveries);
        }
        if let Some(reason) = &state.ended {
            return Poll::Ready(Taken::Ended(reason.clone()));
        }
        if std::mem::take(&mut state.is_quiet) {
            *local = VecDeque::new();
        }
        match &mut state.waker {
            Some(known) => known.clone_from(waker),
            None => state.waker = Some(waker.clone()),
        }
        Poll::Pending
    }

    /// Notes that this many bytes no longer wait. Returns whether the driver may read again.
    pub(crate) fn let_go(&self, bytes: usize) -> bool {
        self.backlog.remove(bytes, self.is_bounded)
    }

    /// Frees memory that an idle consumer does not need. Returns the user's waker, to do the same.
    pub(crate) fn release(&self) -> Option<Waker> {
        let mut state = self.state.lock();
        if !state.queue.is_empty() {
            return None;
        }
        state.queue = VecDeque::new();
        state.is_quiet = true;
        state.waker.take()
    }

    /// Takes deliveries that nobody will process. The flag says whether the driver may read again.
    pub(crate) fn drain(&self) -> (VecDeque<RawDelivery>, bool) {
        let mut state = self.state.lock();
        let bytes = std::mem::take(&mut state.bytes);
        (std::mem::take(&mut state.queue), self.let_go(bytes))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn batch(tags: std::ops::Range<u64>) -> (VecDeque<RawDelivery>, usize) {
        let body = Bytes::from_static(&[0; 10]);
        let batch: VecDeque<_> =
            tags.map(|tag| RawDelivery::new(Bytes::new(), 0, 0, body.clone(), tag, false, true)).collect();
        let bytes = batch.iter().map(RawDelivery::size).sum();
        (batch, bytes)
    }

    fn put(inbox: &Inbox, tags: std::ops::Range<u64>) -> Option<Waker> {
        let (mut batch, bytes) = batch(tags);
        inbox.put(&mut batch, bytes)
    }

    #[test]
    fn batches_come_out_in_order_and_the_end_comes_last() {
        let inbox = Inbox::new(Arc::new(Backlog::new(100, 100)), true);
        let mut local = VecDeque::new();
        assert!(inbox.poll_take(&mut local, Waker::noop()).is_pending());
        assert!(put(&inbox, 1..3).is_some());
        assert!(put(&inbox, 3..4).is_none());
        inbox.end(Some(Error::ConnectionEnded));
        assert!(matches!(inbox.poll_take(&mut local, Waker::noop()), Poll::Ready(Taken::Deliveries)));
        assert_eq!(local.iter().map(|delivery| delivery.tag).collect::<Vec<_>>(), [1, 2, 3]);
        let mut empty = VecDeque::new();
        let end = inbox.poll_take(&mut empty, Waker::noop());
        assert!(matches!(end, Poll::Ready(Taken::Ended(Some(Error::ConnectionEnded)))));
    }

    #[test]
    fn what_was_taken_waits_until_it_is_let_go_and_then_the_driver_may_read_again_once() {
        let backlog = Arc::new(Backlog::new(15, 100));
        let inbox = Inbox::new(backlog.clone(), false);
        put(&inbox, 1..2);
        assert!(!backlog.is_full());
        put(&inbox, 2..3);
        assert!(backlog.is_full());
        let mut local = VecDeque::new();
        assert!(inbox.poll_take(&mut local, Waker::noop()).is_ready());
        assert!(backlog.is_full());
        assert!(inbox.let_go(10));
        assert!(!backlog.is_full());
        assert!(!inbox.let_go(10));
        assert!(!inbox.drain().1);
    }

    #[test]
    fn what_a_prefetch_bounds_counts_among_all_only() {
        let backlog = Arc::new(Backlog::new(15, 35));
        let (bounded, unbounded) = (Inbox::new(backlog.clone(), true), Inbox::new(backlog.clone(), false));
        put(&bounded, 1..3);
        assert!(!backlog.is_full());
        put(&unbounded, 3..4);
        assert!(!backlog.is_full());
        put(&bounded, 4..5);
        assert!(backlog.is_full());
        assert!(unbounded.drain().1);
        assert!(!backlog.is_full());
        put(&unbounded, 5..7);
        assert!(backlog.is_full());
        assert!(bounded.drain().1);
        assert!(backlog.is_full(), "what no prefetch bounds is still over its own limit");
    }
}
