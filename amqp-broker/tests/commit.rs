//! Transactions while the process is killed or the client is lost during the commit: each is
//! restored as a whole or not at all.

// Clippy lets only the bodies of tests unwrap; their helpers fail a test in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod running;

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use amqp_codec::{
    Frame, Method, Table,
    method::{basic, queue, tx},
};
use bytes::Bytes;
use running::{Client, Program, publisher, short};

/// How many messages a transaction publishes, which is more than a turn allows, and how many it
/// acknowledges.
const PUBLISHED: u64 = 20_000;
const ACKNOWLEDGED: u64 = 20;

/// How many messages of each transaction were seen.
type Seen = BTreeMap<u64, u64>;

/// The factor by which tests are longer.
fn scale() -> u64 {
    std::env::var("AMQP_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1)
}

/// Opens a client with both queues and a transaction.
fn transacting(address: &str) -> io::Result<Client> {
    let mut client = Client::open(address)?;
    for queue in ["q", "tokens"] {
        client.call(1, queue::Declare { queue: short(queue), durable: true, ..Default::default() })?;
    }
    client.call(1, tx::Select {})?;
    Ok(client)
}

/// Acknowledges tokens and publishes in a transaction.
fn transact(client: &mut Client, number: u64) -> io::Result<()> {
    let mut last = 0;
    for _ in 0..ACKNOWLEDGED {
        client.send(1, basic::Get { queue: short("tokens"), ..Default::default() })?;
        let Frame::Method(1, Method::Basic(basic::Method::GetOk(ok))) = client.next()? else {
            panic!("a token is missing");
        };
        last = ok.delivery_tag;
        client.number()?;
    }
    client.send(1, basic::Ack { delivery_tag: last, multiple: true })?;
    client.publish_often("q", number, PUBLISHED)?;
    client.send(1, tx::Commit {})
}

/// Commits transactions, numbered from this one on, until the broker is gone; stores the last one
/// confirmed, plus one.
fn transact_to_the_end(address: &str, from: u64, confirmed: &AtomicU64) {
    let mut number = from;
    let mut go_on = || -> io::Result<()> {
        let mut client = transacting(address)?;
        loop {
            transact(&mut client, number)?;
            client.next()?;
            number += 1;
            confirmed.store(number, Ordering::Release);
        }
    };
    go_on().unwrap_err();
}

/// Consumes and acknowledges until the broker is gone; returns what came.
fn consume_to_the_end(address: &str) -> Seen {
    let mut came = Seen::new();
    let mut client = Client::open(address).unwrap();
    let mut consume = || -> io::Result<()> {
        client.call(1, basic::Qos { prefetch_count: 500, ..Default::default() })?;
        client.call(1, basic::Consume { queue: short("q"), ..Default::default() })?;
        loop {
            if let Frame::Method(1, Method::Basic(basic::Method::Deliver(deliver))) = client.next()? {
                *came.entry(client.number()?).or_default() += 1;
                client.send(1, basic::Ack { delivery_tag: deliver.delivery_tag, multiple: false })?;
            }
        }
    };
    consume().unwrap_err();
    came
}

fn count(client: &mut Client, name: &str) -> u64 {
    let declare = queue::Declare { queue: short(name), passive: true, ..Default::default() };
    match client.call(1, declare).unwrap() {
        Frame::Method(1, Method::Queue(queue::Method::DeclareOk(ok))) => ok.message_count.into(),
        other => panic!("no count: {other:?}"),
    }
}

fn seen(client: &mut Client) -> Seen {
    let mut seen = Seen::new();
    client.drain().iter().for_each(|(number, _)| *seen.entry(*number).or_default() += 1);
    seen
}

/// Publishes as many tokens as so many transactions acknowledge.
fn add_tokens(address: &str, transactions: u64) {
    let mut client = transacting(address).unwrap();
    client.publish_often("tokens", 0, transactions * ACKNOWLEDGED).unwrap();
    client.call(1, tx::Commit {}).unwrap();
}

#[test]
fn a_transaction_is_there_as_a_whole_or_not_at_all_whenever_the_broker_is_killed() {
    for round in 0..6 * scale() {
        let folder = tempfile::tempdir().unwrap();
        let program = Program::start(folder.path());
        let tokens = 20;
        add_tokens(&program.address, tokens);
        let confirmed = Arc::new(AtomicU64::new(0));
        let transacting = thread::spawn({
            let (address, confirmed) = (program.address.clone(), Arc::clone(&confirmed));
            move || transact_to_the_end(&address, 0, &confirmed)
        });
        // In every other round messages are acknowledged before their own transaction is complete.
        let is_consumed = round % 2 == 1;
        let consuming = is_consumed.then(|| {
            let address = program.address.clone();
            thread::spawn(move || consume_to_the_end(&address))
        });
        wait_for_messages(&program.address, &confirmed, round / 2 % 2);
        program.kill();
        transacting.join().unwrap();
        let came = consuming.map(|consuming| consuming.join().unwrap()).unwrap_or_default();
        let confirmed = confirmed.load(Ordering::Acquire);
        let program = Program::start(folder.path());
        let mut client = Client::open(&program.address).unwrap();
        let left = count(&mut client, "tokens");
        assert!(left.is_multiple_of(ACKNOWLEDGED), "some acknowledgements are there and others not");
        let done = tokens - left / ACKNOWLEDGED;
        assert!((confirmed..=confirmed + 1).contains(&done), "{done} and not {confirmed}");
        let seen = seen(&mut client);
        assert!(seen.keys().all(|number| *number < done), "{seen:?} of {done}");
        for number in 0..done {
            let of = |seen: &Seen| seen.get(&number).copied().unwrap_or(0);
            let (left, came) = (of(&seen), of(&came));
            assert!(
                left <= PUBLISHED && left + came >= PUBLISHED,
                "of {number} {came} came and {left} are left"
            );
        }
    }
}

/// Waits until so many transactions are done and the next is being committed.
fn wait_for_messages(address: &str, confirmed: &AtomicU64, done: u64) {
    while confirmed.load(Ordering::Acquire) < done {
        thread::yield_now();
    }
    let mut client = publisher(address);
    while count(&mut client, "q").is_multiple_of(PUBLISHED) && confirmed.load(Ordering::Acquire) <= done + 1 {
        thread::yield_now();
    }
}

#[test]
fn a_transaction_is_there_as_a_whole_or_not_at_all_when_its_client_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path());
    let rounds = 3 * scale();
    add_tokens(&program.address, rounds);
    let mut client = publisher(&program.address);
    for number in 0..rounds {
        let mut lost = transacting(&program.address).unwrap();
        transact(&mut lost, number).unwrap();
        if number % 3 > 0 {
            let before = count(&mut client, "q");
            while number % 3 == 1 && count(&mut client, "q") == before {
                thread::yield_now();
            }
        }
        drop(lost);
    }
    // The messages of a lost connection are requeued by the time all of it is removed.
    let returned = |client: &mut Client| count(client, "tokens").is_multiple_of(ACKNOWLEDGED);
    while !returned(&mut client) || !count(&mut client, "q").is_multiple_of(PUBLISHED) {
        thread::yield_now();
    }
    program.kill();
    let program = Program::start(folder.path());
    let mut client = Client::open(&program.address).unwrap();
    let left = count(&mut client, "tokens");
    let seen = seen(&mut client);
    assert_eq!(left, ACKNOWLEDGED * (rounds - seen.len() as u64), "{seen:?}");
    assert!(seen.values().all(|count| *count == PUBLISHED), "{seen:?}");
}

