//! Where the targets start from: recorded sessions, cut to what each target reads.

use std::{collections::BTreeSet, fs, io, path::Path};

use amqp_codec::{Frame, FrameKind, Method, RawFrame, ShortString, frame::PROTOCOL_HEADER, method::basic};
use bytes::{Bytes, BytesMut};
use messaging::Compression;

use crate::{engine, script};

const RECORDINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/suite/codec/golden");

/// The seeds of every target.
#[derive(Default)]
pub struct Seeds {
    /// The first octet with the part size and flags, then what a client sent, as records.
    pub broker_session: BTreeSet<Vec<u8>>,
    /// The first octet with the rate of changes and a flag, then what decides.
    pub session_model: BTreeSet<Vec<u8>>,
    /// Requests to the management API, or octets for an HTTP listener.
    pub http: BTreeSet<Vec<u8>>,
    /// A part size, then what a broker sent, as records.
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
    /// An octet for the compression, then bytes to decompress or compress.
    pub compression: BTreeSet<Vec<u8>>,
    /// The octet that selects request or reply, then its body.
    pub rpc: BTreeSet<Vec<u8>>,
    /// URLs of transports, and parts of one.
    pub transport_url: BTreeSet<Vec<u8>>,
    /// JSON and MessagePack, with kombu's tags.
    pub value: BTreeSet<Vec<u8>>,
    /// Items of kombu queues, and claims.
    pub kombu_envelope: BTreeSet<Vec<u8>>,
}

/// Examples of URIs; the recordings contain none.
const URIS: [&str; 7] = [
    "amqp://",
    "amqp://user%61:%61pass@ho%61st:10000/v%2fhost",
    "amqps://[::1]:5671/%2f?heartbeat=10&channel_max=100&frame_max=8192",
    "amqp://host:99999/a/b",
    "amqp://u:p?w@h/?connection_timeout=1500&x=y",
    "user\np:a@s/s\nprod",
    "\u{fc}ser\n%\n/",
];

/// Examples as kombu and oslo.messaging write them.
const TRANSPORT_URLS: [&str; 8] = [
    "rabbit://guest:guest@h1:5672,h2:5672/prod?heartbeat=10&ssl=true&ssl_ca_file=/ca.pem",
    "amqp://u:p%3b@h//;amqp://other;third:5673",
    "pyamqp://h/?ssl=1&ssl_cert_reqs=none&login_method=PLAIN&connect_timeout=2.5",
    "kombu+memory://name",
    "memory://name",
    "amqps://[::1]:5671/%2f?verify=verify_none&channel_max=1&frame_max=4096&auth_mechanism=plain",
    "user\np:a@s/s\nprod?x=y",
    "h1,h2:99999\n;amqp://\n?ssl_check_hostname=false",
];

/// Examples of what Python writes.
const VALUES: [&str; 8] = [
    r#"{"at": {"__type__": "datetime", "__value__": "2024-01-02T03:04:05.678+01:00"}, "n": [1, -2.5e3, NaN, "\ud800"]}"#,
    r#"[{"__type__": "decimal", "__value__": "1.50"}, {"__type__": "uuid", "__value__": {"hex": "6ba7b8109dad11d180b400c04fd430c8"}}]"#,
    r#"{"__type__": "bytes", "__value__": "text"}"#,
    r#"[{"__type__": "base64", "__value__": "/w=="}, {"__type__": "date", "__value__": "2024-01-02"}]"#,
    r#"{"__type__": "time", "__value__": "03:04:05Z"}"#,
    r#"[18446744073709551615, -9223372036854775808, 1208925819614629174706176, Infinity, true, null, {}]"#,
    "\u{83}\u{1}",
    "{\"a\": {\"__type__\": \"other\", \"__value__\": 1}}",
];

