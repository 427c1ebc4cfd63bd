//! A message as it is shown.

use amqp_client::{Properties, Received};
use amqp_codec::EncodedProperties;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::{
    message::value_json::{table_to_json, to_json},
    output::template::Field,
};

/// The fields of a message in templates; a dot at the end means that a name follows.
pub(crate) const FIELDS: &[&str] = &[
    "number",
    "queue",
    "exchange",
    "routing_key",
    "redelivered",
    "offset",
    "remaining",
    "size",
    "body",
    "base64",
    "json",
    "properties",
    "headers",
    "header.",
    "property.",
];

/// A message, and where it came from.
#[derive(Clone, Debug)]
pub(crate) struct MessageView {
    /// The number of the message in this run, from 1.
    pub(crate) number: u64,
    /// The queue, where it is known.
    pub(crate) queue: Option<String>,
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    pub(crate) redelivered: bool,
    /// The offset in a stream.
    pub(crate) offset: Option<u64>,
    /// The number of messages left in the queue, where the broker said so.
    pub(crate) remaining: Option<u32>,
    pub(crate) properties: Properties,
    /// The properties octet by octet, as they arrived.
    pub(crate) encoded: EncodedProperties,
    pub(crate) body: Bytes,
}

/// A message as JSON, with its fields in this order.
#[derive(Debug, Serialize)]
struct Shape<'a> {
    number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<&'a str>,
    exchange: &'a str,
    routing_key: &'a str,
    redelivered: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining: Option<u32>,
    properties: Map<String, Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

impl MessageView {
    /// The view of a message that arrived. Properties that cannot be decoded are shown as none.
    pub(crate) fn new(number: u64, received: &Received) -> Self {
        let properties = received.properties().unwrap_or_default();
        let offset = properties
            .headers
            .as_ref()
            .and_then(|headers| headers.get("x-stream-offset"))
            .and_then(|offset| offset.as_i64())
            .and_then(|offset| u64::try_from(offset).ok());
        MessageView {
            number,
            queue: None,
            exchange: received.exchange().into_owned(),
            routing_key: received.routing_key().into_owned(),
            redelivered: received.redelivered(),
            offset,
            remaining: None,
            properties,
            encoded: received.encoded_properties(),
            body: received.body().clone(),
        }
    }

    /// The message as one JSON object: the body as `body` if it is UTF-8, else as `body_base64`.
    pub(crate) fn to_json(&self) -> impl Serialize + '_ {
        let body = std::str::from_utf8(&self.body).ok();
        Shape {
            number: self.number,
            queue: self.queue.as_deref(),
            exchange: &self.exchange,
            routing_key: &self.routing_key,
            redelivered: self.redelivered,
            offset: self.offset,
            remaining: self.remaining,
            properties: self.properties_json(),
            body,
            body_base64: body.is_none().then(|| BASE64_STANDARD.encode(&self.body)),
        }
    }

    /// The properties that there are, by their names on the wire.
    pub(crate) fn properties_json(&self) -> Map<String, Json> {
        let properties = &self.properties;
        let texts = [
            ("content_type", &properties.content_type),
            ("content_encoding", &properties.content_encoding),
            ("correlation_id", &properties.correlation_id),
            ("reply_to", &properties.reply_to),
            ("expiration", &properties.expiration),
            ("message_id", &properties.message_id),
            ("type", &properties.kind),
            ("user_id", &properties.user_id),
            ("app_id", &properties.app_id),
            ("cluster_id", &properties.cluster_id),
        ];
        let numbers = [
            ("delivery_mode", properties.delivery_mode.map(u64::from)),
            ("priority", properties.priority.map(u64::from)),
            ("timestamp", properties.timestamp),
        ];
        let texts = texts
            .into_iter()
            .filter_map(|(name, text)| Some((name, Json::String(text.as_ref()?.to_text().into_owned()))));
        let numbers = numbers.into_iter().filter_map(|(name, number)| Some((name, Json::from(number?))));
        let headers =
            properties.headers.iter().map(|headers| ("headers", Json::Object(table_to_json(headers))));
        texts.chain(numbers).chain(headers).map(|(name, json)| (name.to_owned(), json)).collect()
    }

    /// Appends the value of a template's field.
    pub(crate) fn fill(&self, field: &Field, out: &mut Vec<u8>) {
        let text = match field.name.as_str() {
            "body" => return out.extend_from_slice(&self.body),
            "number" => self.number.to_string(),
            "queue" => self.queue.clone().unwrap_or_default(),
            "exchange" => self.exchange.clone(),
            "routing_key" => self.routing_key.clone(),
            "redelivered" => self.redelivered.to_string(),
            "offset" => self.offset.map(|offset| offset.to_string()).unwrap_or_default(),
            "remaining" => self.remaining.map(|count| count.to_string()).unwrap_or_default(),
            "size" => self.body.len().to_string(),
            "base64" => BASE64_STANDARD.encode(&self.body),
            "json" => crate::output::json::line(&self.to_json()),
            "properties" => crate::output::json::line(&self.properties_json()),
            "headers" => {
                let headers = self.properties.headers.as_ref().map(table_to_json).unwrap_or_default();
                crate::output::json::line(&headers)
            }
            other => self.named(other).unwrap_or_default(),
        };
        out.extend_from_slice(text.as_bytes());
    }

    /// The text of `header.NAME` or `property.NAME`.
    fn named(&self, field: &str) -> Option<String> {
        let json = match field.split_once('.')? {
            ("header", name) => to_json(&self.properties.headers.as_ref()?.get(name)?),
            ("property", name) => self.properties_json().get(name)?.clone(),
            _ => return None,
        };
        Some(match json {
            Json::String(text) => text,
            json => json.to_string(),
        })
    }
}
