//! A publish as frames: method, header, body, written straight into the outgoing buffer.

use amqp_codec::{Error as CodecError, ShortString, content::body_frame_sizes, frame};
use bytes::BufMut;

use super::output::{COPY_LIMIT, Output};
use crate::message::Message;

/// What `basic.publish` says beside the message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route<'a> {
    pub(crate) exchange: &'a str,
    pub(crate) routing_key: &'a str,
    pub(crate) mandatory: bool,
}

impl Route<'_> {
    fn check(&self) -> Result<(), CodecError> {
        for (what, text) in [("exchange", self.exchange), ("routing_key", self.routing_key)] {
            if text.len() > ShortString::MAX {
                return Err(CodecError::ShortStringTooLong { what, length: text.len() });
            }
        }
        Ok(())
    }
}

/// Appends all frames of one publish, or nothing. Returns how many they are.
///
/// # Errors
/// A name over 255 bytes, properties that do not fit into one frame.
pub(crate) fn encode(
    output: &mut Output,
    frame_max: usize,
    channel: u16,
    route: Route<'_>,
    message: &Message,
) -> Result<u64, CodecError> {
    route.check()?;
    let start = output.buffer().len();
    let body = message.body();
    put_method_and_header_start(output, channel, route, body.len());
    if let Err(error) = put_properties(output, frame_max, message) {
        output.buffer().truncate(start);
        return Err(error);
    }
    let mut at = 0;
    let mut frames = 2;
    for size in body_frame_sizes(body.len(), frame_max) {
        frame::put_body_frame_header(channel, size as u32, output.buffer());
        let part = at..at + size;
        if size <= COPY_LIMIT {
            output.buffer().put_slice(body.get(part).unwrap_or_default());
        } else {
            output.splice(body.slice(part));
        }
        output.buffer().put_u8(frame::FRAME_END);
        at += size;
        frames += 1;
    }
    Ok(frames)
}

/// The method frame, and the header frame up to its properties; lengths have been checked.
fn put_method_and_header_start(output: &mut Output, channel: u16, route: Route<'_>, body_len: usize) {
    let (exchange, key) = (route.exchange.as_bytes(), route.routing_key.as_bytes());
    let [c1, c0] = channel.to_be_bytes();
    let out = output.buffer();
    // class 2, method 2, ticket 2, two length octets, bits 1
    let [s3, s2, s1, s0] = ((9 + exchange.len() + key.len()) as u32).to_be_bytes();
    out.put_slice(&[1, c1, c0, s3, s2, s1, s0, 0, 60, 0, 40, 0, 0, exchange.len() as u8]);
    out.put_slice(exchange);
    out.put_u8(key.len() as u8);
    out.put_slice(key);
    let [b7, b6, b5, b4, b3, b2, b1, b0] = (body_len as u64).to_be_bytes();
    out.put_slice(&[
        u8::from(route.mandatory),
        frame::FRAME_END,
        2, // content header: its size is filled in when the properties are there
        c1,
        c0,
        0,
        0,
        0,
        0,
        0, // class 60, weight 0
        60,
        0,
        0,
        b7,
        b6,
        b5,
        b4,
        b3,
        b2,
        b1,
        b0,
    ]);
}

/// Properties, the header frame's size, its end marker.
fn put_properties(output: &mut Output, frame_max: usize, message: &Message) -> Result<(), CodecError> {
    const BEFORE: usize = amqp_codec::content::CONTENT_HEADER_LEN;
    let out = output.buffer();
    let properties_at = out.len();
    message.properties().encode_into(out)?;
    let size = out.len() - properties_at + BEFORE;
    let length = size + amqp_codec::FRAME_OVERHEAD;
    if length > frame_max {
        return Err(CodecError::FrameTooLarge { size: length as u64, limit: frame_max as u64 });
    }
    let size_at = properties_at - BEFORE - 4;
    if let Some(field) = out.get_mut(size_at..size_at + 4) {
        field.copy_from_slice(&(size as u32).to_be_bytes());
    }
    out.put_u8(frame::FRAME_END);
    Ok(())
}

#[cfg(test)]
mod tests {
    use amqp_codec::{ContentHeader, Frame, RawFrame, Table, method::basic};
    use bytes::{Bytes, BytesMut};

    use super::*;

    const ROUTE: Route<'static> = Route { exchange: "events", routing_key: "job.run", mandatory: true };

    fn frames(output: &Output, frame_max: usize) -> Vec<Frame> {
        let mut slices = vec![std::io::IoSlice::new(&[]); 64];
        let filled = output.slices(0, &mut slices);
        let mut wire = BytesMut::new();
        slices[..filled].iter().for_each(|slice| wire.extend_from_slice(slice));
        let mut frames = Vec::new();
        while let Some(raw) = RawFrame::split_from(&mut wire, frame_max).unwrap() {
            frames.push(raw.decode().unwrap());
        }
        assert!(wire.is_empty());
        frames
    }

    fn check_round_trip(message: &Message, frame_max: usize) {
        let mut output = Output::default();
        encode(&mut output, frame_max, 7, ROUTE, message).unwrap();
        let mut frames = frames(&output, frame_max).into_iter();
        let publish = basic::Publish {
            exchange: ShortString::from_static("events"),
            routing_key: ShortString::from_static("job.run"),
            mandatory: true,
            ..Default::default()
        };
        assert_eq!(frames.next(), Some(Frame::Method(7, publish.into())));
        let header = ContentHeader {
            class_id: 60,
            body_size: message.body().len() as u64,
            properties: message.properties().encode().unwrap(),
        };
        assert_eq!(frames.next(), Some(Frame::Header(7, header)));
        let mut body = Vec::new();
        for frame in frames {
            let Frame::Body(7, part) = frame else { panic!("{frame:?}") };
            body.extend_from_slice(&part);
        }
        assert_eq!(&body, message.body());
    }

    #[test]
    fn a_publish_reads_back_at_every_size_that_matters() {
        for size in [0, 1, COPY_LIMIT - 1, COPY_LIMIT, COPY_LIMIT + 1, 20_000] {
            for frame_max in [4096, 131_072] {
                let body: Vec<u8> = (0..size).map(|i| i as u8).collect();
                check_round_trip(&Message::new(body).content_type("text/plain").persistent(), frame_max);
            }
        }
    }

    #[test]
    fn a_refused_publish_leaves_nothing_behind() {
        let mut output = Output::default();
        let mut headers = Table::new();
        headers.insert("big", "x".repeat(5000)).unwrap();
        let error = encode(&mut output, 4096, 1, ROUTE, &Message::new("b").headers(headers)).unwrap_err();
        assert!(matches!(error, CodecError::FrameTooLarge { limit: 4096, .. }), "{error}");
        let long = "k".repeat(256);
        let route = Route { routing_key: &long, ..ROUTE };
        let error = encode(&mut output, 4096, 1, route, &Message::new(Bytes::new())).unwrap_err();
        assert_eq!(error, CodecError::ShortStringTooLong { what: "routing_key", length: 256 });
        assert!(output.is_empty());
    }
}
