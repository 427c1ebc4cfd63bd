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
mod tests {
    use amqp_codec::{ContentHeader, EncodedProperties};

    use super::*;
    use crate::{
        message::Message,
        options::route::Route,
        proto::consuming::delivery::{RawDelivery, join_head},
    };

    struct Fixture {
        confirms: Confirms,
        progress: Arc<Progress>,
    }

    fn with_publishes(count: u64) -> Fixture {
        let progress = Arc::new(Progress::default());
        let mut confirms = Confirms::new(progress.clone());
        for tag in 1..=count {
            assert_eq!(confirms.published(10, false), tag);
        }
        Fixture { confirms, progress }
    }

    impl Fixture {
        fn outcomes(&mut self, tags: std::ops::RangeInclusive<u64>) -> String {
            tags.map(|tag| match self.confirms.poll(tag, Waker::noop()) {
                Poll::Pending => '.',
                Poll::Ready(Settled::Ack) => 'a',
                Poll::Ready(Settled::Nack) => 'n',
                Poll::Ready(Settled::Returned(_)) => 'r',
                Poll::Ready(Settled::Lost(_)) => 'l',
            })
            .collect()
        }

        fn settle(&mut self, tag: u64, multiple: bool, nack: bool) -> usize {
            let mut wakes = Vec::new();
            self.confirms.settle(tag, multiple, nack, &mut wakes);
            wakes.len()
        }
    }

    fn returned(key: &str, body: &'static str) -> RawReturn {
        let method = Bytes::from([&[1, b'e', key.len() as u8], key.as_bytes()].concat());
        let header =
            ContentHeader { class_id: 60, body_size: body.len() as u64, properties: EncodedProperties::NONE };
        let (head, at) = join_head(&method, &header);
        let content = RawDelivery::new(head, 0, at, Bytes::from_static(body.as_bytes()), 0, false, true);
        RawReturn { code: 312, text: "NO_ROUTE".into(), content }
    }

    #[test]
    fn ack_multiple_settles_all_up_to_the_tag() {
        let mut fixture = with_publishes(5);
        fixture.settle(3, true, false);
        assert_eq!(fixture.outcomes(1..=5), "aaa..");
        assert!(fixture.progress.is_acked(3) && !fixture.progress.is_acked(4));
        assert_eq!(fixture.confirms.in_flight(), 2);
    }

    #[test]
    fn nack_multiple_settles_all_up_to_the_tag_but_what_was_acked_before() {
        let mut fixture = with_publishes(4);
        fixture.settle(2, false, false);
        fixture.settle(3, true, true);
        assert!(!fixture.progress.is_acked(1));
        assert_eq!(fixture.outcomes(1..=4), "nan.");
    }

    #[test]
    fn tag_zero_with_multiple_settles_everything_so_far() {
        let mut fixture = with_publishes(3);
        fixture.settle(0, true, false);
        assert_eq!(fixture.outcomes(1..=3), "aaa");
        assert_eq!(fixture.settle(0, true, false), 0);
    }

    #[test]
    fn only_who_waits_for_a_settled_tag_is_woken() {
        let mut fixture = with_publishes(4);
        assert_eq!(fixture.outcomes(1..=4), "....");
        assert_eq!(fixture.settle(2, false, false), 1);
        assert_eq!(fixture.settle(3, true, false), 2);
        assert_eq!(fixture.confirms.wakers.len(), 1);
    }

    #[test]
    fn tags_never_given_or_settled_before_are_ignored() {
        let mut fixture = with_publishes(2);
        fixture.settle(9, true, true);
        fixture.settle(9, false, true);
        fixture.settle(1, false, false);
        fixture.settle(1, false, true);
        assert_eq!(fixture.outcomes(1..=2), "a.");
    }

