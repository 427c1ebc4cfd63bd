//! A broker by its URL, and names that no other test uses.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use amqp_broker::{BrokerBuilder, Listener, RabbitMq};
use amqp_client::{ConnectOptions, Connection, Uri};
use messaging::{RetryPolicy, Transport};
use tests::{Node, Proxy, Redis};

/// The longest that any test waits for anything.
pub(super) const DEADLINE: Duration = Duration::from_secs(120);

pub(super) struct Broker {
    pub(super) url: String,
    prefix: String,
    kind: Kind,
}

enum Kind {
    Memory,
    Embedded(#[expect(dead_code, reason = "listens until dropped")] Listener),
    RabbitMq,
    /// A Redis of its own, and a broker in front of it for the bare client.
    Redis(amqp_broker::Broker, #[expect(dead_code, reason = "runs until dropped")] Redis),
}

impl Broker {
    pub(super) fn memory() -> Self {
        let prefix = prefix();
        Broker { url: format!("memory://{prefix}"), prefix, kind: Kind::Memory }
    }

    pub(super) async fn embedded() -> Self {
        Self::listening(amqp_broker::Broker::builder()).await
    }

    /// An embedded broker that behaves as this version of RabbitMQ.
    pub(super) async fn like(version: RabbitMq) -> Self {
        Self::listening(amqp_broker::Broker::builder().like(version)).await
    }

    async fn listening(builder: BrokerBuilder) -> Self {
        let listener = builder.build().listen("127.0.0.1:0").await.unwrap();
        let url = format!("amqp://guest:guest@{}/", listener.local_addr());
        Broker { url, prefix: prefix(), kind: Kind::Embedded(listener) }
    }

    pub(super) fn rabbitmq(test: &str) -> Option<Self> {
        let url = Node::require(test)?.uri().to_owned();
        Some(Broker { url, prefix: prefix(), kind: Kind::RabbitMq })
    }

    pub(super) async fn redis(test: &str) -> Option<Self> {
        if !Redis::require(test) {
            return None;
        }
        let redis = Redis::start().await.unwrap();
        let url = redis.url(0);
        let backend = amqp_broker::redis::Redis::new(url.parse().unwrap());
        let gateway = amqp_broker::Broker::builder().backend("/", backend).build();
        Some(Broker { url, prefix: prefix(), kind: Kind::Redis(gateway, redis) })
    }

    pub(super) async fn transport(&self) -> Transport {
        within(Transport::connect(&self.url)).await.unwrap()
    }

    /// A proxy before the broker, and the broker's URL through it.
    pub(super) async fn proxied(&self) -> (Proxy, String) {
        let address = Uri::parse(&self.url).unwrap().address();
        let proxy = Proxy::start(&address).await.unwrap();
        let url = self.url.replace(&address, &proxy.addr().to_string());
        (proxy, url)
    }

    /// A channel of the bare client on the same broker.
    pub(super) async fn channel(&self) -> amqp_client::Channel {
        self.connection().await.open_channel().await.unwrap()
    }

    /// A name that no other test uses.
    pub(super) fn name(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    async fn connection(&self) -> Connection {
        let options = ConnectOptions::new();
        let connected = match &self.kind {
            Kind::Memory => {
                options.connect_stream(amqp_broker::memory(&self.prefix).connect(), &Uri::default()).await
            }
            Kind::Redis(gateway, _) => options.connect_stream(gateway.connect(), &Uri::default()).await,
            Kind::Embedded(_) | Kind::RabbitMq => options.connect(&self.url).await,
        };
        connected.unwrap()
    }
}

fn prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("messaging-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Waits for `future` with a deadline.
pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("nothing within the deadline")
}

/// A retry policy with short pauses.
pub(super) fn impatient() -> RetryPolicy {
    RetryPolicy::exponential(Duration::from_millis(5), Duration::from_millis(50)).deadline(DEADLINE)
}
