//! Queues on fanout exchanges: their messages come by channels.

use super::members;
use crate::{
    backend::{BackendError, Binding},
    redis::hub::Hub,
};

/// Begins to listen for a binding to a fanout exchange. When it returns, nothing that is published
/// is missed.
pub(super) async fn subscribe(hub: &Hub, link: u64, binding: &Binding) -> Result<(), BackendError> {
    hub.subscribe(link, binding, patterns(hub, binding)).await
}

/// The patterns of channels that a binding listens to. In AMQP a queue bound to a fanout exchange
/// gets everything. In kombu a routing key selects, among the messages that have one: a message
/// without a key goes to a channel of its own, to which every binding listens.
fn patterns(hub: &Hub, binding: &Binding) -> Vec<String> {
    let (exchange, key) = (&binding.exchange, &binding.routing_key);
    let keys = ["", if key.is_empty() { "#" } else { key }];
    let mut patterns: Vec<_> = keys.iter().map(|key| hub.keys.channel_pattern(exchange, key)).collect();
    if hub.options.sentinel_fanout_compat {
        let legacy = keys.iter().filter_map(|key| hub.keys.legacy_channel_pattern(exchange, key));
        patterns.extend(legacy);
    }
    patterns.sort();
    patterns.dedup();
    patterns
}

/// Ends what [`subscribe`] began.
pub(super) async fn unsubscribe(hub: &Hub, binding: &Binding) -> Result<(), BackendError> {
    let unused = hub.arrivals.fanouts.unbind(binding);
    hub.unsubscribe(&unused).await
}

/// Ends all bindings to an exchange that is deleted.
pub(super) async fn delete_exchange(hub: &Hub, exchange: &str) -> Result<(), BackendError> {
    for binding in hub.arrivals.fanouts.bindings_of(exchange) {
        unsubscribe(hub, &binding).await?;
    }
    Ok(())
}

/// Ends all of a queue's bindings to fanout exchanges, as its deletion does.
pub(super) async fn remove(hub: &Hub, queue: &str) -> Result<(), BackendError> {
    let (gone, unused) = hub.arrivals.fanouts.remove(queue);
    hub.unsubscribe(&unused).await?;
    for binding in gone {
        let members = hub.bindings(&binding.exchange).await?;
        let members: Vec<_> = members.iter().filter(|member| member.queue == queue).collect();
        members::remove(hub, &binding.exchange, &members).await?;
    }
    Ok(())
}
