//! The members of an exchange's bindings in Redis.

use redis::Pipeline;

use super::unused_exchanges::leave_exchange;
use crate::{
    backend::{BackendError, Binding, ExchangeKind},
    redis::{
        hub::Hub,
        wire::{BindingMember, binding_lifetime},
    },
};

/// Writes a binding, or renews it.
///
/// # Errors
/// When Redis fails.
pub(super) async fn write(hub: &Hub, binding: &Binding, kind: ExchangeKind) -> Result<(), BackendError> {
    let lifetime = match hub.declared(&binding.queue).await? {
        Some(declared) => declared.lifetime(),
        // The declaration of a queue that expires lapses while this process is stopped.
        None => hub.leases.has_queue(&binding.queue).then_some(0),
    };
    let deadline = match lifetime {
        Some(lifetime) => Some(hub.server_milliseconds().await?.saturating_add(binding_lifetime(lifetime))),
        None => None,
    };
    let member = written(hub, &BindingMember::new(kind, &binding.routing_key, &binding.queue))?;
    let mut pipeline = redis::pipe();
    add(hub, pipeline.atomic(), &binding.exchange, &member, deadline);
    // Without its last binding, an auto-delete exchange may have gone a moment ago.
    if let Some(declared) = hub.exchange(&binding.exchange).await? {
        let exchanges = hub.keys.exchanges();
        pipeline.cmd("HSETNX").arg(exchanges).arg(&binding.exchange).arg(declared.stored()).ignore();
    }
    hub.pipeline::<()>(&pipeline).await?;
    forget_bindings(hub, &binding.exchange);
    Ok(())
}

fn written(hub: &Hub, member: &BindingMember) -> Result<String, BackendError> {
    let written = member.write(hub.keys.separator());
    written.map_err(|error| BackendError::PreconditionFailed(error.to_string()))
}

/// A binding of a queue that expires is kept until a deadline, by Redis's clock, the others for
/// ever: the bindings of exchanges past their deadline that have no permanent ones are swept.
fn add(hub: &Hub, pipeline: &mut Pipeline, exchange: &str, member: &str, deadline: Option<u64>) {
    let keys = &hub.keys;
    pipeline.cmd("SADD").arg(keys.bindings(exchange)).arg(member).ignore();
    match deadline {
        None => _ = pipeline.cmd("SADD").arg(keys.permanent_bindings(exchange)).arg(member).ignore(),
        Some(deadline) => {
            pipeline.cmd("SREM").arg(keys.permanent_bindings(exchange)).arg(member).ignore();
            pipeline.cmd("ZADD").arg(keys.binding_deadlines()).arg("GT");
            pipeline.arg(deadline).arg(exchange).ignore();
        }
    }
}

/// Removes members of an exchange's bindings, and the exchange with its last one if it is to go
/// then.
pub(super) async fn remove(
    hub: &Hub,
    exchange: &str,
    members: &[&BindingMember],
) -> Result<(), BackendError> {
    if members.is_empty() {
        return Ok(());
    }
    let members: Vec<_> = members.iter().map(|member| written(hub, member)).collect::<Result<_, _>>()?;
    let mut pipeline = redis::pipe();
    pipeline.atomic();
    pipeline.cmd("SREM").arg(hub.keys.bindings(exchange)).arg(&members).ignore();
    pipeline.cmd("SREM").arg(hub.keys.permanent_bindings(exchange)).arg(&members).ignore();
    hub.pipeline::<()>(&pipeline).await?;
    forget_bindings(hub, exchange);
    leave_exchange(hub, exchange).await
}

/// Has the bindings of an exchange read again. Redis tells of changes too, but this connection may
/// learn of its own a moment later than the next publish.
pub(crate) fn forget_bindings(hub: &Hub, exchange: &str) {
    hub.arrivals.bindings.forget(&hub.keys.bindings(exchange));
}
