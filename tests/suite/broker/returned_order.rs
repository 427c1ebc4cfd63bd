//! The order of messages that returned to a quorum queue, with and without a restart.

use std::collections::BTreeMap;

use amqp_client::{Channel, Confirmation, Connection, Delivery, GetOptions, Message, Queue, connect};
use tests::{EmbeddedBroker, RabbitMq, leave_out};

use super::within;

/// A script, the queue's delivery limit, and what the queue then delivers.
///
/// In a script `p` publishes a message; `g` fetches the next one, `n` returns it, on a first
/// channel; `G` fetches on a second one. What is fetched and not returned by name returns at the
/// end of its channel, and the first channel ends before the second. A result shows whether a
/// message is redelivered (`r`), and its number of returns.
type Case = (&'static str, Option<u32>, &'static str);

const CASES: [Case; 10] = [
    ("p1 p2 p3 p4 g1 g2 g3 n2 p5 n1 p6 n3", Some(9), "2r1 1r1 3r1 4 5 6"),
    ("p1 p2 p3 p4 g1 g2 g3 n2 p5 n1 p6 n3", None, "4 2r1 5 1r1 6 3r1"),
    ("p1 p2 p3 p4 g1 g2 g3 n2 n1 g2", Some(9), "1r1 3r1 2r2 4"),
    ("p1 p2 p3 p4 g1 g2 g3 n2 n1 g4", None, "3r1 4r1 2r1 1r1"),
    ("p1 p2 p3 p4 p5 g1 g2 g3 g4", Some(9), "1r1 2r1 3r1 4r1 5"),
    ("p1 p2 p3 p4 p5 g1 g2 g3 g4 n3", None, "1r1 2r1 4r1 5 3r1"),
    ("p1 p2 p3 p4 p5 g1 G2 G3 g4", Some(9), "1r1 4r1 2r1 3r1 5"),
    ("p1 p2 p3 p4 p5 g1 G2 G3 g4", None, "1r1 4r1 2r1 3r1 5"),
    ("p1 p2 g1 n1 g1 n1 g1 g2 n2 p3", Some(9), "2r1 1r3 3"),
    ("p1 p2 g1 n1 g2 n2 g1 n1 p3", None, "2r1 1r2 3"),
];

/// The end of a script's channels.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// They end, and the queue is emptied without a restart.
    NoRestart,
    BeforeRestart,
    WithTheBroker,
}

/// A queue, the two channels of its script, and what they hold.
struct Played {
    queue: String,
    channels: [Channel; 2],
    held: BTreeMap<&'static str, (usize, Delivery)>,
}

async fn get(channel: &Channel, queue: &str) -> Option<Delivery> {
    within(channel.get(queue, GetOptions::default())).await.unwrap()
}

async fn play(connection: &Connection, (script, limit, _): Case, queue: String) -> Played {
    let open = || async { within(connection.open_channel()).await.unwrap() };
    let channels = [open().await, open().await];
    let mut held = BTreeMap::<&str, (usize, Delivery)>::new();
    let declared = Queue::quorum(&queue);
    let declared = match limit {
        Some(limit) => declared.delivery_limit(limit),
        None => declared,
    };
    within(channels[0].declare(declared)).await.unwrap();
    let publisher = within(channels[0].publisher()).await.unwrap();
    for step in script.split(' ') {
        let (kind, body) = step.split_at(1);
        if kind == "p" {
            let confirm = within(publisher.publish(("", &*queue), Message::new(body))).await.unwrap();
            assert!(matches!(within(confirm).await.unwrap(), Confirmation::Ack));
        } else if kind == "n" {
            let (_, delivery) = held.remove(body).unwrap();
            within(delivery.nack(true)).await.unwrap();
        } else {
            let channel = usize::from(kind == "G");
            let delivery = get(&channels[channel], &queue).await.unwrap();
            assert_eq!(delivery.body(), body, "{script} with limit {limit:?}");
            held.insert(body, (channel, delivery));
        }
    }
    Played { queue, channels, held }
}

impl Played {
    /// Ends the channels one after the other, each when what the former held has returned.
    async fn end(&self, by: &Channel) {
        let is_held_by = |channel| move |(of, _): &&(usize, Delivery)| *of == channel;
        let mut expected = ready(by, &self.queue).await;
        for (number, channel) in self.channels.iter().enumerate() {
            within(channel.close()).await.unwrap();
            expected += self.held.values().filter(is_held_by(number)).count();
            within(async { while ready(by, &self.queue).await < expected {} }).await;
        }
    }
}

