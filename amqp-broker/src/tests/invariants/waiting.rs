//! Transactions that wait for others take no turns meanwhile, and are woken.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

use amqp_codec::{
    Frame, Method, RawFrame,
    method::{basic, tx},
};
use bytes::BytesMut;

use super::{
    anything::FRAME_MAX,
    commits::{COUNT, World},
};
use crate::{
    session::{connection::Wants, outbox::OutputBatch},
    tests::peer::short,
};

/// A waker that notes whether it was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Woken {
    /// Tells whether it has been woken since the last call.
    fn is_woken(&self, world: &mut World) -> bool {
        let mut wakers = Vec::new();
        world.shared.outboxes.take_woken(&mut wakers);
        wakers.into_iter().for_each(Waker::wake);
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl World {
    /// Takes a client's output; returns how many commits were answered. `woken` is registered for
    /// more.
    fn commits_told(&mut self, who: usize, woken: &Arc<Woken>) -> usize {
        let (id, waker) = (self.clients[who].id, Waker::from(Arc::clone(woken)));
        let (mut batch, mut sent) = (OutputBatch::default(), BytesMut::new());
        while self.shared.outboxes.take(id, &mut batch, &waker) {
            let mut slices = [std::io::IoSlice::new(&[]); 64];
            let count = batch.slices(&mut slices);
            slices[..count].iter().for_each(|slice| sent.extend_from_slice(slice));
            batch = OutputBatch::default();
        }
        let frames = std::iter::from_fn(|| RawFrame::split_from(&mut sent, FRAME_MAX).unwrap());
        let is_commit = |frame: Frame| matches!(frame, Frame::Method(_, Method::Tx(tx::Method::CommitOk(_))));
        frames.map(|raw| raw.decode().unwrap()).filter(|frame| is_commit(frame.clone())).count()
    }

    /// Commits a transaction of one message.
    fn commit_one(&mut self, who: usize, queue: &str) {
        self.begin(who);
        self.publish(who, queue);
        self.finish(who);
        self.ask(who, tx::Commit {});
        while self.turn(who) {}
    }
}

/// A transaction that fills `q` is in progress, and the second client's finished transaction waits
/// to be written with it.
fn entangled() -> World {
    let mut world = World::new();
    world.declare("q", &[("x-max-length", 4.into())]);
    world.declare("r", &[]);
    world.begin_with_publishes("q");
    assert!(world.turn(0));
    world.commit_one(1, "q");
    assert_eq!(world.wants[1], Wants::Commit);
    world
}

#[test]
fn who_waits_for_another_is_woken_when_both_are_written() {
    let mut world = entangled();
    let woken = Arc::new(Woken::default());
    assert_eq!(world.commits_told(1, &woken), 0);
    while world.turn(0) {
        world.catch_up();
        assert!(!woken.is_woken(&mut world) && !world.shared.vhost.has_backlog(), "it is asked before");
    }
    assert!(woken.is_woken(&mut world));
    world.turn(1);
    assert_eq!(world.commits_told(1, &woken), 1);
    world.assert_ends(&[&[], &[("q", 4)]]);
}

#[test]
fn who_is_done_first_is_told_when_both_are_on_disk() {
    let mut world = entangled();
    let woken = Arc::new(Woken::default());
    world.is_disk_slow = true;
    while world.turn(0) {}
    let both = world.shared.pending_answers.next_change() - 1;
    world.turn(1);
    for who in [0, 1] {
        assert_eq!(world.commits_told(who, &woken), 0);
    }
    world.is_written(both - 1);
    assert_eq!(world.commits_told(1, &woken), 0);
    world.is_written(both + 1);
    for who in [0, 1] {
        assert_eq!(world.commits_told(who, &woken), 1);
    }
}

#[test]
fn none_begins_while_one_that_is_done_waits_and_those_that_came_first_begin_first() {
    let mut world = entangled();
    world.commit_one(2, "r");
    assert_eq!(world.wants[2], Wants::Commit);
    let woken = Arc::new(Woken::default());
    assert_eq!(world.commits_told(2, &woken), 0);
    while world.turn(0) {
        assert!(!woken.is_woken(&mut world));
    }
    assert!(woken.is_woken(&mut world));
    world.finish(1);
    world.finish(2);
    assert_eq!(world.commits_told(2, &woken), 1);
    world.assert_ends(&[&[], &[("q", 4)], &[("q", 4), ("r", 1)]]);
}

#[test]
fn those_that_wait_are_written_though_their_clients_are_lost() {
    let mut world = entangled();
    world.commit_one(2, "r");
    for who in [1, 2] {
        let work = world.clients[who].take_work(&mut world.shared);
        world.shared.leave_behind(0, work);
        while world.shared.vhost.has_backlog() {
            world.catch_up();
        }
    }
    world.assert_ends(&[&[]]);
    world.finish(0);
    world.assert_ends(&[&[], &[("q", 4)], &[("q", 4), ("r", 1)]]);
    assert!(!world.shared.vhost.has_backlog());
}

#[test]
fn a_transaction_that_acknowledges_messages_of_another_is_written_with_it() {
    let mut world = World::new();
    world.declare("q", &[]);
    world.declare("r", &[]);
    world.begin(1);
    world.begin_with_publishes("q");
    assert!(world.turn(0));
    world.ask(1, basic::Get { queue: short("q"), ..Default::default() });
    world.ask(1, basic::Ack { delivery_tag: 1, multiple: false });
    world.publish(1, "r");
    world.ask(1, tx::Commit {});
    while world.turn(1) {}
    let woken = Arc::new(Woken::default());
    assert_eq!((world.wants[1], world.commits_told(1, &woken)), (Wants::Commit, 0));
    while world.turn(0) {}
    world.finish(1);
    assert_eq!(world.commits_told(1, &woken), 1);
    world.assert_ends(&[&[], &[("q", COUNT - 1), ("r", 1)]]);
}

#[test]
fn where_nothing_survives_none_waits() {
    let mut world = World::in_memory();
    world.declare("q", &[("x-max-length", 4.into())]);
    world.begin_with_publishes("q");
    assert!(world.turn(0));
    world.commit_one(1, "q");
    let woken = Arc::new(Woken::default());
    assert_eq!(world.commits_told(1, &woken), 1);
    world.finish(0);
    assert_eq!(world.commits_told(0, &woken), 1);
}
