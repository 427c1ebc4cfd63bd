//! amqp-codec.

use std::hint::black_box;

use amqp_codec::{
    Assembler, Content, EncodedProperties, Frame, Frames, Method, Properties, PropertyList, RawFrame,
    ShortString, Table, ValueRef, borrowed,
    content::CONTENT_HEADER_LEN,
    frame::{HEADER_LEN, encode_content},
    method::basic::Publish,
};
use bytes::{Bytes, BytesMut};

use super::sample;

/// A publish, to be encoded.
pub struct Outgoing {
    method: Publish,
    properties: EncodedProperties,
}

/// The publish, to be encoded.
pub fn publish() -> Outgoing {
    let method = Publish {
        exchange: ShortString::from_static(sample::EXCHANGE),
        routing_key: ShortString::from_static(sample::ROUTING_KEY),
        ..Default::default()
    };
    Outgoing { method, properties: sample::properties().encode().expect("it fits") }
}

/// Appends the frames of the publish by the function for any method with content.
pub fn encode_method(publish: &Outgoing, out: &mut BytesMut) {
    encode_content(
        sample::CHANNEL,
        &publish.method,
        &publish.properties,
        sample::BODY,
        sample::FRAME_MAX,
        u64::MAX,
        out,
    )
    .expect("it fits");
}

/// Cuts the first content off the buffer, of any method and in any number of frames.
pub fn decode_content(buffer: &mut BytesMut) -> Content<Method> {
    let mut assembler = Assembler::default();
    loop {
        let raw = RawFrame::split_from(buffer, sample::FRAME_MAX).expect("it is well formed");
        let content = match raw.expect("it is whole").decode().expect("it is well formed") {
            Frame::Method(_, method) => assembler.method(method).map(|()| None),
            Frame::Header(_, header) => assembler.header(header),
            Frame::Body(_, part) => assembler.body(part),
            Frame::Heartbeat(_) => Ok(None),
        };
        if let Some(content) = content.expect("it is in turn") {
            return content;
        }
    }
}

/// Reads every header.
pub fn decode_headers(bytes: &Bytes, each: impl FnMut((&[u8], ValueRef<'_>))) {
    let table = Table::from_encoded(bytes.slice(4..)).expect("it is well formed");
    table.entries().for_each(each);
}

/// The properties of the publish, decoded.
pub fn properties() -> Properties {
    sample::properties()
}

/// Appends the frames of the publish, from names and properties as a caller has them.
#[inline]
pub fn encode(properties: &impl PropertyList, out: &mut BytesMut) {
    // `black_box` keeps the compiler from knowing them.
    let (exchange, routing_key) = black_box((sample::EXCHANGE.as_bytes(), sample::ROUTING_KEY.as_bytes()));
    let publish = borrowed::Publish { exchange, routing_key, mandatory: false, immediate: false };
    publish
        .encode(sample::CHANNEL, properties, black_box(sample::BODY), sample::FRAME_MAX, out)
        .expect("it fits");
}

/// A delivery that can be kept: a slice of the buffer with all of its frames, and where method and
/// header end.
pub struct Delivery {
    frames: Bytes,
    method_end: u16,
    header_end: u32,
}

impl Delivery {
    /// The method.
    pub fn deliver(&self) -> borrowed::Deliver<'_> {
        let deliver = borrowed::Deliver::decode(&self.frames[HEADER_LEN..usize::from(self.method_end)]);
        deliver.expect("it has been read").expect("it is one")
    }

    /// The properties.
    pub fn properties(&self) -> EncodedProperties {
        let start = usize::from(self.method_end) + 1 + HEADER_LEN + CONTENT_HEADER_LEN;
        EncodedProperties::from_encoded(self.frames.slice(start..self.header_end as usize))
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        let start = self.header_end as usize + 1 + HEADER_LEN;
        self.frames.get(start..self.frames.len() - 1).unwrap_or_default()
    }
}

/// Cuts the first delivery off the buffer.
#[inline]
pub fn decode_delivery(buffer: &mut BytesMut) -> Delivery {
    let mut frames = Frames::new(buffer, sample::FRAME_MAX);
    let frame = frames.next_frame().expect("it is well formed").expect("it is whole");
    borrowed::Deliver::decode(frame.payload).expect("it is well formed").expect("it is one");
    let content = frames.next_content(frame.channel).expect("it is in order");
    let (method_end, header_end) = (frame.payload_range().end as u16, content.properties_range().end as u32);
    Delivery { frames: buffer.split_to(frames.position()).freeze(), method_end, header_end }
}
