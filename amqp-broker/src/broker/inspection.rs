//! Inspection of a broker, for tests and monitoring.

use std::sync::Arc;

use super::Broker;
use crate::{
    core::{
        entities::ids::ConnectionId,
        vhost::{
            Vhost,
            inspect::{BindingInfo, ChannelInfo, ExchangeInfo, InspectionCursor, QueueInfo},
        },
    },
    server::host::Host,
};

/// The state of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The connection's id, which no other connection of this broker ever has.
    pub id: u64,
    /// `CLIENT -> BROKER`, with the addresses of both; `memory:ID` for one inside the process.
    pub name: String,
    /// The client's name for it: its property `connection_name`.
    pub client_name: Option<String>,
    /// The user who has logged in; empty before the login.
    pub user: String,
    /// The virtual host; empty before it was opened.
    pub vhost: String,
    /// The phase it is in.
    pub state: ConnectionState,
    /// Its channels, by number.
    pub channels: Vec<ChannelInfo>,
}

/// The phase of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// The client has not opened a virtual host yet.
    Opening,
    /// The connection is open.
    Running,
    /// It has published while memory is short, and is held back.
    Blocked,
}

/// Inspection. All results are snapshots, which may be outdated when they are read. A large
/// inspection takes several turns, between which clients continue; an entity that changes meanwhile
/// is reported in its old or its new state.
impl Broker {
    /// The state of a queue; `None` when there is none of this name.
    ///
    /// ```
    /// let broker = amqp_broker::Broker::builder().build();
    /// assert!(broker.queue("/", "orders").is_none());
    /// ```
    pub fn queue(&self, vhost: &str, name: &str) -> Option<QueueInfo> {
        self.inner.host(vhost)?.with(|now, shared| shared.vhost.queue_info(name, now))
    }

    /// The queues of a virtual host, by name; the list is empty when there is no such virtual host.
    pub fn queues(&self, vhost: &str) -> Vec<QueueInfo> {
        let mut infos = all(self.inner.host(vhost), Vhost::queue_infos);
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        infos
    }

    /// The exchanges of a virtual host, by name, without the default exchange.
    ///
    /// ```
    /// let broker = amqp_broker::Broker::builder().build();
    /// assert!(broker.exchanges("/").iter().any(|exchange| exchange.name == "amq.topic"));
    /// ```
    pub fn exchanges(&self, vhost: &str) -> Vec<ExchangeInfo> {
        let mut infos = all(self.inner.host(vhost), |vhost, _, cursor| vhost.exchange_infos(cursor));
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        infos
    }

    /// The bindings of a virtual host, by source, destination and key, without those of the default
    /// exchange.
    pub fn bindings(&self, vhost: &str) -> Vec<BindingInfo> {
        let mut infos = all(self.inner.host(vhost), |vhost, _, cursor| vhost.binding_infos(cursor));
        let cursor = |info: &BindingInfo| {
            (info.source.clone(), info.destination.clone(), info.to_exchange, info.routing_key.clone())
        };
        infos.sort_by_cached_key(cursor);
        infos
    }

    /// Returns how many bytes count towards the [memory limit](crate::BrokerBuilder::memory_limit)
    /// of a virtual host; `None` when there is no such virtual host. It returns to its first value
    /// when everything is deleted and all connections have ended.
    ///
    /// ```
    /// let broker = amqp_broker::Broker::builder().build();
    /// assert!(broker.memory_in_use("/").is_some() && broker.memory_in_use("other").is_none());
    /// ```
    pub fn memory_in_use(&self, vhost: &str) -> Option<u64> {
        Some(self.inner.host(vhost)?.with(|_, shared| shared.memory_in_use()))
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
                && let (Some(host), Some(id)) = (self.inner.host(&login.vhost), login.id)
            {
                let (user, vhost) = (login.user.clone(), login.vhost.clone());
                let channels = channels(&host, id);
                let is_held_back = host.with(|_, shared| shared.alarm.holds(id));
                info.state = if is_held_back { ConnectionState::Blocked } else { ConnectionState::Running };
                info =
                    ConnectionInfo { client_name: login.client_name.clone(), user, vhost, channels, ..info };
            }
            info
        };
        self.inner.clients.all().iter().map(|client| info(client)).collect()
    }
}

/// Inspects all entities of a kind, in as many turns as that takes, and collects the results.
fn all<T>(
    host: Option<Arc<Host>>,
    part: impl Fn(&mut Vhost, u64, &mut InspectionCursor) -> Vec<T>,
) -> Vec<T> {
    let (mut all, mut cursor) = (Vec::new(), InspectionCursor::default());
    let Some(host) = host else { return all };
    while !cursor.is_end {
        let more = host.with(|now, shared| part(&mut shared.vhost, now, &mut cursor));
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