/// How many messages the full queue holds, of an octet each, before a transaction pushes them out.
const ROOM: u64 = 20_000;

fn declare_full(client: &mut Client, limit: &str, most: u64) -> io::Result<()> {
    let mut arguments = Table::new();
    arguments.insert(limit, most as i64).unwrap();
    let full = queue::Declare { queue: short("full"), durable: true, arguments, ..Default::default() };
    client.call(1, full).map(drop)
}

#[test]
fn what_a_transaction_pushes_out_of_a_full_queue_is_there_if_it_is_not() {
    for _ in 0..3 * scale() {
        let folder = tempfile::tempdir().unwrap();
        let program = Program::start(folder.path());
        let mut looking = publisher(&program.address);
        let mut client = transacting(&program.address).unwrap();
        declare_full(&mut client, "x-max-length-bytes", ROOM).unwrap();
        client.publish_often("full", 1, ROOM).unwrap();
        client.call(1, tx::Commit {}).unwrap();
        // The body is as long as all of those together.
        client.publish_body("full", Bytes::from(" ".repeat(ROOM as usize)), 1).unwrap();
        client.publish_often("q", 1, 5 * PUBLISHED).unwrap();
        client.send(1, tx::Commit {}).unwrap();
        // By then the commit has pushed all earlier messages out of the full queue.
        while count(&mut looking, "q") < 2 * PUBLISHED {
            thread::yield_now();
        }
        program.kill();
        let program = Program::start(folder.path());
        let mut client = Client::open(&program.address).unwrap();
        match (count(&mut client, "q"), count(&mut client, "full")) {
            (0, ROOM) => {}
            (published, 1) if published == 5 * PUBLISHED => {}
            (published, left) => panic!("{published} of the transaction and {left} of what it pushed out"),
        }
    }
}

