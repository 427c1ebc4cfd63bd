//! Publishes that are hard to route, all to the exchange `x`.

use std::io;

use amqp_codec::{Properties, Table, Value, method::queue};

use super::frames::{Frames, copies, headers, table, voids};
use crate::raw_client::{RawClient, short};

/// The queues that the exchange for empty keys is bound to.
const QUEUES: usize = 100;
/// The words of a topic pattern: as many as always fit into a short string.
const PATTERN_WORDS: usize = 60;
/// The words of a routing key: as many as fit into a short string.
const KEY_WORDS: usize = 127;

pub(super) async fn prepare_storm(client: &mut RawClient, queues: usize) -> io::Result<()> {
    let mut frames = Frames::to(client);
    frames.exchange("x", "fanout").await?;
    for number in 0..queues {
        let name = number.to_string();
        let dead_letters = ("x-dead-letter-exchange", Value::from("x"));
        frames.queue(&name, table([("x-max-length", Value::I32(0)), dead_letters])?).await?;
        frames.bind(&name, "x", "", Table::new()).await?;
    }
    frames.done("0").await?;
    client.select_confirms().await
}

pub(super) async fn storm(client: &mut RawClient) -> io::Result<()> {
    client.publish("x", "", &Properties::default(), b"x").await?;
    client.confirmed(1).await
}

pub(super) async fn prepare_headers(
    client: &mut RawClient,
    bindings: usize,
    entries: usize,
) -> io::Result<()> {
    let arguments = voids(entries)?;
    let mut frames = Frames::to(client);
    frames.exchange("x", "headers").await?;
    frames.queue("q", Table::new()).await?;
    for number in 0..bindings {
        frames.bind("q", "x", &number.to_string(), arguments.clone()).await?;
    }
    frames.done("q").await?;
    client.select_confirms().await
}

pub(super) async fn publish_headers(client: &mut RawClient, entries: usize) -> io::Result<()> {
    client.publish("x", "", &headers(voids(entries)?)?, b"x").await?;
    client.confirmed(1).await?;
    holds(client, "q", 1).await
}

pub(super) async fn prepare_empty_keys(client: &mut RawClient, kind: &str) -> io::Result<()> {
    let mut frames = Frames::to(client);
    frames.exchange("x", kind).await?;
    for number in 0..QUEUES {
        let name = number.to_string();
        frames.queue(&name, Table::new()).await?;
        frames.bind(&name, "x", "", Table::new()).await?;
    }
    frames.done("0").await?;
    client.select_confirms().await
}

pub(super) async fn publish_empty_keys(client: &mut RawClient, keys: usize) -> io::Result<()> {
    let properties = copies((0..keys).map(|_| String::new()))?;
    client.publish("x", "", &properties, b"x").await?;
    client.confirmed(1).await?;
    for number in 0..QUEUES {
        holds(client, &number.to_string(), 1).await?;
    }
    Ok(())
}

pub(super) async fn prepare_topic(client: &mut RawClient, patterns: usize) -> io::Result<()> {
    let mut random = fastrand::Rng::with_seed(14);
    let mut frames = Frames::to(client);
    frames.exchange("x", "topic").await?;
    frames.queue("q", Table::new()).await?;
    frames.queue("all", Table::new()).await?;
    frames.bind("all", "x", "#", Table::new()).await?;
    for _ in 0..patterns {
        let words: Vec<_> = (0..PATTERN_WORDS).map(|_| ["#", "*", "a"][random.usize(..3)]).collect();
        frames.bind("q", "x", &words.join("."), Table::new()).await?;
    }
    frames.done("q").await?;
    client.select_confirms().await
}

pub(super) async fn publish_to_topic(client: &mut RawClient, keys: usize) -> io::Result<()> {
    // Keys and patterns share one word, so that most states stay possible to the end.
    let mut random = fastrand::Rng::with_seed(15);
    let mut key = || {
        let words: Vec<_> = (0..KEY_WORDS).map(|_| ["a", "b"][random.usize(..2)]).collect();
        words.join(".")
    };
    let properties = copies((0..keys).map(|_| key()))?;
    client.publish("x", "none", &properties, b"x").await?;
    client.confirmed(1).await?;
    holds(client, "all", 1).await
}

/// Fails when a queue does not hold so many messages.
async fn holds(client: &mut RawClient, queue: &str, count: u32) -> io::Result<()> {
    let declare = queue::Declare { queue: short(queue)?, passive: true, ..Default::default() };
    match client.call(1, declare).await?.message_count {
        ready if ready == count => Ok(()),
        ready => Err(io::Error::other(format!("{queue} holds {ready} messages instead of {count}"))),
    }
}
