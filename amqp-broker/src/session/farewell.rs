//! The end of a connection that the client has closed. As in RabbitMQ, a further close is answered
//! again, a client that answers the answer has ended, and all other input is ignored.

use amqp_codec::{
    Arguments, FrameHeader, FrameKind, FrameScanner, MethodId, frame::FRAME_END, method::connection,
    scanner::Passed,
};

/// A complete frame with connection.close-ok.
pub(crate) const CLOSE_OK: [u8; 12] = [1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 51, FRAME_END];

/// Follows the incoming frames, and keeps only the beginning of the current one.
#[derive(Debug, Default)]
pub(crate) struct Farewell {
    frames: FrameScanner,
    /// The known part of the current frame's method id, if it is a method of the connection.
    method: Option<Number>,
    /// How many closes are to be answered.
    closes: usize,
    has_ended: bool,
    /// Set when the input is malformed.
    is_deaf: bool,
}

/// A method id, which may arrive in parts.
#[derive(Debug, Default)]
struct Number {
    octets: [u8; 4],
    known: usize,
}

impl Farewell {
    /// Processes input.
    pub(crate) fn hear(&mut self, mut octets: &[u8]) {
        while !self.is_deaf {
            match self.frames.scan(&mut octets) {
                Ok(Some(passed)) => self.pass(passed),
                Ok(None) => return,
                Err(_) => self.is_deaf = true,
            }
        }
    }

    /// Takes the number of closes that are to be answered.
    pub(crate) fn take_closes(&mut self) -> usize {
        std::mem::take(&mut self.closes)
    }

    /// Tells whether the client has answered the answer, after which it sends nothing.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    fn pass(&mut self, passed: Passed<'_>) {
        match passed {
            Passed::Header(FrameHeader { kind, channel, .. }) => {
                self.method = (kind == FrameKind::Method && channel == 0).then(Number::default);
            }
            Passed::Payload(part) => {
                if let Some(method) = &mut self.method {
                    method.push(part);
                }
            }
            Passed::End(_) => match self.method.take().and_then(|number| number.id()) {
                Some(connection::Close::ID) => self.closes += 1,
                Some(connection::CloseOk::ID) => self.has_ended = true,
                _ => {}
            },
        }
    }
}

impl Number {
    fn push(&mut self, part: &[u8]) {
        for (place, octet) in self.octets.iter_mut().skip(self.known).zip(part) {
            *place = *octet;
            self.known += 1;
        }
    }

    fn id(&self) -> Option<MethodId> {
        (self.known == self.octets.len()).then(|| MethodId::from_octets(self.octets))
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
        // A body may contain the bytes of a close.
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
