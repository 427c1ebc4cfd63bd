//! A mailbox on a broker, and peers of it that use no library.

use std::collections::BTreeMap;

use amqp_client::{
    Binding, Channel, Confirmation, ConsumeOptions, Consumer, Exchange, Message, Properties, Publisher,
    Queue, ShortString, Table, Value as Header,
};
use futures_util::StreamExt as _;
use messaging::{
    Transport,
    mailbox::{Kind, Mailbox, Node, NodeBuilder, Replies, Request},
};
use serde_json::{Value, json};

use super::{Broker, within};

/// The ticket of the command that follows the one that is looked at.
const AFTERWARDS: &str = "afterwards";

pub(super) fn namespace(broker: &Broker) -> String {
    broker.name("ns")
}

pub(super) fn mailbox(transport: &Transport, broker: &Broker, kind: Kind) -> Mailbox {
    transport.mailbox(&namespace(broker)).kind(kind).open()
}

/// A node that handles one command after the other and answers `who` with its name.
pub(super) fn who(mailbox: &Mailbox, name: &str) -> NodeBuilder {
    let who = |request: Request, (): ()| async move { Ok::<_, String>(request.node().to_owned()) };
    mailbox.node(name).concurrency(1).handler("who", who)
}

pub(super) async fn start(node: NodeBuilder) -> Node {
    within(node.start()).await.unwrap()
}

/// The answers by their nodes, once the call has ended.
pub(super) async fn answers(replies: Replies) -> BTreeMap<String, Value> {
    let replies: Vec<_> = within(replies.collect()).await;
    replies.into_iter().map(|reply| reply.unwrap().into_parts()).collect()
}

/// A message as kombu writes it.
pub(super) fn json_message(body: &Value) -> Message {
    Message::new(body.to_string()).content_type("application/json").headers(Table::new())
}

pub(super) fn with_header(mut message: Message, name: &str, value: impl Into<Header>) -> Message {
    let headers = message.properties_mut().headers.get_or_insert_default();
    headers.insert(name, value).unwrap();
    message
}

/// A reply as it is on the wire.
#[derive(Debug)]
pub(super) struct RawReply {
    pub(super) body: Value,
    pub(super) headers: Table,
    pub(super) properties: Properties,
}

/// A caller without a library, with its reply queue.
pub(super) struct RawCaller {
    publisher: Publisher,
    replies: Consumer,
    namespace: String,
    key: String,
    _channel: Channel,
}

impl RawCaller {
    pub(super) async fn start(broker: &Broker) -> Self {
        let namespace = namespace(broker);
        let channel = broker.channel().await;
        let exchange = Exchange::direct(format!("reply.{namespace}.pidbox"));
        channel.declare(&exchange).await.unwrap();
        let queue = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
        let key = queue.name.clone();
        channel.bind(Binding::new(&queue, &exchange).routing_key(&key)).await.unwrap();
        let replies = channel.consume(&queue, ConsumeOptions::new()).await.unwrap();
        let publisher = channel.publisher().await.unwrap();
        RawCaller { publisher, replies, namespace, key, _channel: channel }
    }

    /// The command with these fields, which wants a reply.
    pub(super) fn command(&self, mut fields: Value) -> Value {
        let exchange = format!("reply.{}.pidbox", self.namespace);
        fields["reply_to"] = json!({"exchange": exchange, "routing_key": self.key});
        fields
    }

    /// Publishes a message to all nodes; they have it when this returns.
    pub(super) async fn send(&self, message: Message) {
        let exchange = format!("{}.pidbox", self.namespace);
        let confirm = self.publisher.publish((exchange.as_str(), ""), message).await.unwrap();
        assert!(matches!(within(confirm).await.unwrap(), Confirmation::Ack));
    }

    pub(super) async fn reply(&mut self) -> RawReply {
        let delivery = within(self.replies.recv()).await.unwrap().unwrap();
        let properties = delivery.properties().unwrap();
        let body = serde_json::from_slice(delivery.body()).unwrap();
        delivery.ack().await.unwrap();
        RawReply { body, headers: properties.headers.clone().unwrap(), properties }
    }

    /// Sends a message, and returns all replies to it of this number of nodes.
    pub(super) async fn replies(&mut self, message: Message, nodes: usize) -> Vec<RawReply> {
        self.send(message).await;
        // Each node handles this one after the other, so its replies are complete when it answers.
        self.send(json_message(&self.command(json!({"method": "who", "ticket": AFTERWARDS})))).await;
        let (mut replies, mut complete) = (Vec::new(), 0);
        while complete < nodes {
            let reply = self.reply().await;
            match reply.headers.get("ticket").and_then(|ticket| ticket.as_str().map(str::to_owned)) {
                Some(ticket) if ticket == AFTERWARDS => complete += 1,
                _ => replies.push(reply),
            }
        }
        replies
    }

    /// Sends a command with these fields, and returns the answers of this number of nodes.
    pub(super) async fn answers(&mut self, fields: Value, nodes: usize) -> BTreeMap<String, Value> {
        let message = json_message(&self.command(fields));
        let replies = self.replies(message, nodes).await;
        replies.into_iter().flat_map(|reply| reply.body.as_object().cloned().unwrap()).collect()
    }
}

/// A node without a library, which answers as the test says.
pub(super) struct RawNode {
    channel: Channel,
    commands: Consumer,
}

impl RawNode {
    pub(super) async fn start(broker: &Broker) -> Self {
        let namespace = namespace(broker);
        let channel = broker.channel().await;
        let exchange = Exchange::direct(format!("{namespace}.pidbox"));
        channel.declare(&exchange).await.unwrap();
        let queue = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
        channel.bind(Binding::new(&queue, &exchange)).await.unwrap();
        let commands = channel.consume(&queue, ConsumeOptions::new()).await.unwrap();
        RawNode { channel, commands }
    }

    /// The next command.
    pub(super) async fn command(&mut self) -> RawCommand {
        let delivery = within(self.commands.recv()).await.unwrap().unwrap();
        let properties = delivery.properties().unwrap();
        let body = serde_json::from_slice(delivery.body()).unwrap();
        delivery.ack().await.unwrap();
        RawCommand { channel: self.channel.clone(), body, properties }
    }
}

/// A command as it is on the wire.
pub(super) struct RawCommand {
    channel: Channel,
    pub(super) body: Value,
    pub(super) properties: Properties,
}

impl RawCommand {
    /// Publishes a reply to it, as it is.
    pub(super) async fn reply(&self, message: Message) {
        let to = |name: &str| self.body["reply_to"][name].as_str().unwrap();
        self.channel.publish((to("exchange"), to("routing_key")), message).await.unwrap();
    }

    /// Answers it as a node of this name does, with the command's ticket.
    pub(super) async fn answer(&self, node: &str, answer: Value) {
        self.reply(self.with_ticket(json_message(&json!({node: answer})))).await;
    }

    pub(super) fn with_ticket(&self, message: Message) -> Message {
        with_header(message, "ticket", self.body["ticket"].as_str().unwrap())
    }
}

/// A content type that the client has no literal for.
pub(super) fn content_type(mut message: Message, name: Option<&'static str>) -> Message {
    message.properties_mut().content_type = name.map(ShortString::from_static);
    message
}
