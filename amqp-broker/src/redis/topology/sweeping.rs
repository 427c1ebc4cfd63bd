//! Removing what nobody uses any more, whoever declared it.

use redis::Value;

use super::{owned::delete_owned, unused_exchanges::removal};
use crate::{
    backend::BackendError,
    redis::{
        declared::{Declared, DeclaredExchange},
        hub::{Hub, now_milliseconds},
        owners::gone,
    },
};

/// The most queues that are looked at together.
const MOST_LOOKS: usize = 200;

/// Deletes exclusive queues whose connections are gone, and auto-delete exchanges whose bindings
/// have all expired.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn sweep(hub: &Hub) -> Result<(), BackendError> {
    let queues: Vec<String> = hub.command(redis::cmd("SMEMBERS").arg(hub.keys.exclusive())).await?;
    for queues in queues.chunks(MOST_LOOKS) {
        sweep_queues(hub, queues).await?;
    }
    sweep_exchanges(hub).await
}

async fn sweep_queues(hub: &Hub, queues: &[String]) -> Result<(), BackendError> {
    let keys: Vec<_> = queues.iter().map(|queue| hub.keys.queue(queue)).collect();
    let stored: Vec<Option<Vec<u8>>> = hub.command(redis::cmd("MGET").arg(keys)).await?;
    let mut owned = Vec::new();
    for (queue, stored) in queues.iter().zip(stored) {
        let declared = stored.and_then(|stored| Declared::read(&stored));
        match declared.and_then(|declared| declared.owner) {
            Some(owner) => owned.push((queue, owner)),
            None => hub.command(redis::cmd("SREM").arg(hub.keys.exclusive()).arg(queue)).await?,
        }
    }
    let gone = gone(hub, owned.iter().map(|(_, owner)| owner.holder.clone())).await?;
    for (queue, owner) in owned.iter().filter(|(_, owner)| gone.contains(&owner.holder)) {
        delete_owned(hub, queue, owner).await?;
    }
    Ok(())
}

/// As kombu sweeps bindings: an exchange is past its deadline, and has no binding for ever.
async fn sweep_exchanges(hub: &Hub) -> Result<(), BackendError> {
    let stored: Vec<(String, String)> = hub.command(redis::cmd("HGETALL").arg(hub.keys.exchanges())).await?;
    let passing = stored
        .iter()
        .filter(|(_, stored)| DeclaredExchange::read(stored).is_some_and(|declared| declared.auto_delete));
    for (exchange, _) in passing {
        sweep_exchange(hub, exchange).await?;
    }
    Ok(())
}

async fn sweep_exchange(hub: &Hub, exchange: &str) -> Result<(), BackendError> {
    let (deadlines, permanent) = (hub.keys.binding_deadlines(), hub.keys.permanent_bindings(exchange));
    let mut reads = redis::pipe();
    reads.cmd("ZSCORE").arg(&deadlines).arg(exchange).cmd("SCARD").arg(&permanent);
    let keys = [deadlines.clone(), permanent.clone()];
    let swept = hub.transact(&keys, &reads, |read| {
        let is_over = is_over(read).unwrap_or(false);
        (is_over.then(|| removal(hub, exchange)), is_over)
    });
    if swept.await?.0 {
        hub.arrivals.exchanges.forget(exchange);
    }
    Ok(())
}

fn is_over(read: Vec<Value>) -> Option<bool> {
    let (deadline, permanent): (Option<f64>, u64) = redis::from_redis_value(Value::Array(read)).ok()?;
    #[expect(clippy::cast_precision_loss, reason = "times are far below 2^52")]
    let now = now_milliseconds() as f64;
    Some(permanent == 0 && deadline? < now)
}
