//! Isolation: while the broker works long for one client, it answers the others, in the same
//! virtual host and elsewhere.
//!
//! The tests compare answers counted before the operation's own, and CPU time with that of as many
//! bytes in another shape.

use std::time::Duration;

use tests::{EmbeddedBroker, Probe, RawClient, Usage, hostile::Operation};

use super::within;

/// How many answers others get at least during an operation. Two come with any operation: one
/// requested before it, and one while its own answer travels.
const ANSWERS: usize = 4;

/// Starts the program with the virtual hosts `a` and `b`.
async fn start(test: &str) -> Option<(EmbeddedBroker, String)> {
    let program = EmbeddedBroker::require(test)?;
    let arguments = ["--vhost", "a", "--vhost", "b"];
    let broker = EmbeddedBroker::start_in_memory(program, &arguments).await.unwrap();
    let address = format!("127.0.0.1:{}", broker.port());
    Some((broker, address))
}

/// Two clients that ask again as soon as they are answered; each has been answered once.
async fn others(address: &str) -> [Probe; 2] {
    let probes = [
        Probe::start(address, "a", Duration::ZERO).await.unwrap(),
        Probe::start(address, "b", Duration::ZERO).await.unwrap(),
    ];
    for probe in &probes {
        answers(probe, 1).await;
    }
    probes
}

/// Waits for so many answers.
async fn answers(probe: &Probe, count: usize) {
    let mut there = 0;
    while there < count {
        tokio::task::yield_now().await;
        let waits = probe.waits();
        assert_eq!(waits.failure, None);
        there += waits.count();
    }
}

/// The factors by which an operation is enlarged, one after the other: on a busy machine a small
/// one may be over before another client asks. If others have to wait for its end, they do so at
/// every size.
const SIZES: [f64; 4] = [1.0, 2.0, 4.0, 8.0];

/// Executes `operation` in the virtual host `a`, while other clients there and elsewhere ask and
/// must be answered.
async fn others_are_answered_meanwhile(test: &str, operation: Operation) {
    let mut counts = [0; 2];
    for size in SIZES {
        let Some(answered) = answered_meanwhile(test, operation.scaled(size)).await else { return };
        counts = answered;
        if counts.iter().all(|count| *count >= ANSWERS) {
            return;
        }
    }
    panic!("{operation}: {counts:?} answers in the same virtual host and in another");
}

/// How many answers others in the same and in another virtual host get during `operation`.
async fn answered_meanwhile(test: &str, operation: Operation) -> Option<[usize; 2]> {
    let (_broker, address) = start(test).await?;
    let mut client = RawClient::connect(&address, "a").await.unwrap();
    within(operation.prepare(&mut client)).await.unwrap();
    let others = others(&address).await;
    let before = others.each_ref().map(Probe::waits);
    assert!(before.iter().all(|waits| waits.failure.is_none()));
    within(operation.run(&mut client)).await.unwrap();
    Some(others.each_ref().map(|probe| probe.waits().count()))
}

macro_rules! others_are_answered_while {
    ($($name:ident: $operation:expr;)*) => {
        $(#[tokio::test]
        async fn $name() {
            others_are_answered_meanwhile(concat!(module_path!(), "::", stringify!($name)), $operation).await;
        })*
    };
}

others_are_answered_while! {
    a_key_is_matched_with_many_patterns: Operation::Topic { patterns: 100, keys: 20 };
    an_exchange_with_many_bindings_is_deleted: Operation::ExchangeDelete { bindings: 40_000 };
    a_queue_with_many_bindings_is_deleted: Operation::QueueDelete { bindings: 100_000 };
    a_long_queue_is_purged: Operation::Purge { messages: 400_000 };
    a_long_queue_is_deleted: Operation::DeleteFull { messages: 400_000 };
    a_large_transaction_is_committed: Operation::Commit { messages: 150_000 };
    many_messages_expire_at_once: Operation::Expiry { messages: 30_000 };
}

#[tokio::test]
async fn others_are_answered_and_sigterm_is_heard_in_a_storm_of_dead_letters() {
    let test = "others_are_answered_and_sigterm_is_heard_in_a_storm_of_dead_letters";
    let Some((mut broker, address)) = start(test).await else { return };
    let mut client = RawClient::connect(&address, "a").await.unwrap();
    let storm = Operation::DeadLetterStorm { queues: 25 };
    storm.prepare(&mut client).await.unwrap();
    let others = others(&address).await;
    within(storm.run(&mut client)).await.unwrap();
    for probe in &others {
        within(answers(probe, 50)).await;
    }
    broker.shut_down().await.unwrap();
}

/// The broker's CPU time for `operation`, and for its preparation, in seconds.
async fn processor_time(broker: &EmbeddedBroker, address: &str, operation: Operation) -> [f64; 2] {
    let used = || Usage::of(broker.pid()).unwrap().processor;
    let mut client = RawClient::connect(address, "a").await.unwrap();
    let begin = used();
    within(operation.prepare(&mut client)).await.unwrap();
    let prepared = used();
    within(operation.run(&mut client)).await.unwrap();
    [prepared - begin, used() - prepared]
}

/// The time, at least a few hundredths of a second, which is as much as the kernel can measure.
fn measurable(seconds: f64) -> f64 {
    seconds.max(0.05)
}

#[tokio::test]
async fn many_headers_are_matched_in_about_the_time_it_takes_to_read_the_bindings() {
    let test = "many_headers_are_matched_in_about_the_time_it_takes_to_read_the_bindings";
    let Some((broker, address)) = start(test).await else { return };
    let operation = Operation::Headers { bindings: 20, entries: 8_000 };
    let [bindings, publish] = processor_time(&broker, &address, operation).await;
    assert!(publish <= 5.0 * measurable(bindings), "bindings {bindings} s, publish {publish} s");
}

#[tokio::test]
async fn keys_that_do_not_matter_are_not_routed_one_by_one() {
    let test = "keys_that_do_not_matter_are_not_routed_one_by_one";
    for (few, many) in [
        (Operation::EmptyKeysToHeaders { keys: 5 }, Operation::EmptyKeysToHeaders { keys: 10_000 }),
        (Operation::EmptyKeysToFanout { keys: 5 }, Operation::EmptyKeysToFanout { keys: 10_000 }),
    ] {
        let Some((broker, address)) = start(test).await else { return };
        let [_, few] = processor_time(&broker, &address, few).await;
        drop(broker);
        let Some((broker, address)) = start(test).await else { return };
        let [_, many_time] = processor_time(&broker, &address, many).await;
        assert!(many_time <= 5.0 * measurable(few), "{many}: {many_time} s, with 5 keys {few} s");
    }
}
