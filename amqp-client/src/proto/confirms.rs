//! Publisher confirms of one channel (<https://www.rabbitmq.com/docs/confirms>): a ring indexed by tag.
//!
//! Settling up to a tag is a move of the ring's start. What became of a message is kept only when it is not a plain ack.

use std::{
    collections::{BTreeMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Poll, Waker},
};

use amqp_codec::Error as CodecError;
use bytes::Bytes;

use super::{
    delivery::RawDelivery,
    republish::Kept,
    waiters::{Place, Waiters},
};
use crate::error::Error;

/// Room for so many publishes is kept while nothing is published.
const ROOM_KEPT: usize = 64;

/// What became of a published message.
#[derive(Clone, Debug)]
pub(crate) enum Settled {
    Ack,
    Nack,
    Returned(Box<RawReturn>),
    /// The connection or the channel was lost before the broker said anything.
    Lost(Error),
}

/// A `basic.return` with its content.
#[derive(Clone, Debug)]
pub(crate) struct RawReturn {
    pub(crate) code: u16,
    pub(crate) text: String,
    pub(crate) content: RawDelivery,
}

/// What can be told of a tag without the engine's lock.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Every tag below has been settled.
    settled: AtomicU64,
    /// Some outcome that has not been asked for is not a plain ack: ask the ring.
    exceptional: AtomicBool,
}

impl Progress {
    /// Whether the message with this tag was simply acked, as far as can be seen from here.
    #[inline]
    pub(crate) fn is_acked(&self, tag: u64) -> bool {
        self.settled.load(Ordering::Acquire) > tag && !self.exceptional.load(Ordering::Acquire)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Pending,
    /// Pending, and nobody will ask what became of it.
    Forgotten,
    /// Settled, while an older one is pending.
    Settled,
}

#[derive(Debug)]
pub(crate) struct Confirms {
    /// Tag of the first entry.
    base: u64,
    entries: VecDeque<Entry>,
    /// For each entry, the bytes of all messages published up to it.
    bytes_until: VecDeque<u64>,
    bytes_published: u64,
    bytes_settled: u64,
    /// Who waits for everything so far to be settled.
    flush_waiters: Waiters,
    /// Outcomes other than a plain ack, and returns that wait for their ack.
    outcomes: BTreeMap<u64, Settled>,
    wakers: BTreeMap<u64, Waker>,
    /// Unsettled mandatory publishes, oldest first: what a return is matched with.
    mandatory: VecDeque<Mandatory>,
    /// Unsettled publishes that are to be published again when the connection was lost.
    kept: BTreeMap<u64, Kept>,
    /// Tags here and on the wire, which begin anew with each connection.
    wire: WireTags,
    /// How often something was lost.
    losses: u64,
    progress: Arc<Progress>,
}

/// The broker counts from 1 on each connection; here tags go on.
#[derive(Debug, Default)]
struct WireTags {
    /// Those published again on this connection, which bear the tags 1, 2, 3 and so on there.
    republished: Vec<u64>,
    /// How many of them a `multiple` has settled.
    settled: usize,
    /// The last tag before this connection.
    before: u64,
}

impl WireTags {
    /// The tag here of one on the wire; no tag's number when there is none.
    fn tag(&self, wire: u64) -> u64 {
        let republished = self.republished.len() as u64;
        if wire > republished {
            return self.before.saturating_add(wire - republished);
        }
        let index = wire.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        index.and_then(|index| self.republished.get(index)).copied().unwrap_or(0)
    }

