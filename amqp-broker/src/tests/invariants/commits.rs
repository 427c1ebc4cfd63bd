//! The atomicity of transactions on disk: wherever a transaction is interrupted, and whatever
//! others do with its messages, all of its changes are written together.

use std::collections::BTreeMap;

use amqp_codec::{
    ContentHeader, Frame, Method, Properties, Table, Value,
    method::{basic, channel, queue, tx},
};
use bytes::{Bytes, BytesMut};

use super::anything::{FRAME_MAX, client};
use crate::{
    core::{
        journal::records::{Record, Stored},
        vhost::{Vhost, restore::Restoration},
    },
    session::{
        connection::{ConnectionSession, Wants},
        shared::Shared,
    },
    tests::peer::short,
};

/// The work of a turn, unless a test says otherwise.
const BOUND: u64 = 8;
/// The number of messages of a transaction.
pub(super) const COUNT: usize = 40;
const CHANNEL: u16 = 3;
/// The number of clients.
pub(super) const CLIENTS: usize = 3;

/// A virtual host with a store, its clients, and the changes written after each turn.
pub(super) struct World {
    pub(super) shared: Shared,
    pub(super) clients: [ConnectionSession; CLIENTS],
    pub(super) inputs: [BytesMut; CLIENTS],
    pub(super) written: Vec<Vec<Record>>,
    /// What each client's connection waited for last.
    pub(super) wants: [Wants; CLIENTS],
    /// The work of a turn.
    pub(super) bound: u64,
    /// Whether changes reach the disk only when the test says so.
    pub(super) is_disk_slow: bool,
    now: u64,
}

/// The number of messages of each queue, by its name.
pub(super) type Counts = BTreeMap<String, usize>;

/// The messages of each queue, by its name: their positions and bodies.
pub(super) type Messages = BTreeMap<String, BTreeMap<u64, String>>;

impl World {
    pub(super) fn new() -> Self {
        let mut vhost = Vhost::new("/", Default::default());
        Restoration::new(&mut vhost).finish();
        Self::of(vhost)
    }

    /// Creates a world without a store.
    pub(super) fn in_memory() -> Self {
        Self::of(Vhost::new("/", Default::default()))
    }

    fn of(vhost: Vhost) -> Self {
        let mut shared = Shared::new(vhost, Default::default(), u64::MAX);
        let clients = std::array::from_fn(|_| client(&mut shared));
        let (inputs, written, wants) = (Default::default(), Vec::new(), [Wants::Input; CLIENTS]);
        let mut world =
            World { shared, clients, inputs, written, wants, bound: BOUND, is_disk_slow: false, now: 0 };
        for who in 0..CLIENTS {
            world.ask(who, channel::Open::default());
            world.finish(who);
        }
        world
    }

    pub(super) fn declare(&mut self, name: &str, arguments: &[(&str, Value)]) {
        self.declare_as(name, true, arguments);
    }

    pub(super) fn declare_as(&mut self, name: &str, durable: bool, arguments: &[(&str, Value)]) {
        let mut table = Table::new();
        arguments.iter().for_each(|(key, value)| table.insert(key, value.clone()).unwrap());
        let declare = queue::Declare { queue: short(name), durable, arguments: table, ..Default::default() };
        self.ask(0, declare);
        self.finish(0);
    }

    /// Sends a method that is processed later.
    pub(super) fn ask(&mut self, who: usize, method: impl Into<Method>) {
        Frame::Method(CHANNEL, method.into()).encode(FRAME_MAX, &mut self.inputs[who]).unwrap();
    }

    pub(super) fn publish(&mut self, who: usize, queue: &str) {
        self.publish_body(who, queue, "x");
    }

    pub(super) fn publish_body(&mut self, who: usize, queue: &str, body: &str) {
        self.ask(who, basic::Publish { routing_key: short(queue), ..Default::default() });
        let properties = Properties { delivery_mode: Some(2), ..Default::default() }.encode().unwrap();
        let header = ContentHeader { class_id: 60, body_size: body.len() as u64, properties };
        let body = Frame::Body(CHANNEL, Bytes::copy_from_slice(body.as_bytes()));
        for frame in [Frame::Header(CHANNEL, header), body] {
            frame.encode(FRAME_MAX, &mut self.inputs[who]).unwrap();
        }
    }

    /// Begins a transaction without committing it.
    pub(super) fn begin(&mut self, who: usize) {
        self.ask(who, tx::Select {});
        self.finish(who);
    }

