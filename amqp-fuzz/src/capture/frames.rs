//! The frames of a stream that may begin in its middle and lack parts.

use amqp_codec::frame::FRAME_END;
use bytes::{Bytes, BytesMut};

use super::{
    boundary::{Boundary, boundary, head},
    told::Told,
};
use crate::{transcript::item::Item, wire_frame::WireFrame};

const PROTOCOL_HEADER: usize = amqp_codec::frame::PROTOCOL_HEADER.len();
const FRAME_OVERHEAD: usize = amqp_codec::frame::HEADER_LEN + 1;

/// Cuts a stream into items as it comes. Where a frame should be, and is none, it looks for another
/// one. No octet is left out. It holds one frame at most, and what was given last.
///
/// ```
/// use amqp_fuzz::{Item, StreamReader, Told};
///
/// let mut reader = StreamReader::in_the_middle(1 << 20);
/// // The end of a frame, and a heartbeat.
/// let told = reader.push(b"llo\xce\x08\0\0\0\0\0\0\xce");
/// assert_eq!(told[0], Told::Item(Item::Octets((&b"llo\xce"[..]).into())));
/// assert_eq!(told[1], Told::InStep { skipped: 4 });
/// assert_eq!(told.len(), 3);
/// ```
#[derive(Debug)]
pub struct StreamReader {
    held: BytesMut,
    is_in_step: bool,
    /// Set while a protocol header may come.
    is_at_start: bool,
    skipped: u64,
    largest: usize,
}

impl StreamReader {
    /// Reads a stream from its beginning, with frames of up to `largest` bytes.
    pub fn new(largest: usize) -> Self {
        let held = BytesMut::new();
        StreamReader { held, is_in_step: true, is_at_start: true, skipped: 0, largest }
    }

    /// Reads a stream from anywhere in it.
    pub fn in_the_middle(largest: usize) -> Self {
        StreamReader { is_in_step: false, is_at_start: false, ..Self::new(largest) }
    }

    /// Takes the next octets, and returns what is known with them.
    pub fn push(&mut self, octets: &[u8]) -> Vec<Told> {
        self.held.extend_from_slice(octets);
        let mut told = Vec::new();
        self.read(false, &mut told);
        told
    }

    /// Goes on after octets that are missing.
    pub fn gap(&mut self, octets: u64) -> Vec<Told> {
        let mut told = self.finish();
        told.push(Told::Gap(octets));
        (self.is_in_step, self.is_at_start, self.skipped) = (false, false, 0);
        told
    }

    /// Ends the stream, and returns what is left.
    pub fn finish(&mut self) -> Vec<Told> {
        let mut told = Vec::new();
        self.read(true, &mut told);
        self.skip(self.held.len(), &mut told);
        told
    }

    /// The octets that are in memory.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    fn read(&mut self, is_all: bool, told: &mut Vec<Told>) {
        loop {
            let goes_on = if self.is_in_step { self.frame(told) } else { self.search(is_all, told) };
            if !goes_on {
                return;
            }
        }
    }

    /// Takes the next frame, and returns whether there may be another.
    fn frame(&mut self, told: &mut Vec<Told>) -> bool {
        if self.is_at_start && self.held.first() == Some(&b'A') {
            if self.held.len() < PROTOCOL_HEADER {
                return false;
            }
            if self.held.starts_with(b"AMQP") {
                self.is_at_start = false;
                let header = self.held.split_to(PROTOCOL_HEADER).freeze();
                told.push(Told::Item(Item::Octets(header)));
                return true;
            }
        }
        let end = match head(&self.held, self.largest) {
            Ok((_, size)) => self.held.get(FRAME_OVERHEAD - 1 + size).map(|end| (*end, size)),
            Err(Boundary::Not) => Some((0, 0)),
            Err(_) => None,
        };
        match end {
            Some((FRAME_END, size)) => {
                self.is_at_start = false;
                let mut octets = self.held.split_to(FRAME_OVERHEAD + size).freeze();
                told.extend(WireFrame::cut(&mut octets).map(|frame| Told::Item(frame.into())));
                true
            }
            Some(_) => {
                self.lose(told);
                true
            }
            None => false,
        }
    }

    fn lose(&mut self, told: &mut Vec<Told>) {
        (self.is_in_step, self.is_at_start, self.skipped) = (false, false, 0);
        told.push(Told::OutOfStep);
    }

    /// Looks for a frame, and returns whether there is one.
    fn search(&mut self, is_all: bool, told: &mut Vec<Told>) -> bool {
        let held: Bytes = self.held.split().freeze();
        let mut place = 0;
        let mut is_here = false;
        while place < held.len() {
            match boundary(&held.slice(place..), self.largest) {
                Boundary::Here => {
                    is_here = true;
                    break;
                }
                Boundary::Unknown if !is_all => break,
                Boundary::Unknown | Boundary::Not => place += 1,
            }
        }
        self.held = BytesMut::from(held);
        self.skip(place, told);
        if is_here {
            self.is_in_step = true;
            told.push(Told::InStep { skipped: self.skipped });
        }
        is_here
    }

    fn skip(&mut self, count: usize, told: &mut Vec<Told>) {
        if count > 0 {
            self.skipped += count as u64;
            told.push(Told::Item(Item::Octets(self.held.split_to(count).freeze())));
        }
    }
}
