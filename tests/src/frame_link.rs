//! Links between a client and a broker that know the limits of frames. They break at a chosen one,
//! lose it, keep it back, or change what is in it.

use std::{
    future::pending,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use amqp_codec::{
    Frames,
    frame::{HEADER_LEN, PROTOCOL_HEADER},
    method::MethodId,
};
use bytes::BytesMut;
use tokio::{
    io::{
        AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf,
        copy_bidirectional_with_sizes, duplex, split,
    },
    net::{TcpListener, TcpStream},
    sync::watch,
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
    /// The methods that are to be taken out, each once.
    taking: Vec<(Direction, MethodId, Taking)>,
    taken: usize,
    /// The number of releases of what is kept back.
    releases: watch::Sender<u64>,
    replacing: Vec<(Direction, Vec<u8>, Vec<u8>)>,
    /// The methods that are to be gathered, with their number, once.
    gathering: Vec<(Direction, MethodId, usize)>,
    /// The methods that came over all links, in their order, with their channels.
    methods: Vec<(Direction, MethodId, u16)>,
}

/// The fate of a frame that is taken out of a link's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taking {
    Lost,
    KeptBack,
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

    /// Loses the next such method that comes in this direction. Everything else passes.
    pub fn lose(&self, direction: Direction, method: MethodId) {
        self.with(|state| state.taking.push((direction, method, Taking::Lost)));
    }

    /// Keeps back the next such method that comes in this direction, until it is
    /// [released](Self::release). Everything else passes it.
    pub fn keep_back(&self, direction: Direction, method: MethodId) {
        self.with(|state| state.taking.push((direction, method, Taking::KeptBack)));
    }

    /// Lets everything pass that is kept back.
    pub fn release(&self) {
        self.with(|state| state.releases.send_modify(|releases| *releases += 1));
    }

    /// From the next such method on, keeps back all frames in this direction of its link until so
    /// many of these methods have come; all of them pass at once then.
    pub fn gather(&self, direction: Direction, method: MethodId, count: usize) {
        self.with(|state| state.gathering.push((direction, method, count)));
    }

    /// Replaces some bytes by as many others in all frames that go in this direction.
    ///
    /// # Panics
    /// When they are not as many: the frame would end elsewhere.
    pub fn replace(&self, direction: Direction, bytes: &[u8], others: &[u8]) {
        assert_eq!(bytes.len(), others.len(), "the frame would end elsewhere");
        self.with(|state| state.replacing.push((direction, bytes.to_vec(), others.to_vec())));
    }

    /// Returns the number of methods that have been lost or kept back.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.with(|state| state.taken)
    }

    /// The channels of all such methods that came in this direction, in their order.
    #[must_use]
    pub fn channels_of(&self, direction: Direction, method: MethodId) -> Vec<u16> {
        self.with(|state| {
            let of =
                |&(way, id, channel): &(_, _, u16)| ((way, id) == (direction, method)).then_some(channel);
            state.methods.iter().filter_map(of).collect()
        })
    }

    /// Listens on a free port of 127.0.0.1, and links every client to `upstream` (`host:port`).
    ///
    /// # Errors
    /// When no port is free.
    pub async fn listen(&self, upstream: impl ToString) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, links, upstream) = (listener.local_addr()?, self.clone(), upstream.to_string());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let Ok(broker) = TcpStream::connect(&upstream).await else { continue };
                let mut link = links.to(broker);
                tokio::spawn(async move {
                    // Either end's error closes the other's socket.
                    let _ = copy_bidirectional_with_sizes(&mut client, &mut link, BUFFER, BUFFER).await;
                });
            }
        });
        Ok(address)
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
            let one_way = |direction| LinkDirection {
                links: &links,
                number,
                direction,
                byte_by_byte,
                frames: 0,
                gathered: None,
            };
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
    /// The frames that are kept back until so many more of this method have come.
    gathered: Option<(BytesMut, MethodId, usize)>,
}

