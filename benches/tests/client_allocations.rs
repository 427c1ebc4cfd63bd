//! Measures the client's allocations a message, and the memory of an idle connection, with a peer
//! that does not allocate. It is alone in its file, so that no other test allocates at the same
//! time.

use std::{
    alloc::System,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    sync::mpsc,
    thread::JoinHandle,
    time::Duration,
};

use amqp_client::{Channel, Confirm, Connection, ConsumeOptions, Message};
use amqp_codec::{
    EncodedProperties, FrameHeader, FrameKind, Method, ShortString,
    frame::{HEADER_LEN, encode_content, encode_method},
    method::{basic, channel, confirm, connection},
};
use bytes::{Bytes, BytesMut};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const COUNT: usize = 100_000;
const FRAME_MAX: usize = 131_072;
const BODY: &[u8] = b"sixteen bytes...";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_allocates_nothing_and_a_delivery_next_to_nothing() {
    let (address, peer) = peer();
    let connection = connect(address).await;
    let channel = connection.open_channel().await.unwrap();
    let message = Message::new(BODY).content_type("text/plain").persistent();

    // Each runs once beforehand, so that buffers have their size.
    publish(&channel, &message).await;
    let a_publish = allocations(publish(&channel, &message)).await;
    publish_confirmed(&channel, &message).await;
    let a_confirmed_publish = allocations(publish_confirmed(&channel, &message)).await;
    consume(&channel).await;
    let a_delivery = allocations(consume(&channel)).await;

    println!(
        "allocations: {a_publish} a publish, {a_confirmed_publish} a confirmed one, {a_delivery} a delivery"
    );
    // On a busy machine a chunk of the socket holds fewer messages, and more chunks are in use.
    assert!(a_publish < 0.02, "{a_publish} a publish");
    assert!(a_confirmed_publish < 0.05, "{a_confirmed_publish} a confirmed publish");
    assert!(a_delivery < 0.1, "{a_delivery} a delivery");
    connection.close().await.unwrap();
    peer.join().unwrap();
    an_idle_connection_holds_little(&message).await;
}

/// Checks that the memory of a burst is freed.
async fn an_idle_connection_holds_little(message: &Message) {
    const MOST: usize = 32 << 10;
    let (address, peer) = peer();
    let region = Region::new(ALLOCATOR);
    let connection = connect(address).await;
    let channel = connection.open_channel().await.unwrap();
    publish_confirmed(&channel, message).await;
    consume(&channel).await;
    let held = || {
        let change = region.change();
        change.bytes_allocated.saturating_sub(change.bytes_deallocated)
    };
    let settled = tokio::time::timeout(Duration::from_secs(30), async {
        while held() > MOST {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(settled.await.is_ok(), "an idle connection holds {} bytes", held());
    println!("an idle connection holds {} bytes", held());
    connection.close().await.unwrap();
    peer.join().unwrap();
}

async fn connect(address: SocketAddr) -> Connection {
    amqp_client::connect(&format!("amqp://{address}?heartbeat=0")).await.unwrap()
}

async fn allocations(work: impl Future<Output = ()>) -> f64 {
    let region = Region::new(ALLOCATOR);
    work.await;
    let change = region.change();
    (change.allocations + change.reallocations) as f64 / COUNT as f64
}

async fn publish(channel: &Channel, message: &Message) {
    for _ in 0..COUNT {
        channel.publish(("", "jobs"), message).await.unwrap();
    }
    // The answer comes after everything before it has been read.
    channel.qos(0).await.unwrap();
}

async fn publish_confirmed(channel: &Channel, message: &Message) {
    const IN_FLIGHT: usize = 1000;
    let publisher = channel.publisher().await.unwrap();
    let mut in_flight = std::collections::VecDeque::<Confirm>::with_capacity(IN_FLIGHT);
    for _ in 0..COUNT {
        if in_flight.len() == IN_FLIGHT
            && let Some(oldest) = in_flight.pop_front()
        {
            oldest.await.unwrap();
        }
        in_flight.push_back(publisher.publish(("", "jobs"), message).await.unwrap());
    }
    for confirm in in_flight {
        confirm.await.unwrap();
    }
}

/// The peer sends `COUNT` deliveries to whoever consumes.
async fn consume(channel: &Channel) {
    let options = ConsumeOptions::new().no_ack(true).prefetch(0).tag("c");
    let mut consumer = channel.consume("jobs", options).await.unwrap();
    for _ in 0..COUNT {
        assert_eq!(consumer.recv().await.unwrap().unwrap().body(), BODY);
    }
    consumer.cancel().await.unwrap();
}

/// A broker for one connection. It answers what the tests ask, without allocating.
fn peer() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (is_ready, ready) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let (answers, buffer) = (Answers::new(), vec![0; 4 << 20]);
        is_ready.send(()).unwrap();
        serve(&listener, &answers, buffer);
    });
    ready.recv().unwrap();
    (address, thread)
}

