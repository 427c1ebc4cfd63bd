//! Removing bindings that nobody renews any more.

use redis::{Pipeline, Value};

use super::{members::forget_bindings, renewal::renew, unused_exchanges::removal};
use crate::{
    backend::BackendError,
    redis::{
        declared::DeclaredExchange,
        hub::{Hub, server_milliseconds},
    },
};

/// The most exchanges that are swept at once, as in kombu. The others are next.
const MOST_SWEPT: usize = 100;

/// The known state of an exchange that may be overdue.
struct Overdue {
    /// True if its deadline is over, by Redis's clock.
    is_over: bool,
    /// True if it has bindings of queues that do not expire.
    has_permanent: bool,
    /// Its declaration; kombu stores none.
    declared: Option<DeclaredExchange>,
}

/// Removes the bindings of exchanges past their deadlines, as kombu does (`sweep_bindings`): all
/// those of an exchange, unless it has a binding for ever; then only its deadline. An auto-delete
/// exchange goes with them.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn sweep_bindings(hub: &Hub) -> Result<(), BackendError> {
    let overdue = overdue(hub).await?;
    // A process that was stopped for long finds its own among them.
    if hub.leases.all().bindings.iter().any(|binding| overdue.contains(&binding.exchange)) {
        renew(hub).await?;
    }
    for exchange in overdue {
        sweep_exchange(hub, &exchange).await?;
    }
    Ok(())
}

/// The exchanges past their deadlines, the longest first.
async fn overdue(hub: &Hub) -> Result<Vec<String>, BackendError> {
    let now = hub.server_milliseconds().await?;
    let mut past = redis::cmd("ZRANGEBYSCORE");
    past.arg(hub.keys.binding_deadlines()).arg("-inf").arg(now).arg("LIMIT").arg(0).arg(MOST_SWEPT);
    hub.command(&past).await
}

/// Sweeps an exchange in one step, unless somebody renews its deadline or binds for ever meanwhile.
async fn sweep_exchange(hub: &Hub, exchange: &str) -> Result<(), BackendError> {
    let keys = [hub.keys.binding_deadlines(), hub.keys.permanent_bindings(exchange), hub.keys.exchanges()];
    let [deadlines, permanent, exchanges] = &keys;
    let mut reads = redis::pipe();
    reads.cmd("TIME").cmd("ZSCORE").arg(deadlines).arg(exchange);
    reads.cmd("EXISTS").arg(permanent).cmd("HGET").arg(exchanges).arg(exchange);
    let swept = hub.transact(&keys, &reads, |read| {
        let changes = Overdue::read(read).and_then(|overdue| overdue.changes(hub, exchange));
        let is_swept = changes.is_some();
        (changes, is_swept)
    });
    if swept.await?.0 {
        hub.arrivals.exchanges.forget(exchange);
        forget_bindings(hub, exchange);
    }
    Ok(())
}

impl Overdue {
    fn read(read: Vec<Value>) -> Option<Self> {
        type Read = ((u64, u64), Option<f64>, bool, Option<String>);
        let (now, deadline, has_permanent, stored): Read =
            redis::from_redis_value(Value::Array(read)).ok()?;
        #[expect(clippy::cast_precision_loss, reason = "times are far below 2^52")]
        let now = server_milliseconds(now) as f64;
        let is_over = deadline.is_some_and(|deadline| deadline <= now);
        Some(Overdue { is_over, has_permanent, declared: stored.as_deref().and_then(DeclaredExchange::read) })
    }

    fn changes(&self, hub: &Hub, exchange: &str) -> Option<Pipeline> {
        if !self.is_over {
            return None;
        }
        if !self.has_permanent && self.declared.is_some_and(|declared| declared.auto_delete) {
            return Some(removal(hub, exchange));
        }
        let mut pipeline = redis::pipe();
        pipeline.cmd("ZREM").arg(hub.keys.binding_deadlines()).arg(exchange).ignore();
        if !self.has_permanent {
            pipeline.cmd("DEL").arg(hub.keys.bindings(exchange)).ignore();
        }
        Some(pipeline)
    }
}
