//! Random sequences of consumers' operations, here and on RabbitMQ. After each step both have
//! delivered the same messages with the same `x-death` headers, and each queue has the same number
//! left.
//!
//! RabbitMQ's queues work in parallel, so the deliveries of a step are compared without their
//! order, and each step waits until RabbitMQ has delivered as much. RabbitMQ does not promise which
//! of several consumers is served, so each queue has one.

use std::collections::BTreeMap;

use amqp_codec::{
    Frame, Method, Properties, Table, Value,
    method::{Request, basic, confirm, exchange, queue, tx},
};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use tokio::sync::Mutex;

use crate::{
    broker::Broker,
    core::rabbitmq::version::RabbitMq,
    tests::{
        both::{rabbitmq, table},
        peer::{Peer, short},
    },
};

const END: &str = "dlv.end";
const QUEUES: [&str; 8] =
    ["dlv.plain", "dlv.drops", "dlv.refuses", "dlv.levels", "dlv.expires", "dlv.quorum", "dlv.limited", END];
/// A topic exchange, an exchange bound to it, and the alternate exchange of both.
const EXCHANGES: [(&str, &str); 3] =
    [("dlv.topic", "topic"), ("dlv.fanout", "fanout"), ("dlv.else", "fanout")];
const KEYS: [&str; 4] = ["both.x", "plain", "both", "nowhere"];
const SEQUENCES: usize = 15;
/// How often RabbitMQ is asked whether it is done. Each time is a round trip, so this takes some
/// seconds.
const PATIENCE: usize = 4000;

/// One of the two brokers in a sequence.
struct Side {
    peer: Peer,
    /// The tags of unacknowledged deliveries, by consumer and message.
    out: BTreeMap<(String, String), u64>,
    consuming: BTreeMap<&'static str, bool>,
    /// What is settled by the commit; `None` outside of a transaction.
    settled: Option<Vec<((String, String), u64)>>,
    /// The deliveries that have arrived in the current step.
    came: Vec<String>,
}

/// The result of a step: what came, and how much is in each queue.
type After = (Vec<String>, Vec<u32>);

impl Side {
    async fn begin(mut peer: Peer, in_transactions: bool) -> Self {
        for name in QUEUES {
            peer.call(1, queue::Delete { queue: short(name), ..Default::default() }).await;
        }
        for (name, kind) in EXCHANGES {
            peer.call(1, exchange::Delete { exchange: short(name), ..Default::default() }).await;
            let arguments = match name {
                "dlv.topic" => table([("alternate-exchange", "dlv.else".into())]),
                _ => Table::new(),
            };
            let (exchange, kind) = (short(name), short(kind));
            peer.call(1, exchange::Declare { exchange, kind, arguments, ..Default::default() }).await;
        }
        let dead_lettering =
            [("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", END.into())];
        for name in QUEUES {
            let more: &[(&str, Value)] = match name {
                "dlv.drops" => &[("x-max-length", 2.into())],
                "dlv.refuses" => &[("x-max-length", 2.into()), ("x-overflow", "reject-publish-dlx".into())],
                "dlv.levels" => &[("x-max-priority", 3.into()), ("x-max-length", 4.into())],
                "dlv.expires" => &[("x-message-ttl", 0.into())],
                "dlv.quorum" => &[("x-queue-type", "quorum".into())],
                "dlv.limited" => &[("x-queue-type", "quorum".into()), ("x-delivery-limit", 1.into())],
                _ => &[],
            };
            let mut arguments = table([]);
            let own: &[(&str, Value)] =
                if name == END || name == "dlv.plain" { &[] } else { &dead_lettering };
            for (key, value) in own.iter().chain(more) {
                arguments.push(key, value.clone()).unwrap();
            }
            let declare =
                queue::Declare { queue: short(name), durable: true, arguments, ..Default::default() };
            peer.call(1, declare).await;
        }
        peer.bind("dlv.plain", "dlv.topic", "plain").await;
        peer.bind("dlv.plain", "dlv.fanout", "").await;
        peer.bind("dlv.levels", "dlv.topic", "both.#").await;
        peer.bind(END, "dlv.else", "").await;
        let (source, destination) = (short("dlv.topic"), short("dlv.fanout"));
        let routing_key = short("both.#");
        peer.call(1, exchange::Bind { source, destination, routing_key, ..Default::default() }).await;
        if in_transactions {
            peer.call(1, tx::Select {}).await;
        } else {
            peer.call(1, confirm::Select::default()).await;
        }
        let settled = in_transactions.then(Vec::new);
        Side { peer, out: BTreeMap::new(), consuming: BTreeMap::new(), settled, came: Vec::new() }
    }

