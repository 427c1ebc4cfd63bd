//! Content: a header frame, then as many body frames as its size needs (spec section 4.2.6).

pub(crate) mod content_header_ref;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{error::Error, properties::EncodedProperties, wire::argument::Reader};

/// What the content header says of the content that follows a method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentHeader {
    /// The class of the method: 60, basic.
    pub class_id: u16,
    /// Length of the whole body in bytes.
    pub body_size: u64,
    /// The properties, undecoded.
    pub properties: EncodedProperties,
}

/// Bytes of a content header before the properties: class, weight, body size.
pub const CONTENT_HEADER_LEN: usize = 12;

impl ContentHeader {
    /// Reads a header frame's payload. The properties stay bytes.
    ///
    /// # Errors
    /// When it is too short.
    pub fn decode(payload: &Bytes) -> Result<Self, Error> {
        let mut reader = Reader::new(payload);
        let class_id = reader.u16("content class")?;
        let _weight = reader.u16("content weight")?;
        let body_size = reader.u64("content body size")?;
        Ok(ContentHeader { class_id, body_size, properties: EncodedProperties::from_encoded(reader.rest()) })
    }

    /// Appends a header frame's payload.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u16(self.class_id);
        out.put_u16(0);
        out.put_u64(self.body_size);
        out.put_slice(self.properties.as_encoded());
    }
}

/// A message body, in the parts in which it arrived. A body that fits into one frame, the usual
/// case, is one part and is never copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    first: Bytes,
    more: Vec<Bytes>,
}

impl Body {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.first.len() + self.more.iter().map(Bytes::len).sum::<usize>()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The parts in order.
    pub fn parts(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.first).chain(&self.more)
    }

    /// The body in one piece; joins the parts by copying when there are several.
    pub fn into_bytes(self) -> Bytes {
        if self.more.is_empty() {
            return self.first;
        }
        let mut joined = BytesMut::with_capacity(self.len());
        for part in self.parts() {
            joined.put_slice(part);
        }
        joined.freeze()
    }

    fn push(&mut self, part: Bytes) {
        if self.first.is_empty() { self.first = part } else { self.more.push(part) }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Body { first: bytes, more: Vec::new() }
    }
}

/// Assembles the content of one channel: method, header and body frames, which come in this order
/// with nothing between.
///
/// `M` is whatever the caller keeps of the method. No memory is reserved for a size that the peer
/// only claims.
#[derive(Debug)]
pub struct Assembler<M> {
    state: State<M>,
}

#[derive(Debug)]
enum State<M> {
    Idle,
    Method(M),
    Body { method: M, header: ContentHeader, body: Body, received: u64, is_kept: bool },
}

/// A method with its content.
#[derive(Debug, PartialEq, Eq)]
pub struct Content<M> {
    /// The caller's value for the method.
    pub method: M,
    /// The header.
    pub header: ContentHeader,
    /// The whole body.
    pub body: Body,
}

impl<M> Default for Assembler<M> {
    fn default() -> Self {
        Assembler { state: State::Idle }
    }
}

impl<M> Assembler<M> {
    /// Tells whether no content is incomplete, so that a method may come.
    #[inline]
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Checks that a method frame may come now; it may not while content is incomplete (505).
    ///
    /// # Errors
    /// [`Error::UnexpectedFrame`]
    #[inline]
    pub fn expect_method(&self) -> Result<(), Error> {
        match self.state {
            State::Idle => Ok(()),
            State::Method(_) => Err(unexpected("a content header frame", "a method frame")),
            State::Body { .. } => Err(unexpected("a content body frame", "a method frame")),
        }
    }

    /// Takes a method that content follows.
    ///
    /// # Errors
    /// [`Error::UnexpectedFrame`] when other content is incomplete.
    pub fn method(&mut self, method: M) -> Result<(), Error> {
        self.expect_method()?;
        self.state = State::Method(method);
        Ok(())
    }

