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
    shown::shown,
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
            let (channel, legacy) = channels(hub, message);
            batch.tell(owner, channel, legacy, hub.write_envelope(message)?.json);
            Ok(Published::Routed)
        }
        Route::ChannelOrQueues(_) if is_heard(hub, message).await? => Ok(Published::Routed),
        Route::ChannelOrQueues(queues) => add_to_queues(hub, batch, owner, message, &queues).await,
        Route::Queues(queues) => add_to_queues(hub, batch, owner, message, &queues).await,
    }
}

/// The channel of a message, and the one that old versions use, if that is wanted.
fn channels(hub: &Hub, message: &Message) -> (String, Option<String>) {
    let exchange = message.exchange.as_str().unwrap_or_default();
    let key = message.routing_key.as_str().unwrap_or_default();
    let legacy = hub.keys.legacy_channel(exchange, key).filter(|_| hub.options.sentinel_fanout_compat);
    (hub.keys.channel(exchange, key), legacy)
}

/// Publishes a message to an exchange that may be a fanout exchange of kombu's; tells whether
/// anybody listens, as nobody does to a direct one.
async fn is_heard(hub: &Hub, message: &Message) -> Result<bool, BackendError> {
    let (channel, legacy) = channels(hub, message);
    let json = hub.write_envelope(message)?.json;
    let mut listeners: u64 = hub.command(redis::cmd("PUBLISH").arg(channel).arg(&json)).await?;
    if let Some(legacy) = legacy {
        listeners += hub.command::<u64>(redis::cmd("PUBLISH").arg(legacy).arg(&json)).await?;
    }
    let exchange = message.exchange.as_str().unwrap_or_default();
    if listeners == 0 && hub.takes_for_direct(exchange) {
        tracing::warn!(
            exchange = shown(exchange),
            "takes an exchange for a direct one that kombu alone has declared: nobody listens to it; declare it \
             if it is a fanout exchange"
        );
    }
    Ok(listeners > 0)
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
