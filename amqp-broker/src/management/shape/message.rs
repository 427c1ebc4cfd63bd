//! Messages: those that are fetched, and the properties of those that are published.

use amqp_codec::{Properties, ShortString};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use crate::management::{
    amqp::got::GotMessage,
    answer::{api_error::ApiError, table},
};

/// A message that was fetched, with at most so many bytes of its body.
pub(crate) fn message(got: &GotMessage, as_base64: bool, most: Option<usize>) -> Value {
    let part = got.body.get(..most.unwrap_or(usize::MAX).min(got.body.len())).unwrap_or_default();
    let text = std::str::from_utf8(part).ok().filter(|_| !as_base64);
    let (payload, encoding) = match text {
        Some(text) => (text.to_owned(), "string"),
        None => (BASE64_STANDARD.encode(part), "base64"),
    };
    json!({
        "exchange": got.exchange,
        "message_count": got.remaining,
        "payload": payload,
        "payload_bytes": got.body.len(),
        "payload_encoding": encoding,
        "properties": properties_json(&got.properties),
        "redelivered": got.redelivered,
        "routing_key": got.routing_key,
    })
}

/// Properties; as in RabbitMQ an empty list if there are none.
fn properties_json(properties: &Properties) -> Value {
    let mut shown = Map::new();
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
    for (name, text) in texts {
        if let Some(text) = text {
            shown.insert(name.to_owned(), text.to_text().into());
        }
    }
    let numbers = [
        ("delivery_mode", properties.delivery_mode.map(u64::from)),
        ("priority", properties.priority.map(u64::from)),
        ("timestamp", properties.timestamp),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            shown.insert(name.to_owned(), number.into());
        }
    }
    if let Some(headers) = &properties.headers {
        shown.insert("headers".to_owned(), table::table_json(headers));
    }
    if shown.is_empty() { json!([]) } else { shown.into() }
}

/// The properties of a message that is to be published; others than AMQP's are passed over.
///
/// # Errors
/// When one of them is not of its type.
pub(crate) fn properties(shown: &Map<String, Value>) -> Result<Properties, ApiError> {
    let number = |name: &str| match shown.get(name) {
        None => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or(ApiError::unfit("not_int", name)),
    };
    let octet = |name: &str| {
        let octet =
            number(name)?.map(|number| u8::try_from(number).map_err(|_| ApiError::unfit("not_octet", name)));
        octet.transpose()
    };
    let text = |name: &str| match shown.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => {
            let text =
                ShortString::try_from(text.as_str()).map_err(|error| ApiError::bad(error.to_string()))?;
            Ok(Some(text))
        }
        Some(_) => Err(ApiError::unfit("not_string", name)),
    };
    Ok(Properties {
        content_type: text("content_type")?,
        content_encoding: text("content_encoding")?,
        headers: shown.get("headers").map(|headers| table::table(Some(headers))).transpose()?,
        delivery_mode: octet("delivery_mode")?,
        priority: octet("priority")?,
        correlation_id: text("correlation_id")?,
        reply_to: text("reply_to")?,
        expiration: text("expiration")?,
        message_id: text("message_id")?,
        timestamp: number("timestamp")?,
        kind: text("type")?,
        user_id: text("user_id")?,
        app_id: text("app_id")?,
        cluster_id: text("cluster_id")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_and_written_as_they_were() {
        let shown =
            json!({"content_type": "text/plain", "delivery_mode": 2, "headers": {"a": 1}, "type": "t"});
        let read = properties(shown.as_object().unwrap()).unwrap();
        assert_eq!(properties_json(&read), shown);
        assert_eq!(properties_json(&Properties::default()), json!([]));
        for wrong in [json!({"delivery_mode": "2"}), json!({"priority": 300}), json!({"type": 5})] {
            assert!(properties(wrong.as_object().unwrap()).is_err(), "{wrong}");
        }
    }
}
