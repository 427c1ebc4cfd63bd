//! The steps that restore a lost connection. Their order is in `crate::restore`.

use std::{sync::Arc, time::Duration};

use amqp_codec::ShortString;

use super::{ChannelKey, Engine, Phase};
use crate::{
    error::{Error, Result},
    event::{Event, Recovered},
    proto::{
        calls::CallId, consuming::subscription::Subscription, registry::Registry, status::ChannelStatus,
    },
};

impl Engine {
    /// Tells whether there are channels to restore, after a reconnect or on the same connection.
    pub(crate) fn has_lost_channels(&self) -> bool {
        match self.phase {
            Phase::Restoring => true,
            Phase::Open => self.channels.iter().flatten().any(|(_, channel)| channel.lost_for().is_some()),
            _ => false,
        }
    }

    /// Tells whether the whole connection is being restored.
    pub(crate) fn is_restoring(&self) -> bool {
        matches!(self.phase, Phase::Restoring)
    }

    /// Returns the channels that are to be reopened.
    pub(crate) fn lost_channels(&self) -> Vec<ChannelKey> {
        self.channels_that(|channel| channel.lost_for().is_some())
    }

    /// Opens a channel for restoring the connection. A refusal ends it; the remaining work is then
    /// done on another.
    pub(crate) fn open_setup_channel(&mut self) -> Result<(ChannelKey, Arc<ChannelStatus>, CallId)> {
        match self.phase {
            Phase::Restoring | Phase::Open => self.open_any_channel(false),
            _ => Err(self.loss()),
        }
    }

    pub(crate) fn registry(&mut self) -> Option<&mut Registry> {
        self.link.registry.as_mut()
    }

    /// Notes that the broker has given a queue another name.
    pub(crate) fn rename_queue(&mut self, old: &ShortString, new: &ShortString) {
        if let Some(registry) = &mut self.link.registry {
            registry.rename_queue(old, new);
        }
        for (_, channel) in self.channels.iter_mut().flatten() {
            channel.rename_queue(old, new);
        }
    }

    /// Reopens a lost channel; returns the calls to wait for, and the consumers to restart after
    /// them.
    ///
    /// # Errors
    /// If the connection allows fewer channels now, which ends the channel; or if the channel has
    /// ended, or the connection was lost again.
    pub(crate) fn reopen_channel(&mut self, key: ChannelKey) -> Result<(Vec<CallId>, Vec<Subscription>)> {
        if key.id > self.channel_max {
            let error = Error::NoFreeChannel { limit: self.channel_max };
            self.end_channel(key, &error);
            return Err(error);
        }
        if !matches!(self.phase, Phase::Restoring | Phase::Open) {
            return Err(self.loss());
        }
        self.channel(key)?.reopen()
    }

    /// Ends a channel that cannot be restored.
    pub(crate) fn end_channel(&mut self, key: ChannelKey, reason: &Error) {
        if let Ok(mut channel) = self.channel(key) {
            channel.end(reason);
            self.free_channel(key.id);
        }
    }

    /// Ends a consumer that cannot be restarted.
    pub(crate) fn fail_consumer(&mut self, key: ChannelKey, tag: &ShortString, reason: Error) {
        if let Ok(mut channel) = self.channel(key) {
            channel.fail_consumer(tag, reason);
        }
        self.forget_queues_without_consumers();
    }

    /// Makes a restored channel usable again. Returns how many publishes were repeated.
    pub(crate) fn channel_restored(&mut self, key: ChannelKey) -> usize {
        let restored = self.channel(key).ok().and_then(|mut channel| channel.restored());
        let Some(republished) = restored else { return 0 };
        self.state_waiters.wake_all(&mut self.link.wakes);
        republished
    }

    /// Makes the restored connection usable again, and reports it.
    pub(crate) fn restored(&mut self, mut report: Recovered) {
        if !matches!(self.phase, Phase::Restoring) {
            return;
        }
        report.lost = std::mem::take(&mut self.link.lost);
        self.phase = Phase::Open;
        self.lost = None;
        self.attempts = 0;
        self.restores += 1;
        self.link.events.push(Event::Recovered(Arc::new(report)));
        self.state_waiters.wake_all(&mut self.link.wakes);
        self.room_waiters.wake_all(&mut self.link.wakes);
    }

    /// Returns how often the connection has been restored.
    pub(crate) fn restores(&self) -> u64 {
        self.restores
    }

    /// Reports that a channel that the broker had closed is restored.
    pub(crate) fn tell_reopened(&mut self, key: ChannelKey, cause: Error) {
        self.link.events.push(Event::ChannelReopened { channel: key.id, cause });
    }

    /// Reports that there will be an attempt to reconnect after this pause.
    pub(crate) fn tell_reconnecting(&mut self, attempt: u32, delay: Duration) {
        self.attempts = attempt;
        self.link.events.push(Event::Reconnecting { attempt, delay });
    }

    /// Reports that the attempt failed.
    pub(crate) fn tell_not_connected(&mut self, attempt: u32, reason: Error) {
        self.link.events.push(Event::NotConnected { attempt, reason });
    }

    /// Ends the connection, because it will not be recovered any more.
    pub(crate) fn give_up(&mut self, reason: &Error) {
        if self.is_down() && !self.is_ended() {
            self.finish(reason);
        }
    }

    /// Abandons a connection that cannot be restored, so that there is another attempt.
    pub(crate) fn abandon_transport(&mut self, reason: &Error) {
        if matches!(self.phase, Phase::Open | Phase::Restoring) {
            self.end(reason);
        }
    }

    /// Returns why there is no connection.
    pub(crate) fn loss(&self) -> Error {
        self.reason().or_else(|| self.lost.clone()).unwrap_or(Error::Recovering)
    }
}
