//! The brokers of a transport, and how to connect to them.

use std::fmt;
#[cfg(feature = "memory")]
use std::sync::Arc;

#[cfg(feature = "memory")]
use amqp_broker::Broker;
use amqp_client::{ConnectOptions, Connection, Uri, Value};
#[cfg(feature = "memory")]
use tokio::io::DuplexStream;

use crate::connection::{metrics::TransportMetrics, setup_error::SetupError};

/// The brokers of a transport.
#[derive(Clone)]
pub(crate) enum Brokers {
    /// Brokers that are tried in turn; at least one.
    Network(Vec<Uri>),
    /// A broker in this process.
    #[cfg(feature = "memory")]
    Here(Here),
}

/// The way to a broker in this process.
#[cfg(feature = "memory")]
#[derive(Clone)]
pub(crate) struct Here {
    streams: Streams,
    /// The login and the virtual host.
    uri: Box<Uri>,
    /// The name that errors use for it.
    name: String,
    /// Counts what only a Redis has, when the broker connects AMQP with one.
    redis: Option<Arc<dyn Fn() -> TransportMetrics + Send + Sync>>,
}

/// Makes the streams to a broker in this process.
#[cfg(feature = "memory")]
#[derive(Clone)]
pub(crate) struct Streams(Arc<dyn Fn() -> DuplexStream + Send + Sync>);

#[cfg(feature = "memory")]
impl Streams {
    pub(crate) fn new(connect: impl Fn() -> DuplexStream + Send + Sync + 'static) -> Self {
        Streams(Arc::new(connect))
    }

    pub(crate) fn to(broker: Broker) -> Self {
        Streams::new(move || broker.connect())
    }
}

#[cfg(feature = "memory")]
impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Streams")
    }
}

#[cfg(feature = "memory")]
impl Brokers {
    /// Returns the broker in this process with this name, which is started if there is none.
    pub(crate) fn in_memory(name: &str) -> Self {
        let broker = name.to_owned();
        let streams = Streams::new(move || amqp_broker::memory(&broker).connect());
        let name = format!("memory://{name}");
        Brokers::Here(Here { streams, uri: Box::default(), name, redis: None })
    }

    /// Returns a way to a backend, which a broker in this process connects with AMQP; `name` is the
    /// backend's in errors. With a Redis, `redis` counts what only it has.
    #[cfg(any(feature = "filesystem", feature = "redis"))]
    pub(crate) fn behind(
        backend: impl amqp_broker::backend::Backend,
        name: String,
        redis: Option<Arc<dyn Fn() -> TransportMetrics + Send + Sync>>,
    ) -> Self {
        let uri = Box::<Uri>::default();
        let broker = Broker::builder().backend(&uri.vhost, backend).build();
        Brokers::Here(Here { streams: Streams::to(broker), uri, name, redis })
    }

    /// Returns a way over these streams; login, virtual host and options are those of the URI.
    pub(crate) fn here(streams: Streams, uri: Uri) -> Self {
        let (uri, name) = (Box::new(uri), "the broker in this process".to_owned());
        Brokers::Here(Here { streams, uri, name, redis: None })
    }
}

impl Brokers {
    /// Tells whether the messages are in a Redis, as the broker says that was connected to.
    pub(crate) fn are_on_redis(&self, connection: &Connection) -> bool {
        let backends = connection.server_properties().get("backends");
        let is_redis = |uri: &Uri| {
            let backend = backends.as_ref().and_then(Value::as_table)?.get(&uri.vhost);
            Some(backend?.as_str() == Some("redis"))
        };
        match self {
            Brokers::Network(uris) => uris.iter().any(|uri| is_redis(uri) == Some(true)),
            #[cfg(feature = "memory")]
            Brokers::Here(here) => is_redis(&here.uri) == Some(true),
        }
    }

    /// Returns the counts that only a Redis has.
    pub(crate) fn redis_metrics(&self) -> TransportMetrics {
        match self {
            Brokers::Network(_) => TransportMetrics::default(),
            #[cfg(feature = "memory")]
            Brokers::Here(here) => here.redis.as_ref().map(|count| count()).unwrap_or_default(),
        }
    }

    /// Returns host and port of the broker, if there is only one.
    #[cfg(feature = "opentelemetry")]
    pub(crate) fn only(&self) -> Option<(&str, u16)> {
        match self {
            Brokers::Network(uris) => match &uris[..] {
                [only] => Some((&only.host, only.port)),
                _ => None,
            },
            #[cfg(feature = "memory")]
            Brokers::Here(_) => None,
        }
    }

    /// Makes one attempt to connect.
    pub(crate) async fn connect(&self, options: &ConnectOptions) -> Result<Connection, SetupError> {
        match self {
            Brokers::Network(uris) => {
                let connected = options.connect(uris).await;
                connected.map_err(|source| SetupError::Connect { host: hosts(uris), source })
            }
            #[cfg(feature = "memory")]
            Brokers::Here(Here { streams, uri, name, .. }) => {
                let streams = streams.clone();
                let connector = move || std::future::ready(Ok(streams.0()));
                let connected = options.connect_with(connector, uri).await;
                connected.map_err(|source| SetupError::Connect { host: name.clone(), source })
            }
        }
    }
}

/// Names the hosts in an error: the only one, or all of them.
fn hosts(uris: &[Uri]) -> String {
    uris.iter().map(Uri::address).collect::<Vec<_>>().join(",")
}

impl fmt::Debug for Brokers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Brokers::Network(uris) => f.debug_list().entries(uris).finish(),
            #[cfg(feature = "memory")]
            Brokers::Here(Here { name, .. }) => f.write_str(name),
        }
    }
}
