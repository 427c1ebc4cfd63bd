//! Declaring and deleting exchanges.

use super::{fanouts, members::forget_bindings, unused_exchanges::removal};
use crate::{
    backend::{BackendError, ExchangeDeclaration, ExchangeKind},
    redis::{
        declared::DeclaredExchange,
        hub::Hub,
        publish::{exchange_kind, unknown_exchange},
    },
};

/// Declares an exchange. Its declaration is stored, so that every gateway on this Redis knows it;
/// for kombu that means nothing.
///
/// # Errors
/// [`BackendError::PreconditionFailed`] when it exists otherwise.
pub(crate) async fn declare_exchange(hub: &Hub, exchange: &ExchangeDeclaration) -> Result<(), BackendError> {
    let (name, received) = (&exchange.name, DeclaredExchange::new(exchange)?);
    check_patterns(hub, name, received).await?;
    let key = hub.keys.exchanges();
    let mut pipeline = redis::pipe();
    pipeline.cmd("HSETNX").arg(&key).arg(name).arg(received.stored()).ignore();
    pipeline.cmd("HGET").arg(&key).arg(name);
    let (stored,): (Option<String>,) = hub.pipeline(&pipeline).await?;
    hub.arrivals.exchanges.forget(name);
    match stored.as_deref().and_then(DeclaredExchange::read) {
        Some(current) => current.check_same(name, received),
        None => Ok(()),
    }
}

/// Compares with what kombu alone has declared: only the bindings of a topic exchange show its
/// kind.
async fn check_patterns(hub: &Hub, name: &str, received: DeclaredExchange) -> Result<(), BackendError> {
    if received.kind == ExchangeKind::Topic || hub.exchange(name).await?.is_some() {
        return Ok(());
    }
    match hub.bindings(name).await?.kind() {
        Some(ExchangeKind::Topic) => {
            DeclaredExchange { kind: ExchangeKind::Topic, ..received }.check_same(name, received)
        }
        _ => Ok(()),
    }
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
    hub.pipeline::<()>(&removal(hub, name)).await?;
    hub.arrivals.exchanges.forget(name);
    hub.leases.remove_exchange(name);
    forget_bindings(hub, name);
    fanouts::delete_exchange(hub, name).await
}