impl LinkDirection<'_> {
    async fn carry<R, W>(mut self, mut from: ReadHalf<R>, mut to: WriteHalf<W>) -> io::Result<()>
    where
        R: AsyncRead + AsyncWrite,
        W: AsyncRead + AsyncWrite,
    {
        let (mut buffer, mut kept_back) = (BytesMut::new(), BytesMut::new());
        let mut releases = self.links.with(|state| state.releases.subscribe());
        loop {
            while let Some(length) = self.whole(&buffer)? {
                let mut frame = buffer.split_to(length);
                self.frames += 1;
                self.change(&mut frame);
                match self.taking(&frame) {
                    Some(Taking::Lost) => continue,
                    Some(Taking::KeptBack) => {
                        kept_back.extend_from_slice(&frame);
                        continue;
                    }
                    None => {}
                }
                match self.breaks() {
                    None => {
                        if let Some(frames) = self.gather(frame) {
                            self.write(&mut to, &frames).await?;
                        }
                    }
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
            let length = tokio::select! {
                length = from.read_buf(&mut buffer) => length?,
                _ = releases.changed(), if !kept_back.is_empty() => {
                    self.write(&mut to, &kept_back.split()).await?;
                    continue;
                }
            };
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

    fn change(&self, frame: &mut [u8]) {
        self.links.with(|state| {
            for (direction, bytes, others) in &state.replacing {
                let place = |frame: &[u8]| frame.windows(bytes.len()).position(|part| part == bytes);
                while *direction == self.direction
                    && let Some(part) = place(frame).and_then(|at| frame.get_mut(at..at + others.len()))
                {
                    part.copy_from_slice(others);
                }
            }
        });
    }

    /// Notes the method of a frame; tells whether it is taken out.
    fn taking(&self, frame: &[u8]) -> Option<Taking> {
        let [1, high, low, ..] = *frame else { return None };
        let method = MethodId::peek(frame.get(HEADER_LEN..)?)?;
        self.links.with(|state| {
            state.methods.push((self.direction, method, u16::from_be_bytes([high, low])));
            let is_it = |&(direction, id, _): &(_, _, _)| (direction, id) == (self.direction, method);
            let (_, _, taking) = state.taking.remove(state.taking.iter().position(is_it)?);
            state.taken += 1;
            Some(taking)
        })
    }

    /// Returns what is to be written now that this frame has come, if anything.
    fn gather(&mut self, frame: BytesMut) -> Option<BytesMut> {
        let method = (frame.first() == Some(&1)).then(|| MethodId::peek(frame.get(HEADER_LEN..)?)).flatten();
        if self.gathered.is_none() {
            let direction = self.direction;
            self.gathered = self.links.with(|state| {
                let begins = |&(of, id, _): &(_, _, _)| of == direction && Some(id) == method;
                let (_, id, count) = state.gathering.remove(state.gathering.iter().position(begins)?);
                Some((BytesMut::new(), id, count))
            });
        }
        let Some((frames, id, missing)) = &mut self.gathered else { return Some(frame) };
        frames.extend_from_slice(&frame);
        *missing -= usize::from(Some(*id) == method);
        if *missing > 0 {
            return None;
        }
        self.gathered.take().map(|(frames, ..)| frames)
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

    #[tokio::test]
    async fn a_method_is_lost_or_passed_by_others_and_bytes_are_replaced() {
        use amqp_codec::{Arguments as _, method::basic};

        let frame = |channel: u8, method: MethodId| {
            [&[1, 0, channel, 0, 0, 0, 4], &method.octets()[..], &[0xce]].concat()
        };
        let (ack, nack, get) = (basic::Ack::ID, basic::Nack::ID, basic::Get::ID);
        let links = FrameLinks::new();
        links.lose(Direction::ToClient, nack);
        links.keep_back(Direction::ToClient, ack);
        links.replace(Direction::ToClient, &get.octets(), &nack.octets());
        let (mut client, mut broker) = linked(&links).await;
        let sent = [frame(1, ack), frame(2, nack), frame(3, ack), frame(4, nack), frame(5, get)];
        broker.write_all(&sent.concat()).await.unwrap();
        let mut passed = vec![0; 36];
        client.read_exact(&mut passed).await.unwrap();
        assert_eq!(passed, [frame(3, ack), frame(4, nack), frame(5, nack)].concat());
        assert_eq!(links.taken(), 2);
        links.release();
        let mut late = vec![0; 12];
        client.read_exact(&mut late).await.unwrap();
        assert_eq!(late, frame(1, ack));
        assert_eq!(links.channels_of(Direction::ToClient, ack), [1, 3]);
    }
}
