//! A server in memory, as a stream.

use std::io::{self, Read, Write};

use amqp_codec::frame::PROTOCOL_HEADER;
use bytes::{Buf as _, Bytes, BytesMut};

use crate::{
    choices::Choices,
    server::server::{Server, ServerOptions},
    wire_frame::WireFrame,
};

/// A [`Server`] in memory, as a stream that a blocking client reads and writes: what is written is
/// handled at once, and what is read never waits. At a read that finds nothing the server does
/// something unasked; when it has nothing to say either, the stream is at its end.
///
/// ```
/// use amqp_fuzz::{Choices, Link, Loopback, ServerOptions, Session, SessionOptions};
///
/// let server = Loopback::new(ServerOptions::default(), Choices::from_seed(1));
/// let mut link = Link::open(server, Session::new(SessionOptions::default()))?;
/// link.step(&mut Choices::from_seed(2))?;
/// link.close()?;
/// # Ok::<(), amqp_fuzz::LinkError>(())
/// ```
#[derive(Debug)]
pub struct Loopback<'a> {
    server: Server,
    choices: Choices<'a>,
    input: BytesMut,
    output: BytesMut,
    has_begun: bool,
}

/// How often a server is asked for something to say.
const TRIES: usize = 100;

impl<'a> Loopback<'a> {
    /// A server that decides by these choices.
    pub fn new(options: ServerOptions, choices: Choices<'a>) -> Self {
        let (input, output) = (BytesMut::new(), BytesMut::new());
        Loopback { server: Server::new(options), choices, input, output, has_begun: false }
    }
}

impl Write for Loopback<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.input.extend_from_slice(octets);
        if !self.has_begun {
            if self.input.len() < PROTOCOL_HEADER.len() {
                return Ok(octets.len());
            }
            self.input.advance(PROTOCOL_HEADER.len());
            self.has_begun = true;
            WireFrame::of(&self.server.start()).put(&mut self.output);
        }
        let mut input: Bytes = std::mem::take(&mut self.input).freeze();
        while let Some(frame) = WireFrame::cut(&mut input) {
            let Some(frame) = frame.frame() else {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the client sent what is no frame"));
            };
            for answer in self.server.received(&frame, &mut self.choices) {
                WireFrame::of(&answer).put(&mut self.output);
            }
        }
        self.input.extend_from_slice(&input);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Loopback<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        for _ in 0..TRIES {
            if !self.output.is_empty() {
                break;
            }
            for frame in self.server.next(&mut self.choices) {
                WireFrame::of(&frame).put(&mut self.output);
            }
        }
        let count = into.len().min(self.output.len());
        self.output.copy_to_slice(into.get_mut(..count).unwrap_or_default());
        Ok(count)
    }
}
