//! A client's script of frames, and what the broker closes for it.

use amqp_codec::{
    ContentHeader, Frame, Method, Properties, ShortString, Table, Value,
    method::{basic, channel, connection, exchange, queue},
};
use bytes::Bytes;

use super::peer::{Peer, short};

/// What the broker closes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Closed {
    Nothing,
    Channel,
    Connection,
}

pub(super) type Case = (&'static str, Vec<Frame>, Closed, &'static str);

pub(super) fn on(method: impl Into<Method>) -> Frame {
    Frame::Method(1, method.into())
}

pub(super) fn name(text: &str) -> ShortString {
    short(text)
}

pub(super) fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    let mut table = Table::new();
    for (key, value) in entries {
        table.insert(key, value).unwrap();
    }
    table
}

pub(super) fn exchange(text: &str, kind: &str) -> exchange::Declare {
    exchange::Declare { exchange: name(text), kind: name(kind), ..Default::default() }
}

pub(super) fn queue(text: &str) -> queue::Declare {
    queue::Declare { queue: name(text), ..Default::default() }
}

pub(super) fn queue_with<const N: usize>(text: &str, entries: [(&str, Value); N]) -> queue::Declare {
    queue::Declare { arguments: table(entries), ..queue(text) }
}

pub(super) fn quorum<const N: usize>(entries: [(&str, Value); N]) -> queue::Declare {
    let mut arguments = table(entries);
    arguments.insert("x-queue-type", "quorum").unwrap();
    queue::Declare { arguments, durable: true, ..queue("qb") }
}

pub(super) fn bind(to: &str, from: &str) -> queue::Bind {
    queue::Bind { queue: name(to), exchange: name(from), ..Default::default() }
}

pub(super) fn unbind(to: &str, from: &str) -> queue::Unbind {
    queue::Unbind { queue: name(to), exchange: name(from), ..Default::default() }
}

pub(super) fn consume(from: &str, tag: &str) -> basic::Consume {
    basic::Consume { queue: name(from), consumer_tag: name(tag), ..Default::default() }
}

pub(super) fn publish(to: &str, key: &str, properties: &Properties) -> [Frame; 3] {
    let publish = basic::Publish { exchange: name(to), routing_key: name(key), ..Default::default() };
    content(publish, properties)
}

pub(super) fn content(publish: basic::Publish, properties: &Properties) -> [Frame; 3] {
    let properties = properties.encode().unwrap();
    let header = ContentHeader { class_id: 60, body_size: 1, properties };
    [on(publish), Frame::Header(1, header), Frame::Body(1, Bytes::from_static(b"x"))]
}

pub(super) fn script<const N: usize>(steps: [Frame; N]) -> Vec<Frame> {
    Vec::from(steps)
}

/// Sends a script and then a harmless request; returns what was closed, with which text.
pub(super) async fn outcome(peer: Peer, frames: &[Frame]) -> (Closed, String) {
    let (closed, words, _) = blame(peer, frames).await;
    (closed, words)
}

/// As [`outcome`], with the method that the close blames.
pub(super) async fn blame(mut peer: Peer, frames: &[Frame]) -> (Closed, String, (u16, u16)) {
    peer.call(1, channel::Open::default()).await;
    for frame in frames {
        peer.frame(frame).await;
    }
    peer.send(1, basic::Qos::default()).await;
    loop {
        match peer.next().await {
            Some(Frame::Method(1, Method::Basic(basic::Method::QosOk(_)))) => {
                return (Closed::Nothing, String::new(), (0, 0));
            }
            Some(Frame::Method(1, Method::Channel(channel::Method::Close(close)))) => {
                let words = format!("{} {}", close.reply_code, close.reply_text);
                return (Closed::Channel, words, (close.class_id, close.method_id));
            }
            Some(Frame::Method(0, Method::Connection(connection::Method::Close(close)))) => {
                let words = format!("{} {}", close.reply_code, close.reply_text);
                return (Closed::Connection, words, (close.class_id, close.method_id));
            }
            Some(_) => {}
            None => panic!("the stream ended without a word"),
        }
    }
}
