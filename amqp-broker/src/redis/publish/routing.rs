//! Which queues a message goes to.

use crate::{
    backend::{BackendError, ExchangeKind, Message},
    redis::hub::Hub,
};

/// Where a message goes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Route {
    /// Into these queues.
    Queues(Vec<String>),
    /// To whoever listens to the exchange.
    Channel,
    /// The same, or into these queues if nobody listens: kombu alone has declared the exchange, and
    /// its bindings do not show whether it is a fanout exchange.
    ChannelOrQueues(Vec<String>),
}

/// Routes a message.
///
/// # Errors
/// [`BackendError::NotFound`] when the exchange does not exist as far as the bindings tell.
pub(super) async fn route(hub: &Hub, message: &Message) -> Result<Route, BackendError> {
    let (exchange, key) = (text(&message.exchange)?, text(&message.routing_key)?);
    if exchange.is_empty() {
        return Ok(Route::Queues(vec![key.to_owned()]));
    }
    let kind = exchange_kind(hub, exchange).await?.ok_or_else(|| unknown_exchange(exchange))?;
    if kind == ExchangeKind::Fanout {
        return Ok(Route::Channel);
    }
    let members = hub.bindings(exchange).await?;
    let is_unclear = kind == ExchangeKind::Direct
        && members.may_be_fanout()
        && !exchange.starts_with("amq.")
        && hub.exchange(exchange).await?.is_none();
    let mut queues: Vec<_> = members.route(kind, key).into_iter().map(str::to_owned).collect();
    if queues.is_empty() {
        queues.extend(hub.options.deadletter_queue.clone());
    }
    if is_unclear {
        return Ok(Route::ChannelOrQueues(queues));
    }
    Ok(Route::Queues(queues))
}

/// The kind of an exchange: the one that it was declared with here, or the one that its bindings
/// show. Kombu stores no kinds, and the bindings of a fanout exchange look like a direct one's.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn exchange_kind(hub: &Hub, exchange: &str) -> Result<Option<ExchangeKind>, BackendError> {
    if let Some(kind) = exchange.strip_prefix("amq.").and_then(ExchangeKind::from_name) {
        return Ok(Some(kind));
    }
    match hub.exchange(exchange).await? {
        Some(declared) => Ok(Some(declared.kind)),
        None => Ok(hub.bindings(exchange).await?.kind()),
    }
}

/// The refusal of an exchange that does not exist.
pub(crate) fn unknown_exchange(exchange: &str) -> BackendError {
    BackendError::NotFound(format!(
        "no exchange '{exchange}' in vhost '/': it has no bindings in Redis and is not declared here; kombu stores no declarations"
    ))
}

fn text(name: &amqp_codec::ShortString) -> Result<&str, BackendError> {
    name.as_str().map_err(|_| BackendError::PreconditionFailed("names on Redis must be UTF-8".to_owned()))
}
