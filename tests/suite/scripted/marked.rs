//! Many tasks publish on one channel to a peer that acks, nacks and returns as each message is
//! marked: every outcome reaches its own message.

use amqp_client::{Confirmation, ConnectOptions, Message, Route, Uri};
use amqp_codec::{
    EncodedProperties, Frame, RawFrame,
    frame::{encode_content, encode_method},
    method::{Method, basic},
};
use bytes::{Bytes, BytesMut};
use tests::Peer;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    join,
};

use super::{QUIET, opened, publisher};

const TASKS: usize = 4;
const PUBLISHES: usize = 20_000;
const FRAME_MAX: usize = 131_072;

/// The mark of a message; bodies are `TASK/NUMBER/MARK`.
fn mark(number: usize) -> char {
    match number % 7 {
        2 => 'n',
        5 => 'r',
        _ => 'a',
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_outcome_reaches_its_own_message() {
    let (mut peer, stream) = Peer::new();
    let options = ConnectOptions::new().heartbeat(std::time::Duration::ZERO);
    let uri = Uri::default();
    let (connection, _) = join!(options.connect_stream(stream, &uri), peer.accept_with(QUIET));
    let connection = connection.unwrap();
    let channel = opened(&mut peer, &connection, 1).await;
    let publisher = publisher(&mut peer, &channel).await;
    let broker = tokio::spawn(answer_as_marked(peer.into_stream()));

    let mut tasks = Vec::new();
    for task in 0..TASKS {
        let publisher = publisher.clone();
        tasks.push(tokio::spawn(async move {
            let mut confirms = Vec::with_capacity(PUBLISHES);
            for number in 0..PUBLISHES {
                let message = Message::new(format!("{task}/{number}/{}", mark(number)));
                confirms
                    .push(publisher.publish(Route::new("e", "k").mandatory(true), message).await.unwrap());
            }
            let mut mismatches = 0;
            for (number, confirm) in confirms.into_iter().enumerate() {
                let matches = match (confirm.await.unwrap(), mark(number)) {
                    (Confirmation::Ack, 'a') | (Confirmation::Nack, 'n') => true,
                    (Confirmation::Returned(back), 'r') => {
                        back.body() == format!("{task}/{number}/r").as_bytes()
                    }
                    _ => false,
                };
                mismatches += usize::from(!matches);
            }
            mismatches
        }));
    }
    for task in tasks {
        assert_eq!(task.await.unwrap(), 0, "outcomes that went to the wrong message");
    }
    broker.abort();
}

/// A broker that looks only at bodies. As RabbitMQ does, it sends consecutive acks as one.
async fn answer_as_marked(mut stream: DuplexStream) {
    let mut input = BytesMut::new();
    let (mut tag, mut acked) = (0u64, 0u64);
    let mut method = None;
    while stream.read_buf(&mut input).await.unwrap() > 0 {
        let mut out = BytesMut::new();
        while let Some(raw) = RawFrame::split_from(&mut input, FRAME_MAX).unwrap() {
            match raw.decode().unwrap() {
                Frame::Method(1, Method::Basic(basic::Method::Publish(publish))) => method = Some(publish),
                Frame::Header(1, header) => assert!(header.body_size > 0, "every body is marked"),
                Frame::Body(1, body) => {
                    let publish = method.take().expect("a body after its method");
                    tag += 1;
                    settle(&mut out, &publish, &body, tag, &mut acked);
                }
                other => panic!("not due: {other}"),
            }
        }
        flush(&mut out, tag, &mut acked);
        stream.write_all(&out).await.unwrap();
    }
}

fn settle(out: &mut BytesMut, publish: &basic::Publish, body: &Bytes, tag: u64, acked: &mut u64) {
    match body.last() {
        Some(b'n') => {
            flush(out, tag - 1, acked);
            encode_method(1, &basic::Nack { delivery_tag: tag, ..Default::default() }, FRAME_MAX, out)
                .unwrap();
            *acked = tag;
        }
        Some(b'r') => {
            let returned = basic::Return {
                reply_code: 312,
                exchange: publish.exchange.clone(),
                routing_key: publish.routing_key.clone(),
                ..Default::default()
            };
            let none = EncodedProperties::NONE;
            encode_content(1, &returned, &none, body, FRAME_MAX, u64::MAX, out).unwrap();
        }
        _ => {}
    }
}

fn flush(out: &mut BytesMut, tag: u64, acked: &mut u64) {
    if tag > *acked {
        let ack = basic::Ack { delivery_tag: tag, multiple: tag > *acked + 1 };
        encode_method(1, &ack, FRAME_MAX, out).unwrap();
        *acked = tag;
    }
}
