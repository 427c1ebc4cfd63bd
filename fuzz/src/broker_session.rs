use amqp_broker::Broker;
use amqp_codec::{
    RawFrame, ShortString,
    frame::PROTOCOL_HEADER,
    method::{basic, channel, connection, queue},
    sasl,
};
use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, split},
    task::yield_now,
};

use crate::script::{method, must_end, runtime, stream_of};

const FRAME_MAX: u32 = 131_072;

/// What a client may say to a broker: whatever it is, nobody panics, the broker answers in frames, serves the next client,
/// and ends when it is asked to.
///
/// The first octet's seven low bits say in how large parts the rest arrives; its highest, that the client has not logged in.
pub fn broker_session(data: &[u8]) {
    let Some((&first, records)) = data.split_first() else { return };
    let logged_in = first & 0x80 == 0;
    let stream = if logged_in { [&opening()[..], &stream_of(records)].concat() } else { records.to_vec() };
    runtime().block_on(async {
        let broker = Broker::builder().build();
        let (read, mut write) = split(broker.connect());
        let answers = tokio::spawn(all_frames(read));
        for bytes in stream.chunks(usize::from(first & 0x7f) * 4 + 1) {
            yield_now().await;
            if write.write_all(bytes).await.is_err() {
                break;
            }
        }
        yield_now().await;
        let _ = write.shutdown().await;
        must_end("the broker's side of the stream", answers).await.expect("every answer is a frame");
        must_end("the next client", serves(broker.connect())).await;
        must_end("shutdown()", broker.shutdown()).await;
    });
}

/// From the protocol header to a queue and a consumer.
fn opening() -> BytesMut {
    let start_ok = connection::StartOk {
        mechanism: ShortString::from_static(sasl::PLAIN),
        response: sasl::plain("guest", "guest"),
        ..Default::default()
    };
    let tune_ok = connection::TuneOk { channel_max: 4, frame_max: FRAME_MAX, heartbeat: 0 };
    let virtual_host = ShortString::from_static("/");
    let declare = queue::Declare { queue: ShortString::from_static("golden.jobs"), ..Default::default() };
    let consume = basic::Consume { queue: declare.queue.clone(), ..Default::default() };
    let mut opening = BytesMut::from(&PROTOCOL_HEADER[..]);
    for frame in [
        method(0, start_ok),
        method(0, tune_ok),
        method(0, connection::Open { virtual_host, ..Default::default() }),
        method(1, channel::Open::default()),
        method(1, declare),
        method(1, consume),
    ] {
        opening.unsplit(frame);
    }
    opening
}

/// Reads to the end of the stream. A protocol header is an answer too, to a client of another version.
async fn all_frames(mut read: ReadHalf<DuplexStream>) {
    let mut received = BytesMut::new();
    while matches!(read.read_buf(&mut received).await, Ok(count) if count > 0) {
        if received.starts_with(&PROTOCOL_HEADER) {
            received = received.split_off(PROTOCOL_HEADER.len());
        }
        while let Some(raw) = RawFrame::split_from(&mut received, FRAME_MAX as usize).expect("a frame") {
            raw.decode().expect("a frame of the protocol");
        }
    }
    assert!(received.is_empty(), "half a frame: {received:?}");
}

/// Whether a client that keeps to the book gets its answers.
async fn serves(mut client: DuplexStream) {
    client.write_all(&opening()).await.expect("the broker reads");
    let mut received = BytesMut::new();
    loop {
        let frame = RawFrame::split_from(&mut received, FRAME_MAX as usize).expect("a frame");
        match frame.map(|raw| raw.decode().expect("a frame of the protocol")) {
            Some(amqp_codec::Frame::Method(1, method)) if method.name() == "basic.consume-ok" => return,
            Some(amqp_codec::Frame::Method(1, method)) if method.name() == "channel.close" => {
                // The first client may have left a queue of this name that differs.
                return;
            }
            Some(_) => {}
            None => {
                let count = client.read_buf(&mut received).await.expect("the broker answers");
                assert_ne!(count, 0, "the broker hung up");
            }
        }
    }
}
