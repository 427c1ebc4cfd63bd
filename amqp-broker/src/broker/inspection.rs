//! What can be seen of a broker: for tests, and for who watches one.

use std::sync::Arc;

use super::Broker;
use crate::{
    core::{
        entities::ids::ConnectionId,
        vhost::{
            Vhost,
            inspect::{BindingInfo, ChannelInfo, ExchangeInfo, Place, QueueInfo},
        },
    },
    server::host::Host,
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

/// Inspection. All of it is a snapshot: when you look at it, it may have changed. Where there is
/// much to be seen, it is looked at in turns with what clients do, and what changes meanwhile is
/// seen as it was or as it is.
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
        let mut infos = all(self.inner.host(vhost), Vhost::queue_infos);
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        infos
    }

    /// The exchanges of a virtual host, by name, but for the default one.
    ///
    /// ```
    /// let broker = amqp_broker::Broker::builder().build();
    /// assert!(broker.exchanges("/").iter().any(|exchange| exchange.name == "amq.topic"));
    /// ```
    pub fn exchanges(&self, vhost: &str) -> Vec<ExchangeInfo> {
        let mut infos = all(self.inner.host(vhost), |vhost, _, place| vhost.exchange_infos(place));
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        infos
    }

    /// The bindings of a virtual host, by source, destination and key, but for those of the default
    /// exchange.
    pub fn bindings(&self, vhost: &str) -> Vec<BindingInfo> {
        let mut infos = all(self.inner.host(vhost), |vhost, _, place| vhost.binding_infos(place));
        let place = |info: &BindingInfo| {
            (info.source.clone(), info.destination.clone(), info.to_exchange, info.routing_key.clone())
        };
        infos.sort_by_cached_key(place);
        infos
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
        let info = |client: &crate::server::clients::Client| {
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
                let channels = channels(&host, login.id);
                let held = host.with(|_, shared| shared.alarm.holds(login.id));
                info.state = if held { ConnectionState::Blocked } else { ConnectionState::Running };
                info =
                    ConnectionInfo { client_name: login.client_name.clone(), user, vhost, channels, ..info };
            }
            info
        };
        self.inner.clients.all().iter().map(|client| info(client)).collect()
    }
}

/// Looks at all there is of something, in as many turns as that takes. What is seen is gathered
/// between them.
fn all<T>(host: Option<Arc<Host>>, part: impl Fn(&mut Vhost, u64, &mut Place) -> Vec<T>) -> Vec<T> {
    let (mut all, mut place) = (Vec::new(), Place::default());
    let Some(host) = host else { return all };
    while !place.is_end {
        let more = host.with(|now, shared| part(&mut shared.vhost, now, &mut place));
        all.extend(more);
    }
    all
}

/// The channels of a connection, by number.
fn channels(host: &Host, by: ConnectionId) -> Vec<ChannelInfo> {
    let mut left = host.with(|_, shared| shared.vhost.channels_of(by));
    let mut all = Vec::new();
    while !left.is_empty() {
        let more = host.with(|_, shared| shared.vhost.channel_infos(&mut left));
        all.extend(more);
    }
    all.sort_by_key(|info: &ChannelInfo| info.number);
    all.iter_mut().for_each(|info| info.consumer_tags.sort());
    all
}
