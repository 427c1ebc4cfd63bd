//! Transactions that push messages out of full queues: until a transaction is written, the messages
//! that it pushes out stay on disk. Transactions that meet in a queue are written together.

use std::collections::BTreeSet;

use amqp_codec::{
    Value,
    method::{basic, tx},
};
use proptest::prelude::*;

use super::commits::{CLIENTS, COUNT, Counts, World};
use crate::{core::journal::records::Record, tests::peer::short};

/// The length limit of some queues, in octets.
const ROOM: i64 = COUNT as i64;

impl World {
    /// Fills a queue with small messages, outside of a transaction.
    fn fill(&mut self, queue: &str) {
        (0..COUNT).for_each(|_| self.publish(2, queue));
        self.finish(2);
    }

    /// Begins a transaction whose first message fills a queue; its other messages show when it is
    /// written.
    fn begin_with_large(&mut self, queue: &str) {
        self.begin(0);
        self.publish_body(0, queue, &"x".repeat(COUNT));
        (0..COUNT).for_each(|_| self.publish(0, "r"));
        self.finish(0);
        self.ask(0, tx::Commit {});
    }

    /// Checks that none of the present messages vanishes, and none arrives in `d`, before the
    /// transaction's messages are in `r`; and that all of those are there then.
    #[track_caller]
    fn commits_as_a_whole(&mut self, mut others: impl FnMut(&mut World)) {
        let before = self.written.len();
        let mut turns = 0;
        while self.turn(0) {
            (0..4).for_each(|_| self.catch_up());
            others(self);
            turns += 1;
            assert!(turns < 1000, "it comes to no end");
        }
        assert!(turns > 2, "it is not interrupted");
        self.finish(0);
        let ends = self.ends();
        let (earlier, later) = ends.split_at(before);
        let first = later.iter().position(|end| end.contains_key("r")).unwrap();
        for end in &later[..first] {
            assert_eq!(Some(end), earlier.last());
        }
        assert_eq!(later[first]["r"], COUNT);
    }

    /// The numbers of messages after the last write.
    fn left(&self) -> Counts {
        self.ends().pop().unwrap()
    }

    /// Checks that after every write the newest messages of a queue, up to its limit, are there: a
    /// full queue loses none of those.
    #[track_caller]
    fn has_the_last(&self, queue: &str, most: usize) {
        let serial = self.serial(queue);
        let mut came = BTreeSet::new();
        for (records, there) in self.written.iter().zip(self.messages()) {
            came.extend(records.iter().filter_map(|record| match record {
                Record::Stored(stored) if Some(stored.queue) == serial => Some(stored.position),
                _ => None,
            }));
            let there = there.get(queue).cloned().unwrap_or_default();
            let mut last = came.iter().rev().take(most);
            assert!(last.all(|position| there.contains_key(position)), "{there:?} of {came:?} in {queue}");
        }
    }

    fn serial(&self, queue: &str) -> Option<u64> {
        self.written.iter().flatten().find_map(|record| match record {
            Record::QueueDeclared { serial, name, .. } => {
                (name.as_bytes() == queue.as_bytes()).then_some(*serial)
            }
            _ => None,
        })
    }

    /// The writes that contain messages with this prefix for a queue.
    fn written_in(&self, prefix: &str, queue: &str) -> Vec<usize> {
        let serial = self.serial(queue);
        let is_of = |record: &Record| match record {
            Record::Stored(stored) => {
                Some(stored.queue) == serial && stored.message.parts().small.starts_with(prefix.as_bytes())
            }
            _ => false,
        };
        let writes = self.written.iter().enumerate();
        writes.filter(|(_, records)| records.iter().any(is_of)).map(|(number, _)| number).collect()
    }

    /// Gives the clients turns until none needs another.
    fn finish_all(&mut self) {
        let mut rounds = 0;
        while (0..CLIENTS).filter(|who| self.turn(*who)).count() > 0
            || self.inputs.iter().any(|input| !input.is_empty())
        {
            self.catch_up();
            rounds += 1;
            assert!(rounds < 10_000, "they do not come to an end");
        }
        self.finish(0);
    }
}

