//! Declaring, purging and deleting queues.

use std::collections::BTreeSet;

use redis::{Pipeline, Value};

use super::{fanouts, members};
use crate::{
    backend::{BackendError, QueueDeclaration},
    redis::{
        hub::{Declared, Hub},
        places::delayed_key,
        publish::note_retry_queue,
        wire::binding_lifetime,
    },
};

/// Declares a queue, for a link; returns how many messages it holds.
///
/// # Errors
/// [`BackendError::NotImplemented`] for arguments that are not served.
pub(crate) async fn declare_queue(
    hub: &Hub,
    link: u64,
    queue: &QueueDeclaration,
) -> Result<u32, BackendError> {
    let declared = Declared::new(queue)?;
    if declared.delay().is_some() {
        note_retry_queue(hub, &queue.name).await?;
    }
    let mut pipeline = redis::pipe();
    pipeline.atomic();
    store(hub, &mut pipeline, &queue.name, &declared);
    count(hub, &mut pipeline, &queue.name);
    let counts: Vec<u64> = hub.pipeline(&pipeline).await?;
    hub.arrivals.queues.forget(&hub.queue_key(&queue.name));
    if declared.lifetime().is_some() {
        hub.leases.add_queue(link, &queue.name);
    }
    Ok(total(hub, &queue.name, &counts))
}

/// Stores a declaration. As in kombu, a declaration without `x-expires` clears that of an earlier
/// one.
fn store(hub: &Hub, pipeline: &mut Pipeline, queue: &str, declared: &Declared) {
    let set = pipeline.cmd("SET").arg(hub.queue_key(queue)).arg(declared.stored());
    match declared.lifetime() {
        Some(lifetime) => {
            set.arg("PX").arg(binding_lifetime(lifetime)).ignore();
            for list in hub.keys.lists(queue) {
                pipeline.cmd("PEXPIRE").arg(list).arg(lifetime).ignore();
            }
        }
        None => {
            set.ignore();
            for list in hub.keys.lists(queue) {
                pipeline.cmd("PERSIST").arg(list).ignore();
            }
        }
    }
}

/// Adds the commands that count a queue's messages.
fn count(hub: &Hub, pipeline: &mut Pipeline, queue: &str) {
    for list in hub.keys.lists(queue) {
        pipeline.cmd("LLEN").arg(list);
    }
    pipeline.cmd("ZCARD").arg(delayed_key(hub, queue));
}

fn total(hub: &Hub, queue: &str, counts: &[u64]) -> u32 {
    let here = hub.arrivals.fanouts.len(queue).unwrap_or_default();
    u32::try_from(counts.iter().sum::<u64>() + here as u64).unwrap_or(u32::MAX)
}

/// Finds a queue; returns how many messages it holds.
///
/// # Errors
/// [`BackendError::NotFound`] when it is neither declared here, nor holds messages, nor is bound as
/// far as this gateway knows.
pub(crate) async fn find_queue(hub: &Hub, name: &str) -> Result<u32, BackendError> {
    let mut pipeline = redis::pipe();
    count(hub, &mut pipeline, name);
    pipeline.cmd("EXISTS").arg(hub.queue_key(name));
    let mut counts: Vec<u64> = hub.pipeline(&pipeline).await?;
    let declared = counts.pop() == Some(1);
    let messages = total(hub, name, &counts);
    let here = hub.arrivals.fanouts.len(name).is_some();
    if declared || here || messages > 0 || is_bound(hub, name).await? {
        return Ok(messages);
    }
    Err(BackendError::NotFound(format!("no queue '{name}' in vhost '/'")))
}

async fn is_bound(hub: &Hub, queue: &str) -> Result<bool, BackendError> {
    for exchange in known_exchanges(hub).await? {
        if hub.bindings(&exchange).await?.iter().any(|member| member.queue == queue) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The exchanges that were declared by gateways on this Redis, or used by this one.
async fn known_exchanges(hub: &Hub) -> Result<BTreeSet<String>, BackendError> {
    let mut exchanges: BTreeSet<String> = hub.command(redis::cmd("HKEYS").arg(hub.keys.exchanges())).await?;
    exchanges.extend(hub.arrivals.exchanges.keys());
    exchanges.extend(["amq.direct", "amq.fanout", "amq.topic"].map(str::to_owned));
    Ok(exchanges)
}

/// Deletes a queue; returns how many messages it held.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn delete_queue(hub: &Hub, name: &str) -> Result<u32, BackendError> {
    let held = empty(hub, name, true).await?;
    hub.leases.remove_queue(name);
    fanouts::remove(hub, name).await?;
    for exchange in known_exchanges(hub).await? {
        let members = hub.bindings(&exchange).await?;
        let members: Vec<_> = members.iter().filter(|member| member.queue == name).collect();
        members::remove(hub, &exchange, &members).await?;
    }
    hub.arrivals.queues.forget(&hub.queue_key(name));
    hub.arrivals.watches.deleted(name);
    Ok(held)
}

/// Removes all messages of a queue that nobody has claimed; returns their number.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn purge_queue(hub: &Hub, name: &str) -> Result<u32, BackendError> {
    let held = empty(hub, name, false).await?;
    let here = hub.arrivals.fanouts.purge(name);
    Ok(held.saturating_add(u32::try_from(here).unwrap_or(u32::MAX)))
}

async fn empty(hub: &Hub, queue: &str, and_declaration: bool) -> Result<u32, BackendError> {
    let mut pipeline = redis::pipe();
    pipeline.atomic();
    count(hub, &mut pipeline, queue);
    pipeline.cmd("DEL").arg(hub.keys.lists(queue)).arg(delayed_key(hub, queue)).ignore();
    if and_declaration {
        pipeline.cmd("DEL").arg(hub.queue_key(queue)).ignore();
        pipeline.cmd("SREM").arg(hub.keys.delayed()).arg(queue).ignore();
    }
    let counts: Vec<Value> = hub.pipeline(&pipeline).await?;
    let counts = counts.into_iter().map(|count| if let Value::Int(count) = count { count } else { 0 });
    Ok(u32::try_from(counts.sum::<i64>()).unwrap_or(u32::MAX))
}

/// The last consumer of an auto-delete queue has left. A queue on a fanout exchange is this
/// process's alone and goes, as kombu does it; whether others consume from another nobody knows.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn leave_queue(hub: &Hub, link: u64, queue: &str) -> Result<(), BackendError> {
    if hub.arrivals.fanouts.leave_one(link, queue) {
        delete_queue(hub, queue).await?;
    }
    Ok(())
}
