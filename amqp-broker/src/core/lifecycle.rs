//! Connections and channels come and go, and with them what is theirs alone.

use super::{
    access::Access,
    channel::Channel,
    connection::Connection,
    ids::{ChannelId, ConnectionId},
    sink::Sink,
    unacked::Outcome,
    vhost::Vhost,
};

impl Vhost {
    /// A client has entered the virtual host.
    pub(crate) fn connect(&mut self, access: Access, cancel_notify: bool) -> ConnectionId {
        self.connections.insert(Connection::new(access, cancel_notify))
    }

    /// A client has gone: its channels end, and its exclusive queues go.
    pub(crate) fn disconnect(&mut self, now: u64, id: ConnectionId, sink: &mut impl Sink) {
        self.leave(now, id, sink);
        self.connections.remove(id);
    }

    /// Ends a connection's channels and deletes its exclusive queues, as before the last words of a close.
    pub(crate) fn leave(&mut self, now: u64, id: ConnectionId, sink: &mut impl Sink) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        // Whoever is leaving gets nothing more.
        connection.congested = true;
        connection.cancel_notify = false;
        let (channels, queues) =
            (std::mem::take(&mut connection.channels), std::mem::take(&mut connection.exclusive_queues));
        for channel in channels {
            self.end_channel(now, channel, sink);
        }
        for queue in queues {
            self.remove_queue(queue, sink);
        }
        self.dispatch_woken(now, sink);
    }

    /// A channel is opened.
    pub(crate) fn open_channel(&mut self, id: ConnectionId, number: u16) -> ChannelId {
        let channel = self.channels.insert(Channel::new(id, number, self.limits.unacked));
        if let Some(connection) = self.connections.get_mut(id) {
            connection.channels.push(channel);
        }
        channel
    }

    /// A channel is closed: its consumers end, and what it has unacknowledged returns to its queues.
    pub(crate) fn close_channel(&mut self, now: u64, id: ChannelId, sink: &mut impl Sink) {
        if let Some(connection) =
            self.channels.get(id).and_then(|channel| self.connections.get_mut(channel.connection))
        {
            connection.channels.retain(|held| *held != id);
        }
        self.end_channel(now, id, sink);
        self.dispatch_woken(now, sink);
    }

    fn end_channel(&mut self, now: u64, id: ChannelId, sink: &mut impl Sink) {
        self.end_replies(id);
        let Some(channel) = self.channels.get_mut(id) else { return };
        let consumers: Vec<_> = channel.consumers.drain().map(|(_, consumer)| consumer).collect();
        let settled = std::mem::take(&mut channel.settled);
        channel.unacked.restore(settled.into_iter().map(|settled| (settled.tag, settled.held)));
        // Consumers first, so that nothing returns to the channel that ends.
        let left: Vec<_> = consumers.into_iter().filter_map(|id| self.leave_queue(now, id)).collect();
        self.release_all(id, Outcome::Abandoned);
        for queue in left {
            self.end_auto_delete(queue, sink);
        }
        self.channels.remove(id);
    }
}
