//! The input as records, one a frame, so that a mutated frame still has a valid length and end
//! marker and gets past their checks.

use std::time::Duration;

use amqp_codec::{
    Frame, Method,
    frame::{FRAME_END, HEARTBEAT},
};
use bytes::{BufMut as _, BytesMut};
use tokio::{runtime::Runtime, time::timeout};

/// A record's header: the kind, the channel and two octets of length.
const RECORD_HEADER: usize = 4;

/// The kinds of records: the first octet.
pub(crate) mod kind {
    pub(crate) const METHOD: u8 = 0;
    pub(crate) const HEADER: u8 = 1;
    pub(crate) const BODY: u8 = 2;
    pub(crate) const HEARTBEAT: u8 = 3;
    /// The number of kinds. Bytes that are sent unchanged are the last of them.
    pub(crate) const COUNT: u8 = 5;
}

/// A frame as a record of the input.
pub(crate) fn record(kind: u8, channel: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (payload.len() as u16).to_be_bytes();
    [&[kind, channel, high, low], payload].concat()
}

/// The bytes that the records describe. Only the lowest channels are used, because most of the
/// others are never open.
pub(crate) fn stream_of(mut records: &[u8]) -> BytesMut {
    let mut stream = BytesMut::new();
    while let Some((&[kind, channel, high, low], rest)) = records.split_first_chunk::<RECORD_HEADER>() {
        let length = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let (payload, rest) = rest.split_at(length);
        records = rest;
        let octet = match kind % kind::COUNT {
            kind::METHOD => 1,
            kind::HEADER => 2,
            kind::BODY => 3,
            kind::HEARTBEAT => {
                stream.put_slice(&HEARTBEAT);
                continue;
            }
            _ => {
                stream.put_slice(payload);
                continue;
            }
        };
        stream.put_u8(octet);
        stream.put_u16(u16::from(channel % 4));
        stream.put_u32(payload.len() as u32);
        stream.put_slice(payload);
        stream.put_u8(FRAME_END);
    }
    stream
}

/// One method as a frame.
pub(crate) fn method(channel: u16, method: impl Into<Method>) -> BytesMut {
    let mut bytes = BytesMut::new();
    Frame::Method(channel, method.into()).encode(1 << 17, &mut bytes).expect("it fits");
    bytes
}

/// A runtime whose clock jumps to the next deadline when no task can run, so that an endless wait
/// is found at once.
pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without threads or sockets")
}

/// # Panics
/// When it takes an hour of the runtime's time.
pub(crate) async fn must_end<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(3600), future).await.unwrap_or_else(|_| panic!("{what} waits for ever"))
}
