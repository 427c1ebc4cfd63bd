//! Reading envelopes.

use amqp_codec::{Properties, ShortString};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    constants::{TAGGED, substituted},
    error::EnvelopeError,
    object::Object,
    read_table::read_headers,
    redelivered::mark_redelivered,
    scalar::Scalar,
    tagged,
};
use crate::{backend::Message, kombu::priorities::PriorityOrder};

/// A message as it was read from a list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Envelope {
    /// The message. Its exchange and routing key are empty when the envelope does not tell them.
    pub(crate) message: Message,
    /// Set when it was returned to a queue after it had been claimed.
    pub(crate) redelivered: bool,
    /// The sender's tag, as text. Copies of a message in several queues may have the same.
    pub(crate) delivery_tag: Option<String>,
    /// The priority that is written in it, from 0 to 9.
    pub(crate) wire_priority: u8,
    /// When it expires, in unix seconds.
    pub(crate) expires_at: Option<f64>,
}

impl Envelope {
    /// Whether it has expired at `now`, in unix seconds.
    pub(crate) fn is_expired(&self, now: f64) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow, default)]
    body: Scalar<'a>,
    #[serde(borrow, default, rename = "content-type")]
    content_type: Scalar<'a>,
    #[serde(borrow, default, rename = "content-encoding")]
    content_encoding: Scalar<'a>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    #[serde(borrow)]
    properties: Option<Object<PropertyParts<'a>>>,
    #[serde(borrow, default)]
    redelivered: Scalar<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PropertyParts<'a> {
    #[serde(borrow)]
    correlation_id: Scalar<'a>,
    reply_to: Scalar<'a>,
    message_id: Scalar<'a>,
    timestamp: Scalar<'a>,
    r#type: Scalar<'a>,
    user_id: Scalar<'a>,
    app_id: Scalar<'a>,
    cluster_id: Scalar<'a>,
    delivery_mode: Scalar<'a>,
    expiration: Scalar<'a>,
    expires_at: Scalar<'a>,
    delivery_info: Option<Object<DeliveryInfo<'a>>>,
    priority: Scalar<'a>,
    body_encoding: Scalar<'a>,
    delivery_tag: Scalar<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DeliveryInfo<'a> {
    #[serde(borrow)]
    exchange: Scalar<'a>,
    routing_key: Scalar<'a>,
    redelivered: Scalar<'a>,
}

/// Reads an envelope. What senders leave out or write as another type is accepted where its meaning
/// is clear.
pub(crate) fn decode(item: &[u8], priorities: PriorityOrder) -> Result<Envelope, EnvelopeError> {
    let problem = match decode_json(item, priorities) {
        Err(problem @ EnvelopeError::Json { .. }) => problem,
        result => return result,
    };
    match substituted(item, &TAGGED) {
        // An object that stands for a number must not be taken for one that was expected.
        Some(tagged) => mark_redelivered(item).and_then(|_| decode_json(&tagged, priorities)),
        None => Err(problem),
    }
}

fn decode_json(item: &[u8], priorities: PriorityOrder) -> Result<Envelope, EnvelopeError> {
    // Texts that nobody looks at are not checked otherwise, and nothing could mark the item.
    let text = str::from_utf8(item).map_err(|_| EnvelopeError::field("envelope", "is not UTF-8"))?;
    let Object(parts): Object<Parts<'_>> = serde_json::from_str(text)?;
    let Object(given) = parts.properties.ok_or(EnvelopeError::Missing("properties"))?;
    let (headers, marked) = match parts.headers {
        Some(headers) => read_headers(headers.get())?,
        None => Default::default(),
    };
    let Object(info) = given.delivery_info.unwrap_or_default();
    let wire_priority = clamped(&given.priority, 9).unwrap_or_default();
    let message = Message {
        exchange: name(info.exchange, "exchange")?,
        routing_key: name(info.routing_key, "routing_key")?,
        body: body(parts.body, &given.body_encoding)?,
        properties: Properties {
            content_type: parts.content_type.short("content-type")?,
            content_encoding: parts.content_encoding.short("content-encoding")?,
            headers: Some(headers),
            delivery_mode: clamped(&given.delivery_mode, u8::MAX),
            priority: clamped(&given.priority, u8::MAX).map(|priority| priorities.amqp(priority)),
            correlation_id: given.correlation_id.short("correlation_id")?,
            reply_to: given.reply_to.short("reply_to")?,
            expiration: given.expiration.short("expiration")?,
            message_id: given.message_id.short("message_id")?,
            timestamp: given.timestamp.integer().and_then(|seconds| u64::try_from(seconds).ok()),
            kind: given.r#type.short("type")?,
            user_id: given.user_id.short("user_id")?,
            app_id: given.app_id.short("app_id")?,
            cluster_id: given.cluster_id.short("cluster_id")?,
        },
    };
    let is_true = |mark| mark == Scalar::Bool(true);
    Ok(Envelope {
        message,
        redelivered: marked || is_true(info.redelivered) || is_true(parts.redelivered),
        delivery_tag: given.delivery_tag.text("delivery_tag")?,
        wire_priority,
        expires_at: given.expires_at.seconds(),
    })
}

/// The priority that is written in an envelope, from 0 to 9. As for kombu, what is no number is 0.
pub(crate) fn wire_priority(item: &[u8]) -> u8 {
    #[derive(Deserialize)]
    struct Parts<'a> {
        #[serde(borrow)]
        properties: Properties<'a>,
    }
    #[derive(Deserialize)]
    struct Properties<'a> {
        #[serde(borrow, default)]
        priority: Scalar<'a>,
    }
    let read = |item: &[u8]| {
        let parts: Parts<'_> = serde_json::from_slice(item).ok()?;
        Some(clamped(&parts.properties.priority, 9).unwrap_or_default())
    };
    read(item).or_else(|| read(&substituted(item, &TAGGED)?)).unwrap_or_default()
}

fn clamped(value: &Scalar<'_>, most: u8) -> Option<u8> {
    Some(value.integer()?.clamp(0, most.into()) as u8)
}

fn name(value: Scalar<'_>, field: &'static str) -> Result<ShortString, EnvelopeError> {
    Ok(value.short(field)?.unwrap_or_default())
}

/// The body's bytes. As for kombu, one that it tagged as bytes is not encoded any further.
fn body(body: Scalar<'_>, encoding: &Scalar<'_>) -> Result<Bytes, EnvelopeError> {
    let text = match body {
        Scalar::Null => return Ok(Bytes::new()),
        Scalar::Bytes(bytes) => return Ok(bytes.into()),
        Scalar::Text(text) => text,
        _ => return Err(EnvelopeError::field("body", "is not text")),
    };
    match encoding {
        Scalar::Null => Ok(text.into_owned().into()),
        Scalar::Text(name) if name.is_empty() || name.eq_ignore_ascii_case("utf-8") => {
            Ok(text.into_owned().into())
        }
        Scalar::Text(name) if name.eq_ignore_ascii_case("base64") => tagged::base64(&text)
            .map(Bytes::from)
            .ok_or_else(|| EnvelopeError::field("body", "is not Base64, as its body_encoding says")),
        _ => Err(EnvelopeError::field("body_encoding", "is neither base64 nor utf-8")),
    }
}