    /// The next method that is not a delivery.
    async fn next(&mut self) -> Method {
        loop {
            match self.peer.next().await {
                Some(Frame::Method(1, Method::Basic(basic::Method::Deliver(deliver)))) => {
                    let tag = deliver.consumer_tag.to_string();
                    let is_out = !self.consuming.get(tag.as_str()).copied().unwrap_or(false);
                    let again = deliver.redelivered;
                    let (body, marks) = self.content().await;
                    if is_out {
                        self.out.insert((tag.clone(), body.clone()), deliver.delivery_tag);
                    }
                    let (exchange, key) = (deliver.exchange, deliver.routing_key);
                    self.came.push(format!("{tag} got {body} by {exchange}/{key}, again {again}, {marks}"));
                }
                Some(Frame::Method(1, method)) => return method,
                other => panic!("no method: {other:?}"),
            }
        }
    }

    async fn content(&mut self) -> (String, String) {
        let Some(Frame::Header(1, header)) = self.peer.next().await else { panic!("no header") };
        let Some(Frame::Body(1, body)) = self.peer.next().await else { panic!("no body") };
        let properties = header.properties.decode().unwrap();
        let expiration = properties.expiration.map(|text| text.to_string());
        let marks = marks(&properties.headers.unwrap_or_default());
        (String::from_utf8(body.to_vec()).unwrap(), format!("{expiration:?} {marks}"))
    }

    async fn call<R: Request>(&mut self, request: R) -> R::Reply
    where
        R::Reply: std::fmt::Debug,
    {
        self.peer.send(1, request).await;
        let method = self.next().await;
        let text = format!("{method:?}");
        R::Reply::try_from(method).unwrap_or_else(|_| panic!("not this: {text}"))
    }

    async fn counts(&mut self) -> Vec<u32> {
        let mut counts = Vec::new();
        for name in QUEUES {
            let declare = queue::Declare { queue: short(name), passive: true, ..Default::default() };
            counts.push(self.call(declare).await.message_count);
        }
        counts
    }

    async fn step(&mut self, number: usize, (kind, x): (u8, u8)) {
        let name = match QUEUES[usize::from(x) % QUEUES.len()] {
            // Messages that die in several queues at one commit arrive in any order.
            END if self.settled.is_some() => "dlv.plain",
            name => name,
        };
        match kind {
            0..7 => {
                let (to, key) = match kind {
                    0 => ("dlv.topic", KEYS[usize::from(x) % KEYS.len()]),
                    _ => ("", name),
                };
                if self.settled.is_some() && name == "dlv.refuses" {
                    // A refusal by a queue closes the channel with the commit.
                    return;
                }
                // With priorities RabbitMQ expires a message late if it is not alone.
                let may_expire = name != "dlv.levels" && !key.starts_with("both");
                let expiration = (may_expire && x.is_multiple_of(9)).then(|| short("0"));
                let properties = Properties { priority: Some(x / 50), expiration, ..Default::default() };
                self.peer.publish_with(to, key, properties, true, number.to_string().as_bytes()).await;
                if self.settled.is_some() {
                    return;
                }
                let answer = match self.next().await {
                    Method::Basic(basic::Method::Ack(_)) => "took",
                    Method::Basic(basic::Method::Nack(_)) => "refused",
                    other => panic!("neither ack nor nack: {other:?}"),
                };
                self.came.push(format!("{answer} {number}"));
            }
            7..10 if !self.consuming.contains_key(name) => {
                let prefetch_count = u16::from(x % 3);
                self.call(basic::Qos { prefetch_count, ..Default::default() }).await;
                let no_ack = x.is_multiple_of(5);
                self.consuming.insert(name, no_ack);
                let (queue, consumer_tag) = (short(name), short(name));
                self.call(basic::Consume { queue, consumer_tag, no_ack, ..Default::default() }).await;
            }
            10 if self.consuming.contains_key(name) => {
                self.call(basic::Cancel { consumer_tag: short(name), no_wait: false }).await;
                self.consuming.remove(name);
            }
            11..17 => {
                let Some(which) = self.out.keys().nth(usize::from(x) % self.out.len().max(1)).cloned() else {
                    return;
                };
                let delivery_tag = self.out.remove(&which).unwrap();
                self.settled.iter_mut().for_each(|settled| settled.push((which.clone(), delivery_tag)));
                match kind {
                    11 | 12 => self.peer.send(1, basic::Ack { delivery_tag, multiple: false }).await,
                    13 | 14 => self.peer.nack(delivery_tag, true).await,
                    15 => self.peer.nack(delivery_tag, false).await,
                    _ => {
                        self.peer.send(1, basic::Reject { delivery_tag, requeue: x.is_multiple_of(2) }).await;
                    }
                }
            }
            17 if x < 100 && !self.out.is_empty() => {
                let all = std::mem::take(&mut self.out);
                self.settled.iter_mut().for_each(|settled| settled.extend(all.clone()));
                self.peer.send(1, basic::Ack { delivery_tag: 0, multiple: true }).await;
            }
            18 if self.settled.is_some() => {
                let settled = self.settled.replace(Vec::new()).unwrap_or_default();
                if x.is_multiple_of(4) {
                    self.out.extend(settled);
                    self.call(tx::Rollback {}).await;
                } else {
                    self.call(tx::Commit {}).await;
                }
            }
            18 if self.out.len() == 1 => {
                self.out.clear();
                self.call(basic::Recover { requeue: true }).await;
            }
            _ => {
                let got = self.get(name, x.is_multiple_of(4)).await;
                self.came.push(got);
            }
        }
    }

