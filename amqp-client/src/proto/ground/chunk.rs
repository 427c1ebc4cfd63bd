//! A chunk: the whole frames of one read.

use amqp_codec::{Error as CodecError, FrameRef, Frames, frame::HEADER_LEN};

/// The largest content header frame that is read, whatever was agreed: RabbitMQ applies frame_max
/// to headers that it receives, but not to those that it sends.
const HEADER_FRAME_MAX: usize = 1024 * 1024;

/// Returns how many bytes at the front are whole frames, and what is wrong with the rest. Only
/// frame headers are checked.
pub(crate) fn whole_frames(buffer: &[u8], frame_max: usize) -> (usize, Option<CodecError>) {
    let mut frames = Frames::new(buffer, frame_max).header_frame_max(frame_max.max(HEADER_FRAME_MAX));
    loop {
        match frames.skip_frame() {
            Ok(Some(_)) => {}
            Ok(None) => return (frames.position(), None),
            Err(error) => return (frames.position(), Some(error)),
        }
    }
}

/// Walks over a chunk, whose frames are whole and within the limits.
#[inline]
pub(crate) fn frames_of(chunk: &[u8]) -> Frames<'_> {
    Frames::new(chunk, usize::MAX)
}

/// Returns the next frame of a chunk.
#[inline]
pub(crate) fn next_frame<'a>(frames: &mut Frames<'a>) -> Result<FrameRef<'a>, CodecError> {
    let left = frames.rest().len();
    frames.next_frame()?.ok_or(CodecError::Truncated { what: "frame", needed: HEADER_LEN, left })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a frame of this kind and length.
    fn frame(kind: u8, length: u32) -> Vec<u8> {
        let size = (length - 8).to_be_bytes();
        [&[kind, 0, 1][..], &size, &vec![b'x'; length as usize - 8], &[0xCE]].concat()
    }

    #[test]
    fn what_is_before_a_frame_too_large_is_whole_and_only_headers_may_be_longer_than_agreed() {
        let (header, body) = (frame(2, 5000), frame(3, 4096));
        let read = [&header[..], &body, &header, &body[..4095]].concat();
        assert_eq!(whole_frames(&read, 4096), (14_096, None));
        for (kind, size, limit) in [(3, 4097, 4096), (1, 2_000_000, 4096), (2, 2_000_000, 1024 * 1024)] {
            let large = frame(kind, size);
            let read = [&header[..], &large[..7]].concat();
            let error = CodecError::FrameTooLarge { size: size.into(), limit };
            assert_eq!(whole_frames(&read, 4096), (5000, Some(error)), "kind {kind}, {size} bytes");
        }
    }

    #[test]
    fn end_markers_are_looked_at_when_it_is_their_turn() {
        let mut read = [frame(3, 20), frame(3, 20)].concat();
        read[39] = 0;
        assert_eq!(whole_frames(&read, 4096), (40, None));
        let mut frames = frames_of(&read);
        assert_eq!(next_frame(&mut frames).map(|frame| frame.payload_range()), Ok(7..19));
        assert_eq!(next_frame(&mut frames), Err(CodecError::BadFrameEnd(0)));
    }
}
