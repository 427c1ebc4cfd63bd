use std::iter::from_fn;

use amqp_codec::{
    Assembler, Content, Delivery, Error, Frame, Framer, Method, RawFrame, codec::FrameCodec, framer::Piece,
    method::basic,
};
use bytes::{Bytes, BytesMut};
use tokio_util::codec::Decoder as _;

const FRAME_MAX: usize = 4096;
/// Streams up to this many bytes are cut at every point; longer ones at as many points, which differ with the length.
const CUTS: usize = 64;

/// A stream split at every point is the whole: the same frames and the same error, whatever reads them; a framer accounts
/// for every byte; and a delivery read in one piece is the one its frames make.
pub fn stream(data: &[u8]) {
    same_delivery(data);
    let whole = frames(&[data]);
    let pieces = pieces(&[data]);
    let length: usize = pieces.iter().map(length).sum();
    assert_eq!(length, data.len(), "a framer loses bytes");
    let step = data.len().div_ceil(CUTS).max(1);
    for cut in (data.len() % step..=data.len()).step_by(step) {
        let (first, rest) = data.split_at(cut);
        assert_eq!(frames(&[first, rest]), whole, "cut at {cut}");
        assert_eq!(self::pieces(&[first, rest]), pieces, "cut at {cut}");
    }
    let bytewise: Vec<_> = data.chunks(1).collect();
    assert_eq!(frames(&bytewise), whole, "byte by byte");
}

/// All frames of a stream that arrives in these parts, and what ended it.
fn frames(parts: &[&[u8]]) -> (Vec<Frame>, Option<String>) {
    let mut codec = FrameCodec::new(FRAME_MAX);
    let mut buffer = BytesMut::new();
    let mut frames = Vec::new();
    for part in parts {
        buffer.extend_from_slice(part);
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error.to_string())),
            }
        }
    }
    (frames, None)
}

/// All pieces of a capture that arrives in these parts.
fn pieces(parts: &[&[u8]]) -> Vec<Piece> {
    let mut framer = Framer::new(FRAME_MAX);
    let mut pieces = Vec::new();
    for part in parts {
        framer.push(part);
        pieces.extend(from_fn(|| framer.next_piece()));
    }
    pieces.extend(framer.finish());
    pieces
}

fn length(piece: &Piece) -> usize {
    match piece {
        Piece::ProtocolHeader(header) => header.len(),
        Piece::Frame(frame) => frame.payload.len() + amqp_codec::FRAME_OVERHEAD,
        Piece::Skipped { bytes, .. } => bytes.len(),
    }
}

fn same_delivery(data: &[u8]) {
    let mut buffer = BytesMut::from(data);
    let Some(delivery) = Delivery::split_from(&mut buffer, FRAME_MAX) else { return };
    let mut rest = BytesMut::from(data);
    let (channel, content) = first_content(&mut rest).ok().flatten().expect("a content in order");
    assert_eq!(buffer, rest, "both take the same bytes");
    assert_eq!(&data[..data.len() - rest.len()], delivery.as_encoded());
    let deliver = basic::Deliver::try_from(content.method).expect("a delivery");
    assert_eq!(
        (delivery.channel(), delivery.tag(), delivery.redelivered()),
        (channel, deliver.delivery_tag, deliver.redelivered)
    );
    assert_eq!(delivery.consumer_tag(), deliver.consumer_tag.as_bytes());
    assert_eq!(delivery.exchange(), deliver.exchange.as_bytes());
    assert_eq!(delivery.routing_key(), deliver.routing_key.as_bytes());
    assert_eq!(delivery.properties(), content.header.properties);
    assert_eq!(delivery.body(), content.body.into_bytes());
    assert_eq!(Bytes::copy_from_slice(delivery.body()), delivery.into_body());
}

/// The content of the first frames, when they are one and on one channel.
fn first_content(buffer: &mut BytesMut) -> Result<Option<(u16, Content<Method>)>, Error> {
    let mut assembler = Assembler::default();
    let mut first = None;
    while let Some(raw) = RawFrame::split_from(buffer, FRAME_MAX)? {
        let channel = *first.get_or_insert(raw.channel);
        assert_eq!(raw.channel, channel);
        let content = match raw.decode()? {
            Frame::Method(_, method) => assembler.method(method).map(|()| None)?,
            Frame::Header(_, header) => assembler.header(header)?,
            Frame::Body(_, part) => assembler.body(part)?,
            Frame::Heartbeat(_) => None,
        };
        if let Some(content) = content {
            return Ok(Some((channel, content)));
        }
    }
    Ok(None)
}