    /// Takes a content header. An empty body completes the content at once.
    ///
    /// # Errors
    /// [`Error::UnexpectedFrame`] when no header is due.
    pub fn header(&mut self, header: ContentHeader) -> Result<Option<Content<M>>, Error> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Method(method) if header.body_size == 0 => {
                Ok(Some(Content { method, header, body: Body::default() }))
            }
            State::Method(method) => {
                self.state =
                    State::Body { method, header, body: Body::default(), received: 0, is_kept: true };
                Ok(None)
            }
            State::Idle => Err(unexpected("a method frame", "a content header frame")),
            State::Body { .. } => Err(unexpected("a content body frame", "a content header frame")),
        }
    }

    /// Takes a part of the body. The last part completes the content.
    ///
    /// # Errors
    /// [`Error::UnexpectedFrame`] when no body is due, [`Error::BodyTooLong`] when more bytes
    /// arrive than the header announced.
    pub fn body(&mut self, part: Bytes) -> Result<Option<Content<M>>, Error> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Body { method, header, mut body, received, is_kept } => {
                let received = received + part.len() as u64;
                if received > header.body_size {
                    return Err(Error::BodyTooLong { announced: header.body_size, received });
                }
                // An empty part adds nothing. Keeping it would let a peer grow the list at 8 bytes
                // a frame.
                if is_kept && !part.is_empty() {
                    body.push(part);
                }
                if received == header.body_size {
                    return Ok(Some(Content { method, header, body }));
                }
                self.state = State::Body { method, header, body, received, is_kept };
                Ok(None)
            }
            State::Idle => Err(unexpected("a method frame", "a content body frame")),
            State::Method(_) => Err(unexpected("a content header frame", "a content body frame")),
        }
    }

    /// Drops the body that is arriving: its parts are counted but not kept, and the content is
    /// complete, with an empty body, once all of them have come.
    pub fn discard_body(&mut self) {
        if let State::Body { body, is_kept, .. } = &mut self.state {
            *body = Body::default();
            *is_kept = false;
        }
    }

    /// Drops incomplete content, as the close of a channel does.
    pub fn clear(&mut self) {
        self.state = State::Idle;
    }
}

fn unexpected(expected: &'static str, got: &'static str) -> Error {
    Error::UnexpectedFrame { expected, got }
}

/// The sizes of the body frames that carry a body of `length` bytes.
pub fn body_frame_sizes(length: usize, frame_max: usize) -> impl Iterator<Item = usize> {
    let most = frame_max.saturating_sub(crate::tune::FRAME_OVERHEAD).max(1);
    (0..length.div_ceil(most)).map(move |index| most.min(length - index * most))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(body_size: u64) -> ContentHeader {
        ContentHeader { class_id: 60, body_size, properties: EncodedProperties::NONE }
    }

    #[test]
    fn a_body_is_complete_with_its_last_byte_and_parts_are_kept_as_they_came() {
        let mut assembler = Assembler::default();
        assembler.method("deliver").unwrap();
        assert_eq!(assembler.header(header(5)).unwrap(), None);
        assert_eq!(assembler.body(Bytes::from_static(b"hel")).unwrap(), None);
        assert_eq!(assembler.body(Bytes::new()).unwrap(), None);
        let content = assembler.body(Bytes::from_static(b"lo")).unwrap().unwrap();
        assert_eq!(content.body.parts().count(), 2);
        assert_eq!(content.body.into_bytes(), "hello");
        assert!(assembler.is_idle());
    }

    #[test]
    fn a_body_that_is_discarded_is_complete_with_its_last_byte_and_empty() {
        let mut assembler = Assembler::default();
        assembler.method("deliver").unwrap();
        assert_eq!(assembler.header(header(5)).unwrap(), None);
        assert_eq!(assembler.body(Bytes::from_static(b"h")).unwrap(), None);
        assembler.discard_body();
        assert_eq!(assembler.body(Bytes::from_static(b"el")).unwrap(), None);
        let content = assembler.body(Bytes::from_static(b"lo")).unwrap().unwrap();
        assert_eq!((content.header.body_size, content.body.len()), (5, 0));
        assembler.method("deliver").unwrap();
        assembler.header(header(2)).unwrap();
        assert_eq!(assembler.body(Bytes::from_static(b"hi")).unwrap().unwrap().body.len(), 2);
    }

    #[test]
    fn more_body_than_announced_is_an_error_with_both_numbers() {
        let mut assembler = Assembler::default();
        assembler.method(()).unwrap();
        assembler.header(header(2)).unwrap();
        let error = assembler.body(Bytes::from_static(b"abc")).unwrap_err();
        assert_eq!(error, Error::BodyTooLong { announced: 2, received: 3 });
    }

    #[test]
    fn frames_out_of_turn_say_what_was_due() {
        let mut assembler = Assembler::<()>::default();
        let error = assembler.body(Bytes::new()).unwrap_err();
        assert_eq!(error, unexpected("a method frame", "a content body frame"));
        assembler.method(()).unwrap();
        let error = assembler.method(()).unwrap_err();
        assert_eq!(error, unexpected("a content header frame", "a method frame"));
    }

    #[test]
    fn a_body_is_cut_at_frame_max() {
        assert_eq!(body_frame_sizes(0, 4096).count(), 0);
        assert_eq!(body_frame_sizes(4088, 4096).collect::<Vec<_>>(), [4088]);
        assert_eq!(body_frame_sizes(4089, 4096).collect::<Vec<_>>(), [4088, 1]);
    }
}
