//! What the targets start from: recorded sessions, cut to what each target reads.

use std::{collections::BTreeSet, fs, io, path::Path};

use amqp_codec::{Frame, FrameKind, RawFrame, frame::PROTOCOL_HEADER};
use bytes::BytesMut;

const RECORDINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/suite/codec/golden");

/// The seeds of every target.
#[derive(Default)]
pub struct Seeds {
    /// A part size, then frames.
    pub frame: BTreeSet<Vec<u8>>,
    /// Payloads of method frames.
    pub method: BTreeSet<Vec<u8>>,
    /// Property flags and lists.
    pub properties: BTreeSet<Vec<u8>>,
    /// Entries of tables.
    pub table: BTreeSet<Vec<u8>>,
}

impl Seeds {
    /// From all recordings.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn load() -> io::Result<Self> {
        let mut seeds = Seeds::default();
        for entry in fs::read_dir(RECORDINGS)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "bin") {
                seeds.add(&fs::read(path)?)?;
            }
        }
        Ok(seeds)
    }

    /// Each target's name and seeds.
    pub fn by_target(&self) -> [(&'static str, &BTreeSet<Vec<u8>>); 4] {
        [
            ("frame", &self.frame),
            ("method", &self.method),
            ("properties", &self.properties),
            ("table", &self.table),
        ]
    }

    /// Writes every seed as a file of its own into `folder/TARGET`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        for (target, seeds) in self.by_target() {
            let folder = folder.join(target);
            fs::create_dir_all(&folder)?;
            for (number, seed) in seeds.iter().enumerate() {
                fs::write(folder.join(format!("golden-{number:03}")), seed)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, recording: &[u8]) -> io::Result<()> {
        let mut rest = BytesMut::from(recording.strip_prefix(&PROTOCOL_HEADER).unwrap_or(recording));
        let mut content = Vec::new();
        while let Some((raw, bytes)) = next(&mut rest)? {
            match raw.kind {
                FrameKind::Method => {
                    self.add_content(std::mem::take(&mut content));
                    self.method.insert(raw.payload.to_vec());
                    self.table.extend(last_table(&raw.payload));
                }
                FrameKind::Header => self.add_header(raw)?,
                FrameKind::Body | FrameKind::Heartbeat => {}
            }
            content.extend_from_slice(&bytes);
        }
        self.add_content(content);
        Ok(())
    }

    /// A method with what follows it.
    fn add_content(&mut self, frames: Vec<u8>) {
        const LONGEST: usize = 1000;
        if !frames.is_empty() && frames.len() <= LONGEST {
            self.frame.insert([&[16], &frames[..]].concat());
        }
    }

    fn add_header(&mut self, raw: RawFrame) -> io::Result<()> {
        let Ok(Frame::Header(_, header)) = raw.decode() else { return Err(malformed("content header")) };
        self.properties.insert(header.properties.as_encoded().to_vec());
        let properties = header.properties.decode().map_err(|_| malformed("properties"))?;
        self.table.extend(properties.headers.map(|headers| headers.as_encoded().to_vec()));
        Ok(())
    }
}

/// The first frame and all of its bytes.
fn next(rest: &mut BytesMut) -> io::Result<Option<(RawFrame, Vec<u8>)>> {
    let before = rest.clone();
    let raw = RawFrame::split_from(rest, 131_072).map_err(|_| malformed("frame"))?;
    Ok(raw.map(|raw| (raw, before[..before.len() - rest.len()].to_vec())))
}

/// The table a payload ends with: of most methods that have one it is the last argument.
fn last_table(payload: &[u8]) -> Option<Vec<u8>> {
    (0..payload.len()).find_map(|at| {
        let (length, entries) = payload[at..].split_first_chunk::<4>()?;
        (u32::from_be_bytes(*length) as usize == entries.len() && !entries.is_empty())
            .then(|| entries.to_vec())
    })
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a recording has a malformed {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_holds_over_its_seeds_and_their_truncations() {
        let seeds = Seeds::load().unwrap();
        let targets = [crate::frame, crate::method, crate::properties, crate::table];
        for ((name, seeds), target) in seeds.by_target().into_iter().zip(targets) {
            assert!(seeds.len() > 5, "{name} has seeds");
            for seed in seeds {
                for end in 0..=seed.len() {
                    target(&seed[..end]);
                }
            }
        }
    }
}
