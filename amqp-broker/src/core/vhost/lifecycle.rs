//! The arrival of connections and channels. Their removal, with all that is theirs alone, is in
//! `remove`.

use super::Vhost;
use crate::core::{
    entities::{
        channel::Channel,
        connection::Connection,
        ids::{ChannelId, ConnectionId},
    },
    rabbitmq::access::Access,
};

impl Vhost {
    /// Adds the connection of a client that has logged in.
    pub(crate) fn connect(&mut self, name: String, access: Access, cancel_notify: bool) -> ConnectionId {
        self.counters.churn.connections_opened += 1;
        self.entities_weight += Connection::WEIGHT;
        self.connections.insert(Connection::new(name, access, cancel_notify))
    }

    /// Opens a channel.
    pub(crate) fn open_channel(&mut self, id: ConnectionId, number: u16) -> ChannelId {
        self.counters.churn.channels_opened += 1;
        self.entities_weight += Channel::WEIGHT;
        let channel = self.channels.insert(Channel::new(id, number, self.limits.unacked));
        if let Some(connection) = self.connections.get_mut(id) {
            connection.channels.push(channel);
        }
        channel
    }
}
