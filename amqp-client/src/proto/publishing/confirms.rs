//! Publisher confirms of one channel (<https://www.rabbitmq.com/docs/confirms>): the outcome of
//! each publish, and who asks for it.
//!
//! An outcome is kept only if it is not a plain ack.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::Arc,
    task::{Poll, Waker},
};

use amqp_codec::Error as CodecError;
use bytes::Bytes;

use crate::error::Error;
use crate::proto::{
    ground::waiters::Waiters,
    publishing::{
        republish::Kept,
        returns::{Mandatory, RawReturn},
        unconfirmed::{Asker, Unconfirmed},
        wakers::Wakers,
        wire_tags::WireTags,
    },
};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How many publishes that were given up are remembered, so that their returns are recognised.
const GIVEN_UP_KEPT: usize = 64;

/// The outcome of a published message.
#[derive(Clone, Debug)]
pub(crate) enum Settled {
    Ack,
    Nack,
    Returned(Box<RawReturn>),
    /// The connection or the channel was lost before the broker answered.
    Lost(Error),
}

/// What is known about tags without the engine's lock.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// All lower tags have been settled.
    settled: AtomicU64,
    /// Whether an outcome that nobody has fetched yet is not a plain ack, so that the lock is
    /// needed.
    exceptional: AtomicBool,
}

impl Progress {
    /// Tells whether the message with this tag was certainly acked.
    #[inline]
    pub(crate) fn is_acked(&self, tag: u64) -> bool {
        self.settled.load(Ordering::Acquire) > tag && !self.exceptional.load(Ordering::Acquire)
    }
}

#[derive(Debug)]
pub(crate) struct Confirms {
    unconfirmed: Unconfirmed,
    /// The futures that wait until all publishes so far are settled.
    pub(crate) flush_waiters: Waiters,
    /// Outcomes other than a plain ack, and returns that wait for their ack.
    outcomes: BTreeMap<u64, Settled>,
    wakers: Wakers,
    /// The mandatory publishes, with which returns are matched.
    mandatory: Mandatory,
    /// The mandatory publishes that were given up.
    given_up: Vec<u64>,
    /// Unsettled publishes that are repeated when the connection was lost.
    kept: BTreeMap<u64, Kept>,
    /// Converts tags here to those on the wire, which restart on each connection.
    wire: WireTags,
    /// The highest tag that the broker has answered.
    answered: u64,
    /// How often publishes were lost.
    losses: u64,
    progress: Arc<Progress>,
}

impl Confirms {
    pub(crate) fn new(progress: Arc<Progress>) -> Self {
        progress.settled.store(1, Ordering::Release);
        Confirms {
            unconfirmed: Unconfirmed::new(),
            flush_waiters: Waiters::default(),
            outcomes: BTreeMap::new(),
            wakers: Wakers::default(),
            mandatory: Mandatory::default(),
            given_up: Vec::new(),
            kept: BTreeMap::new(),
            wire: WireTags::default(),
            answered: 0,
            losses: 0,
            progress,
        }
    }

    /// Returns how many publishes the broker has not answered.
    #[inline]
    pub(crate) fn in_flight(&self) -> usize {
        self.unconfirmed.len()
    }

    /// Returns the total size of their bodies.
    #[inline]
    pub(crate) fn bytes_in_flight(&self) -> u64 {
        self.unconfirmed.bytes()
    }

    /// Returns the tag of the last message published; 0 before the first.
    pub(crate) fn newest(&self) -> u64 {
        self.unconfirmed.newest()
    }

    /// Returns the tags after the last one that the broker has answered.
    pub(crate) fn unanswered(&self) -> Range<u64> {
        self.answered + 1..self.newest() + 1
    }

    /// Adds a publish and returns its tag; with `forgotten` nobody will ask for its outcome.
    #[inline]
    pub(crate) fn published(&mut self, bytes: usize, forgotten: bool) -> u64 {
        self.unconfirmed.push(bytes, if forgotten { Asker::Gone } else { Asker::Waits })
    }

    /// Remembers a mandatory publish, which may be returned.
    pub(crate) fn mandatory(&mut self, tag: u64, exchange: &[u8], routing_key: &[u8], body: Bytes) {
        self.mandatory.push(tag, exchange, routing_key, body);
    }

    /// Keeps a publish until it is settled, to repeat it if the connection is lost.
    pub(crate) fn keep(&mut self, tag: u64, kept: Kept) {
        self.kept.insert(tag, kept);
    }