    #[test]
    fn a_return_belongs_to_the_oldest_equal_mandatory_publish() {
        let mut fixture = with_publishes(4);
        for (tag, key, body) in [(1, "k", "x"), (2, "k", "y"), (3, "k", "x"), (4, "l", "x")] {
            fixture.confirms.mandatory(tag, b"e", key.as_bytes(), Bytes::from_static(str::as_bytes(body)));
        }
        assert!(fixture.confirms.returned(returned("k", "x")).is_none());
        assert!(fixture.confirms.returned(returned("l", "x")).is_none());
        assert!(fixture.confirms.returned(returned("m", "x")).is_some(), "nobody has published it");
        fixture.settle(4, true, false);
        assert_eq!(fixture.outcomes(1..=4), "raar");
    }

    #[test]
    fn what_was_not_returned_before_a_later_answer_is_not_taken_for_what_is() {
        for is_given_up in [true, false] {
            let mut fixture = with_publishes(3);
            fixture.confirms.mandatory(1, b"e", b"k", Bytes::from_static(b"x"));
            if is_given_up {
                fixture.confirms.give_up(1, &mut Vec::new());
            }
            fixture.settle(2, false, false);
            fixture.confirms.mandatory(3, b"e", b"k", Bytes::from_static(b"x"));
            assert_eq!(fixture.confirms.mandatory.len(), if is_given_up { 1 } else { 2 });
            let _ = fixture.confirms.returned(returned("k", "x"));
            fixture.settle(3, false, false);
            assert_eq!(fixture.outcomes(2..=3), "ar");
            fixture.settle(1, false, false);
            assert_eq!(fixture.outcomes(1..=1), "a");
        }
    }

    #[test]
    fn what_is_published_again_is_not_taken_for_what_was_returned_before() {
        let mut fixture = with_publishes(1);
        let route = Route { exchange: "e", routing_key: "k", mandatory: true };
        fixture.confirms.mandatory(1, b"e", b"k", Bytes::from_static(b"x"));
        fixture.confirms.keep(1, Kept::new(route, &Message::new("x")));
        let _ = fixture.confirms.returned(returned("k", "x"));
        let mut wakes = Vec::new();
        assert_eq!(fixture.confirms.lose(true, &Error::ConnectionEnded, &mut wakes), 0);
        assert_eq!(fixture.confirms.republish(|_| Ok(()), &mut wakes), 1);
        fixture.settle(1, false, false);
        assert!(fixture.progress.is_acked(1));
        assert_eq!(fixture.outcomes(1..=1), "a");
    }

    #[test]
    fn the_window_opens_with_each_answer_whatever_older_ones_are_owed() {
        let mut fixture = with_publishes(5);
        fixture.settle(2, false, false);
        fixture.settle(5, false, true);
        assert_eq!((fixture.confirms.in_flight(), fixture.confirms.bytes_in_flight()), (3, 30));
        fixture.settle(4, true, false);
        assert_eq!((fixture.confirms.in_flight(), fixture.confirms.bytes_in_flight()), (0, 0));
    }

    #[test]
    fn what_is_given_up_takes_no_room_and_its_late_return_and_answer_are_nobodys() {
        let mut fixture = with_publishes(3);
        for tag in 1..=3 {
            fixture.confirms.mandatory(tag, b"e", b"k", Bytes::from_static(b"x"));
        }
        fixture.confirms.give_up(1, &mut Vec::new());
        assert_eq!((fixture.confirms.in_flight(), fixture.confirms.bytes_in_flight()), (2, 20));
        let _ = fixture.confirms.returned(returned("k", "x"));
        fixture.settle(1, false, true);
        fixture.settle(3, true, false);
        assert_eq!(fixture.outcomes(2..=3), "aa");
        assert!(fixture.confirms.outcomes.is_empty() && fixture.confirms.mandatory.is_empty());
        assert!(fixture.progress.is_acked(3));
    }

    #[test]
    fn what_lies_behind_the_last_answer_is_unanswered_whatever_became_of_its_confirm() {
        let mut fixture = with_publishes(6);
        assert_eq!(fixture.confirms.unanswered(), 1..7);
        fixture.settle(4, false, true);
        fixture.settle(2, true, false);
        fixture.confirms.give_up(6, &mut Vec::new());
        assert_eq!(fixture.confirms.unanswered(), 5..7);
        fixture.settle(0, true, false);
        assert!(fixture.confirms.unanswered().is_empty());
    }

