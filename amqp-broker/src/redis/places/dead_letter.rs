//! Messages that are rejected or expire.

use amqp_codec::{HeaderTable, ShortString, Table};
use bytes::Bytes;

use super::place::{Place, expire, place};
use crate::{
    backend::{BackendError, Message},
    core::rabbitmq::death::{Death, Reason},
    kombu::envelope::Envelope,
    redis::hub::{Hub, now_milliseconds},
};

/// What becomes of a message that died in a queue: its place, and the envelope to put there. `None`
/// when the queue's dead messages are dropped.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn dead_letter(
    hub: &Hub,
    queue: &str,
    envelope: Envelope,
    reason: Reason,
) -> Result<Option<(Place, Vec<u8>)>, BackendError> {
    let Some(declared) = hub.declared(queue).await? else { return Ok(None) };
    let Some(target) = &declared.dead_letter_queue else { return Ok(None) };
    let mut message = letter(envelope.message, queue, target, reason).map_err(|error| unreadable(&error))?;
    let place = place(hub, target, envelope.wire_priority, None).await?;
    if place.deleted {
        return Ok(None);
    }
    expire(&mut message, place.lifetime);
    let raw = hub.write_envelope(&message)?.json;
    Ok(Some((place, raw)))
}

/// The message with the headers that RabbitMQ adds (<https://www.rabbitmq.com/dlx.html#effects>).
fn letter(
    mut message: Message,
    queue: &str,
    target: &str,
    reason: Reason,
) -> Result<Message, amqp_codec::Error> {
    let properties = &mut message.properties;
    let headers = properties.headers.take().unwrap_or_default();
    let mut headers = HeaderTable::from_encoded(headers.as_encoded())?;
    let (name, key) = (ShortString::try_from(queue)?, ShortString::try_from(target)?);
    let time = now_milliseconds() / 1000;
    let death = Death { reason, queue: &name, time, exchange: b"", key: Some(key.as_bytes()) };
    let expiration = properties.expiration.take();
    let (exchange, routing_key) = (message.exchange.as_bytes(), message.routing_key.as_bytes());
    death.mark(&mut headers, exchange, routing_key, expiration.as_ref().map(ShortString::as_bytes))?;
    headers.remove("CC");
    properties.headers = Some(Table::from_encoded(Bytes::copy_from_slice(headers.as_encoded()))?);
    message.exchange = ShortString::default();
    message.routing_key = key;
    Ok(message)
}

fn unreadable(error: &amqp_codec::Error) -> BackendError {
    BackendError::PreconditionFailed(format!("cannot make a dead letter of the message: {error}"))
}