    /// Notes that the broker will not answer any more. Publishes are lost unless they are kept and
    /// `republish` is set. Returns how many were lost.
    pub(crate) fn lose(&mut self, republish: bool, reason: &Error, wakes: &mut Vec<Waker>) -> usize {
        if !republish {
            self.kept.clear();
        }
        self.mandatory.clear();
        self.given_up.clear();
        let mut lost = 0;
        for tag in self.unconfirmed.open_tags() {
            if self.kept.contains_key(&tag) {
                // An earlier return does not matter when the message is published again.
                self.take_outcome(tag);
                continue;
            }
            lost += 1;
            self.lose_one(tag, reason, wakes);
        }
        if lost > 0 {
            self.losses += 1;
        }
        self.advance(wakes);
        self.flush_waiters.wake_all(wakes);
        self.wire = WireTags::after(self.newest());
        lost
    }

    fn lose_one(&mut self, tag: u64, reason: &Error, wakes: &mut Vec<Waker>) {
        if self.unconfirmed.settle(tag) == Some(Asker::Waits) {
            self.exceptional();
            self.outcomes.insert(tag, Settled::Lost(reason.clone()));
        }
        wakes.extend(self.wakers.remove(tag));
    }

    /// Repeats the kept publishes in their order by calling `publish`. Their tags on the wire begin
    /// at 1. A publish that does not fit into this connection's frames is lost. Returns how many
    /// were repeated.
    pub(crate) fn republish(
        &mut self,
        mut publish: impl FnMut(&Kept) -> Result<(), CodecError>,
        wakes: &mut Vec<Waker>,
    ) -> usize {
        for (tag, kept) in std::mem::take(&mut self.kept) {
            match publish(&kept) {
                Ok(()) => {
                    self.wire.republish(tag);
                    if kept.mandatory {
                        let (exchange, routing_key) = (kept.exchange.as_bytes(), kept.routing_key.as_bytes());
                        self.mandatory(tag, exchange, routing_key, kept.message.body().clone());
                    }
                    self.kept.insert(tag, kept);
                }
                Err(error) => {
                    self.losses += 1;
                    self.lose_one(tag, &Error::Invalid(error), wakes);
                }
            }
        }
        self.advance(wakes);
        self.wire.republished()
    }

    /// Drops settled publishes and wakes the futures that wait for them.
    fn advance(&mut self, wakes: &mut Vec<Waker>) {
        self.unconfirmed.advance();
        let oldest = self.unconfirmed.oldest();
        if self.progress.settled.swap(oldest, Ordering::AcqRel) != oldest {
            self.flush_waiters.wake_all(wakes);
        }
    }

    /// Frees memory that an idle channel does not need.
    pub(crate) fn release(&mut self) {
        self.unconfirmed.release();
        self.mandatory.release();
        self.given_up.shrink_to(0);
        self.wakers.release();
    }

    /// Returns how often publishes were lost.
    pub(crate) fn losses(&self) -> u64 {
        self.losses
    }

    /// Handles a returned message. It belongs to the oldest equal mandatory publish after the last
    /// answer, or else to the oldest equal one: a return is sent when its message is routed, before
    /// the answers to later messages. Gives it back if nobody waits for the publish's outcome.
    pub(crate) fn returned(&mut self, returned: RawReturn) -> Option<RawReturn> {
        let Some(tag) = self.mandatory.take(&returned, self.answered) else { return Some(returned) };
        if matches!(self.unconfirmed.asker(tag), None | Some(Asker::Gone)) {
            return Some(returned);
        }
        self.exceptional();
        self.outcomes.insert(tag, Settled::Returned(Box::new(returned)));
        None
    }

    /// Handles `basic.ack` or `basic.nack`, with a tag as on the wire; 0 with `multiple` means all
    /// so far. Unknown tags are ignored.
    pub(crate) fn settle(&mut self, wire: u64, multiple: bool, nack: bool, wakes: &mut Vec<Waker>) {
        let everything = multiple && wire == 0;
        let last = if everything { self.newest() } else { self.wire.tag(wire) };
        if last > self.newest() {
            return;
        }
        self.answered = self.answered.max(last);
        self.forget_given_up();
        if multiple && self.wire.republished() > 0 {
            let upto = if everything { u64::MAX } else { wire };
            for tag in self.wire.republished_up_to(upto) {
                self.settle_one(tag, nack, wakes);
            }
        }
        if multiple && last > self.wire.before() {
            self.settle_up_to(last, nack, wakes);
        } else if !multiple {
            self.settle_one(last, nack, wakes);
        }
        self.advance(wakes);
    }

