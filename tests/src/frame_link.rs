//! Links between a client and a broker that know the limits of frames, and break at a chosen one.

use std::{
    future::pending,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use amqp_codec::{
    Frames,
    frame::{HEADER_LEN, PROTOCOL_HEADER},
};
use bytes::BytesMut;
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, duplex,
    split,
};

use crate::proxy::Direction;

/// How much either end may have written that the other has not read.
const BUFFER: usize = 64 * 1024;

/// The largest frame of the tests.
const FRAME_MAX: usize = 1024 * 1024;

/// Where a link breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Break {
    /// The number of the link, counted from 1 in the order of their creation.
    pub link: usize,
    /// The direction.
    pub direction: Direction,
    /// The number of the frame, counted from 1 in this direction of this link; the client's
    /// protocol header counts as its first.
    pub frame: usize,
    /// How much of that frame still passes.
    pub place: Place,
    /// What happens then.
    pub kind: Kind,
}

/// How much of a frame passes before its link breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A part of its header.
    Header,
    /// The header and half of the payload.
    Payload,
    /// All but the end marker.
    End,
    /// All of it.
    After,
}

impl Place {
    /// All places.
    pub const ALL: [Place; 4] = [Place::Header, Place::Payload, Place::End, Place::After];

    fn passes(self, length: usize) -> usize {
        match self {
            Place::Header => HEADER_LEN / 2,
            Place::Payload => HEADER_LEN + length.saturating_sub(HEADER_LEN + 1) / 2,
            Place::End => length - 1,
            Place::After => length,
        }
    }
}

/// How a link breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Both ends see the end of the stream, after everything that had passed.
    Cut,
    /// Nothing passes any more in either direction, and neither end sees an end: a half-open
    /// connection.
    Stall,
}

/// Carries whole frames between clients and brokers over any streams, and breaks links where it is
/// told to.
///
/// Clones are handles of the same.
#[derive(Clone, Debug, Default)]
pub struct FrameLinks {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    breaks: Vec<Break>,
    broken: usize,
    /// The numbers of the links that stall.
    stalled: Vec<usize>,
    byte_by_byte: bool,
    passed: Vec<Passed>,
}

/// How many whole frames have passed over a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// From the client to the broker, including the protocol header.
    pub to_broker: usize,
    /// From the broker to the client.
    pub to_client: usize,
}

impl Passed {
    /// In one of the two directions.
    #[must_use]
    pub fn on(self, direction: Direction) -> usize {
        match direction {
            Direction::ToBroker => self.to_broker,
            Direction::ToClient => self.to_client,
        }
    }
}

impl FrameLinks {
    /// Links that do not break until they are told to.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Breaks a link when it gets there. This may be called repeatedly, for the same link or
    /// others.
    pub fn break_at(&self, at: Break) {
        self.with(|state| state.breaks.push(at));
    }

    /// Sends each byte separately, over all links created from now on.
    pub fn byte_by_byte(&self) {
        self.with(|state| state.byte_by_byte = true);
    }

    /// How much has passed over each link so far.
    #[must_use]
    pub fn passed(&self) -> Vec<Passed> {
        self.with(|state| state.passed.clone())
    }

    /// How many links have broken.
    #[must_use]
    pub fn broken(&self) -> usize {
        self.with(|state| state.broken)
    }

    /// Links a new client to the broker at the other end of `stream`; returns the client's end. The
    /// link ends with either end.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn to<S>(&self, stream: S) -> DuplexStream
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (client, end) = duplex(BUFFER);
        let (number, byte_by_byte) = self.with(|state| {
            state.passed.push(Passed::default());
            (state.passed.len(), state.byte_by_byte)
        });
        let links = self.clone();
        tokio::spawn(async move {
            let (from_client, to_client) = split(end);
            let (from_broker, to_broker) = split(stream);
            let one_way =
                |direction| LinkDirection { links: &links, number, direction, byte_by_byte, frames: 0 };
            // If one end is gone, or ended within a frame, the other sees the end of its stream.
            let _ = tokio::select! {
                ended = one_way(Direction::ToBroker).carry(from_client, to_broker) => ended,
                ended = one_way(Direction::ToClient).carry(from_broker, to_client) => ended,
            };
        });
        client
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One direction of one link.
struct LinkDirection<'a> {
    links: &'a FrameLinks,
    number: usize,
    direction: Direction,
    byte_by_byte: bool,
    frames: usize,
}

