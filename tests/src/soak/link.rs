//! The ways of clients to the broker: over TCP, or in memory.

use std::net::SocketAddr;

use amqp_broker::Broker;
use amqp_client::{ConnectOptions, Connection, Uri};
use messaging::{Transport, TransportOptions};

/// The name of the broker in memory.
pub(super) const NAME: &str = "soak";

/// A way to the broker.
#[derive(Clone, Debug)]
pub(super) enum Link {
    Tcp(SocketAddr),
    Memory(Broker),
}

impl Link {
    /// Its name, which queues begin with.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Link::Tcp(_) => "tcp",
            Link::Memory(_) => "memory",
        }
    }

    pub(super) async fn connection(&self) -> Result<Connection, amqp_client::Error> {
        match self {
            Link::Tcp(address) => amqp_client::connect(&format!("amqp://guest:guest@{address}/%2F")).await,
            Link::Memory(broker) => {
                ConnectOptions::new().connect_stream(broker.connect(), &Uri::default()).await
            }
        }
    }

    pub(super) fn transport(&self) -> Result<Transport, messaging::Error> {
        let url = match self {
            Link::Tcp(address) => format!("amqp://guest:guest@{address}/"),
            Link::Memory(_) => format!("memory://{NAME}"),
        };
        TransportOptions::new().lazy(&url)
    }
}
