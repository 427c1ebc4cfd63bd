use std::time::Duration;

use amqp_broker::{Broker, Permissions};
use amqp_codec::{
    RawFrame, ShortString, Table, Value,
    frame::PROTOCOL_HEADER,
    method::{basic, channel, connection, exchange, queue, tx},
    sasl,
};
use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, split},
    task::yield_now,
};

use crate::script::{method, must_end, runtime, stream_of};

const FRAME_MAX: u32 = 131_072;

/// In the first octet: the client has not logged in.
const STRANGER: u8 = 0x80;
/// In the first octet: the broker has narrow limits, and the client has restricted permissions.
const NARROW: u8 = 0x40;
/// In the first octet: more entities exist than a queue and a consumer; see [`features`].
const FEATURES: u8 = 0x20;
/// In the first octet: the size of the parts in which the rest arrives.
const PART_SIZE: u8 = 0x1f;

/// Sends a broker anything that a client may send. Nothing panics; the broker answers in
/// well-formed frames, serves the next client, and ends when it is asked to.
///
/// The constants above say what the first octet means.
pub fn broker_session(data: &[u8]) {
    let Some((&first, records)) = data.split_first() else { return };
    let mut stream = Vec::new();
    if first & STRANGER == 0 {
        stream.extend_from_slice(&opening());
        if first & FEATURES != 0 {
            stream.extend_from_slice(&features());
        }
        stream.extend_from_slice(&stream_of(records));
    } else {
        stream.extend_from_slice(records);
    }
    runtime().block_on(async {
        let broker = if first & NARROW == 0 { Broker::builder().build() } else { narrow() };
        let (read, mut write) = split(broker.connect());
        let answers = tokio::spawn(all_frames(read));
        for bytes in stream.chunks(usize::from(first & PART_SIZE) * 16 + 1) {
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

/// A broker with low limits, which soon refuses, blocks publishers and times out.
pub(crate) fn narrow() -> Broker {
    let permissions = Permissions::new("^[a-m]", "^([a-m]|amq\\.default)", "^[a-t]").expect("patterns");
    Broker::builder()
        .user("guest", "guest")
        .permissions("guest", "/", permissions)
        .anonymous("guest")
        .max_queues(6)
        .max_unacked(3)
        // The limit barely holds a few clients.
        .memory_limit(1 << 20)
        .max_message_size(1_000)
        .consumer_timeout(Duration::from_secs(1))
        .build()
}

/// Declares a stream with a consumer, a quorum queue whose dead letters go to a short priority
/// queue, a consumer of direct replies, a channel with confirms and one with transactions.
fn features() -> BytesMut {
    let queue = |name: &'static str, arguments: Table| queue::Declare {
        queue: ShortString::from_static(name),
        durable: true,
        arguments,
        ..Default::default()
    };
    let consume = |name: &'static str, no_ack, arguments| basic::Consume {
        queue: ShortString::from_static(name),
        no_ack,
        arguments,
        ..Default::default()
    };
    let table = |entries: &[(&'static str, Value)]| {
        let mut table = Table::default();
        for (name, value) in entries {
            table.insert(name, value.clone()).expect("it fits");
        }
        table
    };
    let text = |value: &'static str| Value::LongString(value.into());
    let stream = table(&[("x-queue-type", text("stream")), ("x-max-length-bytes", Value::I64(300))]);
    let quorum = table(&[
        ("x-queue-type", text("quorum")),
        ("x-delivery-limit", Value::I32(2)),
        ("x-dead-letter-exchange", text("golden.dead")),
    ]);
    let dead = table(&[
        ("x-max-priority", Value::I32(3)),
        ("x-max-length", Value::I32(2)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("golden.quorum")),
    ]);
    let exchange = exchange::Declare {
        exchange: ShortString::from_static("golden.dead"),
        kind: ShortString::from_static("topic"),
        ..Default::default()
    };
    let bind = queue::Bind {
        queue: ShortString::from_static("golden.dead"),
        exchange: exchange.exchange.clone(),
        routing_key: ShortString::from_static("#"),
        ..Default::default()
    };
    let offset = table(&[("x-stream-offset", text("first"))]);
    let mut frames = BytesMut::new();
    for frame in [
        method(1, basic::Qos { prefetch_count: 2, ..Default::default() }),
        method(1, queue("golden.stream", stream)),
        method(1, queue("golden.quorum", quorum)),
        method(1, exchange),
        method(1, queue("golden.dead", dead)),
        method(1, bind),
        method(1, consume("golden.stream", false, offset)),
        method(1, consume("golden.quorum", false, Table::default())),
        method(2, channel::Open::default()),
        method(2, consume("amq.rabbitmq.reply-to", true, Table::default())),
        method(2, amqp_codec::method::confirm::Select::default()),
        method(3, channel::Open::default()),
        method(3, tx::Select::default()),
    ] {
        frames.unsplit(frame);
    }
    frames
}

/// The frames from the protocol header to a queue and a consumer.
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

/// Reads frames to the end of the stream. A protocol header may come instead: it is the answer to a
/// client of another version.
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

/// Checks that a well-behaved client gets its answers.
pub(crate) async fn serves(mut client: DuplexStream) {
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
