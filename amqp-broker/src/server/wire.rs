//! A client's stream, which tests can cut at a frame.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use amqp_codec::{FrameKind, FrameScanner, frame::PROTOCOL_HEADER};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::hang_up::HangUp;
use crate::faults::plan::{Cut, Direction};

/// A stream that is cut at a frame if a test wants it.
pub(crate) struct Wire<S> {
    stream: S,
    cut: Option<(Direction, Scan)>,
    /// Set when the frame at which it is cut has come.
    is_lost: bool,
}

/// The search for the frame at which the stream is cut.
#[derive(Clone, Debug)]
struct Scan {
    /// How many frames are still to come, including that frame.
    left: u64,
    /// How many octets are still to come before the first frame: the protocol header.
    before: usize,
    frames: FrameScanner,
}

impl<S> Wire<S> {
    pub(crate) fn new(stream: S, cut: Option<Cut>) -> Self {
        let cut = cut.map(|Cut { direction, frame }| {
            // A client sends a protocol header before its first frame.
            let before = if direction == Direction::In { PROTOCOL_HEADER.len() } else { 0 };
            (direction, Scan { left: frame, before, frames: FrameScanner::default() })
        });
        Wire { stream, cut, is_lost: false }
    }

    fn scan(&mut self, of: Direction) -> Option<&mut Scan> {
        self.cut.as_mut().filter(|(direction, _)| *direction == of).map(|(_, scan)| scan)
    }
}

impl Scan {
    /// How many of these octets pass before the cut.
    fn passing(&mut self, octets: &[u8]) -> usize {
        let before = self.before.min(octets.len());
        self.before -= before;
        let mut rest = octets.get(before..).unwrap_or_default();
        while let Some(&first) = rest.first() {
            // Heartbeats do not count.
            if self.frames.is_between_frames() && first != FrameKind::Heartbeat.octet() {
                if self.left <= 1 {
                    return octets.len() - rest.len();
                }
                self.left -= 1;
            }
            // Octets that are not a frame pass: their reader ends the connection.
            if self.frames.scan(&mut rest).is_err() {
                break;
            }
        }
        octets.len()
    }
}

fn lost() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.is_lost {
            return Poll::Ready(Err(lost()));
        }
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if let Some(scan) = self.scan(Direction::In) {
            let read = buf.filled().get(before..).unwrap_or_default();
            let passing = scan.passing(read);
            let is_lost = passing < read.len();
            buf.set_filled(before + passing);
            self.is_lost = is_lost;
            if is_lost && passing == 0 {
                return Poll::Ready(Err(lost()));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let Some(scan) = self.scan(Direction::Out) else {
            return Pin::new(&mut self.stream).poll_write(cx, octets);
        };
        let passing = scan.clone().passing(octets);
        if passing == 0 && !octets.is_empty() {
            return Poll::Ready(Err(lost()));
        }
        let octets = octets.get(..passing).unwrap_or_default();
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, octets))?;
        if let Some(scan) = self.scan(Direction::Out) {
            scan.passing(octets.get(..written).unwrap_or_default());
        }
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.scan(Direction::Out).is_some() {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return self.poll_write(cx, first.map_or(&[], |slice| slice));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: HangUp> HangUp for Wire<S> {
    fn has_hung_up(&mut self, cx: &mut Context<'_>) -> bool {
        self.stream.has_hung_up(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of these kinds, with payloads of these lengths.
    fn frames(of: &[(u8, usize)]) -> Vec<u8> {
        let frame = |&(kind, length): &(u8, usize)| {
            let size = (length as u32).to_be_bytes();
            [&[kind, 0, 1][..], &size, &vec![b'x'; length], &[0xCE]].concat()
        };
        of.iter().flat_map(frame).collect()
    }

    #[test]
    fn all_before_the_frame_passes_however_it_comes_and_heartbeats_do_not_count() {
        let octets = frames(&[(1, 5), (8, 0), (2, 0), (3, 900), (8, 0), (1, 4)]);
        let whole = frames(&[(1, 5), (8, 0), (2, 0), (3, 900), (8, 0)]).len();
        for most in [1, 3, 8, 500, 5000] {
            let wire = Wire::new((), Some(Cut { direction: Direction::Out, frame: 4 }));
            let (_, mut scan) = wire.cut.unwrap();
            let mut passed = 0;
            for part in octets.chunks(most) {
                let passing = scan.passing(part);
                passed += passing;
                if passing < part.len() {
                    break;
                }
            }
            assert_eq!(passed, whole, "in parts of {most}");
        }
    }
}
