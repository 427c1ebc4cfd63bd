//! A broker to test against, whichever it is.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use amqp_broker::Listener;
use amqp_client::{Channel, ConnectOptions, Connection, Uri};
use tests::Node;

/// The longest that any test waits for anything.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

pub(super) struct Broker {
    kind: Kind,
    /// The prefix of this test's entities on a shared broker.
    prefix: String,
}

enum Kind {
    Embedded(#[expect(dead_code, reason = "listens until dropped")] Listener, Uri),
    Memory(amqp_broker::Broker),
    RabbitMq(Uri),
}

impl Broker {
    /// The embedded broker on a free port.
    pub(super) async fn embedded() -> Self {
        let broker = amqp_broker::Broker::builder().build();
        let listener = broker.listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr();
        let uri = Uri::parse(&format!("amqp://guest:guest@{address}")).unwrap();
        Self::new(Kind::Embedded(listener, uri))
    }

    /// The embedded broker over an in-memory stream.
    pub(super) fn memory() -> Self {
        Self::new(Kind::Memory(amqp_broker::Broker::builder().build()))
    }

    /// RabbitMQ, if `tests/run` started one.
    pub(super) fn rabbitmq(test: &str) -> Option<Self> {
        let uri = Uri::parse(Node::require(test)?.uri()).unwrap();
        Some(Self::new(Kind::RabbitMq(uri)))
    }

    pub(super) fn is_rabbitmq(&self) -> bool {
        matches!(self.kind, Kind::RabbitMq(_))
    }

    pub(super) async fn connect(&self) -> Connection {
        self.connect_with(ConnectOptions::new()).await.unwrap()
    }

    pub(super) async fn connect_with(&self, options: ConnectOptions) -> amqp_client::Result<Connection> {
        self.connect_as(options, |_| {}).await
    }

    /// Connects with a changed URI: other credentials, or another virtual host.
    pub(super) async fn connect_as(
        &self,
        options: ConnectOptions,
        change: impl FnOnce(&mut Uri),
    ) -> amqp_client::Result<Connection> {
        let mut uri = match &self.kind {
            Kind::Embedded(_, uri) | Kind::RabbitMq(uri) => uri.clone(),
            Kind::Memory(_) => Uri::default(),
        };
        change(&mut uri);
        match &self.kind {
            Kind::Memory(broker) => options.connect_stream(broker.connect(), &uri).await,
            Kind::Embedded(..) | Kind::RabbitMq(_) => options.connect(&as_text(&uri)).await,
        }
    }

    /// `host:port` of a broker that is reached over TCP.
    pub(super) fn address(&self) -> String {
        match &self.kind {
            Kind::Embedded(_, uri) | Kind::RabbitMq(uri) => uri.address(),
            Kind::Memory(_) => String::new(),
        }
    }

    pub(super) async fn channel(&self) -> Channel {
        self.connect().await.open_channel().await.unwrap()
    }

    /// A name that no other test uses.
    pub(super) fn name(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    fn new(kind: Kind) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Broker { kind, prefix: format!("test-{}-{number}", std::process::id()) }
    }
}

fn as_text(uri: &Uri) -> String {
    let vhost = uri.vhost.replace('/', "%2F");
    format!("amqp://{}:{}@{}/{vhost}", uri.user, uri.password.expose(), uri.address())
}

/// Waits for `future` with a deadline.
pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("nothing within the deadline")
}
