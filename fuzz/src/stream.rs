use std::iter::from_fn;

use amqp_codec::{
    Assembler, Content, ContentHeader, Error, Frame, FrameHeader, FrameKind, FrameScanner, Framer, Frames,
    Method, RawFrame,
    codec::FrameCodec,
    frame::FRAME_END,
    framer::Piece,
    parse::{complete, streaming},
    scanner::Passed,
};
use bytes::BytesMut;
use tokio_util::codec::Decoder as _;

use crate::allocation::bounded;

const FRAME_MAX: usize = 4096;
/// Streams up to this many bytes are cut at every point. Longer ones are cut at as many points,
/// which depend on the length.
const CUTS: usize = 64;

/// Splits a stream at every point. All readers find the same frames and the same error in the parts
/// as in the whole; a framer accounts for every byte; and content that is read in one step equals
/// what its frames give.
pub fn stream(data: &[u8]) {
    same_walk(data);
    same_in_parts(data);
    same_content(data);
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

/// All frames of a stream that arrives in these parts, and the error that ended it.
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

/// Checks that a walk over the buffer and the parsers find the same frames as cutting them off one
/// by one, and end the same way.
fn same_walk(data: &[u8]) {
    let mut rest = BytesMut::from(data);
    bounded(0, || walk(data));
    let mut frames = Frames::new(data, FRAME_MAX);
    loop {
        let before = frames.rest();
        let raw = RawFrame::split_from(&mut rest, FRAME_MAX);
        let frame = frames.next_frame();
        assert_eq!(data.len() - frames.rest().len(), frames.position());
        let parsed = streaming::frame(FRAME_MAX)(before);
        assert_eq!(complete::frame(FRAME_MAX)(before).is_ok(), parsed.is_ok());
        let (Ok(Some(raw)), Ok(Some(frame))) = (&raw, &frame) else {
            assert_eq!((raw.map(|_| ()), frames.rest()), (frame.map(|_| ()), before));
            assert!(parsed.is_err());
            return;
        };
        assert_eq!((frame.kind, frame.channel, frame.payload), (raw.kind, raw.channel, &raw.payload[..]));
        assert_eq!(&data[frame.payload_range()], frame.payload);
        let (after, parsed) = parsed.expect("it is whole");
        assert_eq!((after, parsed.payload), (frames.rest(), frame.payload));
        same_payload(raw);
    }
}

fn walk(data: &[u8]) -> usize {
    let mut frames = Frames::new(data, FRAME_MAX);
    while let Ok(Some(frame)) = frames.next_frame() {
        let _ = (
            complete::method(frame.payload),
            complete::content_header(frame.payload),
            complete::table(frame.payload),
        );
        frames.next_content(frame.channel);
    }
    frames.position()
}

/// Checks that the parsers accept what the readers accept.
fn same_payload(raw: &RawFrame) {
    let method = complete::method(&raw.payload);
    if let Ok((rest, method)) = &method {
        let whole = raw.payload.slice(..raw.payload.len() - rest.len());
        assert_eq!(
            method.decode().map(|it| format!("{it:?}")),
            Method::decode(&whole).map(|it| format!("{it:?}"))
        );
    }
    assert!(method.is_ok() || Method::decode(&raw.payload).is_err());
    if let Ok((rest, header)) = complete::content_header(&raw.payload) {
        let whole = raw.payload.slice(..raw.payload.len() - rest.len());
        assert_eq!(Ok(ContentHeader::from(header)), ContentHeader::decode(&whole));
    }
}

/// Checks that a stream in parts has the same frames as the whole, up to the first error.
fn same_in_parts(data: &[u8]) {
    let mut frames = Frames::new(data, usize::MAX);
    let whole: Vec<_> = from_fn(|| frames.next_frame().ok()?.map(|frame| frame.header())).collect();
    for size in [1, 3, data.len().max(1)] {
        let (headers, payload) = bounded(data.len(), || scanned(data.chunks(size)));
        assert!(headers.starts_with(&whole), "in parts of {size}");
        assert_eq!(headers[..whole.len()].iter().map(|header| header.size as usize).sum::<usize>(), payload);
    }
}

/// The headers of the scanned frames, and the length of the payloads before the first wrong end
/// marker.
fn scanned<'a>(parts: impl Iterator<Item = &'a [u8]>) -> (Vec<FrameHeader>, usize) {
    let mut scanner = FrameScanner::default();
    let (mut headers, mut whole, mut part_of) = (Vec::new(), 0, 0);
    for mut octets in parts {
        while let Ok(Some(passed)) = scanner.scan(&mut octets) {
            match passed {
                Passed::Header(header) => headers.push(header),
                Passed::Payload(part) => part_of += part.len(),
                Passed::End(FRAME_END) => whole += std::mem::take(&mut part_of),
                Passed::End(_) => return (headers, whole),
            }
        }
    }
    (headers, whole)
}

fn same_content(data: &[u8]) {
    let mut frames = Frames::new(data, FRAME_MAX);
    let Ok(Some(method)) = frames.next_frame() else { return };
    let Some(found) = frames.next_content(method.channel) else { return };
    if method.kind != FrameKind::Method || Method::decode(&method.payload.to_vec().into()).is_err() {
        return;
    }
    let mut rest = BytesMut::from(data);
    let (channel, content) = first_content(&mut rest).ok().flatten().expect("a content in order");
    assert_eq!((method.channel, frames.rest()), (channel, &rest[..]), "both take the same bytes");
    assert_eq!(found.properties, content.header.properties.as_encoded());
    assert_eq!(found.body, content.body.into_bytes());
    assert_eq!((&data[found.properties_range()], &data[found.body_range()]), (found.properties, found.body));
}

/// The content of the first frames, when they form one content on one channel.
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