impl LinkDirection<'_> {
    async fn carry<R, W>(mut self, mut from: ReadHalf<R>, mut to: WriteHalf<W>) -> io::Result<()>
    where
        R: AsyncRead + AsyncWrite,
        W: AsyncRead + AsyncWrite,
    {
        let mut buffer = BytesMut::new();
        loop {
            while let Some(length) = self.whole(&buffer)? {
                let frame = buffer.split_to(length);
                self.frames += 1;
                match self.breaks() {
                    None => self.write(&mut to, &frame).await?,
                    Some(at) => {
                        self.write(&mut to, frame.get(..at.place.passes(length)).unwrap_or(&frame)).await?;
                        if at.place == Place::After {
                            self.count();
                        }
                        self.links.with(|state| state.broken += 1);
                        return match at.kind {
                            Kind::Cut => Ok(()),
                            Kind::Stall => {
                                self.links.with(|state| state.stalled.push(self.number));
                                pending().await
                            }
                        };
                    }
                }
                self.count();
            }
            let length = from.read_buf(&mut buffer).await?;
            // On a stalled link even the end of a stream does not pass.
            if self.links.with(|state| state.stalled.contains(&self.number)) {
                return pending().await;
            }
            if length == 0 {
                return to.shutdown().await;
            }
        }
    }

    /// The length of the frame at the start, if it is complete.
    fn whole(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        if self.frames == 0 && self.direction == Direction::ToBroker {
            return Ok((bytes.len() >= PROTOCOL_HEADER.len()).then_some(PROTOCOL_HEADER.len()));
        }
        let header = Frames::new(bytes, FRAME_MAX).skip_frame().map_err(io::Error::other)?;
        Ok(header.map(|header| header.frame_len()))
    }

    fn breaks(&self) -> Option<Break> {
        self.links.with(|state| {
            let is_here =
                |at: &&Break| (at.link, at.direction, at.frame) == (self.number, self.direction, self.frames);
            state.breaks.iter().find(is_here).copied()
        })
    }

    fn count(&self) {
        self.links.with(|state| {
            if let Some(passed) = state.passed.get_mut(self.number - 1) {
                match self.direction {
                    Direction::ToBroker => passed.to_broker += 1,
                    Direction::ToClient => passed.to_client += 1,
                }
            }
        });
    }

    async fn write<W: AsyncWrite + Unpin>(&self, to: &mut W, bytes: &[u8]) -> io::Result<()> {
        if !self.byte_by_byte {
            return to.write_all(bytes).await;
        }
        for byte in bytes {
            to.write_all(&[*byte]).await?;
            to.flush().await?;
            // The reader gets this byte before the next is written.
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use amqp_codec::frame::HEARTBEAT;

    use super::*;

    /// A broker that has read the protocol header, and its client.
    async fn linked(links: &FrameLinks) -> (DuplexStream, DuplexStream) {
        let (mut broker, stream) = duplex(BUFFER);
        let mut client = links.to(stream);
        client.write_all(&PROTOCOL_HEADER).await.unwrap();
        let mut header = [0; 8];
        broker.read_exact(&mut header).await.unwrap();
        assert_eq!(header, PROTOCOL_HEADER);
        (client, broker)
    }

    async fn read_to_end(stream: &mut DuplexStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        bytes
    }

    fn at(direction: Direction, frame: usize, place: Place, kind: Kind) -> Break {
        Break { link: 1, direction, frame, place, kind }
    }

    #[tokio::test]
    async fn a_frame_passes_up_to_the_place_of_the_cut_and_both_ends_see_the_end() {
        for (place, passes) in [(Place::Header, 3), (Place::Payload, 7), (Place::End, 7), (Place::After, 8)] {
            let links = FrameLinks::new();
            links.break_at(at(Direction::ToClient, 2, place, Kind::Cut));
            let (mut client, mut broker) = linked(&links).await;
            broker.write_all(&[HEARTBEAT, HEARTBEAT, HEARTBEAT].concat()).await.unwrap();
            assert_eq!(read_to_end(&mut client).await.len(), HEARTBEAT.len() + passes);
            assert!(read_to_end(&mut broker).await.is_empty());
            let whole = 1 + usize::from(place == Place::After);
            assert_eq!(links.passed(), [Passed { to_broker: 1, to_client: whole }]);
            assert_eq!(links.broken(), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_is_silent_both_ways_even_when_an_end_has_gone() {
        let links = FrameLinks::new();
        links.break_at(at(Direction::ToBroker, 2, Place::After, Kind::Stall));
        let (mut client, mut broker) = linked(&links).await;
        client.write_all(&[HEARTBEAT, HEARTBEAT].concat()).await.unwrap();
        let mut heartbeat = [0; 8];
        broker.read_exact(&mut heartbeat).await.unwrap();
        broker.write_all(&HEARTBEAT).await.unwrap();
        let day = std::time::Duration::from_secs(24 * 3600);
        assert!(tokio::time::timeout(day, client.read_exact(&mut heartbeat)).await.is_err());
        drop(client);
        assert!(tokio::time::timeout(day, broker.read_exact(&mut heartbeat)).await.is_err());
    }

    #[tokio::test]
    async fn byte_by_byte_all_arrives_and_an_end_that_goes_takes_the_other_along() {
        let links = FrameLinks::new();
        links.byte_by_byte();
        let (mut client, mut broker) = linked(&links).await;
        client.write_all(&HEARTBEAT).await.unwrap();
        drop(client);
        assert_eq!(read_to_end(&mut broker).await, HEARTBEAT);
    }
}
