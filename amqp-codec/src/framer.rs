//! Cuts a stream that may have been captured in part into frames; bytes that belong to no frame are
//! skipped and reported.

use bytes::{Bytes, BytesMut};

use crate::{
    error::Error,
    frame::{FrameHeader, FrameKind, HEADER_LEN, PROTOCOL_HEADER, RawFrame, frames::Frames},
    method::MethodId,
};

/// Cuts one direction of a captured connection into frames, starting anywhere in it.
///
/// On a live connection [`RawFrame::split_from`] ends at the first error. A framer goes on: it
/// looks for the next place where a frame can begin. Push bytes as they arrive, and take pieces
/// until there is none.
///
/// ```
/// use amqp_codec::{Frame, Framer, framer::Piece};
/// use bytes::BytesMut;
///
/// let mut wire = BytesMut::from(&b"the tail of some frame\xce"[..]);
/// Frame::Heartbeat(0).encode(4096, &mut wire)?;
///
/// let mut framer = Framer::new(131_072);
/// framer.push(&wire);
/// assert!(matches!(framer.next_piece(), Some(Piece::Skipped { bytes, .. }) if bytes.len() == 23));
/// let Some(Piece::Frame(frame)) = framer.next_piece() else { panic!("a frame follows") };
/// assert_eq!(frame.to_string(), "0 heartbeat");
/// assert!(framer.next_piece().is_none());
/// # Ok::<(), amqp_codec::Error>(())
/// ```
#[derive(Debug)]
pub struct Framer {
    buffer: BytesMut,
    frame_max: usize,
    /// Set while bytes at the buffer's start are being skipped: why, and up to where the search has
    /// looked.
    skipping: Option<(Error, usize)>,
}

/// A piece of a captured stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A protocol header: `AMQP`, a zero and a version. A client opens a connection with it, a
    /// broker refuses one with it.
    ProtocolHeader([u8; 8]),
    /// A whole frame with its end marker. Its payload may still be malformed.
    Frame(RawFrame),
    /// Bytes that belong to no frame.
    Skipped {
        /// The skipped bytes.
        bytes: Bytes,
        /// The error at the first of them.
        why: Error,
    },
}

impl Framer {
    /// Creates a framer for frames up to `frame_max` bytes. What looks like a larger frame is
    /// skipped.
    pub fn new(frame_max: usize) -> Self {
        Framer { buffer: BytesMut::new(), frame_max, skipping: None }
    }

    /// Appends bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next piece; `None` until more bytes are there.
    pub fn next_piece(&mut self) -> Option<Piece> {
        if self.skipping.is_none() {
            match begins(&self.buffer, self.frame_max) {
                Ok(Begins::Nothing) => return None,
                Ok(Begins::ProtocolHeader) => return self.protocol_header(),
                Ok(Begins::Frame) => {
                    return RawFrame::split_from(&mut self.buffer, self.frame_max).ok()?.map(Piece::Frame);
                }
                Err(error) => self.skipping = Some((error, 1)),
            }
        }
        self.skip()
    }

    /// Ends the stream, and returns what is left over, such as a frame that was cut short.
    pub fn finish(mut self) -> Option<Piece> {
        if self.buffer.is_empty() {
            return None;
        }
        let left = self.buffer.len();
        let why = match self.skipping.take() {
            Some((error, _)) => error,
            None => Error::Truncated { what: "frame", needed: self.needed(), left },
        };
        Some(Piece::Skipped { bytes: self.buffer.freeze(), why })
    }

    fn protocol_header(&mut self) -> Option<Piece> {
        let header = *self.buffer.first_chunk()?;
        let _ = self.buffer.split_to(PROTOCOL_HEADER.len());
        Some(Piece::ProtocolHeader(header))
    }

    /// Searches for the next place where a frame or protocol header can begin, and returns the
    /// bytes before it.
    fn skip(&mut self) -> Option<Piece> {
        let (error, mut at) = self.skipping.take()?;
        while let Some(rest) = self.buffer.get(at..).filter(|rest| !rest.is_empty()) {
            match begins(rest, self.frame_max) {
                Ok(Begins::Frame | Begins::ProtocolHeader) => {
                    return Some(Piece::Skipped { bytes: self.buffer.split_to(at).freeze(), why: error });
                }
                // There are too few bytes to tell whether something begins here.
                Ok(Begins::Nothing) => break,
                Err(_) => at += 1,
            }
        }
        self.skipping = Some((error, at));
        None
    }

    /// How many bytes the frame at the start has, as far as its header tells.
    fn needed(&self) -> usize {
        match FrameHeader::peek(&self.buffer, self.frame_max) {
            Ok(Some(header)) => header.frame_len(),
            _ => HEADER_LEN + 1,
        }
    }
}

/// What is at the start of some bytes.
enum Begins {
    Frame,
    ProtocolHeader,
    /// Too few bytes to tell.
    Nothing,
}

/// Tells what is at the start of `bytes`. A frame counts only when it is whole and ends with the
/// marker, and a method frame only when its method exists, because bytes that merely look like a
/// frame header are common.
fn begins(bytes: &[u8], frame_max: usize) -> Result<Begins, Error> {
    let name = PROTOCOL_HEADER.split_at(4).0;
    if !bytes.is_empty() && name.starts_with(bytes.get(..4).unwrap_or(bytes)) {
        match bytes.get(4) {
            None => return Ok(Begins::Nothing),
            // The protocols of all AMQP versions are 0 to 3. In the name `AMQPLAIN` an L follows.
            Some(..=3) if bytes.len() >= PROTOCOL_HEADER.len() => return Ok(Begins::ProtocolHeader),
            Some(..=3) => return Ok(Begins::Nothing),
            Some(_) => {}
        }
    }
    let Some(header) = FrameHeader::peek(bytes, frame_max)? else { return Ok(Begins::Nothing) };
    check_method(header, bytes)?;
    Ok(Frames::new(bytes, frame_max).next_frame()?.map_or(Begins::Nothing, |_| Begins::Frame))
}

