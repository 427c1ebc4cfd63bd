//! Renewing what lives only for a time.

use super::members::write;
use crate::{
    backend::BackendError,
    redis::{hub::Hub, owners::renew_consumers, publish::exchange_kind, wire::binding_lifetime},
};

/// Renews the declarations of queues that expire, the counts of consumers, and all bindings of this
/// gateway's links: another may have swept them.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn renew(hub: &Hub) -> Result<(), BackendError> {
    renew_consumers(hub).await?;
    let leased = hub.leases.all();
    for queue in &leased.queues {
        if let Some(lifetime) = hub.declared(queue).await?.and_then(|declared| declared.lifetime()) {
            let key = hub.keys.queue(queue);
            hub.command::<()>(redis::cmd("PEXPIRE").arg(key).arg(binding_lifetime(lifetime))).await?;
        }
    }
    for binding in &leased.bindings {
        if let Some(kind) = exchange_kind(hub, &binding.exchange).await? {
            write(hub, binding, kind).await?;
        }
    }
    Ok(())
}
