//! Counting what happens in a virtual host.

use super::Vhost;
use crate::core::{
    counters::VhostCounters,
    entities::{
        channel::{Channel, ChannelMode},
        ids::{ChannelId, ExchangeId},
        queue::Queue,
    },
};

impl Vhost {
    /// Returns the counts besides those of queues and channels.
    #[cfg(feature = "management")]
    pub(crate) fn counters(&self) -> &VhostCounters {
        &self.counters
    }

    /// Notes what a channel's client wants to hear of its publishes.
    pub(crate) fn note_mode(&mut self, channel: ChannelId, mode: ChannelMode) {
        if let Some(channel) = self.channels.get_mut(channel) {
            channel.mode = mode;
        }
    }

    /// Counts a publish.
    #[inline]
    pub(super) fn count_publish(&mut self, channel: ChannelId) {
        if let Some(channel) = self.channels.get_mut(channel) {
            channel.counters.published += 1;
            channel.counters.published_to_confirm += u64::from(channel.mode == ChannelMode::Confirm);
        }
    }

    /// Counts a client's message at its exchange; `None` is the default exchange.
    #[inline]
    pub(super) fn count_routed(&mut self, source: Option<ExchangeId>, queues: usize) {
        let counters = match source {
            None => &mut self.counters.default_exchange,
            Some(id) => match self.exchanges.get_mut(id) {
                Some(exchange) => &mut exchange.counters,
                None => return,
            },
        };
        counters.published += 1;
        counters.routed += queues as u64;
    }

    /// Counts a publish that no queue took.
    #[cold]
    pub(crate) fn count_unroutable(&mut self, channel: ChannelId, is_mandatory: bool) {
        if let Some(channel) = self.channels.get_mut(channel) {
            channel.counters.returned += u64::from(is_mandatory);
            channel.counters.dropped += u64::from(!is_mandatory);
        }
    }

    /// Counts publishes that are confirmed.
    pub(crate) fn count_confirms(&mut self, channel: ChannelId, publishes: u64) {
        if let Some(channel) = self.channels.get_mut(channel) {
            channel.counters.confirmed += publishes;
        }
    }

    /// Keeps what a queue has counted that is deleted.
    pub(super) fn count_deleted(&mut self, queue: &Queue) {
        let VhostCounters { churn, deleted_queues, .. } = &mut self.counters;
        churn.queues_deleted += 1;
        if let Some(deleted) = deleted_queues.get_mut(queue.arguments.kind as usize) {
            *deleted += queue.counters;
        }
    }

    /// Keeps what a channel has counted that is closed.
    pub(super) fn count_closed(&mut self, channel: &Channel) {
        self.counters.churn.channels_closed += 1;
        self.counters.closed_channels += channel.counters;
    }
}