async fn ready(by: &Channel, queue: &str) -> usize {
    within(by.declare(Queue::durable(queue).passive(true))).await.unwrap().messages as usize
}

/// Empties a queue; shows what it delivers, as cases do.
async fn drain(by: &Channel, queue: &str) -> String {
    let mut shown = Vec::new();
    while let Some(delivery) = get(by, queue).await {
        let body = String::from_utf8(delivery.body().to_vec()).unwrap();
        let headers = delivery.properties().unwrap().headers.unwrap_or_default();
        let returns = headers.get("x-delivery-count").and_then(|count| count.as_i64()).unwrap_or(0);
        shown.push(match delivery.redelivered() {
            true => format!("{body}r{returns}"),
            false => body,
        });
        within(delivery.ack()).await.unwrap();
    }
    shown.join(" ")
}

/// The scripts that have run, and when their channels end.
struct Run {
    played: Vec<(End, Case, Played)>,
}

impl Run {
    async fn before_the_restart(uri: &str) -> Self {
        let connection = within(connect(uri)).await.unwrap();
        let by = within(connection.open_channel()).await.unwrap();
        let mut played = Vec::new();
        for (number, case) in CASES.into_iter().enumerate() {
            for end in [End::NoRestart, End::BeforeRestart, End::WithTheBroker] {
                // The broker may end either of two channels first.
                if end == End::WithTheBroker && case.0.contains('G') {
                    continue;
                }
                let one = play(&connection, case, format!("returned-{number}-{end:?}")).await;
                if end != End::WithTheBroker {
                    one.end(&by).await;
                }
                played.push((end, case, one));
            }
        }
        let run = Run { played };
        run.check(&by, |end| end == End::NoRestart).await;
        run
    }

    async fn after_the_restart(&self, uri: &str) {
        let connection = within(connect(uri)).await.unwrap();
        let by = within(connection.open_channel()).await.unwrap();
        for (_, (.., expected), played) in self.played.iter().filter(|(end, ..)| *end != End::NoRestart) {
            let expected = expected.split(' ').count();
            within(async { while ready(&by, &played.queue).await < expected {} }).await;
        }
        self.check(&by, |end| end != End::NoRestart).await;
    }

    async fn check(&self, by: &Channel, are: impl Fn(End) -> bool) {
        for (end, (script, limit, expected), played) in self.played.iter().filter(|(end, ..)| are(*end)) {
            let came = drain(by, &played.queue).await;
            assert_eq!(came, *expected, "{script} with limit {limit:?}, end {end:?}");
        }
    }
}

#[tokio::test]
async fn what_returned_keeps_its_order_over_a_restart_of_the_embedded_broker() {
    let test = "what_returned_keeps_its_order_over_a_restart_of_the_embedded_broker";
    let Some(program) = EmbeddedBroker::require(test) else { return };
    let mut broker = EmbeddedBroker::start(program).await.unwrap();
    let uri = format!("amqp://guest:guest@127.0.0.1:{}", broker.port());
    let run = Run::before_the_restart(&uri).await;
    broker.shut_down().await.unwrap();
    broker.restart().await.unwrap();
    run.after_the_restart(&uri).await;
}

#[tokio::test]
async fn what_returned_keeps_its_order_over_a_restart_of_rabbitmq() {
    let test = "broker::returned_order::what_returned_keeps_its_order_over_a_restart_of_rabbitmq";
    if !RabbitMq::require(test) {
        return;
    }
    let mut rabbitmq = RabbitMq::start().await.unwrap();
    let uri = rabbitmq.uri().to_owned();
    let version = rabbitmq.ctl(&["version"]).await.unwrap();
    // A queue without a limit here has one of 20 from 4.0 on.
    if !version.starts_with("3.") {
        return leave_out(test, "this RabbitMQ has another limit, where the script sets none");
    }
    let run = Run::before_the_restart(&uri).await;
    rabbitmq.shut_down().await.unwrap();
    rabbitmq.restart().await.unwrap();
    run.after_the_restart(&uri).await;
}
