//! SIGKILL at any moment, checked with a ledger: no confirmed message is lost, no acknowledged
//! message returns, and no repair is needed.

// Clippy lets only the bodies of tests unwrap; their helpers fail a test in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod running;

use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use amqp_codec::{Frame, Method, method::basic};
use running::{Client, Program, publisher, short};

const WINDOW: u64 = 50;

/// Publishes until the broker is gone; counts in `confirmed` all that was confirmed.
fn publish_to_the_end(address: &str, from: u64, confirmed: &AtomicU64) {
    let (mut client, mut tag, mut next) = (publisher(address), 0, from);
    while client.confirmed(next..next + WINDOW, &mut tag).is_ok() {
        next += WINDOW;
        confirmed.store(next, Ordering::Release);
    }
}

/// Consumes and acknowledges until the broker is gone; returns all that came.
fn consume_to_the_end(address: &str) -> BTreeSet<u64> {
    let mut came = BTreeSet::new();
    let mut client = Client::open(address).unwrap();
    let mut consume = || -> io::Result<()> {
        client.call(1, basic::Qos { prefetch_count: 20, ..Default::default() })?;
        client.call(1, basic::Consume { queue: short("q"), ..Default::default() })?;
        loop {
            if let Frame::Method(1, Method::Basic(basic::Method::Deliver(deliver))) = client.next()? {
                came.insert(client.number()?);
                client.send(1, basic::Ack { delivery_tag: deliver.delivery_tag, multiple: false })?;
            }
        }
    };
    consume().unwrap_err();
    came
}

/// The factor by which tests are longer.
fn scale() -> u64 {
    std::env::var("AMQP_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1)
}

#[test]
fn nothing_confirmed_is_lost_whenever_the_broker_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let confirmed = Arc::new(AtomicU64::new(0));
    let mut came = BTreeSet::new();
    for round in 0..5 * scale() {
        let program = Program::start(folder.path());
        let from = confirmed.load(Ordering::Acquire);
        drop(publisher(&program.address));
        let publishing = thread::spawn({
            let (address, confirmed) = (program.address.clone(), Arc::clone(&confirmed));
            move || publish_to_the_end(&address, from, &confirmed)
        });
        // Every other time messages are consumed meanwhile, but not the last time, so that some are
        // left.
        let consuming = (round % 2 == 1).then(|| {
            let address = program.address.clone();
            thread::spawn(move || consume_to_the_end(&address))
        });
        while confirmed.load(Ordering::Acquire) < from + (round % 5 + 1) * 4 * WINDOW {
            thread::yield_now();
        }
        program.kill();
        publishing.join().unwrap();
        came.extend(consuming.map(|consuming| consuming.join().unwrap()).unwrap_or_default());
    }
    let program = Program::start(folder.path());
    let left = Client::open(&program.address).unwrap().drain();
    assert!(left.iter().all(|(_, redelivered)| *redelivered), "nobody knows what had been delivered");
    let numbers: BTreeSet<u64> = left.iter().map(|(number, _)| *number).collect();
    let lost: Vec<u64> = (0..confirmed.load(Ordering::Acquire))
        .filter(|number| !numbers.contains(number) && !came.contains(number))
        .collect();
    assert!(lost.is_empty(), "confirmed and lost: {lost:?}");
    assert!(!came.is_empty() && !numbers.is_empty());
}

#[test]
fn what_was_acknowledged_before_a_later_confirm_does_not_return_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path());
    let (mut client, mut tag) = (publisher(&program.address), 0);
    client.confirmed(0..100, &mut tag).unwrap();
    let mut consumer = Client::open(&program.address).unwrap();
    for number in 0..60 {
        consumer.send(1, basic::Get { queue: short("q"), ..Default::default() }).unwrap();
        consumer.next().unwrap();
        assert_eq!(consumer.number().unwrap(), number);
    }
    consumer.send(1, basic::Ack { delivery_tag: 40, multiple: true }).unwrap();
    consumer.call(1, basic::Qos::default()).unwrap();
    client.confirmed(100..101, &mut tag).unwrap();
    program.kill();
    let program = Program::start(folder.path());
    let left = Client::open(&program.address).unwrap().drain();
    assert_eq!(left, (40..101).map(|number| (number, true)).collect::<Vec<_>>());
}

#[test]
fn a_start_that_was_killed_at_any_moment_is_followed_by_one_that_goes_well() {
    for made in [
        "lock",
        "0.jnl",
        "version",
        "keyspaces/0/v0",
        "keyspaces/0/current",
        "synced",
        "contents",
        "keyspaces/3",
    ] {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let mut child = Program::spawn(folder.path());
            while !folder.path().join(made).exists() {
                assert_eq!(child.try_wait().unwrap(), None, "it ended before there was {made}");
                thread::yield_now();
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let program = Program::start(folder.path());
        publisher(&program.address).confirmed(0..1, &mut 0).unwrap();
    }
}
