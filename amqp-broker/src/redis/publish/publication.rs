//! Publishing messages.

use super::{
    batch::Batch,
    routing::{Route, route},
};
use crate::{
    backend::{BackendError, Message, Published},
    redis::{
        hub::Hub,
        places::{expire, place},
    },
};

/// Publishes messages; returns what became of each, up to the first that is refused. When it
/// returns, Redis has them.
///
/// # Errors
/// [`BackendError::Unavailable`] when it is unknown what became of them.
pub(crate) async fn publish(hub: &Hub, messages: &[Message]) -> Result<Vec<Published>, BackendError> {
    let (mut batch, mut outcomes) = (Batch::default(), Vec::with_capacity(messages.len()));
    for (owner, message) in messages.iter().enumerate() {
        let added = add(hub, &mut batch, owner, message).await;
        match added {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) if error.closes_connection() => return Err(error),
            Err(error) => {
                outcomes.push(Published::Refused(error));
                break;
            }
        }
    }
    batch.send(hub, &mut outcomes).await?;
    Ok(outcomes)
}

async fn add(
    hub: &Hub,
    batch: &mut Batch,
    owner: usize,
    message: &Message,
) -> Result<Published, BackendError> {
    match route(hub, message).await? {
        Route::Channel => {
            let exchange = message.exchange.as_str().unwrap_or_default();
            let key = message.routing_key.as_str().unwrap_or_default();
            let legacy =
                hub.keys.legacy_channel(exchange, key).filter(|_| hub.options.sentinel_fanout_compat);
            batch.tell(owner, hub.keys.channel(exchange, key), legacy, hub.write_envelope(message)?.json);
            Ok(Published::Routed)
        }
        Route::Queues(queues) if queues.is_empty() => Ok(Published::Unroutable),
        Route::Queues(queues) => add_to_queues(hub, batch, owner, message, &queues).await,
    }
}

async fn add_to_queues(
    hub: &Hub,
    batch: &mut Batch,
    owner: usize,
    message: &Message,
    queues: &[String],
) -> Result<Published, BackendError> {
    let own = lifetime(message)?;
    let mut envelope = hub.write_envelope(message)?;
    let (mut written, mut outcome) = (own, Published::Unroutable);
    for (index, queue) in queues.iter().enumerate() {
        let place = place(hub, queue, envelope.wire_priority, own).await?;
        // Whoever has bound the queue since then is not known here, but wants its messages.
        if place.deleted && message.exchange.is_empty() {
            continue;
        }
        let wanted = place.lifetime.or(own);
        if wanted != written {
            let mut message = message.clone();
            expire(&mut message, wanted);
            envelope = hub.write_envelope(&message)?;
            written = wanted;
        } else if index > 0 {
            hub.retag(&mut envelope);
        }
        batch.put(owner, place, envelope.json.clone());
        outcome = Published::Routed;
    }
    Ok(outcome)
}

/// A message's own `expiration`, in milliseconds (spec section 1.8.3, and RabbitMQ's TTL page).
fn lifetime(message: &Message) -> Result<Option<u64>, BackendError> {
    let Some(expiration) = &message.properties.expiration else { return Ok(None) };
    let number = expiration.as_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| BackendError::PreconditionFailed("invalid expiration".to_owned()))
}
