//! The messages of a load, and the times that ride in them.

use std::{
    fmt,
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use amqp_client::{Delivery, Message, Table};
use bytes::{BufMut as _, Bytes, BytesMut};

use crate::{error::Error, load::kinds::Stamp};

/// The header in which the time rides.
const HEADER: &str = "x-amqp-bench-time";

/// Bodies and headers with times are cut from pieces of memory of this size, so that a message
/// costs no allocation.
const PIECE: usize = 64 * 1024;

/// A stamp is believed if it is at most a day old, for a body of others may begin with any octets.
const OLDEST: u64 = 24 * 60 * 60 * 1_000_000_000;

/// A stamp may be ahead of this machine's clock by so much.
const AHEAD: u64 = 60 * 1_000_000_000;

/// The largest body, which is what a client takes by default.
const LARGEST: usize = 64 * 1024 * 1024;

/// The sizes of bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) smallest: usize,
    pub(crate) largest: usize,
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (smallest, largest) = text.split_once('-').unwrap_or((text, text));
        let size = |text: &str| text.trim().parse::<usize>().map_err(|error| format!("{text:?}: {error}"));
        let (smallest, largest) = (size(smallest)?, size(largest)?);
        if smallest > largest {
            return Err("the range ends before it begins".to_owned());
        }
        if largest > LARGEST {
            return Err(format!("bodies have at most {LARGEST} bytes"));
        }
        Ok(Sizes { smallest, largest })
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.smallest == self.largest {
            true => write!(f, "{}", self.smallest),
            false => write!(f, "{}-{}", self.smallest, self.largest),
        }
    }
}

/// Where bodies come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// Letters of so many bytes
    Sizes(Sizes),
    /// A file, which is each message's body
    File(PathBuf),
}

/// The octets of all bodies, before any stamp.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    sizes: Sizes,
    octets: Bytes,
}

