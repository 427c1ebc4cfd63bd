//! Purging and deleting queues.

use std::collections::BTreeSet;

use redis::{Pipeline, Value};

use super::{
    fanouts,
    kombu_exchanges::bound_exchanges,
    members,
    queues::{count, known_exchanges, numbers},
};
use crate::{
    backend::BackendError,
    redis::{declared::Declared, hub::Hub, places::delayed_key},
};

/// The least time that what is sent to a deleted queue for replies goes nowhere, in milliseconds.
const GONE_LEAST: u64 = 60_000;

/// The most time that it does so: many such queues may come and go.
const GONE_MOST: u64 = 3_600_000;

/// Deletes a queue, also its bindings to exchanges that kombu alone has declared; returns how many
/// messages it held.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn delete_queue(hub: &Hub, name: &str) -> Result<u32, BackendError> {
    remove_queue(hub, name, bound_exchanges(hub).await?).await
}

/// Deletes a queue that nobody else can have bound, or that goes by itself.
///
/// # Errors
/// When Redis fails.
pub(super) async fn delete_own_queue(hub: &Hub, name: &str) -> Result<u32, BackendError> {
    remove_queue(hub, name, BTreeSet::new()).await
}

/// Removes a queue, and its bindings to known exchanges and these. While they are removed it still
/// has its owner, so that nobody makes it anew meanwhile.
async fn remove_queue(hub: &Hub, name: &str, mut exchanges: BTreeSet<String>) -> Result<u32, BackendError> {
    let stored: Option<Vec<u8>> = hub.command(redis::cmd("GET").arg(hub.keys.queue(name))).await?;
    let declared = stored.and_then(|stored| Declared::read(&stored)).unwrap_or_default();
    hub.leases.remove_queue(name);
    fanouts::remove(hub, name).await?;
    exchanges.extend(known_exchanges(hub).await?);
    for exchange in exchanges {
        let members = hub.bindings(&exchange).await?;
        let members: Vec<_> = members.iter().filter(|member| member.queue == name).collect();
        members::remove(hub, &exchange, &members).await?;
    }
    let mut pipeline = emptying(hub, name);
    forget(hub, &mut pipeline, name, &declared);
    let held = held(&hub.pipeline::<Vec<Value>>(&pipeline).await?);
    hub.arrivals.queues.forget(&hub.keys.queue(name));
    hub.arrivals.watches.deleted(name);
    Ok(held)
}

/// Removes a declaration. Queues for replies end with whoever waits for them, while others may
/// still send: of those it remains known for a while that they are deleted, because a list is made
/// by whoever pushes to it, and nobody would ever remove it.
fn forget(hub: &Hub, pipeline: &mut Pipeline, queue: &str, declared: &Declared) {
    let key = hub.keys.queue(queue);
    match declared.lifetime() {
        Some(lifetime) => {
            let (deleted, gone) = (Declared::deleted().stored(), lifetime.clamp(GONE_LEAST, GONE_MOST));
            pipeline.cmd("SET").arg(key).arg(deleted).arg("PX").arg(gone).ignore();
        }
        None if declared.deleted => {}
        None => _ = pipeline.cmd("DEL").arg(key).ignore(),
    }
    pipeline.cmd("SREM").arg(hub.keys.delayed()).arg(queue).ignore();
    if declared.owner.is_some() {
        pipeline.cmd("SREM").arg(hub.keys.exclusive()).arg(queue).ignore();
        pipeline.cmd("DEL").arg(hub.keys.consumers(queue)).ignore();
    }
}

/// Removes all messages of a queue that nobody has claimed; returns their number.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn purge_queue(hub: &Hub, name: &str) -> Result<u32, BackendError> {
    let held = held(&hub.pipeline::<Vec<Value>>(&emptying(hub, name)).await?);
    let here = hub.arrivals.fanouts.purge(name);
    Ok(held.saturating_add(u32::try_from(here).unwrap_or(u32::MAX)))
}

/// Counts a queue's messages, and removes them.
fn emptying(hub: &Hub, queue: &str) -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.atomic();
    count(hub, &mut pipeline, queue);
    pipeline.cmd("DEL").arg(hub.keys.lists(queue)).arg(delayed_key(hub, queue)).ignore();
    pipeline
}

fn held(answers: &[Value]) -> u32 {
    u32::try_from(numbers(answers).iter().sum::<u64>()).unwrap_or(u32::MAX)
}

/// The last link that had bound a queue to a fanout exchange has ended. An auto-delete queue goes
/// with it, as kombu does it, also if nobody has consumed from it, unless another link of this
/// process has it again.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn delete_left(hub: &Hub, queue: &str) -> Result<(), BackendError> {
    let declared = hub.declared(queue).await?;
    let is_to_go = declared.is_some_and(|declared| declared.auto_delete && declared.owner.is_none());
    if is_to_go && hub.arrivals.fanouts.len(queue).is_none() {
        delete_own_queue(hub, queue).await?;
    }
    Ok(())
}

/// The last consumer of an auto-delete queue has left. A queue on a fanout exchange is this
/// process's alone and goes, as kombu does it; whether others consume from another nobody knows.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn leave_queue(hub: &Hub, link: u64, queue: &str) -> Result<(), BackendError> {
    if hub.arrivals.fanouts.leave_one(link, queue) {
        delete_own_queue(hub, queue).await?;
    }
    Ok(())
}
