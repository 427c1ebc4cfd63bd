//! Tests that run on this broker and on RabbitMQ. The latter is at the host and port of
//! `AMQP_TEST_RABBITMQ_URI`, if that is set; the version that it announces decides which version
//! this broker is compared as.

use amqp_codec::{
    Method, Properties, Table, Value,
    frame::PROTOCOL_HEADER,
    method::{basic, connection, exchange, queue},
};

use super::peer::{Came, Peer, short};
use crate::{broker::Broker, core::rabbitmq::version::RabbitMq};

/// A RabbitMQ to compare with.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    pub(super) address: String,
    pub(super) version: RabbitMq,
}

/// The RabbitMQ to compare with; `None`, with a message, when there is none.
pub(super) async fn rabbitmq() -> Option<Judge> {
    let address = address()?;
    let mut peer = Peer::silent_at(&address).await;
    peer.raw(&PROTOCOL_HEADER).await;
    let start = peer.expect::<connection::Start>(0).await;
    let Some(Value::LongString(announced)) = start.server_properties.get("version") else {
        panic!("it announces no version: {start:?}")
    };
    Some(Judge { address, version: followed(&announced.to_text()) })
}

/// The version that comes closest to an announced one: the newest that is not newer.
fn followed(announced: &str) -> RabbitMq {
    let mut numbers = announced.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    match (numbers.next(), numbers.next()) {
        (Some(..=3), _) => RabbitMq::V3_10,
        (Some(4), Some(0 | 1)) => RabbitMq::V4_0,
        (Some(4), Some(2)) => RabbitMq::V4_2,
        _ => RabbitMq::V4_3,
    }
}

fn address() -> Option<String> {
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
    RabbitMq(Judge),
}

impl Tested {
    pub(super) async fn open(&self) -> Peer {
        match self {
            Tested::Ours(broker) => Peer::open(broker).await,
            Tested::RabbitMq(judge) => Peer::open_at(&judge.address).await,
        }
    }

    /// A stream on which nothing has been sent.
    pub(super) async fn silent(&self) -> Peer {
        match self {
            Tested::Ours(broker) => Peer::silent(broker),
            Tested::RabbitMq(judge) => Peer::silent_at(&judge.address).await,
        }
    }

    /// Tells whether it is, or plays, a RabbitMQ before 4.0.
    pub(super) fn is_before_4_0(&self) -> bool {
        self.version() == RabbitMq::V3_10
    }

    /// The version of RabbitMQ that it is, or plays.
    pub(super) fn version(&self) -> RabbitMq {
        match self {
            Tested::Ours(broker) => broker.inner.config.like,
            Tested::RabbitMq(judge) => judge.version,
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

        mod ours_like_4_0 {
            $(#[tokio::test]
            async fn $name() {
                let version = $crate::core::rabbitmq::version::RabbitMq::V4_0;
                let broker = crate::broker::Broker::builder().like(version).build();
                super::$name(&$crate::tests::both::Tested::Ours(broker)).await;
            })*
        }

        mod on_rabbitmq {
            $(#[tokio::test]
            async fn $name() {
                let Some(judge) = $crate::tests::both::rabbitmq().await else { return };
                super::$name(&$crate::tests::both::Tested::RabbitMq(judge)).await;
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