fn to_d() -> [(&'static str, Value); 2] {
    [("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", "d".into())]
}

#[test]
fn what_a_transaction_pushes_out_in_later_turns_is_there_until_it_is_written() {
    let mut world = World::new();
    let [exchange, key] = to_d();
    world.declare("q", &[("x-max-length-bytes", ROOM.into()), exchange, key]);
    world.declare("d", &[]);
    world.declare("r", &[]);
    world.fill("q");
    world.begin_with_large("q");
    world.commits_as_a_whole(|_| {});
    assert_eq!(world.left(), Counts::from([("d", COUNT), ("q", 1), ("r", COUNT)].map(owned)));
}

#[test]
fn what_a_transaction_pushes_out_of_a_queue_that_does_not_survive_is_no_letter_before_it_is_written() {
    let mut world = World::new();
    let [exchange, key] = to_d();
    world.declare_as("q", false, &[("x-max-length-bytes", ROOM.into()), exchange, key]);
    world.declare("d", &[]);
    world.declare("r", &[]);
    world.fill("q");
    world.begin_with_large("q");
    world.commits_as_a_whole(|_| {});
    assert_eq!(world.left(), Counts::from([("d", COUNT), ("r", COUNT)].map(owned)));
}

#[test]
fn what_a_letter_of_a_transaction_pushes_out_is_there_until_it_is_written() {
    let mut world = World::new();
    let [exchange, key] = to_d();
    world.declare("q", &[("x-max-length", 0.into()), exchange, key]);
    world.declare("d", &[("x-max-length-bytes", ROOM.into())]);
    world.declare("r", &[]);
    world.fill("d");
    world.begin_with_large("q");
    world.commits_as_a_whole(|_| {});
    assert_eq!(world.left(), Counts::from([("d", 1), ("r", COUNT)].map(owned)));
}

#[test]
fn what_a_transaction_pushes_out_of_a_stream_is_there_until_it_is_written() {
    let mut world = World::new();
    world.declare("s", &[("x-queue-type", "stream".into()), ("x-max-length-bytes", ROOM.into())]);
    world.declare("r", &[]);
    world.fill("s");
    world.begin_with_large("s");
    world.commits_as_a_whole(|_| {});
    assert_eq!(world.left(), Counts::from([("r", COUNT), ("s", 1)].map(owned)));
}

#[test]
fn what_a_transaction_returns_to_a_full_queue_is_there_until_it_is_written() {
    for kind in ["classic", "quorum"] {
        let mut world = World::new();
        world.declare("q", &[("x-queue-type", kind.into()), ("x-max-length", ROOM.into())]);
        world.declare("r", &[]);
        world.fill("q");
        world.begin(0);
        (0..COUNT).for_each(|_| world.ask(0, basic::Get { queue: short("q"), ..Default::default() }));
        world.ask(0, basic::Nack { multiple: true, requeue: true, ..Default::default() });
        (0..COUNT).for_each(|_| world.publish(0, "r"));
        world.finish(0);
        world.fill("q");
        world.ask(0, tx::Commit {});
        world.commits_as_a_whole(|_| {});
        assert_eq!(world.left(), Counts::from([("q", COUNT), ("r", COUNT)].map(owned)), "{kind}");
    }
}

#[test]
fn what_others_push_out_of_a_queue_with_messages_of_a_transaction_is_there_until_it_is_written() {
    let mut world = World::new();
    world.declare("q", &[("x-max-length", 4.into())]);
    world.declare("r", &[]);
    world.fill("q");
    world.begin(0);
    (0..2).for_each(|_| world.publish_body(0, "q", "t"));
    (0..COUNT).for_each(|_| world.publish(0, "r"));
    world.finish(0);
    world.ask(0, tx::Commit {});
    while world.turn(0) {
        world.publish(2, "q");
        world.turn(2);
    }
    world.finish(0);
    world.has_the_last("q", 4);
    assert_eq!(world.written_in("t", "q").len(), 1);
}

#[test]
fn transactions_that_push_each_others_messages_out_are_written_together() {
    let mut world = World::new();
    for queue in ["e", "f"] {
        world.declare(queue, &[("x-max-length", 4.into())]);
        world.fill(queue);
    }
    // They use the queues in opposite orders.
    for (who, queues) in [(0, ["e", "f"]), (1, ["f", "e"])] {
        world.begin(who);
        for queue in queues {
            (0..COUNT).for_each(|_| world.publish_body(who, queue, &format!("t{who}")));
        }
        world.finish(who);
        world.ask(who, tx::Commit {});
    }
    world.finish_all();
    for queue in ["e", "f"] {
        world.has_the_last(queue, 4);
    }
    assert_eq!(world.written_in("t0", "e").len(), 1);
    let written = [("t0", "e"), ("t0", "f"), ("t1", "e"), ("t1", "f")];
    assert!(written.iter().all(|(who, queue)| world.written_in(who, queue) == world.written_in("t0", "e")));
}

fn owned((name, count): (&str, usize)) -> (String, usize) {
    (name.to_owned(), count)
}

/// A step: the client, the operation or turn, and a number for it.
type Step = (usize, u8, u8);

/// Full queues of each kind: limited by messages, limited by octets, and with limit zero and dead
/// letters to the first.
const QUEUES: [&str; 3] = ["e", "f", "g"];

fn full_queues() -> World {
    let mut world = World::new();
    world.declare("e", &[("x-max-length", 3.into())]);
    world.declare("f", &[("x-max-length-bytes", 30.into())]);
    let letters = [("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", "e".into())];
    let [exchange, key] = letters;
    world.declare("g", &[("x-max-length", 0.into()), exchange, key]);
    (0..2).for_each(|who| world.begin(who));
    world
}

/// Publishes, commits or takes a turn; `numbers` are those of the current transactions.
fn act(world: &mut World, numbers: &mut [u8; 2], (who, kind, choice): Step) {
    let queue = QUEUES[usize::from(choice) % 3];
    let padding = "-".repeat(1 + usize::from(choice) % 20);
    match (kind, numbers.get_mut(who)) {
        (0..6, Some(number)) => world.publish_body(who, queue, &format!("{who}.{number};{queue}{padding}")),
        (0..6, None) => world.publish_body(who, queue, &padding),
        (6..8, Some(number)) => {
            world.ask(who, tx::Commit {});
            *number += 1;
        }
        (8, _) => world.catch_up(),
        _ => drop(world.turn(who)),
    }
}

/// Checks that a transaction's own messages are written at once, and no dead letter before them.
fn is_whole(world: &World, transaction: &str) -> Result<(), TestCaseError> {
    let direct = QUEUES.iter().flat_map(|queue| world.written_in(&format!("{transaction}{queue}"), queue));
    let direct: BTreeSet<_> = direct.collect();
    let letters = world.written_in(transaction, "e");
    prop_assert!(direct.len() <= 1, "{} is written in {:?}", transaction, direct);
    if let Some(whole) = direct.first() {
        prop_assert!(letters.iter().all(|write| write >= whole), "{}: {:?}, {}", transaction, letters, whole);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_pushed_out_by_whom_each_transaction_is_whole_and_the_last_messages_are_there(
        steps in prop::collection::vec((0..CLIENTS, 0..16_u8, any::<u8>()), 1..200),
        bound in 1..4_u64,
    ) {
        let mut world = full_queues();
        world.bound = bound;
        let mut numbers = [0; 2];
        steps.into_iter().for_each(|step| act(&mut world, &mut numbers, step));
        (0..2).for_each(|who| world.ask(who, tx::Commit {}));
        world.finish_all();
        world.has_the_last("e", 3);
        // There is room for it whatever its length.
        world.has_the_last("f", 1);
        for (who, number) in numbers.into_iter().enumerate() {
            for number in 0..=number {
                is_whole(&world, &format!("{who}.{number};"))?;
            }
        }
    }
}