impl Content {
    /// Makes letters, or reads the file.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Content`] for a file that is larger than a message may be.
    pub(crate) fn new(source: &Source) -> Result<Self, Error> {
        match source {
            Source::Sizes(sizes) => Ok(Content { sizes: *sizes, octets: vec![b'x'; sizes.largest].into() }),
            Source::File(path) => {
                let octets = read(path)?;
                let sizes = Sizes { smallest: octets.len(), largest: octets.len() };
                Ok(Content { sizes, octets: octets.into() })
            }
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = || Error::file("read", path);
    let too_large = || Error::Content {
        path: path.to_owned(),
        why: format!("it is larger than a message may be ({LARGEST} bytes)"),
    };
    if fs::metadata(path).map_err(failed())?.len() > LARGEST as u64 {
        return Err(too_large());
    }
    let mut octets = Vec::new();
    // A device has no size.
    let read = File::open(path).and_then(|file| file.take(LARGEST as u64 + 1).read_to_end(&mut octets));
    match read.map_err(failed())? > LARGEST {
        true => Err(too_large()),
        false => Ok(octets),
    }
}

/// Writes the messages of one publisher.
#[derive(Debug)]
pub(crate) struct Writer {
    content: Content,
    stamp: Stamp,
    message: Message,
    piece: BytesMut,
}

impl Writer {
    pub(crate) fn new(content: Content, stamp: Stamp, is_persistent: bool) -> Self {
        let message = match is_persistent {
            true => Message::new(Bytes::new()).persistent(),
            false => Message::new(Bytes::new()),
        };
        Writer { content, stamp, message, piece: BytesMut::new() }
    }

    /// Writes the next message, with this time in it.
    #[inline]
    pub(crate) fn next(&mut self, time: u64) -> &Message {
        let Sizes { smallest, largest } = self.content.sizes;
        let size = if smallest == largest { largest } else { fastrand::usize(smallest..=largest) };
        match self.stamp {
            Stamp::Body => *self.message.body_mut() = self.stamped(size, time),
            Stamp::Header => {
                *self.message.body_mut() = self.content.octets.slice(..size);
                self.message.properties_mut().headers = self.headers(time);
            }
            Stamp::None => *self.message.body_mut() = self.content.octets.slice(..size),
        }
        &self.message
    }

    fn stamped(&mut self, size: usize, time: u64) -> Bytes {
        self.make_room(size.max(8));
        self.piece.put_u64(time);
        self.piece.put_slice(self.content.octets.get(8..size).unwrap_or_default());
        self.piece.split().freeze()
    }

    fn headers(&mut self, time: u64) -> Option<Table> {
        self.make_room(1 + HEADER.len() + 1 + 8);
        // A table's entry: a short string, the type of a signed 64-bit integer, its octets.
        self.piece.put_u8(HEADER.len() as u8);
        self.piece.put_slice(HEADER.as_bytes());
        self.piece.put_u8(b'l');
        self.piece.put_u64(time);
        Table::from_encoded(self.piece.split().freeze()).ok()
    }

    #[inline]
    fn make_room(&mut self, size: usize) {
        if self.piece.capacity() < size {
            self.piece = BytesMut::with_capacity(size.max(PIECE));
        }
    }
}

/// Reads the time that rides in a message; `None` if there is none.
#[inline]
pub(crate) fn time_of(delivery: &Delivery, stamp: Stamp, now: u64) -> Option<u64> {
    let time = match stamp {
        Stamp::None => return None,
        Stamp::Body => u64::from_be_bytes(*delivery.body().first_chunk()?),
        Stamp::Header => header_time(delivery)?,
    };
    (time > now.saturating_sub(OLDEST) && time < now + AHEAD).then_some(time)
}

fn header_time(delivery: &Delivery) -> Option<u64> {
    let mut headers = delivery.content_properties().ok()?.headers?;
    let (_, value) = headers.find(|(name, _)| *name == HEADER.as_bytes())?;
    u64::try_from(value.as_i64()?).ok()
}

/// The text of an entry of a table, if it is text.
pub(crate) fn text_of(table: &Table, key: &str) -> Option<String> {
    table.get(key)?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use amqp_client::Value;

    use super::*;

    fn content(sizes: &str) -> Content {
        Content::new(&Source::Sizes(sizes.parse().unwrap())).unwrap()
    }

    #[test]
    fn sizes_are_a_number_or_a_range() {
        let sizes = |text: &str| text.parse::<Sizes>().map(|sizes| (sizes.smallest, sizes.largest));
        assert_eq!(sizes("16"), Ok((16, 16)));
        assert_eq!(sizes("10-2000"), Ok((10, 2000)));
        for wrong in ["", "x", "-1", "20-10", "67108865", "1-99999999999999999999"] {
            assert!(sizes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn stamped_bodies_share_memory_and_have_their_sizes() {
        let mut writer = Writer::new(content("16"), Stamp::Body, false);
        let first = writer.next(7).body().clone();
        assert_eq!(&first[..], b"\0\0\0\0\0\0\0\x07xxxxxxxx");
        let mut end = first.as_ptr_range().end;
        for time in 8..4000 {
            let body = writer.next(time).body().clone();
            assert_eq!((body.as_ptr(), body.len()), (end, 16), "a body has memory of its own");
            end = body.as_ptr_range().end;
        }
        let mut writer = Writer::new(content("8-12"), Stamp::Body, false);
        assert!((0..1000).all(|_| (8..=12).contains(&writer.next(0).body().len())));
        let mut writer = Writer::new(content("200000"), Stamp::Body, false);
        assert!((0..3).all(|_| writer.next(0).body().len() == 200_000));
    }

    #[test]
    fn a_header_leaves_the_body_alone() {
        let mut writer = Writer::new(content("3"), Stamp::Header, true);
        for time in [5, 6] {
            let message = writer.next(time);
            assert_eq!(&message.body()[..], b"xxx");
            let headers = message.properties().headers.as_ref().unwrap();
            assert_eq!(headers.get(HEADER), Some(Value::I64(time as i64)));
            assert_eq!(message.properties().delivery_mode, Some(2));
        }
    }
}
