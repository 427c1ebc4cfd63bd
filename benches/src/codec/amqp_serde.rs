//! amqp_serde, which amqprs is built on. As in amqprs, frames are structs with its types and
//! serde's derives; the public ones of amqprs are used where there are any.

use amqp_serde::{
    from_bytes, to_buffer,
    types::{FieldTable, LongLongUint, LongUint, Octect, ShortStr, ShortUint},
};
use amqprs::{BasicProperties, Deliver};
use bytes::{BufMut, BytesMut};
use serde::{Deserialize, Serialize};

use super::sample;

const FRAME_HEADER_LEN: usize = 7;
const CONTENT_HEADER_LEN: usize = 12;

#[derive(Serialize, Deserialize)]
struct FrameHeader {
    kind: Octect,
    channel: ShortUint,
    size: LongUint,
}

#[derive(Serialize, Deserialize)]
struct MethodHeader {
    class_id: ShortUint,
    method_id: ShortUint,
}

#[derive(Serialize)]
struct Publish {
    ticket: ShortUint,
    exchange: ShortStr,
    routing_key: ShortStr,
    bits: Octect,
}

/// The part of a content header before the properties.
#[derive(Serialize, Deserialize)]
pub struct ContentHeader {
    class_id: ShortUint,
    weight: ShortUint,
    pub body_size: LongLongUint,
}

/// A publish, to be encoded.
pub struct Outgoing {
    method: (MethodHeader, Publish),
    header: (ContentHeader, BasicProperties),
    body: Vec<u8>,
}

/// A delivery with its content.
pub struct Message {
    pub deliver: Deliver,
    pub header: ContentHeader,
    pub properties: BasicProperties,
    pub body: Vec<u8>,
}

/// The publish, to be encoded.
pub fn publish() -> Outgoing {
    let publish = Publish {
        ticket: 0,
        exchange: short(sample::EXCHANGE),
        routing_key: short(sample::ROUTING_KEY),
        bits: 0,
    };
    let header = ContentHeader { class_id: 60, weight: 0, body_size: sample::BODY.len() as u64 };
    let properties = BasicProperties::default()
        .with_content_type(sample::CONTENT_TYPE)
        .with_delivery_mode(amqprs::DELIVERY_MODE_PERSISTENT)
        .finish();
    Outgoing {
        method: (MethodHeader { class_id: 60, method_id: 40 }, publish),
        header: (header, properties),
        body: sample::BODY.to_vec(),
    }
}

fn short(text: &str) -> ShortStr {
    text.try_into().expect("it is short")
}

/// Appends the frames of the publish.
pub fn encode(publish: &Outgoing, out: &mut BytesMut) {
    encode_frame(1, out, |out| to_buffer(&publish.method, out).expect("it fits"));
    encode_frame(2, out, |out| to_buffer(&publish.header, out).expect("it fits"));
    encode_frame(3, out, |out| {
        out.put_slice(&publish.body);
        publish.body.len()
    });
}

fn encode_frame(kind: Octect, out: &mut BytesMut, payload: impl FnOnce(&mut BytesMut) -> usize) {
    let start = out.len();
    let header = FrameHeader { kind, channel: sample::CHANNEL, size: 0 };
    to_buffer(&header, out).expect("it fits");
    let size = payload(out) as u32;
    out[start + 3..start + FRAME_HEADER_LEN].copy_from_slice(&size.to_be_bytes());
    out.put_u8(0xce);
}

/// Reads the first delivery; returns how many bytes it took.
pub fn decode_delivery(bytes: &[u8]) -> (Message, usize) {
    let (1, method, rest) = frame(bytes) else { panic!("not a method") };
    let (number, arguments) = method.split_at(4);
    let number: MethodHeader = read(number);
    assert_eq!((number.class_id, number.method_id), (60, 60));
    let deliver = read(arguments);
    let (2, header, rest) = frame(rest) else { panic!("not a header") };
    let (header, properties) = header.split_at(CONTENT_HEADER_LEN);
    let (header, properties) = (read(header), read(properties));
    let (3, body, rest) = frame(rest) else { panic!("not a body") };
    (Message { deliver, header, properties, body: body.to_vec() }, bytes.len() - rest.len())
}

/// The kind and payload of the first frame, and the rest.
fn frame(bytes: &[u8]) -> (Octect, &[u8], &[u8]) {
    let (header, rest) = bytes.split_at(FRAME_HEADER_LEN);
    let header: FrameHeader = read(header);
    let (payload, rest) = rest.split_at(header.size as usize);
    assert_eq!(rest[0], 0xce);
    (header.kind, payload, &rest[1..])
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> T {
    from_bytes(bytes).expect("it is well formed")
}

/// Reads every header.
pub fn decode_headers(bytes: &[u8]) -> FieldTable {
    read(bytes)
}
