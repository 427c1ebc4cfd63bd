//! amq-protocol, which lapin is built on: `gen_frame` and `parse_frame`.

use amq_protocol::{
    frame::{AMQPContentHeader, AMQPFrame, gen_frame, parse_frame},
    protocol::{
        AMQPClass,
        basic::{AMQPMethod, AMQPProperties, Deliver, Publish},
    },
    types::{FieldTable, parsing::parse_field_table},
};

use super::sample;

/// A delivery with its content.
pub struct Message {
    pub deliver: Deliver,
    pub header: AMQPContentHeader,
    pub body: Vec<u8>,
}

/// The frames of the publish, to be encoded.
pub fn publish() -> [AMQPFrame; 3] {
    let publish = Publish {
        exchange: short(sample::EXCHANGE),
        routing_key: short(sample::ROUTING_KEY),
        mandatory: false,
        immediate: false,
    };
    let properties =
        AMQPProperties::default().with_content_type(short(sample::CONTENT_TYPE)).with_delivery_mode(2);
    let header = AMQPContentHeader { class_id: 60, body_size: sample::BODY.len() as u64, properties };
    [
        AMQPFrame::Method(sample::CHANNEL, AMQPClass::Basic(AMQPMethod::Publish(publish))),
        AMQPFrame::Header(sample::CHANNEL, header),
        AMQPFrame::Body(sample::CHANNEL, sample::BODY.to_vec()),
    ]
}

fn short(text: &str) -> amq_protocol::types::ShortString {
    text.into()
}

/// Appends the frames.
pub fn encode(frames: &[AMQPFrame; 3], out: Vec<u8>) -> Vec<u8> {
    frames.iter().fold(out, |out, frame| gen_frame(frame)(out.into()).expect("it fits").into_inner().0)
}

/// Reads the first delivery; returns how many bytes it took.
pub fn decode_delivery(bytes: &[u8]) -> (Message, usize) {
    let (rest, AMQPFrame::Method(_, AMQPClass::Basic(AMQPMethod::Deliver(deliver)))) = parse(bytes) else {
        panic!("not a delivery");
    };
    let (rest, AMQPFrame::Header(_, header)) = parse(rest) else { panic!("not a header") };
    let (rest, AMQPFrame::Body(_, body)) = parse(rest) else { panic!("not a body") };
    (Message { deliver, header, body }, bytes.len() - rest.len())
}

fn parse(bytes: &[u8]) -> (&[u8], AMQPFrame) {
    parse_frame(bytes).expect("it is well formed")
}

/// Reads every header.
pub fn decode_headers(bytes: &[u8]) -> FieldTable {
    parse_field_table(bytes).expect("it is well formed").1
}
