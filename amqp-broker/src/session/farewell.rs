//! The last words of a client that has closed its connection. As by RabbitMQ a further close is answered again, a client that answers
//! the answer has ended, and nothing else that comes is looked at.

use amqp_codec::{
    Arguments, FrameHeader, FrameKind, MethodId,
    frame::{FRAME_END, HEADER_LEN},
    method::connection,
};

/// A connection's close-ok, complete.
pub(crate) const CLOSE_OK: [u8; 12] = [1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 51, FRAME_END];

/// The octets that a method frame begins with, up to the number of its method.
const HEAD: usize = HEADER_LEN + 4;

/// Walks the frames that come, and keeps nothing of them but how the present one begins.
#[derive(Debug, Default)]
pub(crate) struct Farewell {
    head: [u8; HEAD],
    known: usize,
    /// The octets of the frame that are to come, once its header is known.
    left: usize,
    /// The closes that are to be answered.
    closes: usize,
    has_ended: bool,
    /// Set when what comes is no frames any more.
    is_deaf: bool,
}

impl Farewell {
    /// Takes what has come.
    pub(crate) fn hear(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() && !self.is_deaf {
            let taken = self.take(octets);
            octets = octets.get(taken..).unwrap_or_default();
            if self.known >= HEADER_LEN && self.left == 0 {
                self.end_frame();
            }
        }
    }

    /// Takes how many closes are to be answered.
    pub(crate) fn take_closes(&mut self) -> usize {
        std::mem::take(&mut self.closes)
    }

    /// Tells whether the client has answered the answer, after which nothing comes.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Takes an octet of the head, or what there is of the rest; how much that is.
    fn take(&mut self, octets: &[u8]) -> usize {
        let is_head = self.known < HEADER_LEN || self.known < HEAD && self.left > 1;
        if !is_head {
            let passed = self.left.min(octets.len());
            self.left -= passed;
            return passed;
        }
        if let (Some(place), Some(octet)) = (self.head.get_mut(self.known), octets.first()) {
            *place = *octet;
        }
        self.known += 1;
        match self.known {
            ..HEADER_LEN => {}
            HEADER_LEN => self.begin_payload(),
            _ => self.left -= 1,
        }
        1
    }

    fn begin_payload(&mut self) {
        match self.header() {
            // The payload, and the octet that ends the frame.
            Some(header) => self.left = header.size as usize + 1,
            None => self.is_deaf = true,
        }
    }

    fn header(&self) -> Option<FrameHeader> {
        FrameHeader::peek(&self.head, usize::MAX).ok().flatten()
    }

    fn end_frame(&mut self) {
        let known = std::mem::take(&mut self.known);
        let is_of_connection =
            self.header().is_some_and(|header| header.kind == FrameKind::Method && header.channel == 0);
        let Some([c1, c0, m1, m0]) = self.head.last_chunk().filter(|_| known == HEAD && is_of_connection)
        else {
            return;
        };
        let id =
            MethodId { class_id: u16::from_be_bytes([*c1, *c0]), method_id: u16::from_be_bytes([*m1, *m0]) };
        match id {
            connection::Close::ID => self.closes += 1,
            connection::CloseOk::ID => self.has_ended = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use amqp_codec::{
        Frame, Method,
        frame::HEARTBEAT,
        method::{basic, channel},
    };
    use bytes::BytesMut;

    use super::*;

    fn encoded(frames: impl IntoIterator<Item = Frame>) -> BytesMut {
        let mut octets = BytesMut::new();
        for frame in frames {
            frame.encode(usize::MAX, &mut octets).unwrap();
        }
        octets
    }

    fn on(channel: u16, method: impl Into<Method>) -> Frame {
        Frame::Method(channel, method.into())
    }

    #[test]
    fn closes_of_the_connection_are_counted_however_they_come_and_nothing_else_is() {
        let close = || on(0, connection::Close { reply_code: 200, ..Default::default() });
        // A body may look like anything.
        let body = Frame::Body(1, encoded([close()]).freeze());
        let publish = on(1, basic::Publish::default());
        let frames = [close(), publish, body, on(1, channel::Close::default()), close(), Frame::Heartbeat(0)];
        let octets = encoded(frames);
        for most in [1, 2, 7, 11, 50, 1000] {
            let mut farewell = Farewell::default();
            octets.chunks(most).for_each(|part| farewell.hear(part));
            assert_eq!((farewell.take_closes(), farewell.has_ended()), (2, false), "in parts of {most}");
            farewell.hear(&CLOSE_OK);
            assert!(farewell.has_ended());
        }
    }

    #[test]
    fn behind_what_is_no_frame_nothing_is_heard() {
        let mut farewell = Farewell::default();
        farewell.hear(&HEARTBEAT);
        farewell.hear(b"GET / HTTP/1.1");
        farewell.hear(&encoded([on(0, connection::Close::default())]));
        assert_eq!(farewell.take_closes(), 0);
    }
}