    pub(super) fn begin_with_publishes(&mut self, queue: &str) {
        self.begin(0);
        (0..COUNT).for_each(|_| self.publish(0, queue));
        self.finish(0);
        self.ask(0, tx::Commit {});
    }

    /// Gives a client a turn; returns whether it needs another.
    pub(super) fn turn(&mut self, who: usize) -> bool {
        self.shared.vhost.budget.set_bound(self.bound);
        self.shared.vhost.budget.begin();
        let wants = self.clients[who].receive(self.now, &mut self.shared, &mut self.inputs[who]);
        self.wants[who] = wants;
        self.write();
        wants == Wants::Turn
    }

    /// Gives the background work a turn.
    pub(super) fn catch_up(&mut self) {
        self.shared.vhost.budget.begin();
        self.shared.catch_up(self.now);
        self.write();
    }

    /// Writes the changes at once, unless the disk is slow.
    fn write(&mut self) {
        if let Some(changes) = self.shared.vhost.take_changes() {
            self.written.push(changes.into_iter().collect());
            let change = self.shared.pending_answers.changed();
            if !self.is_disk_slow {
                self.is_written(change);
            }
        }
    }

    /// Reports that all changes up to this one are on disk.
    pub(super) fn is_written(&mut self, change: u64) {
        while !self.shared.on_disk(change, true) {
            self.shared.vhost.budget.begin();
        }
    }

    pub(super) fn finish(&mut self, who: usize) {
        while self.turn(who) || !self.inputs[who].is_empty() {}
        while self.shared.vhost.has_backlog() {
            self.catch_up();
        }
    }

    /// The messages that would be restored if the process had ended after each of the writes.
    pub(super) fn messages(&self) -> Vec<Messages> {
        let mut names = BTreeMap::new();
        let mut messages = BTreeMap::<(u64, u64), Stored>::new();
        let after = |records: &Vec<Record>| {
            for record in records {
                match record {
                    Record::QueueDeclared { serial, name, .. } => {
                        names.insert(*serial, name.to_string());
                    }
                    Record::Stored(stored) | Record::Returned(stored) => {
                        messages.insert((stored.queue, stored.position), stored.clone());
                    }
                    _ => {}
                }
            }
            for record in records {
                match record {
                    Record::QueueDeleted { serial } => messages.retain(|(queue, _), _| queue != serial),
                    Record::Gone { queue, position } => drop(messages.remove(&(*queue, *position))),
                    _ => {}
                }
            }
            let mut by_name = Messages::new();
            for ((queue, position), stored) in &messages {
                let body = String::from_utf8(stored.message.parts().small.to_vec()).unwrap();
                by_name.entry(names[queue].clone()).or_default().insert(*position, body);
            }
            by_name
        };
        self.written.iter().map(after).collect()
    }

    /// The number of those messages in each queue.
    pub(super) fn ends(&self) -> Vec<Counts> {
        let count = |end: Messages| end.into_iter().map(|(name, messages)| (name, messages.len())).collect();
        self.messages().into_iter().map(count).collect()
    }

    /// Checks the number of messages after any of the writes.
    #[track_caller]
    pub(super) fn assert_ends(&self, expected: &[&[(&str, usize)]]) {
        let mut ends = self.ends();
        ends.dedup();
        let counts = |end: &&[(&str, usize)]| end.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        assert_eq!(ends, expected.iter().map(counts).collect::<Vec<Counts>>());
    }
}

#[test]
fn dead_letters_are_written_with_the_transaction_whose_messages_died() {
    let mut world = World::new();
    let to_d = ("x-dead-letter-routing-key", "d".into());
    world.declare("q", &[("x-max-length", 0.into()), ("x-dead-letter-exchange", "".into()), to_d]);
    world.declare("d", &[]);
    world.begin_with_publishes("q");
    let mut turns = 0;
    while world.turn(0) {
        (0..4).for_each(|_| world.catch_up());
        turns += 1;
    }
    assert!(turns > 2);
    world.finish(0);
    let ends = world.ends();
    let first = ends.iter().position(|counts| !counts.is_empty()).unwrap();
    // Messages that die after the transaction is written may be written after it.
    assert!(ends[first]["d"] > COUNT / 2, "{:?}", ends[first]);
    assert_eq!(ends.last().unwrap()["d"], COUNT);
}

