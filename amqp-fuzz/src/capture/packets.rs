//! The packets of a pcap or pcapng file.

use std::{
    io::{self, Read},
    sync::{Arc, Mutex},
    time::Duration,
};

use pcap_parser::{Block, PcapBlockOwned, PcapError, create_reader, traits::PcapReaderIterator};

use super::error::CaptureError;

/// The part of the file that is in memory at first, and the largest one, in bytes.
const READ: usize = 64 << 10;
const MOST: usize = 16 << 20;
/// The most interfaces that are remembered.
const INTERFACES: usize = 10_000;

/// A packet of a capture.
pub(super) struct Packet<'a> {
    /// The number, from 1.
    pub(super) number: u64,
    /// The time since 1970, if the capture has it.
    pub(super) time: Option<Duration>,
    pub(super) link_type: i32,
    pub(super) data: &'a [u8],
}

/// Where packets come from, and how their times are to be read.
#[derive(Clone, Copy)]
struct Interface {
    link_type: i32,
    /// In a second.
    ticks: Option<u64>,
    offset: i64,
}

/// The next block, as far as it is known, without its octets.
enum Next {
    Taken(usize),
    More,
    Grow,
    End,
    Failed(CaptureError),
}

/// Reads all packets, in the order of the file.
///
/// # Errors
/// Those of the file, and of `each`.
pub(super) fn read_packets<E: From<CaptureError>>(
    source: impl Read + Send,
    mut each: impl FnMut(Packet<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let failure = Failure::default();
    let mut reader = match create_reader(READ, Whole { source, failure: failure.clone() }) {
        Ok(reader) => reader,
        Err(PcapError::ReadError) => return Err(failure.error().into()),
        Err(_) => return Err(CaptureError::Unknown.into()),
    };
    let mut blocks = Blocks { number: 0, interfaces: Vec::new() };
    let (mut offset, mut capacity) = (0, READ);
    loop {
        let packets = blocks.number;
        let next = match reader.next() {
            Ok((length, block)) => match blocks.block(&block, &mut each) {
                Ok(()) => Next::Taken(length),
                Err(error) => return Err(error),
            },
            Err(PcapError::Eof) => Next::End,
            Err(PcapError::Incomplete(_)) => Next::More,
            Err(PcapError::BufferTooSmall) => Next::Grow,
            Err(PcapError::UnexpectedEof) => Next::Failed(CaptureError::Truncated { offset, packets }),
            Err(PcapError::ReadError) => Next::Failed(failure.error()),
            Err(_) => Next::Failed(CaptureError::Damaged { offset, packets }),
        };
        match next {
            Next::Taken(length) => {
                reader.consume(length);
                offset += length as u64;
            }
            Next::More => refill(reader.as_mut(), &failure, offset, packets)?,
            Next::Grow if capacity < MOST => {
                capacity *= 2;
                reader.grow(capacity);
                refill(reader.as_mut(), &failure, offset, packets)?;
            }
            Next::Grow => {
                return Err(CaptureError::TooLarge { offset, packets, most: MOST }.into());
            }
            Next::End => return Ok(()),
            // Some blocks end within the last read; nothing is left then.
            Next::Failed(CaptureError::Truncated { .. }) if reader.data().is_empty() => return Ok(()),
            Next::Failed(error) => return Err(error.into()),
        }
    }
}

fn refill(
    reader: &mut dyn PcapReaderIterator,
    failure: &Failure,
    offset: u64,
    packets: u64,
) -> Result<(), CaptureError> {
    let before = reader.data().len();
    reader.refill().map_err(|_| failure.error())?;
    match reader.data().len() > before || reader.reader_exhausted() {
        true => Ok(()),
        // A block that asks for more than there is room for would be asked for without end.
        false => Err(CaptureError::Damaged { offset, packets }),
    }
}

/// A source that reads as much as it is asked for: the first read has to contain a whole header.
struct Whole<R> {
    source: R,
    failure: Failure,
}

/// Why a read failed, which the library does not tell.
#[derive(Clone, Default)]
struct Failure(Arc<Mutex<Option<io::Error>>>);

impl Failure {
    fn error(&self) -> CaptureError {
        let found = self.0.lock().ok().and_then(|mut found| found.take());
        CaptureError::Read(found.unwrap_or_else(|| io::ErrorKind::Other.into()))
    }
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.source.read(rest) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // It will fail again, after what has come is read.
                Err(_) if filled > 0 => break,
                Err(error) => {
                    let kind = error.kind();
                    if let Ok(mut found) = self.failure.0.lock() {
                        *found = Some(error);
                    }
                    return Err(kind.into());
                }
            }
        }
        Ok(filled)
    }
}

struct Blocks {
    number: u64,
    interfaces: Vec<Interface>,
}

impl Blocks {
    fn block<E>(
        &mut self,
        block: &PcapBlockOwned<'_>,
        each: &mut impl FnMut(Packet<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (interface, units, captured, data) = match block {
            PcapBlockOwned::LegacyHeader(header) => {
                let ticks = if header.is_nanosecond_precision() { 1_000_000_000 } else { 1_000_000 };
                let interface = Interface { link_type: header.network.0, ticks: Some(ticks), offset: 0 };
                self.interfaces = vec![interface];
                return Ok(());
            }
            PcapBlockOwned::Legacy(packet) => {
                let Some(interface) = self.interfaces.first() else { return Ok(()) };
                let ticks = interface.ticks.unwrap_or_default();
                let units = u64::from(packet.ts_sec) * ticks + u64::from(packet.ts_usec);
                (*interface, Some(units), packet.caplen, packet.data)
            }
            PcapBlockOwned::NG(Block::SectionHeader(_)) => {
                self.interfaces.clear();
                return Ok(());
            }
            PcapBlockOwned::NG(Block::InterfaceDescription(found)) => {
                if self.interfaces.len() < INTERFACES {
                    let (link_type, ticks) = (found.linktype.0, found.ts_resolution());
                    self.interfaces.push(Interface { link_type, ticks, offset: found.ts_offset() });
                }
                return Ok(());
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                let Some(interface) = self.interfaces.get(packet.if_id as usize) else { return Ok(()) };
                let units = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                (*interface, Some(units), packet.caplen, packet.data)
            }
            PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                let Some(interface) = self.interfaces.first() else { return Ok(()) };
                (*interface, None, packet.origlen, packet.data)
            }
            PcapBlockOwned::NG(_) => return Ok(()),
        };
        self.number += 1;
        // What follows the packet in its block is padding.
        let data = data.get(..captured as usize).unwrap_or(data);
        let time = units.and_then(|units| interface.time(units));
        each(Packet { number: self.number, time, link_type: interface.link_type, data })
    }
}

impl Interface {
    fn time(&self, units: u64) -> Option<Duration> {
        let ticks = self.ticks.filter(|ticks| *ticks > 0)?;
        let seconds = i64::try_from(units / ticks).ok()?.checked_add(self.offset)?;
        let nanoseconds = u128::from(units % ticks) * 1_000_000_000 / u128::from(ticks);
        Some(Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanoseconds).ok()?))
    }
}
