//! Random sequences of clients' operations, here and on RabbitMQ: all answers are equal.

use amqp_codec::{
    Frame, Method, Properties, Value,
    method::{basic, confirm, queue},
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

use crate::{
    broker::Broker,
    core::rabbitmq::version::RabbitMq,
    tests::{
        both::{Judge, rabbitmq},
        peer::{Peer, short},
    },
};

const QUEUES: [&str; 5] = ["seq.plain", "seq.drops", "seq.refuses", "seq.priorities", "seq.dead-letters"];
const END: &str = "seq.end";
const SEQUENCES: usize = 25;

async fn declare(peer: &mut Peer) {
    let [plain, drops, refuses, priorities, dead_letters] = QUEUES;
    let two = || ("x-max-length", Value::from(2));
    peer.fresh(plain, []).await;
    peer.fresh(drops, [two()]).await;
    peer.fresh(refuses, [two(), ("x-overflow", "reject-publish".into())]).await;
    peer.fresh(priorities, [("x-max-priority", 3.into())]).await;
    let to_the_end = ("x-dead-letter-routing-key", END.into());
    peer.fresh(dead_letters, [two(), ("x-dead-letter-exchange", "".into()), to_the_end]).await;
    peer.fresh(END, []).await;
    peer.call(1, confirm::Select::default()).await;
}

/// Does one step; returns the answer.
async fn step(peer: &mut Peer, out: &mut Vec<u64>, number: usize, (kind, x): (u8, u8)) -> String {
    let name = QUEUES[usize::from(x) % QUEUES.len()];
    match kind {
        0..6 => {
            let properties = Properties { priority: Some(x / 50), ..Default::default() };
            peer.put(name, properties, &number.to_string()).await;
            match peer.next().await {
                Some(Frame::Method(1, Method::Basic(basic::Method::Ack(_)))) => {
                    format!("{name} took {number}")
                }
                Some(Frame::Method(1, Method::Basic(basic::Method::Nack(_)))) => {
                    format!("{name} refused {number}")
                }
                other => panic!("neither ack nor nack: {other:?}"),
            }
        }
        6..9 => get(peer, out, name, x.is_multiple_of(4)).await,
        9..12 if !out.is_empty() => {
            let delivery_tag = out.remove(usize::from(x) % out.len());
            match kind {
                9 => peer.send(1, basic::Ack { delivery_tag, multiple: false }).await,
                10 => peer.nack(delivery_tag, true).await,
                _ => peer.nack(delivery_tag, false).await,
            }
            format!("settled {delivery_tag}")
        }
        12 if x < 60 => {
            let purged = peer.call(1, queue::Purge { queue: short(name), ..Default::default() }).await;
            format!("{name} purged of {}", purged.message_count)
        }
        _ => {
            let declare = queue::Declare { queue: short(name), passive: true, ..Default::default() };
            format!("{name} has {}", peer.call(1, declare).await.message_count)
        }
    }
}

async fn get(peer: &mut Peer, out: &mut Vec<u64>, name: &str, no_ack: bool) -> String {
    peer.send(1, basic::Get { queue: short(name), no_ack, ..Default::default() }).await;
    match peer.next().await {
        Some(Frame::Method(1, Method::Basic(basic::Method::GetEmpty(_)))) => format!("{name} is empty"),
        Some(Frame::Method(1, Method::Basic(basic::Method::GetOk(got)))) => {
            let Some(Frame::Header(1, header)) = peer.next().await else { panic!("no header") };
            let Some(Frame::Body(1, body)) = peer.next().await else { panic!("no body") };
            if !no_ack {
                out.push(got.delivery_tag);
            }
            let (tag, again, left) = (got.delivery_tag, got.redelivered, got.message_count);
            let body = String::from_utf8_lossy(&body).into_owned();
            let headers = header.properties.decode().unwrap().headers.unwrap_or_default();
            let dead = headers.contains_key("x-death");
            format!("{name} gave {body} as {tag}, again {again}, dead {dead}, {left} left")
        }
        other => panic!("neither get-ok nor get-empty: {other:?}"),
    }
}

/// All answers to a sequence, and then the dead letters, whose number may be known.
async fn answers(
    peer: &mut Peer,
    steps: &[(u8, u8)],
    dead_letters: Option<usize>,
) -> (Vec<String>, Vec<String>) {
    declare(peer).await;
    let (mut told, mut out) = (Vec::new(), Vec::new());
    for (number, step_of) in steps.iter().enumerate() {
        told.push(step(peer, &mut out, number, *step_of).await);
    }
    let mut dead = Vec::new();
    match dead_letters {
        None => dead = peer.bodies(END).await,
        Some(count) => {
            // The dead letters are on their way.
            let consume = basic::Consume {
                queue: short(END),
                consumer_tag: short(END),
                no_ack: true,
                ..Default::default()
            };
            peer.call(1, consume).await;
            for _ in 0..count {
                dead.push(peer.came().await.text().to_owned());
            }
            peer.leave(END).await;
        }
    }
    (told, dead)
}

#[tokio::test]
async fn any_sequence_has_the_answers_of_rabbitmq() {
    let judge = rabbitmq().await;
    let version = judge.as_ref().map_or_else(RabbitMq::default, |judge| judge.version);
    let mut runner = TestRunner::deterministic();
    let strategy = prop::collection::vec((0u8..14, any::<u8>()), 10..60);
    for _ in 0..SEQUENCES {
        let steps = strategy.new_tree(&mut runner).unwrap().current();
        let broker = Broker::builder().like(version).build();
        let ours = answers(&mut Peer::open(&broker).await, &steps, None).await;
        let Some(Judge { address, .. }) = &judge else { continue };
        let theirs = answers(&mut Peer::open_at(address).await, &steps, Some(ours.1.len())).await;
        assert_eq!(ours, theirs, "{steps:?}");
    }
}
