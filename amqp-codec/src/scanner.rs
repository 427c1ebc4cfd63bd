//! The walk over frames of a stream that arrives in parts.

use nom::Streaming;

use crate::{
    error::Error,
    frame::frame_header::{FrameHeader, FrameLimits, HEADER_LEN, frame_header},
    wire::octets,
};

/// Follows the frames of a stream that passes by in parts, as through a proxy. It keeps nothing but
/// the header of the current frame.
///
/// ```
/// use amqp_codec::{FrameScanner, frame::HEARTBEAT, scanner::Passed};
///
/// let mut scanner = FrameScanner::default();
/// let mut frames = 0;
/// for part in [&HEARTBEAT[..3], &HEARTBEAT[3..], b"\x03\0\x07\0\0\0\x02h"] {
///     let mut octets = part;
///     while let Some(passed) = scanner.scan(&mut octets)? {
///         frames += usize::from(matches!(passed, Passed::End(_)));
///     }
/// }
/// assert_eq!((frames, scanner.is_between_frames()), (1, false));
/// # Ok::<(), amqp_codec::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct FrameScanner {
    header: [u8; HEADER_LEN],
    /// How many octets of the header have passed.
    known: usize,
    /// How many octets of the payload are still to come.
    left: usize,
}

/// What [`FrameScanner::scan`] has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed<'a> {
    /// The header of a frame is complete.
    Header(FrameHeader),
    /// A part of its payload, as it came.
    Payload(&'a [u8]),
    /// The last octet of a frame, which ought to be [`FRAME_END`](crate::frame::FRAME_END).
    End(u8),
}

impl FrameScanner {
    /// Tells whether the next octet is the first of a frame.
    #[inline]
    pub const fn is_between_frames(&self) -> bool {
        self.known == 0
    }

    /// Takes octets off the front, up to the next event; `None` when it has taken all.
    ///
    /// # Errors
    /// An unknown type. From then on it is unknown where the next frame begins, so every later call
    /// fails too.
    pub fn scan<'a>(&mut self, octets: &mut &'a [u8]) -> Result<Option<Passed<'a>>, Error> {
        if self.known < HEADER_LEN {
            self.header(octets)
        } else if self.left > 0 {
            let part = take(octets, self.left);
            self.left -= part.len();
            Ok((!part.is_empty()).then_some(Passed::Payload(part)))
        } else {
            let end = take(octets, 1).first();
            Ok(end.map(|end| {
                self.known = 0;
                Passed::End(*end)
            }))
        }
    }

    fn header<'a>(&mut self, octets: &mut &'a [u8]) -> Result<Option<Passed<'a>>, Error> {
        for octet in take(octets, HEADER_LEN - self.known) {
            if let Some(place) = self.header.get_mut(self.known) {
                *place = *octet;
            }
            self.known += 1;
        }
        let known = self.header.get(..self.known).unwrap_or_default();
        let parser = frame_header::<Streaming>(FrameLimits::new(usize::MAX));
        let header = octets::streaming(parser(known)).inspect_err(|_| {
            // The wrong octet stays, so that the error repeats.
            self.known = 1;
        })?;
        Ok(header.map(|(_, header)| {
            self.left = header.size as usize;
            Passed::Header(header)
        }))
    }
}

/// Takes as many octets off the front as there are, up to `most`.
fn take<'a>(octets: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (taken, rest) = octets.split_at_checked(most).unwrap_or((octets, &[]));
    *octets = rest;
    taken
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};

    use super::*;
    use crate::frame::{Frame, FrameKind, frame_header::FRAME_END};

    #[test]
    fn frames_are_the_same_in_whatever_parts_they_pass() {
        let frames = [
            Frame::Body(3, Bytes::from_static(b"some body")),
            Frame::Heartbeat(0),
            Frame::Body(4, Bytes::new()),
        ];
        let mut wire = BytesMut::new();
        frames.iter().for_each(|frame| frame.encode(4096, &mut wire).unwrap());
        for most in 1..=wire.len() {
            let (mut scanner, mut again) = (FrameScanner::default(), BytesMut::new());
            for mut octets in wire.chunks(most) {
                while let Some(passed) = scanner.scan(&mut octets).unwrap() {
                    match passed {
                        Passed::Header(FrameHeader { kind, channel, size }) => {
                            let [c1, c0] = channel.to_be_bytes();
                            again.extend_from_slice(&[kind.octet(), c1, c0]);
                            again.extend_from_slice(&size.to_be_bytes());
                        }
                        Passed::Payload(part) => again.extend_from_slice(part),
                        Passed::End(end) => again.extend_from_slice(&[end]),
                    }
                    assert_eq!(scanner.is_between_frames(), matches!(passed, Passed::End(FRAME_END)));
                }
                assert!(octets.is_empty());
            }
            assert_eq!(again, wire, "in parts of {most}");
        }
    }

    #[test]
    fn an_unknown_type_is_told_at_once_and_ever_after() {
        let mut scanner = FrameScanner::default();
        let mut octets = &b"GET / HTTP/1.1"[..];
        for _ in 0..3 {
            assert_eq!(scanner.scan(&mut octets), Err(Error::UnknownFrameType(b'G')));
        }
        let mut scanner = FrameScanner::default();
        assert_eq!(scanner.scan(&mut &b"G"[..]), Err(Error::UnknownFrameType(b'G')));
        assert_eq!(scanner.scan(&mut &b"\x01"[..]), Err(Error::UnknownFrameType(b'G')));
        let mut scanner = FrameScanner::default();
        let largest = FrameHeader { kind: FrameKind::Body, channel: 0, size: u32::MAX };
        let passed = scanner.scan(&mut &b"\x03\0\0\xff\xff\xff\xff"[..]);
        assert_eq!(passed, Ok(Some(Passed::Header(largest))));
    }
}
