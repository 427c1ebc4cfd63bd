//! The interface for fuzz targets and nobody else: the messages of kombu's Redis transport, as pure
//! functions, and HTTP without a socket. It has no stability.

use std::net::Ipv4Addr;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    backend::Message,
    broker::Broker,
    kombu::{
        envelope::{self, BodyEncoding, EnvelopeEncoder},
        priorities::PriorityOrder,
    },
    management::service::options::HttpOptions,
};

/// A message as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The message.
    pub message: Message,
    /// Set when it was returned to a queue after it had been claimed.
    pub redelivered: bool,
    /// The priority that is written in it.
    pub wire_priority: u8,
}

/// An entry of the hash of claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The message as it was in its queue.
    pub envelope: Vec<u8>,
    /// The exchange that it is routed by again.
    pub exchange: String,
    /// Its routing key, or its queue.
    pub routing_key: String,
}

/// Reads an item of a list; `None` when it is no message.
pub fn decode(item: &[u8]) -> Option<Decoded> {
    let read = envelope::decode(item, PriorityOrder::LowerFirst).ok()?;
    Some(Decoded { message: read.message, redelivered: read.redelivered, wire_priority: read.wire_priority })
}

/// The priority that is written in an item, whatever else is.
pub fn wire_priority(item: &[u8]) -> u8 {
    envelope::wire_priority(item)
}

/// Writes a message; `None` when it has a property that is no text.
pub fn encode(message: &Message, as_text: bool) -> Option<Vec<u8>> {
    let encoding = if as_text { BodyEncoding::Utf8 } else { BodyEncoding::Base64 };
    let mut encoder = EnvelopeEncoder::new(encoding, PriorityOrder::LowerFirst);
    encoder.encode(message, 0.0).ok().map(|envelope| envelope.json)
}

/// Marks an item as redelivered; `None` when it is no message.
pub fn mark_redelivered(item: &[u8]) -> Option<Vec<u8>> {
    envelope::mark_redelivered(item).ok()
}

/// Writes the claim of an item that came from a queue.
pub fn claim(item: &[u8], queue: &str) -> Vec<u8> {
    envelope::claim(item, queue)
}

/// Reads a claim; `None` when it is none.
pub fn decode_claim(entry: &[u8]) -> Option<Claim> {
    let read = envelope::decode_claim(entry).ok()?;
    let (envelope, exchange, routing_key) = (read.envelope.to_vec(), read.exchange, read.routing_key);
    Some(Claim { envelope, exchange, routing_key })
}

/// Serves HTTP on a stream from this machine, until either side ends it.
pub async fn serve_http(
    broker: &Broker,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    options: &HttpOptions,
) {
    broker.serve_http_on(stream, (Ipv4Addr::LOCALHOST, 0).into(), options).await;
}
