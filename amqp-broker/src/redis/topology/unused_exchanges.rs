//! Exchanges that go with their last binding.

use redis::{Pipeline, Value};

use crate::{backend::BackendError, redis::hub::Hub};

/// Deletes an exchange that is to go with its last binding, unless it has others, those of kombu
/// among them.
///
/// # Errors
/// When Redis fails.
pub(super) async fn leave_exchange(hub: &Hub, name: &str) -> Result<(), BackendError> {
    let Some(declared) = hub.exchange(name).await?.filter(|declared| declared.auto_delete) else {
        return Ok(());
    };
    let (exchanges, bindings) = (hub.keys.exchanges(), hub.keys.bindings(name));
    let mut reads = redis::pipe();
    reads.cmd("HGET").arg(&exchanges).arg(name).cmd("SCARD").arg(&bindings);
    let unused = [Value::BulkString(declared.stored().into_bytes()), Value::Int(0)];
    let keys = [exchanges, bindings];
    let is_gone = hub.transact(&keys, &reads, |read| {
        let is_unused = read == unused;
        (is_unused.then(|| removal(hub, name)), is_unused)
    });
    if is_gone.await?.0 {
        hub.arrivals.exchanges.forget(name);
    }
    Ok(())
}

/// Removes the declaration of an exchange, and its bindings.
pub(super) fn removal(hub: &Hub, name: &str) -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.atomic();
    pipeline.cmd("DEL").arg(hub.keys.bindings(name)).arg(hub.keys.permanent_bindings(name)).ignore();
    pipeline.cmd("ZREM").arg(hub.keys.binding_deadlines()).arg(name).ignore();
    pipeline.cmd("HDEL").arg(hub.keys.exchanges()).arg(name).ignore();
    pipeline
}
