//! The firehose: copies of all messages of a virtual host, while it is on
//! (<https://www.rabbitmq.com/docs/firehose>).

use amqp_client::{Properties, ShortString, Table, Value};
use amqp_codec::EncodedProperties;

use crate::message::view::MessageView;

/// The exchange that copies go to, by `publish.EXCHANGE` and `deliver.QUEUE`.
pub(crate) const EXCHANGE: &str = "amq.rabbitmq.trace";

/// The routing key of copies of what is published to the default exchange.
pub(crate) const DEFAULT_EXCHANGE_KEY: &str = "publish.";

/// The message that a copy stands for. Any other message stays as it is.
pub(crate) fn original(copy: MessageView) -> MessageView {
    if copy.exchange != EXCHANGE {
        return copy;
    }
    let Some(about) = &copy.properties.headers else { return copy };
    let text = |name: &str| about.get(name).and_then(|value| value.as_str().map(str::to_owned));
    let key = match about.get("routing_keys") {
        Some(Value::Array(keys)) => keys.iter().next().and_then(|key| key.as_str().map(str::to_owned)),
        _ => None,
    };
    let properties = match about.get("properties") {
        Some(Value::Table(table)) => properties(&table),
        _ => Properties::default(),
    };
    let encoded = properties.encode().unwrap_or(EncodedProperties::NONE);
    let redelivered = about.get("redelivered").and_then(|value| value.as_i64()) == Some(1);
    MessageView {
        queue: copy.routing_key.strip_prefix("deliver.").map(str::to_owned),
        exchange: text("exchange_name").unwrap_or_default(),
        routing_key: key.unwrap_or_default(),
        redelivered,
        properties,
        encoded,
        ..copy
    }
}

/// The properties that a table of the firehose describes.
fn properties(table: &Table) -> Properties {
    let text = |name: &str| match table.get(name)? {
        Value::LongString(text) => ShortString::from_bytes("property", text.into_bytes()).ok(),
        _ => None,
    };
    let number = |name: &str| table.get(name)?.as_i64();
    let octet = |name: &str| number(name).and_then(|number| u8::try_from(number).ok());
    let timestamp = match table.get("timestamp") {
        Some(Value::Timestamp(seconds)) => Some(seconds),
        Some(value) => value.as_i64().and_then(|seconds| seconds.try_into().ok()),
        None => None,
    };
    let headers = match table.get("headers") {
        Some(Value::Table(headers)) => Some(headers),
        _ => None,
    };
    Properties {
        content_type: text("content_type"),
        content_encoding: text("content_encoding"),
        headers,
        delivery_mode: octet("delivery_mode"),
        priority: octet("priority"),
        correlation_id: text("correlation_id"),
        reply_to: text("reply_to"),
        expiration: text("expiration"),
        message_id: text("message_id"),
        timestamp,
        kind: text("type"),
        user_id: text("user_id"),
        app_id: text("app_id"),
        cluster_id: text("cluster_id"),
    }
}
