//! A session over a stream that blocks.

use std::io::{self, Read, Write};

use amqp_codec::{Frame, RawFrame};
use bytes::{Bytes, BytesMut};

use crate::{
    choices::Choices,
    client::step::Step,
    session::session::Session,
    wire_frame::{WireFrame, octets},
};

/// How many octets are read at a time.
const READ: usize = 64 << 10;

/// Why a link has ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The stream failed, or a wait on it took longer than its timeout.
    #[error("the stream failed")]
    Stream(#[from] io::Error),
    /// The peer closed the stream while something was to come.
    #[error("the peer closed the stream")]
    Ended,
    /// The peer sent what is no frame.
    #[error("the peer sent what is no frame")]
    Malformed(#[from] amqp_codec::Error),
}

/// A stream with a [`Session`] on it: a TCP stream with a read timeout, or anything that reads and
/// writes. Every wait ends as the stream's own waits end; a stream without a timeout may wait for
/// ever.
///
/// ```no_run
/// use std::{net::TcpStream, time::Duration};
/// use amqp_fuzz::{Choices, Link, Session, SessionOptions};
///
/// let stream = TcpStream::connect("127.0.0.1:5672")?;
/// stream.set_read_timeout(Some(Duration::from_secs(5)))?;
/// let mut link = Link::open(stream, Session::new(SessionOptions::default()))?;
/// let mut choices = Choices::from_seed(1);
/// for _ in 0..500 {
///     link.step(&mut choices)?;
/// }
/// link.close()?;
/// assert_eq!(link.session().faults(), []);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Link<S> {
    stream: S,
    session: Session,
    input: BytesMut,
}

impl<S: Read + Write> Link<S> {
    /// Sends the session's opening and takes part in the handshake until the connection is open.
    ///
    /// # Errors
    /// When the stream fails or the peer ends the connection; the session's faults tell whether it
    /// gave a reason.
    pub fn open(stream: S, session: Session) -> Result<Self, LinkError> {
        let opening = session.opening();
        let mut link = Link { stream, session, input: BytesMut::new() };
        link.stream.write_all(&opening)?;
        while !link.session.is_open() {
            if link.session.is_ended() {
                return Err(LinkError::Ended);
            }
            link.read()?;
        }
        Ok(link)
    }

    /// Reads what the session waits for, then acts once. Returns what was sent.
    ///
    /// # Errors
    /// When the stream fails or ends, or the peer sends what is no frame.
    pub fn step(&mut self, choices: &mut Choices<'_>) -> Result<Step, LinkError> {
        while self.session.is_waiting() {
            self.read()?;
        }
        let step = self.session.next(choices);
        self.send(&step.frames.iter().map(WireFrame::of).collect::<Vec<_>>())?;
        Ok(step)
    }

    /// Sends frames, valid or not.
    ///
    /// # Errors
    /// When the stream fails.
    pub fn send(&mut self, frames: &[WireFrame]) -> Result<(), LinkError> {
        self.stream.write_all(&octets(frames))?;
        Ok(self.stream.flush()?)
    }

    /// Closes the connection, and reads until the peer has agreed.
    ///
    /// # Errors
    /// When the stream fails or ends before that, or the peer sends what is no frame.
    pub fn close(&mut self) -> Result<(), LinkError> {
        while !self.session.is_quiet() && !self.session.is_ended() {
            self.read()?;
        }
        let step = self.session.close();
        self.send(&step.frames.iter().map(WireFrame::of).collect::<Vec<_>>())?;
        while !self.session.is_ended() {
            self.read()?;
        }
        Ok(())
    }

    /// Reads once, and gives the session what has come. Returns the frames.
    ///
    /// # Errors
    /// When the stream fails or ends, or the peer sends what is no frame.
    pub fn read(&mut self) -> Result<Vec<Frame>, LinkError> {
        let mut octets = vec![0; READ];
        let count = self.stream.read(&mut octets)?;
        if count == 0 {
            return Err(LinkError::Ended);
        }
        self.input.extend_from_slice(octets.get(..count).unwrap_or_default());
        let mut frames = Vec::new();
        while let Some(raw) = RawFrame::split_from(&mut self.input, self.session.frame_max())? {
            let frame = raw.decode()?;
            let answers: Vec<_> = self.session.received(&frame).iter().map(WireFrame::of).collect();
            self.send(&answers)?;
            frames.push(frame);
        }
        Ok(frames)
    }

    /// The session, with its faults.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The session, to break the protocol with.
    pub fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    /// The stream, and what was read of a frame that is not complete.
    pub fn into_parts(self) -> (S, Bytes) {
        (self.stream, self.input.freeze())
    }
}
