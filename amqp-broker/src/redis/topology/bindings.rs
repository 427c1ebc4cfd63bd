//! Binding queues to exchanges.

use super::{
    fanouts,
    members::{remove, write},
};
use crate::{
    backend::{BackendError, Binding, ExchangeKind},
    redis::{
        hub::Hub,
        publish::{exchange_kind, unknown_exchange},
        wire::BindingMember,
    },
};

/// Binds a queue, for a link.
///
/// # Errors
/// [`BackendError::NotFound`] when the exchange does not exist.
pub(crate) async fn bind(hub: &Hub, link: u64, binding: &Binding) -> Result<(), BackendError> {
    let kind = exchange_kind(hub, &binding.exchange).await?;
    let kind = kind.ok_or_else(|| unknown_exchange(&binding.exchange))?;
    if kind == ExchangeKind::Fanout {
        fanouts::subscribe(hub, link, binding).await?;
    }
    write(hub, binding, kind).await?;
    hub.leases.add_binding(link, binding);
    Ok(())
}

/// Removes a binding.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn unbind(hub: &Hub, binding: &Binding) -> Result<(), BackendError> {
    hub.leases.remove_binding(binding);
    fanouts::unsubscribe(hub, binding).await?;
    let members = hub.bindings(&binding.exchange).await?;
    let same =
        |member: &&BindingMember| member.queue == binding.queue && member.routing_key == binding.routing_key;
    let members: Vec<_> = members.iter().filter(same).collect();
    remove(hub, &binding.exchange, &members).await
}
