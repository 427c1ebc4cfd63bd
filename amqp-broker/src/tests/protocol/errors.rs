//! All refusals: what is closed, with which code and text, to the letter of RabbitMQ 3.10.8.

mod consuming;
mod exchanges;
mod frames;
mod lines;
mod publishing;
mod queues;

use amqp_codec::{
    Method,
    method::{self, basic, channel, connection},
};

use crate::{
    broker::Broker,
    tests::{
        peer::Peer,
        steps::{Case, bind, consume, name, outcome, queue},
    },
};

pub(super) fn catalogue() -> Vec<(&'static str, Vec<Case>)> {
    vec![
        ("exchange", exchanges::all()),
        ("queue", queues::all()),
        ("consume", consuming::all()),
        ("publish", publishing::all()),
        ("line", lines::all()),
        ("frame", frames::all()),
    ]
}

#[tokio::test]
async fn each_violation_gets_rabbitmqs_code_and_text_on_the_right_scope() {
    for (group, cases) in catalogue() {
        for (case, frames, closed, text) in cases {
            let broker = Broker::builder().vhost("sem").max_message_size(1000).build();
            let peer = Peer::greet(&broker, "sem", 131_072).await;
            let (was_closed, words) = outcome(peer, &frames).await;
            assert_eq!((was_closed, words.as_str()), (closed, text), "{group}: {case}");
        }
    }
}

#[tokio::test]
async fn an_exclusive_queue_is_locked_to_other_connections_in_every_way() {
    let broker = Broker::builder().vhost("sem").build();
    let mut owner = Peer::greet(&broker, "sem", 131_072).await;
    owner.call(1, channel::Open::default()).await;
    owner.call(1, method::queue::Declare { exclusive: true, ..queue("qx") }).await;
    let ways: [Method; 7] = [
        queue("qx").into(),
        method::queue::Declare { passive: true, ..queue("qx") }.into(),
        bind("qx", "amq.direct").into(),
        method::queue::Purge { queue: name("qx"), ..Default::default() }.into(),
        method::queue::Delete { queue: name("qx"), ..Default::default() }.into(),
        consume("qx", "").into(),
        basic::Get { queue: name("qx"), ..Default::default() }.into(),
    ];
    for way in ways {
        let mut other = Peer::greet(&broker, "sem", 131_072).await;
        other.call(1, channel::Open::default()).await;
        let id = way.id();
        other.send(1, way).await;
        let close = other.expect::<channel::Close>(1).await;
        assert_eq!(close.reply_code, 405, "{id:?}");
        assert_eq!((close.class_id, close.method_id), (id.class_id, id.method_id));
        assert!(close.reply_text.to_text().starts_with(
            "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'qx' in vhost 'sem'. It could be"
        ));
    }
}

#[tokio::test]
async fn bytes_that_are_no_frames_are_answered_with_rabbitmqs_words() {
    let broken: [(&[u8], &str); 2] = [
        (&[9, 0, 1, 0, 0, 0, 0, 0xCE], "FRAME_ERROR - type 9, all octets = <<>>: unknown_frame"),
        (
            &[1, 0, 1, 0, 0, 0, 4, 0, 60, 0, 99, 0],
            "FRAME_ERROR - type 1, all octets = <<0,60,0,99>>: {invalid_frame_end_marker,0}",
        ),
    ];
    for (bytes, text) in broken {
        let mut peer = Peer::open(&Broker::builder().build()).await;
        peer.raw(bytes).await;
        let close = peer.expect::<connection::Close>(0).await;
        assert_eq!((close.reply_code, close.reply_text.to_text().as_ref()), (501, text));
        peer.send(0, connection::CloseOk {}).await;
        assert_eq!(peer.next().await, None);
    }
}
