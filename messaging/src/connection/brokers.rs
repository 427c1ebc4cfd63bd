//! The brokers of a transport, and how to connect to them.

use std::fmt;
#[cfg(feature = "memory")]
use std::sync::Arc;

#[cfg(feature = "memory")]
use amqp_broker::Broker;
use amqp_client::{ConnectOptions, Connection, Uri};
#[cfg(feature = "memory")]
use tokio::io::DuplexStream;

use crate::connection::setup_error::SetupError;

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
    /// Counts the items that could not be read, when the broker only connects AMQP with a Redis.
    undecodable: Option<Arc<dyn Fn() -> u64 + Send + Sync>>,
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
        Brokers::Here(Here { streams, uri: Box::default(), name, undecodable: None })
    }

    /// Returns a way to a backend, which a broker in this process connects with AMQP; `name` is the
    /// backend's in errors. With a Redis, `undecodable` counts the items that could not be read.
    #[cfg(any(feature = "filesystem", feature = "redis"))]
    pub(crate) fn behind(
        backend: impl amqp_broker::backend::Backend,
        name: String,
        undecodable: Option<Arc<dyn Fn() -> u64 + Send + Sync>>,
    ) -> Self {
        let uri = Box::<Uri>::default();
        let broker = Broker::builder().backend(&uri.vhost, backend).build();
        Brokers::Here(Here { streams: Streams::to(broker), uri, name, undecodable })
    }

    /// Returns a way over these streams; login, virtual host and options are those of the URI.
    pub(crate) fn here(streams: Streams, uri: Uri) -> Self {
        let (uri, name) = (Box::new(uri), "the broker in this process".to_owned());
        Brokers::Here(Here { streams, uri, name, undecodable: None })
    }
}

impl Brokers {
    /// Tells whether the messages are in a Redis.
    pub(crate) fn is_redis(&self) -> bool {
        match self {
            Brokers::Network(_) => false,
            #[cfg(feature = "memory")]
            Brokers::Here(here) => here.undecodable.is_some(),
        }
    }

    /// Returns how many items of a Redis could not be read.
    pub(crate) fn undecodable_items(&self) -> u64 {
        match self {
            Brokers::Network(_) => 0,
            #[cfg(feature = "memory")]
            Brokers::Here(here) => here.undecodable.as_ref().map_or(0, |count| count()),
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
