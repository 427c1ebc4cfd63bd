//! The acknowledgements of a channel, gathered so that consecutive ones are sent as one frame.
//!
//! No delivery is acknowledged that the user did not acknowledge: `multiple` is used only up to a
//! tag below which the user has settled everything.

use std::{collections::VecDeque, time::Instant};

use crate::proto::consuming::holders::{Holder, Holders};

/// Memory for this many deliveries is kept while none arrives.
const ROOM_KEPT: usize = 64;

/// The state of a delivery in two octets. There is one for each unsettled delivery, and for those
/// behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State(u16);

impl State {
    /// It is settled, and the broker knows.
    const SETTLED: State = State(0);
    /// The user has acknowledged it, and the broker has not been told.
    const ACKED: State = State(1);
    /// All states from here on mean that the user has not settled it.
    const OUTSTANDING: u16 = 2;

    fn outstanding(holder: Holder) -> Self {
        State(Self::OUTSTANDING + holder.number().min(Holder::MAX))
    }

    /// Returns the consumer that holds it, while it is unsettled.
    fn holder(self) -> Option<Holder> {
        self.0.checked_sub(Self::OUTSTANDING).map(Holder::from_number)
    }
}

/// A channel's unsettled deliveries, and the acknowledgements to be sent.
#[derive(Debug)]
pub(crate) struct Acks {
    /// The tag of the first entry of `states`; everything below is settled, or part of `run`.
    base: u64,
    states: VecDeque<State>,
    /// The last acknowledged tag below `base`, and how many acknowledgements it stands for.
    run: Option<(u64, usize)>,
    /// The arrival times of deliveries: the first tag of each read that brought some.
    arrivals: VecDeque<(u64, Instant)>,
    /// Acknowledged tags with an unsettled one below them. Those that the run has reached since are
    /// below `base`.
    islands: Vec<u64>,
    /// How many unsettled deliveries each consumer has.
    pub(crate) holders: Holders,
}

/// A `basic.ack` to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) tag: u64,
    pub(crate) multiple: bool,
}

impl Default for Acks {
    fn default() -> Self {
        Acks::after(0)
    }
}

impl Acks {
    /// Starts with deliveries above this tag.
    pub(crate) fn after(tag: u64) -> Self {
        Acks {
            base: tag.wrapping_add(1),
            states: VecDeque::new(),
            run: None,
            arrivals: VecDeque::new(),
            islands: Vec::new(),
            holders: Holders::default(),
        }
    }

    /// Notes that the connection was lost: unsettled messages are delivered again, and new tags
    /// continue after the last one.
    pub(crate) fn lose(&mut self) {
        let mut holders = std::mem::take(&mut self.holders);
        holders.forget();
        *self = Acks { holders, ..Acks::after(self.newest()) };
    }

    /// Returns the tag of the last delivery, or the one before the first.
    pub(crate) fn newest(&self) -> u64 {
        self.expected().wrapping_sub(1)
    }

    /// Returns the tag of the next delivery. A broker that counts past the highest one continues at
    /// 0.
    #[inline]
    fn expected(&self) -> u64 {
        self.base.wrapping_add(self.states.len() as u64)
    }

    /// Notes a delivery, with its `holder` if it has to be settled. The tags of a channel increase
    /// by one (spec section 1.8.3.13), also for no-ack consumers. Returns how many deliveries the
    /// holder has.
    #[inline]
    pub(crate) fn delivered(&mut self, tag: u64, holder: Option<Holder>, now: Instant) -> u32 {
        if tag != self.expected() {
            self.resynchronise(tag);
        }
        if holder.is_none() && self.states.is_empty() {
            self.base = tag.wrapping_add(1);
            return 0;
        }
        self.states.push_back(holder.map_or(State::SETTLED, State::outstanding));
        self.arrived(tag, now);
        holder.map_or(0, |holder| self.holders.delivered(holder))
    }

    /// Frees memory that an idle channel does not need.
    pub(crate) fn release(&mut self) {
        self.states.shrink_to(ROOM_KEPT);
        self.arrivals.shrink_to(0);
        self.islands.shrink_to(0);
    }

