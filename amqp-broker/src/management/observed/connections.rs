//! The connections of clients.

use std::sync::Arc;

use tokio::task::yield_now;

use crate::{
    broker::Broker,
    core::entities::ids::ConnectionId,
    server::clients::{Client, Login},
    session::holdings::TrafficCounts,
};

/// A connection of a client that has opened a virtual host.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionState {
    pub(crate) client: Arc<Client>,
    /// The octets that were read from it and written to it.
    pub(crate) traffic: TrafficCounts,
    /// Set when it is held back because it publishes.
    pub(crate) is_blocked: bool,
    pub(crate) channels: usize,
    pub(crate) is_tls: bool,
}

/// The number of connections that are observed before other tasks go first.
const AT_ONCE: usize = 256;

impl ConnectionState {
    fn of(broker: &Broker, client: &Arc<Client>) -> Option<Self> {
        let login = client.login()?;
        let client = Arc::clone(client);
        let is_tls =
            client.name.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok()).is_some_and(|port| {
                let listening = broker.inner.listening.all();
                listening.iter().any(|(at, protocol)| at.port() == port && *protocol == "amqp/ssl")
            });
        let (Some(host), Some(id)) = (broker.inner.host(&login.vhost), login.id) else {
            let traffic = TrafficCounts::default();
            return Some(ConnectionState { client, traffic, is_blocked: false, channels: 0, is_tls });
        };
        host.with(|_, shared| {
            let traffic = shared.holdings.traffic(id).unwrap_or_default();
            let channels = shared.vhost.channels_of(id).len();
            Some(ConnectionState { client, traffic, is_blocked: shared.alarm.holds(id), channels, is_tls })
        })
    }

    /// Its state since the login; there is always one.
    pub(crate) fn login(&self) -> Option<&Login> {
        self.client.login()
    }

    pub(crate) fn vhost(&self) -> &str {
        self.login().map_or("", |login| &login.vhost)
    }

    pub(crate) fn user(&self) -> &str {
        self.login().map_or("", |login| &login.user)
    }

    /// Its id in its virtual host, unless that has a backend.
    pub(crate) fn id(&self) -> Option<ConnectionId> {
        self.login()?.id
    }

    /// The addresses of both ends; empty for one inside the process.
    pub(crate) fn ends(&self) -> [(String, u16); 2] {
        let parse = |text: &str| match text.parse::<std::net::SocketAddr>() {
            Ok(address) => (address.ip().to_string(), address.port()),
            Err(_) => (String::new(), 0),
        };
        match self.client.name.split_once(" -> ") {
            Some((peer, local)) => [parse(peer), parse(local)],
            None => [parse(&self.client.name), (String::new(), 0)],
        }
    }
}

/// The connections of all virtual hosts, in the order they came.
pub(crate) async fn connections(broker: &Broker) -> Vec<ConnectionState> {
    let mut all = Vec::new();
    for clients in broker.inner.clients.all().chunks(AT_ONCE) {
        all.extend(clients.iter().filter_map(|client| ConnectionState::of(broker, client)));
        yield_now().await;
    }
    all
}

/// The connection of this name, if there is one.
pub(crate) fn connection(broker: &Broker, name: &str) -> Option<ConnectionState> {
    let clients = broker.inner.clients.all();
    let client = clients.iter().find(|client| client.name == name)?;
    ConnectionState::of(broker, client)
}
