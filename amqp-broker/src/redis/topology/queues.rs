//! The number of messages in queues, and whether queues exist.

use std::collections::BTreeSet;

use redis::{Pipeline, Value};

use crate::{
    backend::BackendError,
    redis::{declared::Declared, hub::Hub, places::delayed_key},
};

/// Adds the commands that count a queue's messages.
pub(super) fn count(hub: &Hub, pipeline: &mut Pipeline, queue: &str) {
    for list in hub.keys.lists(queue) {
        pipeline.cmd("LLEN").arg(list);
    }
    pipeline.cmd("ZCARD").arg(delayed_key(hub, queue));
}

/// The sum of such counts, and of what is here.
pub(super) fn total(hub: &Hub, queue: &str, counts: &[u64]) -> u32 {
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
    pipeline.cmd("GET").arg(hub.keys.queue(name));
    let mut answers: Vec<Value> = hub.pipeline(&pipeline).await?;
    let declared = match answers.pop() {
        Some(Value::BulkString(stored)) => Declared::read_existing(&stored).is_some(),
        _ => false,
    };
    let messages = total(hub, name, &numbers(&answers));
    let here = hub.arrivals.fanouts.len(name).is_some();
    if declared || here || messages > 0 || is_bound(hub, name).await? {
        return Ok(messages);
    }
    Err(BackendError::NotFound(format!("no queue '{name}' in vhost '/'")))
}

/// The answers that are numbers.
pub(super) fn numbers(answers: &[Value]) -> Vec<u64> {
    let number = |answer: &Value| match answer {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    answers.iter().filter_map(number).collect()
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
pub(super) async fn known_exchanges(hub: &Hub) -> Result<BTreeSet<String>, BackendError> {
    let mut exchanges: BTreeSet<String> = hub.command(redis::cmd("HKEYS").arg(hub.keys.exchanges())).await?;
    exchanges.extend(hub.arrivals.exchanges.keys());
    exchanges.extend(["amq.direct", "amq.fanout", "amq.topic"].map(str::to_owned));
    Ok(exchanges)
}