/// Examples as oslo.messaging writes them.
const RPC: [&str; 8] = [
    r#"0{"oslo.version": "2.0", "oslo.message": "{\"method\": \"double\", \"args\": {\"number\": 2}, \"version\": \"1.0\", \"_msg_id\": \"5fcebaf07d464aa48f7a1e9546ccf035\", \"_reply_q\": \"math\", \"_timeout\": null, \"_unique_id\": \"f809af92bd2f4264b07e88e8365b0428\", \"_context_user\": \"alice\"}"}"#,
    r#"0{"method": "double", "args": {"number": 2}, "namespace": "n", "version": "1.7", "_msg_id": "x", "_reply_q": "gone", "_timeout": 4}"#,
    r#"0{"method": "none", "args": [NaN], "_reply_q": "", "_context_a": {"b": [1, 2]}}"#,
    r#"0{"oslo.version": "3.0", "oslo.message": "{}"}"#,
    r#"1{"oslo.version": "2.0", "oslo.message": "{\"result\": {\"a\": 1}, \"failure\": null, \"ending\": true, \"_msg_id\": \"$ID\", \"_unique_id\": \"u\"}"}"#,
    r#"1{"oslo.version": "2.0", "oslo.message": "{\"result\": null, \"failure\": \"{\\\"class\\\": \\\"AppError\\\", \\\"module\\\": \\\"m\\\", \\\"message\\\": \\\"no\\\", \\\"tb\\\": [], \\\"args\\\": [1], \\\"kwargs\\\": {}}\", \"ending\": true, \"_msg_id\": \"$ID\"}"}"#,
    r#"1{"result": null, "ending": false, "_msg_id": "$ID"}"#,
    r#"1{"result": 1, "failure": {"class": "E"}, "ending": false, "_msg_id": "$ID"}"#,
];

/// Items as kombu and others write them, and claims of them.
const KOMBU_ENVELOPES: [&str; 8] = [
    r#"{"body": "W1syLCAzXSwge30s", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"lang": "py", "retries": 0, "eta": null, "timelimit": [null, 1.5]}, "properties": {"correlation_id": "a7d4", "reply_to": "1a9e", "delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "demo"}, "priority": 0, "body_encoding": "base64", "delivery_tag": "592c5a22-99f2-426f-baba-ecef9b77156c"}}"#,
    r#"{"body": "text", "headers": null, "properties": {"priority": 7, "expiration": "100", "expires_at": 1.5e9, "delivery_tag": 1, "body_encoding": "utf-8", "delivery_info": {"exchange": "x", "routing_key": "\u00e9"}}, "redelivered": true}"#,
    r#"{"properties":{}}"#,
    r#"{"body":{"__type__":"bytes","__value__":"AP8="},"headers":{"a":NaN,"b":[-Infinity,{"c":true}],"d":{"__type__":"decimal","__value__":"1.50"},"e":{"__type__":"datetime","__value__":"2026-01-02T03:04:05"}},"properties":{"timestamp":1,"type":"t","user_id":"u","app_id":"a","cluster_id":"c","message_id":"m"}}"#,
    r#"{"headers":{"redelivered":true,"n":123456789012345678901234567890},"properties":{"delivery_info":{"redelivered":true}}}"#,
    r#"[{"body": "", "properties": {"priority": 3, "delivery_tag": "t"}}, "exchange", "key"]"#,
    r#"[{"body":"eA==","content-type":null,"headers":{},"properties":{"body_encoding":"base64"}},"","queue"]"#,
    r#"[{"properties":{"priority":-1e3},"headers":{"x":Infinity}}, null, "q"]"#,
];

/// A body in every compression.
fn compressed() -> BTreeSet<Vec<u8>> {
    let kinds =
        [Compression::Zlib, Compression::Zstd, Compression::Bzip2, Compression::Xz, Compression::Brotli];
    let body = b"a body, a body, and more of the same body";
    let seed = |(kind, compression): (u8, Compression)| {
        Some([&[kind][..], &compression.compress(body).ok()?].concat())
    };
    let compressed = (0..).zip(kinds).filter_map(seed);
    compressed.chain([[&[0], &body[..]].concat(), [&[1], &[0; 64][..]].concat()]).collect()
}

