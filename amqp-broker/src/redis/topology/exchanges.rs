//! Declaring and deleting exchanges.

use super::{fanouts, members::forget_bindings};
use crate::{
    backend::{BackendError, ExchangeDeclaration, ExchangeKind},
    redis::{
        hub::{Hub, refuse_arguments},
        publish::{exchange_kind, unknown_exchange},
    },
};

/// Declares an exchange. Its kind is stored, so that every gateway on this Redis knows it; for
/// kombu that means nothing.
///
/// # Errors
/// [`BackendError::PreconditionFailed`] when it exists with another kind.
pub(crate) async fn declare_exchange(hub: &Hub, exchange: &ExchangeDeclaration) -> Result<(), BackendError> {
    refuse_arguments(&exchange.name, &exchange.arguments)?;
    if exchange.internal {
        let text = format!("exchange '{}' is internal, which is not served on Redis", exchange.name);
        return Err(BackendError::NotImplemented(text));
    }
    if let Some(current) = hub.exchange_kind(&exchange.name).await? {
        return same_kind(exchange, current);
    }
    let (key, kind) = (hub.keys.exchanges(), exchange.kind.name());
    let mut pipeline = redis::pipe();
    pipeline.cmd("HSETNX").arg(&key).arg(&exchange.name).arg(kind).ignore();
    pipeline.cmd("HGET").arg(&key).arg(&exchange.name);
    let (stored,): (Option<String>,) = hub.pipeline(&pipeline).await?;
    hub.arrivals.exchanges.forget(&exchange.name);
    match stored.as_deref().and_then(ExchangeKind::from_name) {
        Some(current) => same_kind(exchange, current),
        None => Ok(()),
    }
}

fn same_kind(exchange: &ExchangeDeclaration, current: ExchangeKind) -> Result<(), BackendError> {
    if exchange.kind == current {
        return Ok(());
    }
    Err(BackendError::PreconditionFailed(format!(
        "inequivalent arg 'type' for exchange '{}' in vhost '/': received '{}' but current is '{current}'",
        exchange.name, exchange.kind
    )))
}

/// Checks that an exchange exists: it is declared here, or has bindings.
///
/// # Errors
/// [`BackendError::NotFound`] when it does not.
pub(crate) async fn find_exchange(hub: &Hub, name: &str) -> Result<(), BackendError> {
    if exchange_kind(hub, name).await?.is_some() || !hub.bindings(name).await?.is_empty() {
        return Ok(());
    }
    Err(unknown_exchange(name))
}

/// Deletes an exchange and its bindings.
///
/// # Errors
/// [`BackendError::PreconditionFailed`] with `if_unused` when it has bindings.
pub(crate) async fn delete_exchange(hub: &Hub, name: &str, if_unused: bool) -> Result<(), BackendError> {
    let bindings = hub.keys.bindings(name);
    if if_unused && hub.command::<u64>(redis::cmd("SCARD").arg(&bindings)).await? > 0 {
        let text = format!("exchange '{name}' in vhost '/' in use");
        return Err(BackendError::PreconditionFailed(text));
    }
    let mut pipeline = redis::pipe();
    pipeline.atomic();
    pipeline.cmd("DEL").arg(&bindings).arg(hub.keys.permanent_bindings(name)).ignore();
    pipeline.cmd("ZREM").arg(hub.keys.binding_deadlines()).arg(name).ignore();
    pipeline.cmd("HDEL").arg(hub.keys.exchanges()).arg(name).ignore();
    hub.pipeline::<()>(&pipeline).await?;
    hub.arrivals.exchanges.forget(name);
    hub.leases.remove_exchange(name);
    forget_bindings(hub, name);
    fanouts::delete_exchange(hub, name).await
}
