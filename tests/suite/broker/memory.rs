//! Memory: whatever clients make the broker hold, the process stays within its limit, and
//! uninvolved clients are served.

use std::time::Duration;

use amqp_codec::{
    Properties,
    method::{exchange, queue},
};
use tests::{EmbeddedBroker, RawClient, Usage, hostile::Flood};
use tokio::time::sleep;

use super::within;

/// The broker's memory limit, with a disk too, whose buffers have a minimum size.
const LIMIT: u64 = 16 << 20;
const DURABLE_LIMIT: u64 = 64 << 20;

const fn limit(durable: bool) -> u64 {
    if durable { DURABLE_LIMIT } else { LIMIT }
}

/// How much it may take in all, including the program itself and work in progress.
const fn most(durable: bool) -> u64 {
    limit(durable) / 4 * 5 + (64 << 20)
}

/// The cap that protects the machine from a broken broker.
const CAP: u64 = 1 << 30;
/// How long a connection may accept nothing before it counts as held back.
const PATIENCE: Duration = Duration::from_millis(500);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

async fn start(test: &str, durable: bool, arguments: &[&str]) -> Option<(EmbeddedBroker, String)> {
    let program = EmbeddedBroker::require(test)?;
    let limit = limit(durable).to_string();
    let arguments: Vec<_> = ["--memory-limit", &limit].into_iter().chain(arguments.iter().copied()).collect();
    let broker = match durable {
        true => EmbeddedBroker::start_with(program, &arguments).await.unwrap(),
        false => EmbeddedBroker::start_in_memory(program, &arguments).await.unwrap(),
    };
    let address = format!("127.0.0.1:{}", broker.port());
    Some((broker, address))
}

/// Returns when the broker exceeds the cap.
async fn too_much(pid: u32) {
    while Usage::of(pid).is_ok_and(|usage| usage.resident < CAP) {
        sleep(POLL_INTERVAL).await;
    }
}

/// Checks that the broker stays within its limit in a flood, and serves a client that comes after
/// it.
async fn memory_stays_within_the_limit(test: &str, flood: Flood) {
    let durable = matches!(flood, Flood::DurableHeaders { .. });
    let Some((broker, address)) = start(test, durable, &[]).await else { return };
    let flooded = tokio::select! {
        flooded = flood.run(&address, "/", PATIENCE) => flooded.unwrap(),
        () = too_much(broker.pid()) => panic!("{flood}: the broker died, or has more than {CAP} bytes"),
    };
    let peak = tokio::select! {
        usage = Usage::rest(broker.pid()) => usage.unwrap().peak,
        () = too_much(broker.pid()) => panic!("{flood}: the broker died, or has more than {CAP} bytes"),
    };
    let most = most(durable);
    assert!(peak <= most, "{flood}: {} MiB of {} MiB", peak >> 20, most >> 20);
    let mut other = within(RawClient::connect(&address, "/")).await.unwrap();
    // This takes no memory, of which there may be none left.
    let exchange = "amq.direct".try_into().unwrap();
    within(other.call(1, exchange::Declare { exchange, passive: true, ..Default::default() })).await.unwrap();
    drop(flooded);
}

macro_rules! memory_stays_within_the_limit_with {
    ($($name:ident: $flood:expr;)*) => {
        $(#[tokio::test]
        async fn $name() {
            memory_stays_within_the_limit(concat!(module_path!(), "::", stringify!($name)), $flood).await;
        })*
    };
}

memory_stays_within_the_limit_with! {
    publishes_in_one_write_to_many_queues: Flood::Fanout { queues: 2_500, publishes: 1_000 };
    a_tree_of_dead_letters: Flood::DeadLetterTree { levels: 12, header: 100_000 };
    headers_without_bodies: Flood::UnfinishedHeaders { connections: 4, channels: 300, header: 130_000 };
    direct_replies_that_are_not_read: Flood::UnreadReplies { clients: 20, replies: 20 };
    headers_that_come_faster_than_the_disk_takes_them: Flood::DurableHeaders { publishes: 2_000, header: 120_000 };
    routes_that_are_kept_by_each_channel: Flood::CachedRoutes { channels: 500, queues: 10_000 };
    bodies_without_an_end: Flood::UnfinishedBodies { connections: 150, body: 1 << 20 };
}

#[tokio::test]
async fn a_virtual_host_that_is_full_blocks_its_own_publishers_only() {
    let test = "a_virtual_host_that_is_full_blocks_its_own_publishers_only";
    let arguments = ["--vhost", "a", "--vhost", "b"];
    let Some((_broker, address)) = start(test, false, &arguments).await else { return };
    let mut full = RawClient::connect(&address, "a").await.unwrap();
    full.call(1, queue::Declare { queue: "q".try_into().unwrap(), ..Default::default() }).await.unwrap();
    let publishing =
        async { while full.publish("", "q", &Properties::default(), &[0; 100_000]).await.is_ok() {} };
    // It stalls when the broker stops reading.
    assert!(tokio::time::timeout(PATIENCE, publishing).await.is_err());
    let mut other = RawClient::connect(&address, "b").await.unwrap();
    other.call(1, queue::Declare { queue: "q".try_into().unwrap(), ..Default::default() }).await.unwrap();
    other.select_confirms().await.unwrap();
    for tag in 1..=10 {
        other.publish("", "q", &Properties::default(), &[0; 100_000]).await.unwrap();
        within(other.confirmed(tag)).await.unwrap();
    }
    assert!(!other.blocked());
}

#[tokio::test]
async fn who_publishes_beside_unfinished_bodies_is_not_closed() {
    let test = "who_publishes_beside_unfinished_bodies_is_not_closed";
    let Some((broker, address)) = start(test, false, &[]).await else { return };
    let flood = Flood::UnfinishedBodies { connections: 8, body: 2 << 20 };
    let flooded = flood.run(&address, "/", PATIENCE).await.unwrap();
    Usage::rest(broker.pid()).await.unwrap();
    let mut other = RawClient::connect(&address, "/").await.unwrap();
    other.select_confirms().await.unwrap();
    other.publish("", "q", &Properties::default(), &[0; 300_000]).await.unwrap();
    within(other.confirmed(1)).await.unwrap();
    drop(flooded);
}
