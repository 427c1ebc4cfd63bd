//! The frames of a publish: method, header and body, written straight into the outgoing buffer.

use amqp_codec::{Error as CodecError, ShortString, borrowed, content::body_frame_sizes, frame};
use bytes::BufMut;

use crate::message::Message;
use crate::options::route::Route;
use crate::proto::ground::output::{COPY_LIMIT, Output};

/// Who is interested in the outcome of a publish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PublishMode {
    /// Nobody asks for the outcome.
    Unconfirmed,
    /// The publisher asks for the outcome.
    #[default]
    Confirmed,
    /// The publisher asks for the outcome, and the publish is repeated if the connection is lost
    /// first.
    Republished,
}

/// Appends all frames of one publish, or nothing. Returns how many frames there are.
///
/// # Errors
/// A name over 255 bytes, or properties that do not fit into one frame.
pub(crate) fn encode(
    output: &mut Output,
    frame_max: usize,
    channel: u16,
    route: Route<'_>,
    message: &Message,
) -> Result<u64, CodecError> {
    let body = message.body();
    let publish = borrowed::Publish {
        exchange: route.exchange.as_bytes(),
        routing_key: route.routing_key.as_bytes(),
        mandatory: route.mandatory,
        immediate: false,
    };
    let (size, out) = (body.len() as u64, output.buffer());
    match message.encoded_properties() {
        None => publish.encode_head(channel, message.properties(), size, frame_max, out)?,
        Some(encoded) => publish.encode_head(channel, encoded, size, frame_max, out)?,
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

/// Returns the error of a publish that fits into no frame at all.
///
/// # Errors
/// A name over 255 bytes, or properties that have no form on the wire.
#[cold]
pub(crate) fn check(route: Route<'_>, message: &Message) -> Result<(), CodecError> {
    // `encode_head` is not used here, because with a single caller it is inlined there.
    ShortString::new("exchange", route.exchange)?;
    ShortString::new("routing_key", route.routing_key)?;
    match message.encoded_properties() {
        None => message.properties().encode().map(drop),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use amqp_codec::{ContentHeader, EncodedProperties, Frame, RawFrame, ShortString, Table, method::basic};
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
    fn properties_that_are_passed_on_are_written_as_they_are_until_others_are_set() {
        let header = |message: &Message| {
            let mut output = Output::default();
            encode(&mut output, 4096, 7, ROUTE, message).unwrap();
            let Some(Frame::Header(7, header)) = frames(&output, 4096).into_iter().nth(1) else {
                panic!("a header")
            };
            header.properties
        };
        // This is a flag that no property has.
        let odd = EncodedProperties::from_encoded(Bytes::from_static(&[0, 1]));
        let message = Message::with_encoded_properties("b", odd.clone());
        assert_eq!(header(&message), odd);
        let other = message.persistent();
        assert_eq!(header(&other), other.properties().encode().unwrap());
    }

    #[test]
    fn a_refused_publish_leaves_nothing_behind() {
        let mut output = Output::default();
        let mut headers = Table::new();
        headers.insert("big", "x".repeat(5000)).unwrap();
        let error = encode(&mut output, 4096, 1, ROUTE, &Message::new("b").headers(headers)).unwrap_err();
        assert!(
            matches!(error, CodecError::TooLong { what: "a content header frame", limit: 4096, .. }),
            "{error}"
        );
        let long = "k".repeat(256);
        let route = Route { routing_key: &long, ..ROUTE };
        let error = encode(&mut output, 4096, 1, route, &Message::new(Bytes::new())).unwrap_err();
        assert_eq!(error, CodecError::ShortStringTooLong { what: "routing_key", length: 256 });
        assert!(output.is_empty());
    }
}
