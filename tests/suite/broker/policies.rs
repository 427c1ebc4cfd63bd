//! What policies make of declarations, on the embedded broker and on RabbitMQ.

use amqp_broker::{Broker, Listener, Policy};
use amqp_client::{Binding, Channel, Confirmation, Exchange, GetOptions, Message, Queue, connect};
use amqp_codec::{Table, Value};
use serde_json::{Value as Json, json};
use tests::Node;

use super::within;

/// A broker whose policies can be set.
enum Governed {
    Embedded(Broker, Listener),
    RabbitMq(&'static Node),
}

impl Governed {
    async fn embedded() -> Self {
        let broker = Broker::builder().build();
        let listener = broker.listen("127.0.0.1:0").await.unwrap();
        Governed::Embedded(broker, listener)
    }

    async fn channel(&self) -> Channel {
        let uri = match self {
            Governed::Embedded(_, listener) => format!("amqp://{}", listener.local_addr()),
            Governed::RabbitMq(node) => node.uri().to_owned(),
        };
        let connection = within(connect(&uri)).await.unwrap();
        within(connection.open_channel()).await.unwrap()
    }

    /// Sets policies.
    async fn set(&self, policies: &[Named<'_>]) {
        match self {
            Governed::Embedded(broker, _) => {
                for Named { name, definition, is_of_operator } in policies {
                    let (pattern, definition) = (format!("^{name}$"), table(definition));
                    let policy = match is_of_operator {
                        true => Policy::for_operators(*name, pattern, definition),
                        false => Policy::new(*name, pattern, definition),
                    };
                    broker.set_policy("/", policy.unwrap()).unwrap();
                }
            }
            Governed::RabbitMq(node) => evaluate(node, policies.iter().map(Named::setting)).await,
        }
    }

    async fn clear(&self, policies: &[Named<'_>]) {
        match self {
            Governed::Embedded(broker, _) => {
                for Named { name, is_of_operator, .. } in policies {
                    let cleared = match is_of_operator {
                        true => broker.clear_operator_policy("/", name),
                        false => broker.clear_policy("/", name),
                    };
                    assert!(cleared);
                }
            }
            Governed::RabbitMq(node) => evaluate(node, policies.iter().map(Named::clearing)).await,
        }
    }
}

/// A policy for the entity of its name.
struct Named<'a> {
    name: &'a str,
    definition: &'a Json,
    is_of_operator: bool,
}

impl Named<'_> {
    /// What sets it in RabbitMQ, in Erlang. A program for each would take seconds each time.
    fn setting(&self) -> String {
        let setting = |(key, value): (&String, &Json)| match value {
            Json::String(text) => format!("{{<<{key:?}>>, <<{text:?}>>}}"),
            number => format!("{{<<{key:?}>>, {number}}}"),
        };
        let definition: Vec<_> = self.definition.as_object().unwrap().iter().map(setting).collect();
        let (set, name) = (if self.is_of_operator { "set_op" } else { "set" }, self.name);
        let definition = definition.join(", ");
        format!(
            "ok = rabbit_policy:{set}(<<\"/\">>, <<{name:?}>>, <<\"^{name}$\">>, [{definition}], 0, <<\"all\">>, <<\"t\">>)"
        )
    }