    /// Forgets publishes that were given up and precede the last answer: they are not returned any
    /// more.
    fn forget_given_up(&mut self) {
        let (answered, mandatory) = (self.answered, &mut self.mandatory);
        self.given_up.retain(|&tag| {
            let may_come_back = tag > answered;
            if !may_come_back {
                mandatory.remove(tag);
            }
            may_come_back
        });
    }

    /// Returns how many futures wait for a flush.
    pub(crate) fn flushing(&self) -> usize {
        self.flush_waiters.len()
    }

    /// Returns the outcome of `tag`, or registers the waker if there is none yet.
    pub(crate) fn poll(&mut self, tag: u64, waker: &Waker) -> Poll<Settled> {
        if self.unconfirmed.asker(tag).is_some() {
            self.wakers.insert(tag, waker.clone());
            return Poll::Pending;
        }
        Poll::Ready(self.take_outcome(tag))
    }

    /// Notes that nobody will ask for the outcome of `tag`.
    pub(crate) fn forget(&mut self, tag: u64) {
        self.wakers.remove(tag);
        if self.unconfirmed.asker(tag).is_some() {
            self.unconfirmed.forget(tag);
        } else {
            self.take_outcome(tag);
        }
    }

    /// Stops waiting for the answer to `tag`, which then counts as settled.
    pub(crate) fn give_up(&mut self, tag: u64, wakes: &mut Vec<Waker>) {
        self.wakers.remove(tag);
        self.kept.remove(&tag);
        self.unconfirmed.settle(tag);
        if self.mandatory.len() > self.unconfirmed.len() + GIVEN_UP_KEPT {
            self.mandatory.remove(tag);
        } else if self.mandatory.contains(tag) {
            self.given_up.push(tag);
        }
        self.take_outcome(tag);
        self.advance(wakes);
    }

    /// Returns the outcome of `tag` after the channel's end, if it arrived in time.
    pub(crate) fn outcome(&mut self, tag: u64) -> Option<Settled> {
        if self.unconfirmed.asker(tag).is_some() {
            return None;
        }
        Some(self.take_outcome(tag))
    }

    fn take_outcome(&mut self, tag: u64) -> Settled {
        let outcome = self.outcomes.remove(&tag).unwrap_or(Settled::Ack);
        if self.outcomes.is_empty() {
            self.progress.exceptional.store(false, Ordering::Release);
        }
        outcome
    }

    /// Tells whether everything up to `tag` is settled, or was before the channel ended.
    pub(crate) fn is_settled_up_to(&self, tag: u64) -> bool {
        self.unconfirmed.oldest() > tag
    }

    pub(crate) fn wake_all(&mut self, wakes: &mut Vec<Waker>) {
        self.flush_waiters.wake_all(wakes);
        self.wakers.take_up_to(u64::MAX, wakes);
    }

    fn settle_up_to(&mut self, last: u64, nack: bool, wakes: &mut Vec<Waker>) {
        if nack || !self.outcomes.is_empty() || !self.mandatory.is_empty() {
            for tag in self.unconfirmed.candidates_up_to(last) {
                self.settle_one(tag, nack, wakes);
            }
            self.mandatory.remove_up_to(last);
        }
        self.unconfirmed.settle_up_to(last);
        if !self.kept.is_empty() {
            self.kept = self.kept.split_off(&(last + 1));
        }
        self.wakers.take_up_to(last, wakes);
    }

    fn settle_one(&mut self, tag: u64, nack: bool, wakes: &mut Vec<Waker>) {
        if !self.mandatory.is_empty() {
            self.mandatory.remove(tag);
        }
        let Some(asker) = self.unconfirmed.settle(tag) else { return };
        self.kept.remove(&tag);
        if asker == Asker::Gone {
            self.take_outcome(tag);
        } else if nack {
            // A nack matters more than a return that came before it.
            self.exceptional();
            self.outcomes.insert(tag, Settled::Nack);
        }
        wakes.extend(self.wakers.remove(tag));
    }

    fn exceptional(&self) {
        self.progress.exceptional.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