#[test]
fn what_others_do_with_messages_of_a_transaction_is_written_with_it() {
    let mut world = World::new();
    world.declare("q", &[]);
    world.begin_with_publishes("q");
    let mut tag = 0;
    while world.turn(0) {
        // The message was fetched, requeued, fetched again and acknowledged.
        tag += 2;
        for (tag, requeue) in [(tag - 1, true), (tag, false)] {
            world.ask(1, basic::Get { queue: short("q"), ..Default::default() });
            world.ask(1, basic::Nack { delivery_tag: tag, requeue, ..Default::default() });
            while world.turn(1) {}
        }
    }
    let left = COUNT - usize::try_from(tag).unwrap() / 2;
    assert!(left < COUNT - 2);
    world.finish(0);
    world.assert_ends(&[&[], &[("q", left)]]);
}

#[test]
fn what_a_transaction_returned_and_others_acknowledged_does_not_come_back() {
    let mut world = World::new();
    world.declare("q", &[("x-queue-type", "quorum".into())]);
    (0..COUNT).for_each(|_| world.publish(0, "q"));
    world.begin(0);
    (0..COUNT).for_each(|_| world.ask(0, basic::Get { queue: short("q"), ..Default::default() }));
    world.ask(0, basic::Nack { multiple: true, requeue: true, ..Default::default() });
    world.finish(0);
    world.ask(0, tx::Commit {});
    let get = basic::Get { queue: short("q"), no_ack: true, ..Default::default() };
    while world.turn(0) {
        world.ask(1, get.clone());
        while world.turn(1) {}
    }
    (0..COUNT).for_each(|_| world.ask(1, get.clone()));
    world.finish(1);
    assert_eq!(world.ends().last(), Some(&Counts::new()));
}

/// A transaction with publishes and an acknowledgement, in progress, while its channel has another
/// unacknowledged delivery.
fn publishes_and_acknowledges() -> World {
    let mut world = World::new();
    world.declare("q", &[]);
    world.declare("r", &[]);
    (0..2).for_each(|_| world.publish(0, "q"));
    world.begin(0);
    (0..2).for_each(|_| world.ask(0, basic::Get { queue: short("q"), ..Default::default() }));
    world.ask(0, basic::Ack { delivery_tag: 1, multiple: false });
    (0..COUNT).for_each(|_| world.publish(0, "r"));
    world.finish(0);
    world.ask(0, tx::Commit {});
    assert!(world.turn(0));
    world
}

#[test]
fn a_transaction_is_whole_though_its_client_is_lost() {
    let mut world = publishes_and_acknowledges();
    let work = world.clients[0].take_work(&mut world.shared);
    world.shared.leave_behind(0, work);
    world.finish(1);
    world.assert_ends(&[&[], &[("q", 1)], &[("q", 2)], &[("q", 1), ("r", COUNT)]]);
}

#[test]
fn a_transaction_is_whole_though_its_channel_is_ended_for_an_acknowledgement_that_is_late() {
    let mut world = publishes_and_acknowledges();
    world.now = u64::MAX / 2;
    while world.shared.vhost.has_backlog() || world.shared.vhost.next_deadline() <= world.now {
        world.catch_up();
    }
    world.finish(0);
    world.assert_ends(&[&[], &[("q", 1)], &[("q", 2)], &[("q", 1), ("r", COUNT)]]);
}

#[test]
fn what_a_stream_drops_of_a_transaction_does_not_come_back() {
    let mut world = World::new();
    world.declare("s", &[("x-queue-type", "stream".into()), ("x-max-length-bytes", 5.into())]);
    world.begin_with_publishes("s");
    world.finish(0);
    world.assert_ends(&[&[], &[("s", 5)]]);
}

#[test]
fn of_a_queue_that_is_deleted_before_its_messages_are_written_nothing_is() {
    let mut world = World::new();
    world.declare("q", &[]);
    world.begin_with_publishes("q");
    assert!(world.turn(0));
    world.ask(1, queue::Delete { queue: short("q"), ..Default::default() });
    world.finish(1);
    world.finish(0);
    world.assert_ends(&[&[]]);
}

#[test]
fn what_is_being_committed_is_weighed_until_it_is_in_queues() {
    let mut world = World::in_memory();
    world.declare("q", &[]);
    world.begin_with_publishes("q");
    let before = world.shared.vhost.held();
    assert!(world.turn(0), "it takes more than a turn");
    let under_way = world.shared.vhost.held();
    world.finish(0);
    let after = world.shared.vhost.held();
    assert!(before < after && under_way >= after, "{before}, {under_way}, {after}");
}