fn check_method(header: FrameHeader, bytes: &[u8]) -> Result<(), Error> {
    if header.kind != FrameKind::Method {
        return Ok(());
    }
    // The size alone decides, so that the result does not depend on how much has arrived.
    let size = header.size as usize;
    if size < METHOD_ID_LEN {
        return Err(Error::Truncated { what: "method id", needed: METHOD_ID_LEN, left: size });
    }
    let Some(id) = bytes.get(HEADER_LEN..).and_then(MethodId::peek) else { return Ok(()) };
    match id.name() {
        Some(_) => Ok(()),
        None => Err(Error::UnknownMethod { class_id: id.class_id, method_id: id.method_id }),
    }
}

/// Class and method.
const METHOD_ID_LEN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::Frame,
        method::{basic, queue},
        wire::text::ShortString,
    };

    fn session() -> (BytesMut, Vec<String>) {
        let queue = ShortString::from_static("jobs");
        let frames = [
            Frame::Method(1, queue::Declare { queue, durable: true, ..Default::default() }.into()),
            Frame::Method(1, basic::Publish::default().into()),
            Frame::Body(1, Bytes::from_static(b"\x01\x00\x01\x00\x00\x00\x00 AMQP \xce")),
            Frame::Heartbeat(0),
            Frame::Method(1, queue::PurgeOk { message_count: 7 }.into()),
        ];
        let mut wire = BytesMut::from(&PROTOCOL_HEADER[..]);
        for frame in &frames {
            frame.encode(4096, &mut wire).unwrap();
        }
        (wire, frames.iter().map(Frame::to_string).collect())
    }

    fn pieces(bytes: &[u8], part: usize) -> Vec<Piece> {
        let mut framer = Framer::new(4096);
        let mut pieces = Vec::new();
        for part in bytes.chunks(part) {
            framer.push(part);
            while let Some(piece) = framer.next_piece() {
                pieces.push(piece);
            }
        }
        pieces.extend(framer.finish());
        pieces
    }

    #[test]
    fn a_whole_stream_is_a_header_and_frames_however_it_arrives() {
        let (wire, lines) = session();
        for part in 1..wire.len() {
            let mut pieces = pieces(&wire, part).into_iter();
            assert_eq!(pieces.next(), Some(Piece::ProtocolHeader(PROTOCOL_HEADER)));
            let shown: Vec<_> = pieces
                .map(|piece| match piece {
                    Piece::Frame(frame) => frame.to_string(),
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(shown, lines, "in parts of {part}");
        }
    }

    #[test]
    fn every_byte_of_a_stream_joined_anywhere_is_accounted_for_and_it_gets_back_in_step() {
        let (wire, lines) = session();
        for start in 1..wire.len() {
            let pieces = pieces(&wire[start..], 7);
            let length: usize = pieces.iter().map(length).sum();
            assert_eq!(length, wire.len() - start, "from {start}");
            let Some(Piece::Frame(last)) = pieces.last() else {
                assert!(start > wire.len() - 16, "from {start}: {pieces:?}");
                continue;
            };
            assert_eq!(&last.to_string(), lines.last().unwrap(), "from {start}");
        }
    }

    fn length(piece: &Piece) -> usize {
        match piece {
            Piece::ProtocolHeader(header) => header.len(),
            Piece::Frame(frame) => frame.payload.len() + HEADER_LEN + 1,
            Piece::Skipped { bytes, .. } => bytes.len(),
        }
    }

    #[test]
    fn the_end_of_a_stream_tells_of_a_frame_cut_short() {
        let (wire, _) = session();
        let pieces = pieces(&wire[..wire.len() - 3], 1000);
        let Some(Piece::Skipped { bytes, why }) = pieces.last() else { panic!("{pieces:?}") };
        assert_eq!((bytes.len(), why), (13, &Error::Truncated { what: "frame", needed: 16, left: 13 }));
    }

    #[test]
    fn the_name_of_a_login_mechanism_is_no_protocol_header() {
        let pieces = pieces(b"PLAIN AMQPLAIN", 3);
        assert!(matches!(&pieces[..], [Piece::Skipped { bytes, .. }] if bytes.len() == 14), "{pieces:?}");
    }

    #[test]
    fn a_method_frame_without_room_for_a_method_is_skipped_for_that_wherever_it_is_cut() {
        let bytes = b"\x01\0\x03\0\0\0\0\0\0\0\x01m\xce";
        for part in 1..bytes.len() {
            let pieces = pieces(bytes, part);
            let Some(Piece::Skipped { why, .. }) = pieces.first() else { panic!("{pieces:?}") };
            assert_eq!(
                why,
                &Error::Truncated { what: "method id", needed: 4, left: 0 },
                "in parts of {part}"
            );
        }
    }

    #[test]
    fn noise_is_skipped_once_and_its_reason_is_that_of_its_first_byte() {
        let noise = vec![b'x'; 10_000];
        let pieces = pieces(&noise, 100);
        assert_eq!(pieces.len(), 1);
        assert!(
            matches!(&pieces[0], Piece::Skipped { bytes, why: Error::UnknownFrameType(b'x') } if bytes.len() == 10_000)
        );
    }
}