    async fn get(&mut self, name: &str, no_ack: bool) -> String {
        self.peer.send(1, basic::Get { queue: short(name), no_ack, ..Default::default() }).await;
        match self.next().await {
            Method::Basic(basic::Method::GetEmpty(_)) => format!("{name} is empty"),
            Method::Basic(basic::Method::GetOk(got)) => {
                let (body, marks) = self.content().await;
                if !no_ack {
                    self.out.insert((name.to_owned(), body.clone()), got.delivery_tag);
                }
                format!("{name} gave {body}, again {}, {} left, {marks}", got.redelivered, got.message_count)
            }
            other => panic!("neither get-ok nor get-empty: {other:?}"),
        }
    }

    /// The result of a step. RabbitMQ's is taken when it matches ours, or after the patience ends.
    async fn after(&mut self, ours: Option<&After>) -> After {
        let mut counts = self.counts().await;
        for _ in 0..PATIENCE {
            if ours.is_none_or(|(came, left)| (came.len(), left) == (self.came.len(), &counts)) {
                break;
            }
            counts = self.counts().await;
        }
        let mut came = std::mem::take(&mut self.came);
        came.sort();
        (came, counts)
    }
}

/// The headers without times.
fn marks(headers: &Table) -> String {
    let mut told = String::new();
    for (name, value) in headers {
        match &value {
            Value::Array(deaths) => {
                for death in deaths {
                    let Value::Table(death) = death else { panic!("no table: {death:?}") };
                    let kept: Vec<_> = death.iter().filter(|(key, _)| key.as_bytes() != b"time").collect();
                    told += &format!("{kept:?}");
                }
            }
            other => told += &format!("{name:?}={other:?} "),
        }
    }
    told
}

/// The sequences declare the same names, so they run one at a time.
static TURN: Mutex<()> = Mutex::const_new(());

#[tokio::test]
async fn any_consumer_is_served_as_by_rabbitmq() {
    compare(false, 0u8..20).await;
}

#[tokio::test]
async fn any_transaction_does_what_it_does_on_rabbitmq() {
    // This sequence has more commits.
    compare(true, (0u8..26).prop_map(|kind| if kind < 20 { kind } else { 18 })).await;
}

async fn compare(in_transactions: bool, kinds: impl Strategy<Value = u8>) {
    let judge = rabbitmq().await;
    let version = judge.as_ref().map_or_else(RabbitMq::default, |judge| judge.version);
    let _turn = TURN.lock().await;
    let mut runner = TestRunner::deterministic();
    let strategy = prop::collection::vec((kinds, any::<u8>()), 20..60);
    for _ in 0..SEQUENCES {
        let steps = strategy.new_tree(&mut runner).unwrap().current();
        let broker = Broker::builder().like(version).build();
        let mut ours = Side::begin(Peer::open(&broker).await, in_transactions).await;
        let mut theirs = match &judge {
            Some(judge) => Some(Side::begin(Peer::open_at(&judge.address).await, in_transactions).await),
            None => None,
        };
        for (number, step) in steps.iter().enumerate() {
            ours.step(number, *step).await;
            let here = ours.after(None).await;
            if let Some(theirs) = &mut theirs {
                theirs.step(number, *step).await;
                assert_eq!(here, theirs.after(Some(&here)).await, "step {number} of {steps:?}");
            }
        }
    }
}
