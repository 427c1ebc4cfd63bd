//! Writing envelopes.

use amqp_codec::{Properties, ShortString, Table};
use uuid::{Builder, Uuid, fmt::Hyphenated};

use super::{
    error::NotText,
    tagged,
    write_json::{push_float, push_integer, push_table, push_text},
};
use crate::{backend::Message, kombu::priorities::PriorityOrder};

/// How bodies are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BodyEncoding {
    #[default]
    Base64,
    /// As text. A body that is not UTF-8 is written as Base64 all the same.
    Utf8,
}

/// Writes messages as kombu does.
#[derive(Debug)]
pub(crate) struct EnvelopeEncoder {
    body_encoding: BodyEncoding,
    priorities: PriorityOrder,
    /// The next delivery tag: counting up from a random number costs no system call for each.
    next_tag: u128,
}

/// A message as it is put into a list or channel.
#[derive(Clone, Debug)]
pub(crate) struct EncodedEnvelope {
    pub(crate) json: Vec<u8>,
    /// The priority that is written in it, which tells its list.
    pub(crate) wire_priority: u8,
    /// Where the tag is in it.
    tag_at: usize,
}

impl EncodedEnvelope {
    /// The delivery tag that is written in it.
    #[cfg(test)]
    pub(crate) fn delivery_tag(&self) -> &[u8] {
        self.json.get(self.tag_at..self.tag_at + Hyphenated::LENGTH).unwrap_or_default()
    }
}

impl EnvelopeEncoder {
    pub(crate) fn new(body_encoding: BodyEncoding, priorities: PriorityOrder) -> Self {
        EnvelopeEncoder { body_encoding, priorities, next_tag: Uuid::new_v4().as_u128() }
    }

    /// Writes a message. Its expiration counts from `now`, in unix seconds.
    ///
    /// # Errors
    /// A property that is not UTF-8. Headers and body may hold any bytes.
    pub(crate) fn encode(&mut self, message: &Message, now: f64) -> Result<EncodedEnvelope, NotText> {
        let properties = &message.properties;
        let headers = properties.headers.as_ref().map_or(0, |headers| headers.as_encoded().len());
        // Room for names and properties of usual length.
        let mut json = Vec::with_capacity(512 + headers * 2 + message.body.len() * 4 / 3);
        json.extend_from_slice(br#"{"body":"#);
        let body_encoding = self.push_body(&mut json, &message.body);
        json.extend_from_slice(br#","content-encoding":"#);
        push_optional(&mut json, properties.content_encoding.as_ref(), "content encoding")?;
        json.extend_from_slice(br#","content-type":"#);
        push_optional(&mut json, properties.content_type.as_ref(), "content type")?;
        json.extend_from_slice(br#","headers":"#);
        push_table(&mut json, properties.headers.as_ref().unwrap_or(&Table::new()).entries())?;
        json.extend_from_slice(br#","properties":{"#);
        push_properties(&mut json, properties, now)?;
        push_delivery_info(&mut json, message)?;
        let wire_priority = self.priorities.wire(properties.priority.unwrap_or_default());
        json.extend_from_slice(br#","priority":"#);
        push_integer(&mut json, wire_priority.into());
        json.extend_from_slice(br#","body_encoding":"#);
        json.extend_from_slice(body_encoding);
        json.extend_from_slice(br#","delivery_tag":""#);
        let tag_at = json.len();
        json.resize(tag_at + Hyphenated::LENGTH, 0);
        json.extend_from_slice(br#""}}"#);
        let mut envelope = EncodedEnvelope { json, wire_priority, tag_at };
        self.retag(&mut envelope);
        Ok(envelope)
    }

    /// Gives an envelope a fresh delivery tag: each queue's copy has one of its own.
    pub(crate) fn retag(&mut self, envelope: &mut EncodedEnvelope) {
        let tag = Builder::from_random_bytes(self.next_tag.to_be_bytes()).into_uuid();
        self.next_tag = self.next_tag.wrapping_add(1);
        if let Some(place) = envelope.json.get_mut(envelope.tag_at..envelope.tag_at + Hyphenated::LENGTH) {
            tag.hyphenated().encode_lower(place);
        }
    }

    /// Writes the body; returns the name of its encoding, in quotes.
    fn push_body(&self, json: &mut Vec<u8>, body: &[u8]) -> &'static [u8] {
        if let (BodyEncoding::Utf8, Ok(text)) = (self.body_encoding, str::from_utf8(body)) {
            push_text(json, text);
            return br#""utf-8""#;
        }
        json.push(b'"');
        tagged::push_base64(json, body);
        json.push(b'"');
        br#""base64""#
    }
}

fn text<'a>(value: &'a ShortString, what: &'static str) -> Result<&'a str, NotText> {
    value.as_str().map_err(|_| NotText(what))
}

fn push_optional(json: &mut Vec<u8>, value: Option<&ShortString>, what: &'static str) -> Result<(), NotText> {
    match value {
        Some(value) => push_text(json, text(value, what)?),
        None => json.extend_from_slice(b"null"),
    }
    Ok(())
}

/// Appends each property that is set, with a comma behind it.
fn push_properties(json: &mut Vec<u8>, properties: &Properties, now: f64) -> Result<(), NotText> {
    for (name, value, what) in [
        ("correlation_id", &properties.correlation_id, "correlation id"),
        ("reply_to", &properties.reply_to, "reply-to"),
        ("message_id", &properties.message_id, "message id"),
        ("type", &properties.kind, "type"),
        ("user_id", &properties.user_id, "user id"),
        ("app_id", &properties.app_id, "application id"),
        ("cluster_id", &properties.cluster_id, "cluster id"),
        ("expiration", &properties.expiration, "expiration"),
    ] {
        if let Some(value) = value {
            push_name(json, name);
            push_text(json, text(value, what)?);
            json.push(b',');
        }
    }
    if let Some(seconds) = properties.timestamp {
        push_name(json, "timestamp");
        push_integer(json, seconds.into());
        json.push(b',');
    }
    if let Some(mode) = properties.delivery_mode {
        push_name(json, "delivery_mode");
        push_integer(json, mode.into());
        json.push(b',');
    }
    if let Some(milliseconds) = properties.expiration.as_ref().and_then(milliseconds) {
        push_name(json, "expires_at");
        push_float(json, now + milliseconds as f64 / 1000.0);
        json.push(b',');
    }
    Ok(())
}

fn milliseconds(expiration: &ShortString) -> Option<u64> {
    expiration.as_str().ok()?.parse().ok()
}

fn push_name(json: &mut Vec<u8>, name: &str) {
    json.push(b'"');
    json.extend_from_slice(name.as_bytes());
    json.extend_from_slice(br#"":"#);
}

fn push_delivery_info(json: &mut Vec<u8>, message: &Message) -> Result<(), NotText> {
    json.extend_from_slice(br#""delivery_info":{"exchange":"#);
    push_text(json, text(&message.exchange, "exchange")?);
    json.extend_from_slice(br#","routing_key":"#);
    push_text(json, text(&message.routing_key, "routing key")?);
    json.push(b'}');
    Ok(())
}
