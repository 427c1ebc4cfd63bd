//! Tests that run on this broker and on RabbitMQ. The latter is at the host and port of
//! `AMQP_TEST_RABBITMQ_URI`, if that is set.

use amqp_codec::{
    Method, Properties, Table, Value,
    method::{basic, exchange, queue},
};

use super::peer::{Came, Peer, short};
use crate::broker::Broker;

/// RabbitMQ's address; `None`, with a message, when there is none.
pub(super) fn rabbitmq() -> Option<String> {
    let Ok(uri) = std::env::var("AMQP_TEST_RABBITMQ_URI") else {
        println!("left out: no RabbitMQ (AMQP_TEST_RABBITMQ_URI)");
        return None;
    };
    let authority = uri.trim_start_matches("amqp://").split('/').next()?;
    authority.rsplit('@').next().map(str::to_owned)
}

/// A broker to test.
pub(super) enum Tested {
    Ours(Broker),
    RabbitMq(String),
}

impl Tested {
    pub(super) async fn open(&self) -> Peer {
        match self {
            Tested::Ours(broker) => Peer::open(broker).await,
            Tested::RabbitMq(address) => Peer::open_at(address).await,
        }
    }

    /// A stream on which nothing has been sent.
    pub(super) async fn silent(&self) -> Peer {
        match self {
            Tested::Ours(broker) => Peer::silent(broker),
            Tested::RabbitMq(address) => Peer::silent_at(address).await,
        }
    }
}

/// Tests that run on this broker and on RabbitMQ. Each uses its own names of queues and exchanges,
/// because RabbitMQ keeps them.
macro_rules! both {
    ($($(#[$attribute:meta])* async fn $name:ident($broker:ident: &Tested) $body:block)*) => {
        $($(#[$attribute])* async fn $name($broker: &$crate::tests::both::Tested) $body)*

        mod ours {
            $(#[tokio::test]
            async fn $name() {
                let broker = crate::broker::Broker::builder().build();
                super::$name(&$crate::tests::both::Tested::Ours(broker)).await;
            })*
        }

        mod on_rabbitmq {
            $(#[tokio::test]
            async fn $name() {
                let Some(address) = $crate::tests::both::rabbitmq() else { return };
                super::$name(&$crate::tests::both::Tested::RabbitMq(address)).await;
            })*
        }
    };
}
pub(super) use both;

pub(super) fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    let mut table = Table::new();
    for (key, value) in entries {
        table.push(key, value).unwrap();
    }
    table
}

pub(super) fn headers(headers: Table) -> Properties {
    Properties { headers: Some(headers), ..Default::default() }
}

impl Peer {
    /// Declares a new durable queue.
    pub(super) async fn fresh<const N: usize>(&mut self, queue: &str, arguments: [(&str, Value); N]) {
        self.call(1, queue::Delete { queue: short(queue), ..Default::default() }).await;
        let arguments = table(arguments);
        self.call(1, queue::Declare { queue: short(queue), durable: true, arguments, ..Default::default() })
            .await;
    }

    /// Declares a new exchange.
    pub(super) async fn fresh_exchange(&mut self, exchange: &str, kind: &str) {
        self.call(1, exchange::Delete { exchange: short(exchange), ..Default::default() }).await;
        let declare =
            exchange::Declare { exchange: short(exchange), kind: short(kind), ..Default::default() };
        self.call(1, declare).await;
    }

    pub(super) async fn bind(&mut self, queue: &str, exchange: &str, key: &str) {
        let (queue, exchange, routing_key) = (short(queue), short(exchange), short(key));
        self.call(1, queue::Bind { queue, exchange, routing_key, ..Default::default() }).await;
    }

    /// Publishes to a queue by the default exchange.
    pub(super) async fn put(&mut self, queue: &str, properties: Properties, body: &str) {
        self.publish_with("", queue, properties, false, body.as_bytes()).await;
    }

    /// Starts a consumer with acknowledgements; [`came`](Self::came) returns the deliveries.
    pub(super) async fn take(&mut self, queue: &str) {
        self.consume(queue, queue).await;
    }

    pub(super) async fn leave(&mut self, queue: &str) {
        self.call(1, basic::Cancel { consumer_tag: short(queue), no_wait: false }).await;
    }

    /// The next delivery.
    pub(super) async fn came(&mut self) -> Came<basic::Deliver> {
        self.expect_content::<basic::Deliver>().await
    }

    pub(super) async fn nack(&mut self, delivery_tag: u64, requeue: bool) {
        self.send(1, basic::Nack { delivery_tag, multiple: false, requeue }).await;
    }

    /// The close of the channel or connection, as `channel 406 ...`.
    pub(super) async fn refusal(&mut self) -> String {
        use amqp_codec::{
            Frame,
            method::{channel, connection},
        };
        match self.next().await {
            Some(Frame::Method(1, Method::Channel(channel::Method::Close(close)))) => {
                format!("channel {} {}", close.reply_code, close.reply_text)
            }
            Some(Frame::Method(0, Method::Connection(connection::Method::Close(close)))) => {
                format!("connection {} {}", close.reply_code, close.reply_text)
            }
            other => panic!("nothing was closed: {other:?}"),
        }
    }
}

impl<M> Came<M> {
    pub(super) fn properties(&self) -> Properties {
        self.header.properties.decode().unwrap()
    }

    pub(super) fn headers(&self) -> Table {
        self.properties().headers.unwrap_or_default()
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}