/// Commits transactions into a full queue until the broker is gone; each puts two messages into
/// `q`, which show that it is there.
fn fill_to_the_end(address: &str, number: u64, confirmed: &AtomicU64) {
    let go_on = || -> io::Result<()> {
        let mut client = transacting(address)?;
        declare_full(&mut client, "x-max-length", 100)?;
        for transaction in 0.. {
            let sign = 1_000_000 * number + transaction;
            client.publish_often("q", sign, 1)?;
            client.publish_often("full", sign, PUBLISHED)?;
            client.publish_often("q", sign, 1)?;
            client.call(1, tx::Commit {})?;
            confirmed.fetch_add(1, Ordering::Release);
        }
        Ok(())
    };
    go_on().unwrap_err();
}

#[test]
fn transactions_that_push_each_others_messages_out_all_come_to_their_end_and_are_whole() {
    for _ in 0..2 * scale() {
        let folder = tempfile::tempdir().unwrap();
        let program = Program::start(folder.path());
        let confirmed: [Arc<AtomicU64>; 3] = Default::default();
        let clients: Vec<_> = (0..)
            .zip(&confirmed)
            .map(|(number, confirmed)| {
                let (address, confirmed) = (program.address.clone(), Arc::clone(confirmed));
                thread::spawn(move || fill_to_the_end(&address, number, &confirmed))
            })
            .collect();
        while confirmed.iter().any(|confirmed| confirmed.load(Ordering::Acquire) < 3) {
            thread::yield_now();
        }
        program.kill();
        clients.into_iter().for_each(|client| client.join().unwrap());
        let program = Program::start(folder.path());
        let mut client = Client::open(&program.address).unwrap();
        assert_eq!(count(&mut client, "full"), 100);
        let seen = seen(&mut client);
        assert!(seen.values().all(|signs| *signs == 2), "{seen:?}");
        for (number, confirmed) in (0..).zip(&confirmed) {
            let there = seen.range(1_000_000 * number..1_000_000 * (number + 1)).count() as u64;
            let confirmed = confirmed.load(Ordering::Acquire);
            assert!((confirmed..=confirmed + 1).contains(&there), "{there} and not {confirmed}");
        }
    }
}