fn serve(listener: &TcpListener, answers: &Answers, mut buffer: Vec<u8>) {
    let (mut stream, _) = listener.accept().unwrap();
    stream.read_exact(&mut [0; 8]).unwrap();
    stream.write_all(&answers.start).unwrap();
    let (mut filled, mut published, mut confirming) = (0, 0u64, false);
    loop {
        let count = stream.read(&mut buffer[filled..]).unwrap();
        if count == 0 {
            return;
        }
        filled += count;
        let (mut at, mut settled) = (0, false);
        while let Ok(Some(header)) = FrameHeader::peek(&buffer[at..filled], FRAME_MAX) {
            if filled - at < header.frame_len() {
                break;
            }
            let payload = &buffer[at + HEADER_LEN..at + header.frame_len() - 1];
            if header.kind == FrameKind::Method {
                match payload[..4] {
                    [0, 60, 0, 40] => {
                        published += u64::from(confirming);
                        settled = confirming;
                    }
                    [0, 85, 0, 10] if !confirming => {
                        confirming = true;
                        stream.write_all(&answers.select_ok).unwrap();
                    }
                    [0, 60, 0, 20] => {
                        stream.write_all(&answers.consume_ok).unwrap();
                        stream.write_all(&answers.deliveries).unwrap();
                    }
                    _ => stream.write_all(answers.to(payload)).unwrap(),
                }
            }
            at += header.frame_len();
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
        if settled {
            // This is basic.ack with multiple.
            let mut ack = *b"\x01\x00\x01\x00\x00\x00\x0d\x00\x3c\x00\x50\0\0\0\0\0\0\0\0\x01\xce";
            ack[11..19].copy_from_slice(&published.to_be_bytes());
            stream.write_all(&ack).unwrap();
        }
    }
}

/// All that the peer sends, encoded before anything is counted.
struct Answers {
    start: Bytes,
    select_ok: Bytes,
    consume_ok: Bytes,
    deliveries: Bytes,
    others: Vec<([u8; 4], Bytes)>,
}

impl Answers {
    fn new() -> Self {
        let tag = || ShortString::from_static("c");
        let start = connection::Start { mechanisms: "PLAIN".into(), ..Default::default() };
        let tune = connection::Tune { channel_max: 10, frame_max: FRAME_MAX as u32, heartbeat: 0 };
        let mut deliveries = BytesMut::new();
        for number in 0..COUNT as u64 {
            let deliver =
                basic::Deliver { consumer_tag: tag(), delivery_tag: number + 1, ..Default::default() };
            let none = EncodedProperties::NONE;
            encode_content(1, &deliver, &none, BODY, FRAME_MAX, u64::MAX, &mut deliveries).unwrap();
        }
        let others = vec![
            ([0, 10, 0, 11], frame(0, tune)),
            ([0, 10, 0, 31], Bytes::new()),
            ([0, 10, 0, 40], frame(0, connection::OpenOk::default())),
            ([0, 10, 0, 50], frame(0, connection::CloseOk {})),
            ([0, 20, 0, 10], frame(1, channel::OpenOk::default())),
            ([0, 60, 0, 10], frame(1, basic::QosOk {})),
            ([0, 60, 0, 30], frame(1, basic::CancelOk { consumer_tag: tag() })),
            ([0, 85, 0, 10], frame(1, confirm::SelectOk {})),
        ];
        Answers {
            start: frame(0, start),
            select_ok: frame(1, confirm::SelectOk {}),
            consume_ok: frame(1, basic::ConsumeOk { consumer_tag: tag() }),
            deliveries: deliveries.freeze(),
            others,
        }
    }

    fn to(&self, payload: &[u8]) -> &[u8] {
        match self.others.iter().find(|(method, _)| payload.starts_with(method)) {
            Some((_, answer)) => answer,
            None => panic!("{:?}", Method::decode(&Bytes::copy_from_slice(payload))),
        }
    }
}

fn frame<A: amqp_codec::Arguments>(channel: u16, method: A) -> Bytes {
    let mut out = BytesMut::new();
    encode_method(channel, &method, FRAME_MAX, &mut out).unwrap();
    out.freeze()
}
