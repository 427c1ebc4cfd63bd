//! Operations that are interrupted at every step have the same results as without interruptions,
//! whatever others do meanwhile.

use std::collections::BTreeMap;

use amqp_codec::{
    Frame, Method, RawFrame, ShortString,
    method::{basic, channel, exchange},
};
use bytes::BytesMut;
use proptest::prelude::*;

use super::anything::{FRAME_MAX, client, greet, leave, step};
use crate::{
    core::vhost::{Vhost, inspect::InspectionCursor},
    session::{
        connection::{ConnectionSession, Wants},
        outbox::OutputBatch,
        shared::Shared,
    },
};

/// A step: the client, its operation, the time that passes before, and whether the connection is
/// lost after it.
type Step = (u8, (u8, u8, u8), u64, u8);

/// What was sent on each channel, deliveries separately.
type SentFrames = BTreeMap<(u16, bool), Vec<String>>;

/// A virtual host with short turns, two clients that act, and one that makes requests in between.
struct World {
    shared: Shared,
    bound: u64,
    now: u64,
    clients: [ConnectionSession; 2],
    asks: ConnectionSession,
    turns: u64,
}

impl World {
    fn new(bound: u64) -> Self {
        let mut shared = Shared::new(Vhost::new("/", Default::default()), Default::default(), u64::MAX);
        let clients = [client(&mut shared), client(&mut shared)];
        let asks = client(&mut shared);
        World { shared, bound, now: 0, clients, asks, turns: 0 }
    }

    /// Sends a client's frames and processes them, in as many turns as that takes. In between the
    /// third client makes requests.
    fn say(&mut self, who: usize, frames: &[Frame]) {
        let mut input = BytesMut::new();
        frames.iter().for_each(|frame| frame.encode(FRAME_MAX, &mut input).unwrap());
        loop {
            self.shared.vhost.budget.set_bound(self.bound);
            self.shared.vhost.budget.begin();
            let wants = self.clients[who].receive(self.now, &mut self.shared, &mut input);
            self.shared.vhost.budget.set_bound(u64::MAX);
            if wants != Wants::Turn {
                break;
            }
            self.turns += 1;
            assert!(self.turns < 100_000, "it does not come to an end");
            self.ask();
        }
        // As with the clock, finishing one thing may make another due.
        while self.shared.next_deadline() <= self.now {
            self.shared.catch_up(self.now);
        }
        assert!(!self.shared.vhost.has_backlog());
        self.shared.vhost.check();
    }

    fn ask(&mut self) {
        let mut input = BytesMut::new();
        // The request must not cause deliveries.
        let exchange = ShortString::from_static("amq.direct");
        let declare = exchange::Declare { exchange, passive: true, ..Default::default() };
        Frame::Method(1, declare.into()).encode(FRAME_MAX, &mut input).unwrap();
        self.asks.receive(self.now, &mut self.shared, &mut input);
        assert!(input.is_empty(), "who asks is answered at once");
    }

    fn act(&mut self, (who, (kind, x, y), passed, lost): Step) {
        self.now += passed;
        self.shared.vhost.budget.begin();
        self.shared.advance(self.now);
        let who = usize::from(who);
        let frames = step(&self.shared, self.clients[who].id, kind, x, y);
        self.say(who, &frames);
        if lost == 0 || self.clients[who].is_closing() {
            leave(self.now, &mut self.shared, self.clients[who].id);
            self.clients[who] = client(&mut self.shared);
        }
        for number in 1..3 {
            if self.clients[who].is_ignored(number) {
                self.say(who, &[Frame::Method(number, channel::CloseOk {}.into())]);
                greet(&mut self.clients[who], &mut self.shared, number);
            }
        }
    }

    /// What a client was sent on each channel, and the state of the queues.
    fn seen(&mut self, who: usize) -> (SentFrames, Vec<(usize, usize, u64, usize)>) {
        let id = self.clients[who].id;
        let mut batch = OutputBatch::default();
        let outbox = self.shared.outboxes.peek(id).unwrap();
        outbox.take(&mut batch, std::task::Waker::noop());
        let mut slices = [std::io::IoSlice::new(&[]); 64];
        let count = batch.slices(&mut slices);
        let mut sent: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
        forget_names(&mut sent);
        let infos = self.shared.vhost.queue_infos(self.now, &mut InspectionCursor::default());
        let mut counts: Vec<_> =
            infos.iter().map(|info| (info.ready, info.unacked, info.ready_bytes, info.consumers)).collect();
        counts.sort_unstable();
        (by_channel(&sent), counts)
    }
}

/// Frames by their channels, deliveries separately: deliveries are in order among themselves, but
/// other frames may come between.
fn by_channel(sent: &[u8]) -> SentFrames {
    let mut input = BytesMut::from(sent);
    let mut channels = SentFrames::new();
    let mut delivers = false;
    while let Some(raw) = RawFrame::split_from(&mut input, FRAME_MAX).unwrap() {
        let channel = raw.channel;
        let frame = raw.decode().unwrap();
        if let Frame::Method(_, method) = &frame {
            delivers = matches!(method, Method::Basic(basic::Method::Deliver(_)));
        }
        channels.entry((channel, delivers)).or_default().push(format!("{frame:?}"));
    }
    channels
}

/// Removes generated names, which differ each time.
fn forget_names(sent: &mut [u8]) {
    for prefix in [&b"amq.gen-"[..], b"amq.ctag-", b"amq.rabbitmq.reply-to."] {
        let places: Vec<_> = memchr::memmem::find_iter(sent, prefix).collect();
        for place in places {
            let start = place + prefix.len();
            sent[start..].iter_mut().take(32).for_each(|octet| *octet = b'x');
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_is_interrupted_comes_to_the_same(
        steps in prop::collection::vec((0u8..2, any::<(u8, u8, u8)>(), 0u64..4, 0u8..60), 1..100),
        bound in 1..6_u64,
    ) {
        let (mut whole, mut interrupted) = (World::new(u64::MAX), World::new(bound));
        for (index, step) in steps.into_iter().enumerate() {
            whole.act(step);
            interrupted.act(step);
            for who in 0..2 {
                prop_assert_eq!(interrupted.seen(who), whole.seen(who), "after step {}: {:?}", index, step);
            }
        }
    }
}

#[test]
fn the_steps_are_interrupted_indeed() {
    let mut world = World::new(1);
    for number in 0..50 {
        world.act((0, (60, number, 0), 1, 1));
    }
    assert!(world.turns > 50, "{} turns", world.turns);
}