    #[test]
    fn a_broker_that_answers_nothing_leaves_little_of_what_is_given_up() {
        let mut fixture = with_publishes(0);
        for _ in 0..10_000 {
            let tag = fixture.confirms.published(10, false);
            fixture.confirms.mandatory(tag, b"e", b"k", Bytes::from_static(b"x"));
            fixture.confirms.give_up(tag, &mut Vec::new());
        }
        assert_eq!(fixture.confirms.in_flight(), 0);
        assert_eq!(fixture.confirms.mandatory.len(), GIVEN_UP_KEPT);
        assert!(fixture.confirms.is_settled_up_to(10_000));
    }

    #[test]
    fn one_that_is_overtaken_for_long_is_open_until_it_is_answered() {
        let mut fixture = with_publishes(1);
        for _ in 0..5000 {
            let tag = fixture.confirms.published(10, false);
            fixture.settle(tag, false, false);
        }
        assert_eq!(fixture.outcomes(1..=2), ".a");
        assert!(!fixture.progress.is_acked(1) && !fixture.progress.is_acked(2));
        fixture.confirms.flush_waiters.wait(&mut None, Waker::noop());
        assert!(!fixture.confirms.is_settled_up_to(1));
        assert_eq!(fixture.settle(1, true, false), 2);
        assert_eq!(fixture.outcomes(1..=1), "a");
        assert!(fixture.progress.is_acked(5001));
    }

    #[test]
    fn once_what_was_not_a_plain_ack_is_told_acks_need_no_lock_again() {
        let mut fixture = with_publishes(3);
        fixture.settle(1, false, true);
        fixture.settle(3, true, false);
        assert!(!fixture.progress.is_acked(3));
        assert_eq!(fixture.outcomes(1..=1), "n");
        assert!(fixture.progress.is_acked(3));
    }

    #[test]
    fn what_cannot_be_published_again_is_lost_and_holds_up_no_flush() {
        let mut fixture = with_publishes(2);
        let kept =
            || Kept::new(Route { exchange: "", routing_key: "q", mandatory: false }, &Message::new("x"));
        fixture.confirms.keep(1, kept());
        fixture.confirms.keep(2, kept());
        let mut wakes = Vec::new();
        assert_eq!(fixture.confirms.lose(true, &Error::ConnectionEnded, &mut wakes), 0);
        fixture.confirms.flush_waiters.wait(&mut None, Waker::noop());
        assert!(!fixture.confirms.is_settled_up_to(2));
        let refused = |_: &Kept| Err(CodecError::ChannelNotOpen);
        assert_eq!(fixture.confirms.republish(refused, &mut wakes), 0);
        assert_eq!((wakes.len(), fixture.confirms.losses(), fixture.confirms.in_flight()), (1, 2, 0));
        assert!(fixture.confirms.is_settled_up_to(2));
        assert_eq!(fixture.outcomes(1..=2), "ll");
    }

    #[test]
    fn a_flush_is_over_when_all_before_it_are_settled_whatever_comes_after() {
        let mut fixture = with_publishes(2);
        let confirms = &mut fixture.confirms;
        let upto = confirms.newest();
        confirms.published(10, false);
        confirms.flush_waiters.wait(&mut None, Waker::noop());
        assert!(!confirms.is_settled_up_to(upto));
        assert_eq!(fixture.settle(2, true, false), 1);
        assert!(fixture.confirms.is_settled_up_to(upto));
    }

    #[test]
    fn a_forgotten_publish_leaves_nothing_behind() {
        let mut fixture = with_publishes(3);
        fixture.confirms.mandatory(2, b"e", b"k", Bytes::new());
        for tag in 1..=3 {
            fixture.confirms.forget(tag);
        }
        let _ = fixture.confirms.returned(returned("k", ""));
        fixture.settle(3, true, true);
        let confirms = fixture.confirms;
        assert!(confirms.outcomes.is_empty() && confirms.mandatory.is_empty() && confirms.in_flight() == 0);
    }
}
