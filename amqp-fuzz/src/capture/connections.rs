//! The connections of a capture.

use std::{collections::HashMap, io::Read, net::SocketAddr, time::Duration};

use super::{
    direction::{Direction, Part},
    error::CaptureError,
    frames::StreamReader,
    packets::{Packet, read_packets},
    segment::{Segment, segment},
    told::{Captured, End, Speaker, Told},
};

/// The choice of what is read of a capture, and limits of how much of it may be in memory.
#[derive(Clone, Debug)]
pub struct CaptureOptions {
    /// The ports of servers. Default: 5672.
    pub ports: Vec<u16>,
    /// The most connections that are followed at a time; the one that was silent longest is
    /// forgotten. Default: 1000.
    pub connections: usize,
    /// The most that waits for a segment before it, by direction, in bytes; then the segment is
    /// taken for missing. Default: 1 MiB.
    pub waiting: usize,
    /// The most that is held of all connections, in bytes. Default: 256 MiB.
    pub held: usize,
    /// The largest payload of a frame, in bytes. Default: 1 MiB.
    pub frame: usize,
}

impl Default for CaptureOptions {
    fn default() -> Self {
        CaptureOptions {
            ports: vec![5672],
            connections: 1000,
            waiting: 1 << 20,
            held: 256 << 20,
            frame: 1 << 20,
        }
    }
}

/// Reads a pcap or pcapng file: Ethernet, Linux cooked, loopback or raw IP; with segments out of
/// order, sent again or overlapping; with several connections, which may begin before the capture.
/// `each` is told what both sides sent, in the order in which it became known.
///
/// # Errors
/// Those of the capture, with their places, after what comes before has been told; those of `each`.
pub fn read_capture<E: From<CaptureError>>(
    source: impl Read + Send,
    options: CaptureOptions,
    mut each: impl FnMut(Captured) -> Result<(), E>,
) -> Result<(), E> {
    let mut capture = Capture { options, connections: HashMap::new(), count: 0, held: 0, told: Vec::new() };
    let read = read_packets(source, |packet| {
        capture.packet(&packet)?;
        capture.told.drain(..).try_for_each(&mut each)
    });
    capture.finish();
    capture.told.drain(..).try_for_each(&mut each)?;
    read
}

struct Capture {
    options: CaptureOptions,
    /// By client and server.
    connections: HashMap<(SocketAddr, SocketAddr), Connection>,
    count: u64,
    /// The size of all that connections hold, in bytes.
    held: usize,
    told: Vec<Captured>,
}

struct Connection {
    number: u64,
    sides: [Side; 2],
    last: (u64, Option<Duration>),
    is_ended: bool,
}

struct Side {
    direction: Direction,
    reader: StreamReader,
}

impl Capture {
    fn packet(&mut self, packet: &Packet<'_>) -> Result<(), CaptureError> {
        let unknown = |_| CaptureError::LinkType { packet: packet.number, link_type: packet.link_type };
        let Some(segment) = segment(packet.link_type, packet.data).map_err(unknown)? else { return Ok(()) };
        let Some(speaker) = self.speaker(&segment) else { return Ok(()) };
        let key = match speaker {
            Speaker::Client => (segment.source, segment.destination),
            Speaker::Server => (segment.destination, segment.source),
        };
        let now = (packet.number, packet.time);
        let begins = segment.is_syn && !segment.is_ack;
        if let Some(known) = self.connections.get_mut(&key) {
            let begins_anew = begins && known.sides[0].direction.begin(segment.sequence.wrapping_add(1));
            if begins_anew {
                self.end(key, End::Replaced);
            } else if known.is_ended {
                return Ok(());
            }
        }
        if !self.connections.contains_key(&key) {
            // An acknowledgement alone may be the last of a connection that has gone.
            if segment.payload.is_empty() && !segment.is_syn {
                return Ok(());
            }
            self.begin(key, segment.is_syn, speaker, now);
        }
        self.segment(key, speaker, &segment, now);
        while self.held > self.options.held {
            self.forget();
        }
        Ok(())
    }

