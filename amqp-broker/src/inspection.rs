//! What can be seen of a broker: for tests, and for who watches one.

use crate::{
    broker::Broker,
    core::inspect::{BindingInfo, ChannelInfo, ExchangeInfo, QueueInfo},
};

/// What can be seen of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// Tells it from all others of this broker, those that have ended included.
    pub id: u64,
    /// `CLIENT -> BROKER`, with the addresses of both; `memory:ID` for one inside the process.
    pub name: String,
    /// What the client calls it: its property `connection_name`.
    pub client_name: Option<String>,
    /// Who has logged in; empty before.
    pub user: String,
    /// The virtual host; empty before it was opened.
    pub vhost: String,
    /// How far it is.
    pub state: ConnectionState,
    /// Its channels, by number.
    pub channels: Vec<ChannelInfo>,
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// The client has not logged in and opened a virtual host yet.
    Opening,
    /// It works.
    Running,
    /// It is held back because it publishes and memory is short.
    Blocked,
}

/// Inspection. All of it is a snapshot: when you look at it, it may have changed.
impl Broker {
    /// What can be seen of a queue now; `None` when there is none of this name.
    ///
    /// ```
    /// let broker = amqp_broker::Broker::builder().build();
    /// assert!(broker.queue("/", "orders").is_none());
    /// ```
    pub fn queue(&self, vhost: &str, name: &str) -> Option<QueueInfo> {
        self.inner.host(vhost)?.with(|now, shared| shared.vhost.queue_info(name, now))
    }

    /// The queues of a virtual host, by name; none when there is no such virtual host.
    pub fn queues(&self, vhost: &str) -> Vec<QueueInfo> {
        let host = self.inner.host(vhost);
        host.map(|host| host.with(|now, shared| shared.vhost.queue_infos(now))).unwrap_or_default()
    }

    /// The exchanges of a virtual host, by name, but for the default one.
    ///
    /// ```
    /// let broker = amqp_broker::Broker::builder().build();
    /// assert!(broker.exchanges("/").iter().any(|exchange| exchange.name == "amq.topic"));
    /// ```
    pub fn exchanges(&self, vhost: &str) -> Vec<ExchangeInfo> {
        let host = self.inner.host(vhost);
        host.map(|host| host.with(|_, shared| shared.vhost.exchange_infos())).unwrap_or_default()
    }

    /// The bindings of a virtual host, by source, destination and key, but for those of the default exchange.
    pub fn bindings(&self, vhost: &str) -> Vec<BindingInfo> {
        let host = self.inner.host(vhost);
        host.map(|host| host.with(|_, shared| shared.vhost.binding_infos())).unwrap_or_default()
    }

    /// The connections of all virtual hosts, in the order they came.
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// use amqp_broker::{Broker, ConnectionState};
    ///
    /// let broker = Broker::builder().build();
    /// let client = broker.connect();
    /// assert_eq!(broker.connections()[0].state, ConnectionState::Opening);
    /// # drop(client);
    /// # Ok::<(), std::io::Error>(())
    /// # })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        let info = |client: &crate::clients::Client| {
            let mut info = ConnectionInfo {
                id: client.number,
                name: client.name.clone(),
                client_name: None,
                user: String::new(),
                vhost: String::new(),
                state: ConnectionState::Opening,
                channels: Vec::new(),
            };
            if let Some(login) = client.login()
                && let Some(host) = self.inner.host(&login.vhost)
            {
                let (user, vhost) = (login.user.clone(), login.vhost.clone());
                let (channels, held) = host
                    .with(|_, shared| (shared.vhost.channel_infos(login.id), shared.alarm.holds(login.id)));
                info.state = if held { ConnectionState::Blocked } else { ConnectionState::Running };
                info =
                    ConnectionInfo { client_name: login.client_name.clone(), user, vhost, channels, ..info };
            }
            info
        };
        self.inner.clients.all().iter().map(|client| info(client)).collect()
    }
}