    /// Returns when the oldest unsettled delivery arrived.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        if self.states.is_empty() {
            return None;
        }
        let begun = self.arrivals.iter().take_while(|(tag, _)| *tag <= self.base).last();
        begun.map(|(_, arrival)| *arrival)
    }

    fn arrived(&mut self, tag: u64, now: Instant) {
        if self.arrivals.back().is_some_and(|(_, last)| *last == now) {
            return;
        }
        while self.arrivals.get(1).is_some_and(|(tag, _)| *tag <= self.base) {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back((tag, now));
    }

    /// Acknowledges one delivery; `false` when it is not unsettled, so that there is nothing to do.
    #[inline]
    pub(crate) fn ack(&mut self, tag: u64) -> bool {
        let Some(holder) = self.holder(tag) else { return false };
        self.holders.settled(holder);
        if tag == self.base {
            self.states.pop_front();
            self.base = self.base.wrapping_add(1);
            self.extend_run(tag);
            self.advance();
        } else {
            self.set(tag, State::ACKED);
            self.islands.push(tag);
        }
        true
    }

    /// Settles one delivery in another way, by its own frame. Returns its holder; `None` when it is
    /// not unsettled.
    pub(crate) fn settle(&mut self, tag: u64) -> Option<Holder> {
        let holder = self.holder(tag)?;
        self.holders.settled(holder);
        self.set(tag, State::SETTLED);
        self.advance();
        Some(holder)
    }

    /// Notes that the broker has requeued all unsettled deliveries.
    pub(crate) fn forget(&mut self) {
        self.base = self.expected();
        self.states.clear();
        self.islands.clear();
        self.holders.forget();
    }

    /// Returns how many acknowledgements wait to be sent; those that the run has reached count
    /// twice.
    #[inline]
    pub(crate) fn waiting(&self) -> usize {
        self.islands.len() + self.run.map_or(0, |(_, count)| count)
    }

    /// Tells whether the user has settled everything.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.states.is_empty()
    }

    /// Tells whether the user has settled everything up to `tag`.
    pub(crate) fn is_settled_up_to(&self, tag: u64) -> bool {
        tag < self.base
    }

    /// Returns how many deliveries the user has not settled.
    pub(crate) fn outstanding(&self) -> usize {
        self.states.iter().filter(|state| state.holder().is_some()).count()
    }

    /// Takes the acknowledgements to be sent, in an order that may be sent.
    pub(crate) fn take(&mut self, mut send: impl FnMut(Ack)) {
        if let Some((tag, count)) = self.run.take() {
            send(Ack { tag, multiple: count > 1 });
        }
        let mut islands = std::mem::take(&mut self.islands);
        for tag in islands.drain(..) {
            if self.state(tag) == Some(State::ACKED) {
                send(Ack { tag, multiple: false });
                self.set(tag, State::SETTLED);
            }
        }
        self.islands = islands;
    }

    /// Returns the holder of a delivery, while it is unsettled.
    #[inline]
    fn holder(&self, tag: u64) -> Option<Holder> {
        self.state(tag)?.holder()
    }

    fn state(&self, tag: u64) -> Option<State> {
        self.states.get(self.index(tag)?).copied()
    }

    fn set(&mut self, tag: u64, state: State) {
        if let Some(entry) = self.index(tag).and_then(|index| self.states.get_mut(index)) {
            *entry = state;
        }
    }

    /// Returns the index of a tag in `states`; a tag below `base` gives one beyond the end.
    fn index(&self, tag: u64) -> Option<usize> {
        usize::try_from(tag.wrapping_sub(self.base)).ok()
    }

    fn extend_run(&mut self, tag: u64) {
        let count = self.run.map_or(0, |(_, count)| count);
        self.run = Some((tag, count + 1));
    }

    fn advance(&mut self) {
        while let Some(&state) = self.states.front()
            && state.holder().is_none()
        {
            if state == State::ACKED {
                self.extend_run(self.base);
            }
            self.states.pop_front();
            self.base = self.base.wrapping_add(1);
        }
    }

    /// Handles a broker that skips tags or starts over: skipped deliveries never existed, and later
    /// ones are forgotten.
    #[cold]
    fn resynchronise(&mut self, tag: u64) {
        self.states.clear();
        self.islands.clear();
        self.holders.forget();
        self.base = tag;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_deliveries(count: u64) -> Acks {
        let mut acks = Acks::default();
        for tag in 1..=count {
            acks.delivered(tag, Some(Holder::NOBODY), Instant::now());
        }
        acks
    }

    fn taken(acks: &mut Acks) -> Vec<(u64, bool)> {
        let mut frames = Vec::new();
        acks.take(|ack| frames.push((ack.tag, ack.multiple)));
        frames
    }

    #[test]
    fn a_run_of_acks_leaves_as_one_frame() {
        let mut acks = with_deliveries(5);
        for tag in 1..=3 {
            assert!(acks.ack(tag));
        }
        assert_eq!(acks.waiting(), 3);
        assert_eq!(taken(&mut acks), [(3, true)]);
        assert!(acks.ack(4));
        assert_eq!(taken(&mut acks), [(4, false)]);
    }

    #[test]
    fn an_ack_above_an_outstanding_delivery_does_not_cover_it() {
        let mut acks = with_deliveries(4);
        acks.ack(3);
        acks.ack(1);
        assert_eq!(taken(&mut acks), [(1, false), (3, false)]);
        acks.ack(2);
        acks.ack(4);
        assert_eq!(taken(&mut acks), [(4, true)]);
    }

    #[test]
    fn a_reject_between_lets_the_run_go_on_and_is_not_acked_itself() {
        let mut acks = with_deliveries(3);
        acks.ack(1);
        assert!(acks.settle(2).is_some());
        acks.ack(3);
        assert_eq!(taken(&mut acks), [(3, true)]);
        let mut acks = with_deliveries(3);
        acks.settle(3);
        acks.ack(1);
        assert_eq!(taken(&mut acks), [(1, false)]);
    }

    #[test]
    fn nothing_is_acked_twice_and_unknown_tags_are_ignored() {
        let mut acks = with_deliveries(1);
        assert!(acks.ack(1));
        assert!(!acks.ack(1));
        assert!(!acks.ack(2));
        assert!(!acks.ack(0));
        assert!(acks.settle(1).is_none());
        assert_eq!(taken(&mut acks), [(1, false)]);
        assert_eq!(taken(&mut acks), []);
    }

    #[test]
    fn deliveries_without_ack_take_tags_but_no_place() {
        let mut acks = Acks::default();
        for tag in 1..=1000 {
            acks.delivered(tag, None, Instant::now());
        }
        assert!(acks.states.is_empty());
        acks.delivered(1001, Some(Holder::NOBODY), Instant::now());
        acks.delivered(1002, None, Instant::now());
        acks.delivered(1003, Some(Holder::NOBODY), Instant::now());
        acks.ack(1003);
        acks.ack(1001);
        assert_eq!(taken(&mut acks), [(1003, true)]);
    }

    /// No real broker does this, but the fuzz target `engine` does.
    #[test]
    fn a_broker_that_counts_past_the_last_tag_goes_on_at_0() {
        for no_ack in [false, true] {
            let mut acks = Acks::default();
            for tag in [u64::MAX - 1, u64::MAX, 0, 1] {
                acks.delivered(tag, (!no_ack).then_some(Holder::NOBODY), Instant::now());
                assert_eq!(acks.newest(), tag);
            }
            assert_eq!(acks.ack(u64::MAX), !no_ack);
            assert_eq!(acks.ack(0), !no_ack);
            assert_eq!(acks.ack(u64::MAX - 1), !no_ack);
            acks.forget();
            assert_eq!(acks.newest(), 1);
        }
        assert_eq!(Acks::after(u64::MAX).newest(), u64::MAX);
    }

    #[test]
    fn what_the_broker_took_back_is_not_acked_any_more() {
        let mut acks = with_deliveries(3);
        acks.forget();
        assert!(!acks.ack(2));
        acks.delivered(4, Some(Holder::NOBODY), Instant::now());
        assert!(acks.ack(4));
        assert_eq!(taken(&mut acks), [(4, false)]);
    }

    #[test]
    fn the_oldest_outstanding_delivery_has_the_time_of_its_read() {
        let start = Instant::now();
        let read = |number: u32| start + std::time::Duration::from_secs(number.into());
        let mut acks = Acks::default();
        assert_eq!(acks.oldest(), None);
        for tag in 1..=6u64 {
            acks.delivered(tag, Some(Holder::NOBODY), read(tag.div_ceil(2) as u32));
        }
        assert_eq!(acks.oldest(), Some(read(1)));
        acks.ack(2);
        assert_eq!(acks.oldest(), Some(read(1)));
        acks.ack(1);
        assert!(acks.is_settled_up_to(2) && !acks.is_settled_up_to(3));
        assert_eq!(acks.oldest(), Some(read(2)));
        for tag in 3..=6 {
            acks.ack(tag);
        }
        assert_eq!(acks.oldest(), None);
    }

    #[test]
    fn each_consumer_has_its_own_account_of_what_it_has_not_settled() {
        let mut acks = Acks::default();
        let (one, other) = (acks.holders.add(), acks.holders.add());
        let now = Instant::now();
        assert_eq!((acks.delivered(1, Some(one), now), acks.delivered(2, Some(other), now)), (1, 1));
        assert_eq!((acks.delivered(3, Some(one), now), acks.delivered(4, None, now)), (2, 0));
        assert!(acks.ack(3) && !acks.ack(3) && acks.settle(1) == Some(one));
        assert_eq!((acks.delivered(5, Some(one), now), acks.delivered(6, Some(other), now)), (1, 2));
        acks.forget();
        assert_eq!(acks.delivered(7, Some(one), now), 1);
        acks.lose();
        assert_eq!(acks.newest(), 7);
        assert_eq!(acks.delivered(8, Some(one), now), 1);
        // A broker that skips tags has requeued the earlier deliveries.
        assert_eq!(acks.delivered(100, Some(one), now), 1);
    }

    /// Compares with a simple model: whatever the order of acks and rejects, the broker is told of
    /// each tag exactly once.
    #[test]
    fn every_order_settles_exactly_what_the_user_settled() {
        for seed in 0..2000u64 {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut next = |below: u64| {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (random >> 33) % below
            };
            let mut acks = Acks::default();
            let (mut delivered, mut outstanding, mut acked, mut told) =
                (0, Vec::new(), Vec::new(), Vec::new());
            let mut broker = Vec::new();
            for _ in 0..60 {
                match next(4) {
                    0 | 1 => {
                        delivered += 1;
                        acks.delivered(delivered, Some(Holder::NOBODY), Instant::now());
                        outstanding.push(delivered);
                        broker.push(delivered);
                    }
                    2 if !outstanding.is_empty() => {
                        let tag = outstanding.remove(next(outstanding.len() as u64) as usize);
                        if next(4) == 0 {
                            acks.take(|ack| settle_at_broker(ack, &mut broker, &mut told));
                            acks.settle(tag);
                            broker.retain(|&other| other != tag);
                        } else {
                            acks.ack(tag);
                            acked.push(tag);
                        }
                    }
                    _ => acks.take(|ack| settle_at_broker(ack, &mut broker, &mut told)),
                }
            }
            acks.take(|ack| settle_at_broker(ack, &mut broker, &mut told));
            acked.sort_unstable();
            told.sort_unstable();
            assert_eq!(told, acked, "seed {seed}");
            assert_eq!(broker, outstanding_sorted(outstanding), "seed {seed}");
        }
    }

    fn outstanding_sorted(mut tags: Vec<u64>) -> Vec<u64> {
        tags.sort_unstable();
        tags
    }

    fn settle_at_broker(ack: Ack, broker: &mut Vec<u64>, told: &mut Vec<u64>) {
        assert!(broker.contains(&ack.tag), "the broker knows no tag {}", ack.tag);
        let (settled, left) =
            broker.iter().partition(|&&tag| tag == ack.tag || (ack.multiple && tag < ack.tag));
        *broker = left;
        told.extend::<Vec<u64>>(settled);
    }
}