impl Seeds {
    /// Loads the seeds from all recordings.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn load() -> io::Result<Self> {
        let mut seeds = Seeds {
            uri: URIS.map(Vec::from).into(),
            compression: compressed(),
            rpc: RPC.map(Vec::from).into(),
            transport_url: TRANSPORT_URLS.map(Vec::from).into(),
            value: VALUES.map(Vec::from).into(),
            kombu_envelope: KOMBU_ENVELOPES.map(Vec::from).into(),
            http: crate::http::seeds().collect(),
            session_model: crate::session_model::seeds().collect(),
            ..Seeds::default()
        };
        for entry in fs::read_dir(RECORDINGS)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "bin") {
                seeds.add(&fs::read(path)?)?;
            }
        }
        Ok(seeds)
    }

    /// Each target's name and seeds.
    pub fn by_target(&self) -> [(&'static str, &BTreeSet<Vec<u8>>); 15] {
        [
            ("broker_session", &self.broker_session),
            ("engine", &self.engine),
            ("http", &self.http),
            ("frame", &self.frame),
            ("method", &self.method),
            ("properties", &self.properties),
            ("stream", &self.stream),
            ("table", &self.table),
            ("uri", &self.uri),
            ("compression", &self.compression),
            ("rpc", &self.rpc),
            ("transport_url", &self.transport_url),
            ("value", &self.value),
            ("kombu_envelope", &self.kombu_envelope),
            ("session_model", &self.session_model),
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

    /// Adds a method and the content that follows it.
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

/// A session as records. Each record where a seed may begin is marked by its offset.
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

    /// Makes a seed of every few methods in a row, once in one part and once in many.
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

/// Directs deliveries to the one consumer of the target's client.
fn to_the_consumer(payload: &Bytes) -> io::Result<Bytes> {
    let method = Method::decode(payload).map_err(|_| malformed("method"))?;
    let Ok(deliver) = basic::Deliver::try_from(method) else { return Ok(payload.clone()) };
    let deliver = basic::Deliver { consumer_tag: ShortString::from_static(engine::TAG), ..deliver };
    let mut payload = BytesMut::new();
    Method::from(deliver).encode(&mut payload).map_err(|_| malformed("delivery"))?;
    Ok(payload.freeze())
}

/// The first frame, and its bytes.
fn next(rest: &mut BytesMut) -> io::Result<Option<(RawFrame, Vec<u8>)>> {
    let before = rest.clone();
    let raw = RawFrame::split_from(rest, 131_072).map_err(|_| malformed("frame"))?;
    Ok(raw.map(|raw| (raw, before[..before.len() - rest.len()].to_vec())))
}

/// The table at the end of a payload: most methods that have a table have it last.
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
        let session_model = |data: &[u8]| {
            crate::session_model(data);
        };
        let targets: [fn(&[u8]); 15] = [
            crate::broker_session,
            crate::engine,
            crate::http,
            crate::frame,
            crate::method,
            crate::properties,
            crate::stream,
            crate::table,
            crate::uri,
            crate::compression,
            crate::rpc,
            crate::transport_url,
            crate::value,
            crate::kombu_envelope,
            session_model,
        ];
        for ((name, seeds), target) in seeds.by_target().into_iter().zip(targets) {
            assert!(seeds.len() > 5, "{name} has seeds");
            for seed in seeds {
                let step = match name {
                    // A whole session takes longer than a frame.
                    "broker_session" | "engine" | "http" | "rpc" | "session_model" => {
                        seed.len().div_ceil(4).max(1)
                    }
                    _ => 1,
                };
                for end in (0..seed.len()).step_by(step).chain([seed.len()]) {
                    target(&seed[..end]);
                }
            }
        }
    }
}