    fn clearing(&self) -> String {
        let (delete, name) = (if self.is_of_operator { "delete_op" } else { "delete" }, self.name);
        format!("ok = rabbit_policy:{delete}(<<\"/\">>, <<{name:?}>>, <<\"t\">>)")
    }
}

async fn evaluate(node: &Node, expressions: impl Iterator<Item = String>) {
    let expressions: Vec<_> = expressions.collect();
    node.ctl(&["eval", &format!("{}.", expressions.join(", "))]).await.unwrap();
}

/// The table of a JSON object of numbers and texts.
fn table(object: &Json) -> Table {
    let mut table = Table::new();
    for (key, value) in object.as_object().unwrap() {
        let value = match value {
            Json::String(text) => Value::LongString(text.as_str().into()),
            number => Value::I64(number.as_i64().unwrap()),
        };
        table.insert(key, value).unwrap();
    }
    table
}

/// How a queue is declared, its policies, and what is seen of it.
struct Row {
    kind: &'static str,
    arguments: Json,
    policy: Json,
    operator_policy: Json,
    seen: Seen,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Seen {
    /// It has so many messages after ten.
    Length(u32),
    /// The last of ten messages is confirmed, or refused.
    LastIs(Outcome),
    /// The dead letters are in this queue, with this routing key; an empty one is the queue's name.
    DeadIn(&'static str, &'static str),
    NoneDead,
    /// A message that is returned each time is delivered so often.
    Deliveries(u32),
}

/// The outcome of a publish.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Ack,
    Nack,
}

fn row(kind: &'static str, arguments: Json, policy: Json, operator_policy: Json, seen: Seen) -> Row {
    Row { kind, arguments, policy, operator_policy, seen }
}

/// Rows that were measured on RabbitMQ 3.10.8 and 4.0.5. `A` and `B` are exchanges for dead
/// letters, each with a queue of its name.
fn rows() -> Vec<Row> {
    use Outcome::{Ack, Nack};
    use Seen::{DeadIn, Deliveries, LastIs, Length, NoneDead};
    let none = || json!({});
    let mut rows = Vec::new();
    for kind in ["classic", "quorum"] {
        let length = |length: u32| json!({ "max-length": length });
        let declared = |length: u32| json!({ "x-max-length": length });
        rows.extend([
            row(kind, declared(5), length(8), none(), Length(5)),
            row(kind, declared(8), length(5), none(), Length(5)),
            row(kind, none(), length(8), length(5), Length(5)),
            row(kind, none(), length(5), length(8), Length(5)),
            row(kind, declared(4), length(8), length(6), Length(4)),
            row(kind, declared(8), none(), length(5), Length(5)),
        ]);
        // A quorum queue goes by the policy, and others by their declaration.
        let (refuses, drops) = if kind == "quorum" { (Nack, Ack) } else { (Ack, Nack) };
        let overflow = |overflow: &str| json!({ "x-max-length": 2, "x-overflow": overflow });
        let reject = || json!({ "overflow": "reject-publish" });
        rows.extend([
            row(kind, overflow("drop-head"), reject(), none(), LastIs(refuses)),
            row(kind, overflow("reject-publish"), json!({ "overflow": "drop-head" }), none(), LastIs(drops)),
            row(kind, declared(2), reject(), none(), LastIs(Nack)),
        ]);
        let to = |exchange: &str| json!({ "x-max-length": 2, "x-dead-letter-exchange": exchange });
        let keyed =
            || json!({ "x-max-length": 2, "x-dead-letter-exchange": "A", "x-dead-letter-routing-key": "kA" });
        let key = || json!({ "dead-letter-routing-key": "kB" });
        let both = || json!({ "dead-letter-exchange": "B", "dead-letter-routing-key": "kB" });
        rows.extend([
            row(kind, to("A"), json!({ "dead-letter-exchange": "B" }), none(), DeadIn("A", "")),
            row(kind, declared(2), json!({ "dead-letter-exchange": "B" }), none(), DeadIn("B", "")),
            row(kind, keyed(), key(), none(), DeadIn("A", "kA")),
            row(kind, to("A"), key(), none(), DeadIn("A", "kB")),
            row(kind, to("A"), both(), none(), DeadIn("A", "kB")),
            row(kind, keyed(), both(), none(), DeadIn("A", "kA")),
            row(kind, declared(2), both(), none(), DeadIn("B", "kB")),
            row(kind, declared(2), key(), none(), NoneDead),
        ]);
    }
    let limit = |limit: u32| json!({ "delivery-limit": limit });
    let declared = |limit: u32| json!({ "x-delivery-limit": limit, "x-dead-letter-exchange": "A" });
    let none = || json!({ "x-dead-letter-exchange": "A" });
    let nothing = || json!({});
    rows.extend([
        row("quorum", declared(1), limit(3), nothing(), Deliveries(2)),
        row("quorum", declared(3), limit(1), nothing(), Deliveries(2)),
        row("quorum", none(), limit(3), limit(1), Deliveries(2)),
        row("quorum", none(), limit(1), limit(3), Deliveries(2)),
        row("quorum", none(), nothing(), limit(2), Deliveries(3)),
        row("quorum", none(), limit(0), nothing(), Deliveries(1)),
    ]);
    rows
}

async fn queued(channel: &Channel, queue: &str) -> u32 {
    within(channel.declare(Queue::new(queue).passive(true))).await.unwrap().messages
}

/// Waits until a queue has so many messages. Quorum queues of RabbitMQ count them late.
async fn has(channel: &Channel, queue: &str, messages: u32) {
    within(async { while queued(channel, queue).await != messages {} }).await;
}

/// Publishes so many messages; returns the outcome of the last.
async fn publish(channel: &Channel, key: (&str, &str), messages: u32) -> Outcome {
    let publisher = within(channel.publisher()).await.unwrap();
    let mut last = Outcome::Ack;
    for body in 0..messages {
        let confirm = within(publisher.publish(key, Message::new(body.to_string()))).await.unwrap();
        last = match within(confirm).await.unwrap() {
            Confirmation::Nack => Outcome::Nack,
            _ => Outcome::Ack,
        };
    }
    last
}

/// Returns a message as often as it comes, until it is a dead letter in `A`; returns how often.
async fn deliveries(channel: &Channel, queue: &str) -> u32 {
    let mut count = 0;
    while queued(channel, "A").await == 0 {
        // It is away for a moment each time.
        if let Some(delivery) = within(channel.get(queue, GetOptions::new())).await.unwrap() {
            count += 1;
            within(delivery.nack(true)).await.unwrap();
        }
    }
    within(channel.purge("A")).await.unwrap();
    count
}

async fn check(channel: &Channel, queue: &str, row: &Row) {
    let context = format!("{} {} {} {}", row.kind, row.arguments, row.policy, row.operator_policy);
    let mut declared = Queue::durable(queue).arg("x-queue-type", row.kind).unwrap();
    for (argument, value) in &table(&row.arguments) {
        declared = declared.arg(argument.as_str().unwrap(), value).unwrap();
    }
    within(channel.declare(declared)).await.unwrap();
    match row.seen {
        Seen::Length(length) => {
            publish(channel, ("", queue), 10).await;
            has(channel, queue, length).await;
        }
        Seen::LastIs(outcome) => assert_eq!(publish(channel, ("", queue), 10).await, outcome, "{context}"),
        Seen::DeadIn(place, key) => {
            publish(channel, ("", queue), 3).await;
            has(channel, place, 1).await;
            let dead = within(channel.get(place, GetOptions::new().no_ack(true))).await.unwrap().unwrap();
            let key = if key.is_empty() { queue } else { key };
            assert_eq!((&dead.body()[..], &*dead.routing_key()), (&b"0"[..], key), "{context}");
        }
        Seen::NoneDead => {
            publish(channel, ("", queue), 3).await;
            has(channel, queue, 2).await;
            assert_eq!((queued(channel, "A").await, queued(channel, "B").await), (0, 0), "{context}");
        }
        Seen::Deliveries(expected) => {
            publish(channel, ("", queue), 1).await;
            has(channel, queue, 1).await;
            assert_eq!(deliveries(channel, queue).await, expected, "{context}");
        }
    }
    within(channel.delete_queue(queue, Default::default())).await.unwrap();
}

async fn what_is_declared_and_what_policies_say_together(broker: Governed) {
    let channel = broker.channel().await;
    for name in ["A", "B"] {
        within(channel.declare(Exchange::fanout(name))).await.unwrap();
        within(channel.declare(Queue::new(name))).await.unwrap();
        within(channel.bind(Binding::new(name, name))).await.unwrap();
    }
    let rows = rows();
    let names: Vec<_> = (0..rows.len()).map(|number| format!("policies-{number}")).collect();
    let mut policies = Vec::new();
    for (name, row) in names.iter().zip(&rows) {
        for (definition, is_of_operator) in [(&row.policy, false), (&row.operator_policy, true)] {
            if *definition != json!({}) {
                policies.push(Named { name, definition, is_of_operator });
            }
        }
    }
    broker.set(&policies).await;
    for (name, row) in names.iter().zip(&rows) {
        check(&channel, name, row).await;
    }
    broker.clear(&policies).await;
    for name in ["A", "B"] {
        within(channel.delete_exchange(name, Default::default())).await.unwrap();
        within(channel.delete_queue(name, Default::default())).await.unwrap();
    }
}

/// A queue in use gets a limit, dead letters, and loses both; an exchange gets an alternate one.
async fn a_change_applies_to_what_is_there(broker: Governed) {
    let channel = broker.channel().await;
    let (queue, dead, exchange) = ("policies-used", "policies-dead", "policies-exchange");
    for name in [queue, dead] {
        within(channel.declare(Queue::durable(name))).await.unwrap();
    }
    publish(&channel, ("", queue), 5).await;
    let limit = json!({ "max-length": 2, "dead-letter-exchange": "", "dead-letter-routing-key": dead });
    let limited = [Named { name: queue, definition: &limit, is_of_operator: false }];
    broker.set(&limited).await;
    has(&channel, queue, 2).await;
    has(&channel, dead, 3).await;
    for body in [b"0", b"1", b"2"] {
        let delivery = within(channel.get(dead, GetOptions::new().no_ack(true))).await.unwrap().unwrap();
        assert_eq!(delivery.body(), &body[..]);
    }
    broker.clear(&limited).await;
    publish(&channel, ("", queue), 2).await;
    has(&channel, queue, 4).await;
    within(channel.declare(Exchange::direct(exchange))).await.unwrap();
    within(channel.declare(Exchange::fanout(dead))).await.unwrap();
    within(channel.bind(Binding::new(dead, dead))).await.unwrap();
    publish(&channel, (exchange, "nobody"), 1).await;
    let alternate = json!({ "alternate-exchange": dead });
    let rerouted = [Named { name: exchange, definition: &alternate, is_of_operator: false }];
    broker.set(&rerouted).await;
    publish(&channel, (exchange, "nobody"), 1).await;
    has(&channel, dead, 1).await;
    broker.clear(&rerouted).await;
    publish(&channel, (exchange, "nobody"), 1).await;
    has(&channel, dead, 1).await;
    for name in [queue, dead] {
        within(channel.delete_queue(name, Default::default())).await.unwrap();
    }
    for name in [exchange, dead] {
        within(channel.delete_exchange(name, Default::default())).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_declared_and_what_policies_say_together_make_a_queue() {
    what_is_declared_and_what_policies_say_together(Governed::embedded().await).await;
}

#[tokio::test]
async fn what_is_declared_and_what_policies_say_together_make_a_queue_in_rabbitmq() {
    let test =
        concat!(module_path!(), "::what_is_declared_and_what_policies_say_together_make_a_queue_in_rabbitmq");
    let Some(node) = Node::require(test) else { return };
    what_is_declared_and_what_policies_say_together(Governed::RabbitMq(node)).await;
}

#[tokio::test]
async fn a_change_of_policies_applies_to_what_is_there() {
    a_change_applies_to_what_is_there(Governed::embedded().await).await;
}

#[tokio::test]
async fn a_change_of_policies_applies_to_what_is_there_in_rabbitmq() {
    let test = concat!(module_path!(), "::a_change_of_policies_applies_to_what_is_there_in_rabbitmq");
    let Some(node) = Node::require(test) else { return };
    a_change_applies_to_what_is_there(Governed::RabbitMq(node)).await;
}