    /// Those published again that a `multiple` up to this wire tag settles.
    fn republished_up_to(&mut self, wire: u64) -> Vec<u64> {
        let until = usize::try_from(wire).unwrap_or(usize::MAX).min(self.republished.len());
        let from = self.settled.min(until);
        self.settled = until.max(self.settled);
        self.republished.get(from..until).unwrap_or_default().to_vec()
    }
}

#[derive(Debug)]
struct Mandatory {
    tag: u64,
    route: u64,
    body: Bytes,
}

impl Confirms {
    pub(crate) fn new(progress: Arc<Progress>) -> Self {
        progress.settled.store(1, Ordering::Release);
        Confirms {
            base: 1,
            entries: VecDeque::new(),
            bytes_until: VecDeque::new(),
            bytes_published: 0,
            bytes_settled: 0,
            flush_waiters: Waiters::default(),
            outcomes: BTreeMap::new(),
            wakers: BTreeMap::new(),
            mandatory: VecDeque::new(),
            kept: BTreeMap::new(),
            wire: WireTags::default(),
            losses: 0,
            progress,
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of the bodies that are not settled; of those behind the oldest unsettled one all count.
    #[inline]
    pub(crate) fn bytes_in_flight(&self) -> u64 {
        self.bytes_published - self.bytes_settled
    }

    /// The tag of the last message published; 0 before the first.
    pub(crate) fn newest(&self) -> u64 {
        self.base + self.entries.len() as u64 - 1
    }

    /// The tag of the message being published now; `forgotten` when nobody will ask for its outcome.
    #[inline]
    pub(crate) fn published(&mut self, bytes: usize, forgotten: bool) -> u64 {
        let tag = self.base + self.entries.len() as u64;
        self.bytes_published += bytes as u64;
        self.bytes_until.push_back(self.bytes_published);
        self.entries.push_back(if forgotten { Entry::Forgotten } else { Entry::Pending });
        tag
    }

    /// Remembers a mandatory publish, which may come back.
    pub(crate) fn mandatory(&mut self, tag: u64, exchange: &[u8], routing_key: &[u8], body: Bytes) {
        self.mandatory.push_back(Mandatory { tag, route: route(exchange, routing_key), body });
    }

    /// Keeps a publish until it is settled, to be published again when the connection is lost.
    pub(crate) fn keep(&mut self, tag: u64, kept: Kept) {
        self.kept.insert(tag, kept);
    }

    /// The broker's answers will not come any more: what is not kept, or not to be published again, is lost. Returns how much
    /// is.
    pub(crate) fn lose(&mut self, republish: bool, reason: &Error, wakes: &mut Vec<Waker>) -> usize {
        if !republish {
            self.kept.clear();
        }
        self.mandatory.clear();
        let mut lost = 0;
        for tag in self.base..=self.newest() {
            if self.kept.contains_key(&tag) || !self.is_open(tag) {
                continue;
            }
            lost += 1;
            if self.entry(tag) == Some(Entry::Pending) {
                self.outcomes.insert(tag, Settled::Lost(reason.clone()));
            }
            self.set(tag, Entry::Settled);
            wakes.extend(self.wakers.remove(&tag));
        }
        if lost > 0 {
            self.losses += 1;
            self.exceptional();
        }
        self.advance(wakes);
        self.flush_waiters.wake_all(wakes);
        self.wire = WireTags { republished: Vec::new(), settled: 0, before: self.newest() };
        lost
    }

    /// Has `publish` publish again what is to be, in its order: from here on these bear the wire's tags from 1. What does not
    /// fit into this connection's frames is lost. Returns how much was published.
    pub(crate) fn republish(
        &mut self,
        mut publish: impl FnMut(&Kept) -> Result<(), CodecError>,
        wakes: &mut Vec<Waker>,
    ) -> usize {
        for (tag, kept) in std::mem::take(&mut self.kept) {
            match publish(&kept) {
                Ok(()) => {
                    self.wire.republished.push(tag);
                    if kept.mandatory {
                        let (exchange, routing_key) = (kept.exchange.as_bytes(), kept.routing_key.as_bytes());
                        self.mandatory(tag, exchange, routing_key, kept.message.body().clone());
                    }
                    self.kept.insert(tag, kept);
                }
                Err(error) => {
                    self.losses += 1;
                    self.exceptional();
                    self.outcomes.insert(tag, Settled::Lost(Error::Invalid(error)));
                    self.set(tag, Entry::Settled);
                    wakes.extend(self.wakers.remove(&tag));
                }
            }
        }
        self.advance(wakes);
        self.wire.republished.len()
    }

    /// Lets go of what is settled and tells who waits for it.
    fn advance(&mut self, wakes: &mut Vec<Waker>) {
        self.drop_settled_front();
        if self.progress.settled.swap(self.base, Ordering::AcqRel) != self.base {
            self.flush_waiters.wake_all(wakes);
        }
    }

    /// Gives back what a quiet channel does not need.
    pub(crate) fn release(&mut self) {
        self.entries.shrink_to(ROOM_KEPT);
        self.bytes_until.shrink_to(ROOM_KEPT);
        self.mandatory.shrink_to(0);
    }

    /// How often publishes were lost.
    pub(crate) fn losses(&self) -> u64 {
        self.losses
    }

    /// A message came back. It belongs to the oldest unsettled mandatory publish that equals it.
    pub(crate) fn returned(&mut self, returned: RawReturn) {
        let route = route(returned.content.exchange(), returned.content.routing_key());
        let body = &returned.content.body;
        let found = self.mandatory.iter().position(|m| m.route == route && m.body == *body);
        if let Some(publish) = found.and_then(|index| self.mandatory.remove(index)) {
            self.exceptional();
            self.outcomes.insert(publish.tag, Settled::Returned(Box::new(returned)));
        }
    }

    /// `basic.ack` or `basic.nack` from the broker, with a tag as on the wire; 0 with `multiple` is all so far. Tags never given
    /// are ignored.
    pub(crate) fn settle(&mut self, wire: u64, multiple: bool, nack: bool, wakes: &mut Vec<Waker>) {
        let everything = multiple && wire == 0;
        let last = if everything { self.newest() } else { self.wire.tag(wire) };
        if last > self.newest() {
            return;
        }
        if multiple && !self.wire.republished.is_empty() {
            let upto = if everything { u64::MAX } else { wire };
            for tag in self.wire.republished_up_to(upto) {
                self.settle_one(tag, nack, wakes);
            }
            self.drop_settled_front();
        }
        if multiple && last > self.wire.before && last >= self.base {
            self.settle_up_to(last, nack, wakes);
        } else if !multiple {
            self.settle_one(last, nack, wakes);
        }
        self.advance(wakes);
    }

    /// How many wait for a flush.
    pub(crate) fn flushing(&self) -> usize {
        self.flush_waiters.len()
    }

    /// Whether everything up to `tag` is settled; waits while it is not.
    pub(crate) fn poll_flushed(&mut self, tag: u64, place: &mut Option<Place>, waker: &Waker) -> Poll<()> {
        if self.base > tag {
            return Poll::Ready(());
        }
        self.flush_waiters.wait(place, waker);
        Poll::Pending
    }

    /// Waits for that no more.
    pub(crate) fn leave_flush(&mut self, place: Place) {
        self.flush_waiters.leave(place);
    }

    /// What became of `tag`; registers the waker while that is open.
    pub(crate) fn poll(&mut self, tag: u64, waker: &Waker) -> Poll<Settled> {
        if self.is_open(tag) {
            self.wakers.insert(tag, waker.clone());
            return Poll::Pending;
        }
        Poll::Ready(self.take_outcome(tag))
    }

    /// Nobody will ask what became of `tag`.
    pub(crate) fn forget(&mut self, tag: u64) {
        self.wakers.remove(&tag);
        if self.is_open(tag) {
            self.set(tag, Entry::Forgotten);
        } else {
            self.take_outcome(tag);
        }
    }

    /// What is known of `tag` when the channel has ended: an outcome if it came in time.
    pub(crate) fn outcome(&mut self, tag: u64) -> Option<Settled> {
        if self.is_open(tag) {
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

    /// Whether everything up to `tag` was settled before the channel ended.
    pub(crate) fn is_settled_up_to(&self, tag: u64) -> bool {
        self.base > tag
    }

    pub(crate) fn wake_all(&mut self, wakes: &mut Vec<Waker>) {
        self.flush_waiters.wake_all(wakes);
        wakes.extend(std::mem::take(&mut self.wakers).into_values());
    }

    fn settle_up_to(&mut self, last: u64, nack: bool, wakes: &mut Vec<Waker>) {
        if nack || !self.outcomes.is_empty() || !self.mandatory.is_empty() {
            for tag in self.base..=last {
                self.settle_one(tag, nack, wakes);
            }
        }
        let count = (last - self.base + 1) as usize;
        let count = count.min(self.entries.len());
        self.entries.drain(..count);
        if let Some(bytes) = self.bytes_until.drain(..count).next_back() {
            self.bytes_settled = bytes;
        }
        self.base = last + 1;
        if !self.kept.is_empty() {
            self.kept = self.kept.split_off(&self.base);
        }
        self.drop_settled_front();
        if !self.wakers.is_empty() {
            let waiting = self.wakers.split_off(&self.base);
            wakes.extend(std::mem::replace(&mut self.wakers, waiting).into_values());
        }
    }

    fn settle_one(&mut self, tag: u64, nack: bool, wakes: &mut Vec<Waker>) {
        let Some(entry) = self.entry(tag) else { return };
        if entry == Entry::Settled {
            return;
        }
        if let Some(index) = self.mandatory.iter().position(|m| m.tag >= tag)
            && self.mandatory.get(index).is_some_and(|m| m.tag == tag)
        {
            self.mandatory.remove(index);
        }
        self.kept.remove(&tag);
        if entry == Entry::Forgotten {
            self.take_outcome(tag);
        } else if nack {
            // A nack says more than the return that may have come before it.
            self.exceptional();
            self.outcomes.insert(tag, Settled::Nack);
        }
        self.set(tag, Entry::Settled);
        wakes.extend(self.wakers.remove(&tag));
    }

    fn drop_settled_front(&mut self) {
        while self.entries.front() == Some(&Entry::Settled) {
            self.entries.pop_front();
            if let Some(bytes) = self.bytes_until.pop_front() {
                self.bytes_settled = bytes;
            }
            self.base += 1;
        }
    }

    fn is_open(&self, tag: u64) -> bool {
        self.entry(tag).is_some_and(|entry| entry != Entry::Settled)
    }

    fn entry(&self, tag: u64) -> Option<Entry> {
        self.entries.get(usize::try_from(tag.checked_sub(self.base)?).ok()?).copied()
    }

    fn set(&mut self, tag: u64, state: Entry) {
        let index = tag.checked_sub(self.base).and_then(|index| usize::try_from(index).ok());
        if let Some(entry) = index.and_then(|index| self.entries.get_mut(index)) {
            *entry = state;
        }
    }

    fn exceptional(&self) {
        self.progress.exceptional.store(true, Ordering::Release);
    }
}

fn route(exchange: &[u8], routing_key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    exchange.hash(&mut hasher);
    routing_key.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use amqp_codec::{ContentHeader, EncodedProperties};

    use super::*;
    use crate::{
        message::Message,
        proto::{delivery::join_head, publish::Route},
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
        fixture.confirms.returned(returned("k", "x"));
        fixture.confirms.returned(returned("l", "x"));
        fixture.settle(4, true, false);
        assert_eq!(fixture.outcomes(1..=4), "raar");
    }

    #[test]
    fn the_window_in_bytes_opens_as_the_oldest_are_settled() {
        let mut fixture = with_publishes(5);
        assert_eq!(fixture.confirms.bytes_in_flight(), 50);
        fixture.settle(2, false, false);
        assert_eq!(fixture.confirms.bytes_in_flight(), 50);
        fixture.settle(1, false, false);
        assert_eq!(fixture.confirms.bytes_in_flight(), 30);
        fixture.settle(4, true, false);
        assert_eq!(fixture.confirms.bytes_in_flight(), 10);
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
        let mut place = None;
        assert!(fixture.confirms.poll_flushed(2, &mut place, Waker::noop()).is_pending());
        let refused = |_: &Kept| Err(CodecError::ChannelNotOpen);
        assert_eq!(fixture.confirms.republish(refused, &mut wakes), 0);
        assert_eq!((wakes.len(), fixture.confirms.losses(), fixture.confirms.in_flight()), (1, 2, 0));
        assert!(fixture.confirms.poll_flushed(2, &mut place, Waker::noop()).is_ready());
        assert_eq!(fixture.outcomes(1..=2), "ll");
    }

    #[test]
    fn a_flush_is_over_when_all_before_it_are_settled_whatever_comes_after() {
        let mut fixture = with_publishes(2);
        let confirms = &mut fixture.confirms;
        let (upto, mut place) = (confirms.newest(), None);
        confirms.published(10, false);
        assert!(confirms.poll_flushed(upto, &mut place, Waker::noop()).is_pending());
        assert_eq!(fixture.settle(2, true, false), 1);
        assert!(fixture.confirms.poll_flushed(upto, &mut place, Waker::noop()).is_ready());
    }

    #[test]
    fn a_forgotten_publish_leaves_nothing_behind() {
        let mut fixture = with_publishes(3);
        fixture.confirms.mandatory(2, b"e", b"k", Bytes::new());
        for tag in 1..=3 {
            fixture.confirms.forget(tag);
        }
        fixture.confirms.returned(returned("k", ""));
        fixture.settle(3, true, true);
        let confirms = fixture.confirms;
        assert!(confirms.outcomes.is_empty() && confirms.mandatory.is_empty() && confirms.entries.is_empty());
    }
}
