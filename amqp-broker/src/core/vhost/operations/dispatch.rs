//! Deliveries wherever something has changed, and the dead letters that come of it.

use crate::core::{
    effects::sink::Sink,
    entities::ids::{ChannelId, ConnectionId},
    vhost::Vhost,
};

impl Vhost {
    /// Delivers in all queues where something has changed, and publishes dead letters, as far as
    /// the turn allows.
    pub(super) fn dispatch_woken(&mut self, now: u64, sink: &mut impl Sink) {
        while !self.budget.is_over()
            && let Some(consumer) = self.lining_up.pop_front()
        {
            self.budget.spend(1);
            self.line_up(consumer);
        }
        while !self.budget.is_over()
            && let Some(channel) = self.relieved.pop()
        {
            self.resume_waiting(now, channel, sink);
        }
        while !self.budget.is_over()
            && let Some(id) = self.woken.pop_front()
        {
            self.dispatch(now, id, sink);
        }
        if self.has_letters() {
            self.publish_dead_letters(now, sink);
        }
    }

    /// Resumes deliveries to a connection that has room again.
    pub(crate) fn drained(&mut self, now: u64, id: ConnectionId, sink: &mut impl Sink) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        if !std::mem::take(&mut connection.congested) {
            return;
        }
        for channel in connection.channels.clone() {
            self.budget.spend(1);
            self.line_up_channel(channel);
            self.relieve(channel);
        }
        self.dispatch_woken(now, sink);
    }

    /// Puts all consumers of a channel on the list of those that are to line up.
    fn line_up_channel(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.get(id) else { return };
        let place = self.lining_up.len();
        self.lining_up.extend(channel.consumers.values());
        // Sorting makes their order deterministic.
        self.lining_up.make_contiguous().get_mut(place..).unwrap_or_default().sort_unstable();
        self.budget.spend(channel.consumers.len() as u64 / 4);
    }
}
