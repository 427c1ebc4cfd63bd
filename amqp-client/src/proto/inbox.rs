//! A consumer's inbox: the one place where the reader's side and the user's side meet.
//!
//! The reader puts the deliveries of one read in as one batch; the user's side takes all there is at once. Neither holds the
//! other up for longer than the move of a queue.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
};

use parking_lot::Mutex;

use super::{delivery::RawDelivery, subscription::Subscription};
use crate::error::Error;

/// Bytes of deliveries that wait for their user without a prefetch to bound them, over the whole connection.
///
/// While they are over the limit the driver reads no more: the broker's sending is held up by TCP.
#[derive(Debug)]
pub(crate) struct Backlog {
    bytes: AtomicUsize,
    limit: usize,
}

impl Backlog {
    pub(crate) fn new(limit: usize) -> Self {
        Backlog { bytes: AtomicUsize::new(0), limit }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Acquire) > self.limit
    }

    fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Tells whether it was full and is no more, so that the driver must be woken.
    fn remove(&self, bytes: usize) -> bool {
        let before = self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        before > self.limit && before - bytes <= self.limit
    }
}

#[derive(Debug)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    /// `None` for a consumer whose prefetch bounds what can wait here.
    backlog: Option<Arc<Backlog>>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<RawDelivery>,
    bytes: usize,
    /// Why nothing will come any more; `Some(None)` after a cancel by the user.
    ended: Option<Option<Error>>,
    /// The consumer as it was when the broker cancelled it, or refused to begin it again.
    cancelled: Option<Box<Subscription>>,
    waker: Option<Waker>,
    /// Nothing has come for a while, and who waits has not seen it.
    is_quiet: bool,
}

/// What taking from an inbox gave.
#[derive(Debug)]
pub(crate) enum Taken {
    Deliveries,
    Ended(Option<Error>),
}

impl Inbox {
    pub(crate) fn new(backlog: Option<Arc<Backlog>>) -> Self {
        Inbox { state: Mutex::default(), backlog }
    }

    /// Appends a batch and leaves the reader an empty queue. Returns whom to wake.
    pub(crate) fn put(&self, batch: &mut VecDeque<RawDelivery>) -> Option<Waker> {
        let mut state = self.state.lock();
        if let Some(backlog) = &self.backlog {
            let bytes = batch.iter().map(RawDelivery::size).sum();
            state.bytes += bytes;
            backlog.add(bytes);
        }
        if state.queue.is_empty() {
            std::mem::swap(&mut state.queue, batch);
        } else {
            state.queue.append(batch);
        }
        state.waker.take()
    }

    /// Nothing will come any more. The first reason stays.
    pub(crate) fn end(&self, reason: Option<Error>) -> Option<Waker> {
        let mut state = self.state.lock();
        state.ended.get_or_insert(reason);
        state.waker.take()
    }

    /// The broker has cancelled this consumer.
    pub(crate) fn keep_cancelled(&self, subscription: Subscription) {
        self.state.lock().cancelled = Some(Box::new(subscription));
    }

    /// The consumer that the broker has cancelled, once.
    pub(crate) fn take_cancelled(&self) -> Option<Subscription> {
        self.state.lock().cancelled.take().map(|subscription| *subscription)
    }

    /// Moves all there is into `local`, which is empty. The flag tells that the driver may read again.
    pub(crate) fn poll_take(&self, local: &mut VecDeque<RawDelivery>, waker: &Waker) -> (Poll<Taken>, bool) {
        let mut state = self.state.lock();
        if !state.queue.is_empty() {
            std::mem::swap(&mut state.queue, local);
            return (Poll::Ready(Taken::Deliveries), self.released(&mut state));
        }
        if let Some(reason) = &state.ended {
            return (Poll::Ready(Taken::Ended(reason.clone())), false);
        }
        if std::mem::take(&mut state.is_quiet) {
            *local = VecDeque::new();
        }
        match &mut state.waker {
            Some(known) => known.clone_from(waker),
            None => state.waker = Some(waker.clone()),
        }
        (Poll::Pending, false)
    }

    /// Gives back what a quiet consumer does not need. Returns whom to wake: it does the same.
    pub(crate) fn release(&self) -> Option<Waker> {
        let mut state = self.state.lock();
        if !state.queue.is_empty() {
            return None;
        }
        state.queue = VecDeque::new();
        state.is_quiet = true;
        state.waker.take()
    }

    /// Takes what nobody will process.
    pub(crate) fn drain(&self) -> (VecDeque<RawDelivery>, bool) {
        let mut state = self.state.lock();
        let released = self.released(&mut state);
        (std::mem::take(&mut state.queue), released)
    }

    fn released(&self, state: &mut State) -> bool {
        let bytes = std::mem::take(&mut state.bytes);
        self.backlog.as_ref().is_some_and(|backlog| backlog.remove(bytes))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn batch(tags: std::ops::Range<u64>) -> VecDeque<RawDelivery> {
        let body = Bytes::from_static(&[0; 10]);
        tags.map(|tag| RawDelivery::new(Bytes::new(), 0, 0, body.clone(), tag, false, true)).collect()
    }

    #[test]
    fn batches_come_out_in_order_and_the_end_comes_last() {
        let inbox = Inbox::new(None);
        let mut local = VecDeque::new();
        assert!(inbox.poll_take(&mut local, Waker::noop()).0.is_pending());
        assert!(inbox.put(&mut batch(1..3)).is_some());
        assert!(inbox.put(&mut batch(3..4)).is_none());
        inbox.end(Some(Error::ConnectionEnded));
        assert!(matches!(inbox.poll_take(&mut local, Waker::noop()).0, Poll::Ready(Taken::Deliveries)));
        assert_eq!(local.iter().map(|delivery| delivery.tag).collect::<Vec<_>>(), [1, 2, 3]);
        let mut empty = VecDeque::new();
        let (end, _) = inbox.poll_take(&mut empty, Waker::noop());
        assert!(matches!(end, Poll::Ready(Taken::Ended(Some(Error::ConnectionEnded)))));
    }

    #[test]
    fn taking_from_an_overfull_backlog_lets_the_driver_read_again_once() {
        let backlog = Arc::new(Backlog::new(15));
        let inbox = Inbox::new(Some(backlog.clone()));
        inbox.put(&mut batch(1..2));
        assert!(!backlog.is_full());
        inbox.put(&mut batch(2..3));
        assert!(backlog.is_full());
        let mut local = VecDeque::new();
        assert!(inbox.poll_take(&mut local, Waker::noop()).1);
        assert!(!backlog.is_full());
        assert!(!inbox.drain().1);
    }
}
