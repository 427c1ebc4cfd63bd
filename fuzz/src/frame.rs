use amqp_codec::{Assembler, Error, Frame, RawFrame, codec::FrameCodec};
use arbitrary::Unstructured;
use bytes::BytesMut;
use tokio_util::codec::Decoder as _;

use crate::{allocation::bounded, method::same_again};

const FRAME_MAX: usize = 4096;

/// Reads a stream of frames of one channel. What is read is written back the same, within bounds of
/// memory; and every frame that can be generated from the input is read as it was written.
///
/// The first octet gives the size of the parts in which the rest arrives.
pub fn frame(data: &[u8]) {
    let Some((&part, stream)) = data.split_first() else { return };
    made_of(stream);
    let mut whole = BytesMut::from(stream);
    let frames = bounded(stream.len(), || {
        let mut assembler = Assembler::default();
        let mut count = 0;
        while let Ok(Some(frame)) = next(&mut whole) {
            let _ = assemble(&mut assembler, frame);
            count += 1;
        }
        count
    });
    assert_eq!(in_parts(stream, usize::from(part).max(1)), frames);
    written_again(stream);
}

/// Frames generated from the input, valid ones and nearly valid ones.
fn made_of(data: &[u8]) {
    let mut unstructured = Unstructured::new(data);
    if let Ok(frame) = unstructured.arbitrary::<Frame>() {
        let mut wire = BytesMut::new();
        frame.encode(usize::MAX, &mut wire).expect("it is valid");
        let raw = RawFrame::split_from(&mut wire, usize::MAX).expect("it was written").expect("whole");
        let read = raw.decode().expect("it was valid");
        // The comparison is by bytes, because a NaN in a table does not equal itself and secrets
        // are redacted.
        let mut again = BytesMut::new();
        read.encode(usize::MAX, &mut again).expect("it was read");
        wire.clear();
        frame.encode(usize::MAX, &mut wire).expect("it is valid");
        assert_eq!((again, format!("{read:?}")), (wire, format!("{frame:?}")));
    }
    if let Ok(raw) = unstructured.arbitrary::<RawFrame>() {
        assert!(!raw.to_string().is_empty());
    }
}

fn next(buffer: &mut BytesMut) -> Result<Option<Frame>, Error> {
    RawFrame::split_from(buffer, FRAME_MAX)?.map(RawFrame::decode).transpose()
}

fn assemble(assembler: &mut Assembler<()>, frame: Frame) -> Result<(), Error> {
    let content = match frame {
        Frame::Method(_, method) if method.has_content() => return assembler.method(()),
        Frame::Method(..) => return assembler.expect_method(),
        Frame::Header(_, header) => assembler.header(header)?,
        Frame::Body(_, part) => assembler.body(part)?,
        Frame::Heartbeat(_) => None,
    };
    if let Some(content) = content {
        assert_eq!(content.body.into_bytes().len() as u64, content.header.body_size);
    }
    Ok(())
}

/// How many frames come out when the bytes arrive in parts of `size`.
fn in_parts(stream: &[u8], size: usize) -> usize {
    let mut codec = FrameCodec::new(FRAME_MAX);
    let mut buffer = BytesMut::new();
    let mut frames = 0;
    for part in stream.chunks(size) {
        buffer.extend_from_slice(part);
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(_)) => frames += 1,
                Ok(None) => break,
                Err(_) => return frames,
            }
        }
    }
    frames
}

fn written_again(stream: &[u8]) {
    let mut rest = BytesMut::from(stream);
    while let Ok(Some(frame)) = next(&mut rest) {
        let mut out = BytesMut::new();
        frame.encode(FRAME_MAX, &mut out).expect("it was not too large to be read");
        if let Frame::Method(_, method) = &frame {
            same_again(method);
        }
        assert_eq!(next(&mut out), Ok(Some(frame)));
        assert!(out.is_empty());
    }
}