    /// Whoever sent a segment, if it is of a connection that is looked for.
    fn speaker(&self, segment: &Segment<'_>) -> Option<Speaker> {
        let is_port = |address: SocketAddr| self.options.ports.contains(&address.port());
        let is_answer = self.connections.contains_key(&(segment.destination, segment.source));
        match (is_port(segment.source), is_port(segment.destination)) {
            (false, false) => None,
            (true, true) if is_answer => Some(Speaker::Server),
            (true, false) => Some(Speaker::Server),
            _ => Some(Speaker::Client),
        }
    }

    fn begin(
        &mut self,
        key: (SocketAddr, SocketAddr),
        is_whole: bool,
        speaker: Speaker,
        last: (u64, Option<Duration>),
    ) {
        while self.connections.len() >= self.options.connections.max(1) {
            self.forget();
        }
        self.count += 1;
        let side = || Side {
            direction: Direction::default(),
            reader: match is_whole {
                true => StreamReader::new(self.options.frame),
                false => StreamReader::in_the_middle(self.options.frame),
            },
        };
        let connection = Connection { number: self.count, sides: [side(), side()], last, is_ended: false };
        let told = Told::Begun { client: key.0, server: key.1, is_whole };
        self.told.push(connection.captured(speaker, told));
        self.connections.insert(key, connection);
    }

    fn segment(
        &mut self,
        key: (SocketAddr, SocketAddr),
        speaker: Speaker,
        segment: &Segment<'_>,
        now: (u64, Option<Duration>),
    ) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        connection.last = now;
        let before = connection.held();
        let side = connection.side(speaker);
        let mut sequence = segment.sequence;
        if segment.is_syn {
            sequence = sequence.wrapping_add(1);
            side.direction.begin(sequence);
        }
        let waiting = self.options.waiting;
        let parts = side.direction.segment(sequence, segment.payload, segment.is_fin, waiting);
        let told = side.read(parts);
        self.told.extend(told.into_iter().map(|told| connection.captured(speaker, told)));
        self.held = self.held + connection.held() - before;
        if segment.is_reset {
            self.end(key, End::Reset);
        } else if connection.sides.iter().all(|side| side.direction.is_ended()) {
            self.end(key, End::Closed);
        }
    }

    /// Ends a connection. One that was replaced or forgotten is known no more.
    fn end(&mut self, key: (SocketAddr, SocketAddr), end: End) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        if !connection.is_ended {
            connection.is_ended = true;
            self.held -= connection.held();
            for speaker in [Speaker::Client, Speaker::Server] {
                let side = connection.side(speaker);
                let parts = side.direction.finish();
                let mut told = side.read(parts);
                told.extend(side.reader.finish());
                self.told.extend(told.into_iter().map(|told| connection.captured(speaker, told)));
            }
            self.told.push(connection.captured(Speaker::Client, Told::Ended(end)));
        }
        if matches!(end, End::Replaced | End::Forgotten) {
            self.connections.remove(&key);
        }
    }

    /// Forgets one that has ended, or the one that was silent longest.
    fn forget(&mut self) {
        let order = |connection: &Connection| (!connection.is_ended, connection.last.0);
        let oldest = self.connections.iter().min_by_key(|(_, connection)| order(connection));
        match oldest.map(|(key, _)| *key) {
            Some(key) => self.end(key, End::Forgotten),
            None => self.held = 0,
        }
    }

    fn finish(&mut self) {
        let mut left: Vec<_> =
            self.connections.iter().map(|(key, connection)| (connection.number, *key)).collect();
        left.sort_unstable();
        for (_, key) in left {
            self.end(key, End::CaptureEnded);
        }
    }
}

impl Connection {
    fn side(&mut self, speaker: Speaker) -> &mut Side {
        let [client, server] = &mut self.sides;
        match speaker {
            Speaker::Client => client,
            Speaker::Server => server,
        }
    }

    fn held(&self) -> usize {
        self.sides.iter().map(|side| side.direction.cost() + side.reader.held()).sum()
    }

    fn captured(&self, speaker: Speaker, told: Told) -> Captured {
        let (packet, time) = self.last;
        Captured { connection: self.number, speaker, packet, time, told }
    }
}

impl Side {
    fn read(&mut self, parts: Vec<Part>) -> Vec<Told> {
        let told = parts.into_iter().flat_map(|part| match part {
            Part::Octets(octets) => self.reader.push(&octets),
            Part::Gap(octets) => self.reader.gap(octets),
        });
        told.collect()
    }
}
