//! The consumers of queues, for all processes.
//!
//! A hash for each queue has how many consumers each holder has. Those of kombu leave no trace, and
//! do not count.

use std::collections::BTreeMap;

use redis::Value;

use super::liveness::{gone, hold_lease};
use crate::{
    backend::BackendError,
    core::rabbitmq::refusal::Refusal,
    redis::{
        declared::{Holder, VHOST},
        hub::Hub,
    },
};

/// The lifetime of a hash that nobody renews, in milliseconds: two hours.
const LIFETIME: u64 = 7_200_000;

/// Stands for the one consumer that has a queue to itself.
const ALONE: &str = "alone";

/// The consumers of a queue, by holder.
type Counts = BTreeMap<Holder, String>;

/// Adds a consumer of a link.
///
/// # Errors
/// [`BackendError::AccessRefused`] when another has the queue to itself, or this one wants to and
/// there is another.
pub(crate) async fn add_consumer(
    hub: &Hub,
    link: u64,
    queue: &str,
    exclusive: bool,
) -> Result<(), BackendError> {
    hold_lease(hub).await?;
    loop {
        let Some(others) = try_add(hub, queue, exclusive).await? else { break };
        let gone = gone(hub, others).await?;
        if gone.is_empty() {
            let refusal = Refusal::ExclusiveUse { name: queue.to_owned(), vhost: VHOST.to_owned() };
            return Err(BackendError::AccessRefused(refusal.to_string()));
        }
        forget(hub, queue, gone).await?;
    }
    hub.leases.add_consumer(link, queue);
    Ok(())
}

/// Adds a consumer; returns who is in its way, if anybody is.
async fn try_add(hub: &Hub, queue: &str, exclusive: bool) -> Result<Option<Vec<Holder>>, BackendError> {
    let (key, field) = (hub.keys.consumers(queue), hub.holder.to_string());
    let mut reads = redis::pipe();
    reads.cmd("HGETALL").arg(&key);
    let added = hub.transact(std::slice::from_ref(&key), &reads, |mut read| {
        let counts = read.pop().map(counts).unwrap_or_default();
        if counts.values().any(|count| count == ALONE) || exclusive && !counts.is_empty() {
            return (None, Some(counts.into_keys().collect()));
        }
        let mut add = redis::pipe();
        match exclusive {
            true => _ = add.cmd("HSET").arg(&key).arg(&field).arg(ALONE),
            false => _ = add.cmd("HINCRBY").arg(&key).arg(&field).arg(1),
        }
        add.cmd("PEXPIRE").arg(&key).arg(LIFETIME);
        (Some(add), None)
    });
    Ok(added.await?.0)
}

/// Removes so many consumers of a holder.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn remove_consumers(
    hub: &Hub,
    holder: &Holder,
    queue: &str,
    count: u64,
) -> Result<(), BackendError> {
    let (key, field) = (hub.keys.consumers(queue), holder.to_string());
    let mut reads = redis::pipe();
    reads.cmd("HGET").arg(&key).arg(&field);
    let removed = hub.transact(std::slice::from_ref(&key), &reads, |mut read| {
        let read = read.pop().and_then(|value| redis::from_redis_value::<String>(value).ok());
        let Some(current) = read else { return (None, ()) };
        let mut remove = redis::pipe();
        match current.parse::<u64>() {
            Ok(current) if current > count => {
                remove.cmd("HSET").arg(&key).arg(&field).arg(current - count);
            }
            _ => _ = remove.cmd("HDEL").arg(&key).arg(&field),
        }
        (Some(remove), ())
    });
    removed.await.map(|_| ())
}

/// Returns how many consumers a queue has.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn count_consumers(hub: &Hub, queue: &str) -> Result<u32, BackendError> {
    let value = hub.command(redis::cmd("HGETALL").arg(hub.keys.consumers(queue))).await?;
    let counts = counts(value);
    let gone = gone(hub, counts.keys().cloned()).await?;
    let there = counts.iter().filter(|(holder, _)| !gone.contains(holder));
    let count = there.map(|(_, count)| if count == ALONE { 1 } else { count.parse().unwrap_or(0) }).sum();
    forget(hub, queue, gone).await?;
    Ok(count)
}

/// Keeps the counts of a hub's consumers from expiring.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn renew_consumers(hub: &Hub) -> Result<(), BackendError> {
    for queue in hub.leases.consumed() {
        let key = hub.keys.consumers(&queue);
        hub.command::<()>(redis::cmd("PEXPIRE").arg(key).arg(LIFETIME)).await?;
    }
    Ok(())
}

/// Removes the consumers of holders that are gone. None of them comes back.
async fn forget(hub: &Hub, queue: &str, gone: impl IntoIterator<Item = Holder>) -> Result<(), BackendError> {
    let gone: Vec<_> = gone.into_iter().map(|holder| holder.to_string()).collect();
    match gone.is_empty() {
        true => Ok(()),
        false => hub.command(redis::cmd("HDEL").arg(hub.keys.consumers(queue)).arg(gone)).await,
    }
}

fn counts(value: Value) -> Counts {
    let counts: BTreeMap<String, String> = redis::from_redis_value(value).unwrap_or_default();
    counts.into_iter().filter_map(|(holder, count)| Some((holder.parse().ok()?, count))).collect()
}
