//! JSON messages in the form that Python's libraries use.

use std::time::Duration;

use amqp_client::Message;
use amqp_codec::{PERSISTENT, Properties, ShortString, Table};
use bytes::Bytes;

use crate::serialize;

/// Returns a persistent message with the properties that kombu and oslo.messaging always set;
/// `expires` is its time to live.
pub(crate) fn json_message(body: Bytes, expires: Option<Duration>) -> Message {
    let expiration = expires.and_then(|ttl| ShortString::try_from(ttl.as_millis().to_string()).ok());
    let properties = Properties {
        content_type: Some(ShortString::from_static(serialize::CONTENT_TYPE)),
        content_encoding: Some(ShortString::from_static(serialize::CONTENT_ENCODING)),
        headers: Some(Table::new()),
        delivery_mode: Some(PERSISTENT),
        priority: Some(0),
        expiration,
        ..Properties::default()
    };
    Message::with_properties(body, properties)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_captured_properties_of_a_call() {
        let message = json_message(Bytes::from_static(b"{}"), Some(Duration::from_secs(5)));
        let captured = b"\xf9\x00\x10application/json\x05utf-8\x00\x00\x00\x00\x02\x00\x045000";
        assert_eq!(message.properties().encode().unwrap().as_encoded().as_ref(), captured);
    }
}
