//! What the targets start from: recorded sessions, cut to what each target reads.

use std::{collections::BTreeSet, fs, io, path::Path};

use amqp_codec::{Frame, FrameKind, Method, RawFrame, ShortString, frame::PROTOCOL_HEADER, method::basic};
use bytes::{Bytes, BytesMut};

use crate::{engine, script};

const RECORDINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/suite/codec/golden");

/// The seeds of every target.
#[derive(Default)]
pub struct Seeds {
    /// Part size and what there is before, then what a client said, as records.
    pub broker_session: BTreeSet<Vec<u8>>,
    /// A part size, then what a broker said, as records.
    pub engine: BTreeSet<Vec<u8>>,
    /// A part size, then frames.
    pub frame: BTreeSet<Vec<u8>>,
    /// Payloads of method frames.
    pub method: BTreeSet<Vec<u8>>,
    /// Property flags and lists.
    pub properties: BTreeSet<Vec<u8>>,
    /// Frames.
    pub stream: BTreeSet<Vec<u8>>,
    /// Entries of tables.
    pub table: BTreeSet<Vec<u8>>,
    /// URIs, and parts of one.
    pub uri: BTreeSet<Vec<u8>>,
}

/// What URIs are written like; none was recorded.
const URIS: [&str; 7] = [
    "amqp://",
    "amqp://user%61:%61pass@ho%61st:10000/v%2fhost",
    "amqps://[::1]:5671/%2f?heartbeat=10&channel_max=100&frame_max=8192",
    "amqp://host:99999/a/b",
    "amqp://u:p?w@h/?connection_timeout=1500&x=y",
    "user\np:a@s/s\nprod",
    "\u{fc}ser\n%\n/",
];

impl Seeds {
    /// From all recordings.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn load() -> io::Result<Self> {
        let mut seeds = Seeds { uri: URIS.map(Vec::from).into(), ..Seeds::default() };
        for entry in fs::read_dir(RECORDINGS)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "bin") {
                seeds.add(&fs::read(path)?)?;
            }
        }
        Ok(seeds)
    }

    /// Each target's name and seeds.
    pub fn by_target(&self) -> [(&'static str, &BTreeSet<Vec<u8>>); 8] {
        [
            ("broker_session", &self.broker_session),
            ("engine", &self.engine),
            ("frame", &self.frame),
            ("method", &self.method),
            ("properties", &self.properties),
            ("stream", &self.stream),
            ("table", &self.table),
            ("uri", &self.uri),
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
        let from_client = recording.starts_with(&PROTOCOL_HEADER);
        let mut rest = BytesMut::from(recording.strip_prefix(&PROTOCOL_HEADER).unwrap_or(recording));
        let mut content = Vec::new();
        let mut records = Records::default();
        while let Some((raw, bytes)) = next(&mut rest)? {
            records.add(&raw)?;
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
        let target = if from_client { &mut self.broker_session } else { &mut self.engine };
        target.extend(records.into_seeds());
        Ok(())
    }

    /// A method with what follows it.
    fn add_content(&mut self, frames: Vec<u8>) {
        const LONGEST: usize = 1000;
        if !frames.is_empty() && frames.len() <= LONGEST {
            self.frame.insert([&[16], &frames[..]].concat());
            self.stream.insert(frames);
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

/// A session as records, each that may begin a seed marked by where it begins.
#[derive(Default)]
struct Records {
    bytes: Vec<u8>,
    methods_at: Vec<usize>,
}

impl Records {
    fn add(&mut self, raw: &RawFrame) -> io::Result<()> {
        const LONGEST: usize = 600;
        let payload =
            if raw.payload.len() > LONGEST { raw.payload.slice(..LONGEST) } else { raw.payload.clone() };
        let channel = raw.channel.min(3) as u8;
        let record = match raw.kind {
            FrameKind::Method => {
                self.methods_at.push(self.bytes.len());
                script::record(script::kind::METHOD, channel, &to_the_consumer(&payload)?)
            }
            FrameKind::Header => script::record(script::kind::HEADER, channel, &payload),
            FrameKind::Body => script::record(script::kind::BODY, channel, &payload),
            FrameKind::Heartbeat => script::record(script::kind::HEARTBEAT, channel, &payload),
        };
        self.bytes.extend(record);
        Ok(())
    }

    /// Every few methods in a row, in one part and in many.
    fn into_seeds(self) -> impl Iterator<Item = Vec<u8>> {
        const METHODS: usize = 6;
        let ends = self.methods_at.clone().into_iter().skip(METHODS).chain([self.bytes.len()]);
        let bounds: Vec<_> = self.methods_at.into_iter().zip(ends).collect();
        bounds.into_iter().flat_map(move |(start, end)| {
            let records = self.bytes[start..end].to_vec();
            [7, 39, 127].map(|part| [&[part], &records[..]].concat())
        })
    }
}

/// Deliveries go to the one consumer that the client of the target has.
fn to_the_consumer(payload: &Bytes) -> io::Result<Bytes> {
    let method = Method::decode(payload).map_err(|_| malformed("method"))?;
    let Ok(deliver) = basic::Deliver::try_from(method) else { return Ok(payload.clone()) };
    let deliver = basic::Deliver { consumer_tag: ShortString::from_static(engine::TAG), ..deliver };
    let mut payload = BytesMut::new();
    Method::from(deliver).encode(&mut payload).map_err(|_| malformed("delivery"))?;
    Ok(payload.freeze())
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
        let targets = [
            crate::broker_session,
            crate::engine,
            crate::frame,
            crate::method,
            crate::properties,
            crate::stream,
            crate::table,
            crate::uri,
        ];
        for ((name, seeds), target) in seeds.by_target().into_iter().zip(targets) {
            assert!(seeds.len() > 5, "{name} has seeds");
            for seed in seeds {
                let step = match name {
                    // A whole session takes longer than a frame.
                    "broker_session" | "engine" => seed.len().div_ceil(4).max(1),
                    _ => 1,
                };
                for end in (0..seed.len()).step_by(step).chain([seed.len()]) {
                    target(&seed[..end]);
                }
            }
        }
    }
}
