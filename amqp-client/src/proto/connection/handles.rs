//! The operations of handles on the connection as a whole. Those on a channel are in
//! [`ChannelRef`].
//!
//! [`ChannelRef`]: crate::proto::channel_ref::ChannelRef

use std::{
    sync::Arc,
    task::{Poll, Waker},
    time::Instant,
};

use amqp_codec::{
    ShortString,
    method::{channel, connection},
};

use super::{ChannelKey, Engine, Phase};
use crate::{
    error::{Error, Result},
    proto::{
        calls::{CallId, Reply},
        channel::Channel,
        expects::Expects,
        status::ChannelStatus,
    },
};

impl Engine {
    /// Returns the result of the handshake; `None` while it goes on.
    pub(crate) fn opened(&self) -> Option<Result<()>> {
        match &self.phase {
            Phase::Open | Phase::Restoring => Some(Ok(())),
            Phase::Down(error) | Phase::Ended(error) | Phase::Closing { reason: error, .. } => {
                Some(Err(error.clone()))
            }
            Phase::Handshake(_) => None,
        }
    }

    /// Returns why the connection has ended for good.
    pub(crate) fn ended(&self) -> Option<&Error> {
        match &self.phase {
            Phase::Ended(error) => Some(error),
            _ => None,
        }
    }

    /// Begins to close the connection, unless that has begun.
    pub(crate) fn close(&mut self, now: Instant) {
        match self.phase {
            Phase::Down(_) | Phase::Handshake(_) => self.finish(&Error::ConnectionEnded),
            Phase::Open | Phase::Restoring => {
                let close = connection::Close { reply_code: 200, ..Default::default() };
                self.begin_close(now, &close, Error::ConnectionEnded);
            }
            // The connection is not recovered any more, so the earlier reason does not matter.
            Phase::Closing { ref mut reason, .. } => {
                *reason = Error::ConnectionEnded;
                self.end_channels(&Error::ConnectionEnded);
            }
            Phase::Ended(_) => {}
        }
    }

    /// Opens a channel.
    ///
    /// # Errors
    /// [`Error::Recovering`] while the connection is being recovered.
    pub(crate) fn open_channel(&mut self) -> Result<(ChannelKey, Arc<ChannelStatus>, CallId)> {
        self.check_open()?;
        self.open_any_channel(self.reopens)
    }

    /// Opens a channel like [`open_channel`](Self::open_channel), which is not reopened after an
    /// error.
    pub(crate) fn open_temporary_channel(&mut self) -> Result<(ChannelKey, Arc<ChannelStatus>, CallId)> {
        self.check_open()?;
        self.open_any_channel(false)
    }

    fn check_open(&self) -> Result<()> {
        if let Some(error) = self.reason() {
            return Err(error);
        }
        if self.is_open() { Ok(()) } else { Err(Error::Recovering) }
    }

    /// Opens a channel like [`open_channel`](Self::open_channel), also while the connection is
    /// being restored. With `reopens` it is reopened after an error.
    pub(super) fn open_any_channel(
        &mut self,
        reopens: bool,
    ) -> Result<(ChannelKey, Arc<ChannelStatus>, CallId)> {
        let id = self.free_channel_id()?;
        self.epochs += 1;
        let status = Arc::new(ChannelStatus::default());
        let mut channel = Box::new(Channel::new(id, status.clone(), reopens));
        let call = self.link.calls.begin();
        let open = channel::Open::default();
        let expects = Expects::reply_to::<channel::Open>();
        channel.request(&mut self.link, open.into(), expects, Some(call))?;
        if let Some(slot) = self.channels.get_mut(usize::from(id)) {
            *slot = Some((self.epochs, channel));
        }
        Ok((ChannelKey { id, epoch: self.epochs }, status, call))
    }

    /// Tells whether a channel, or without a key the connection, cannot be used but will be again.
    pub(crate) fn is_recovering(&mut self, key: Option<ChannelKey>) -> bool {
        match key {
            Some(key) => self.channel(key).is_ok_and(|channel| channel.is_recovering()),
            None => self.reason().is_none() && !self.is_open(),
        }
    }

    pub(crate) fn poll_call(&mut self, call: CallId, waker: &Waker) -> Poll<Result<Reply>> {
        self.link.calls.poll(call, waker)
    }

    /// Abandons a call whose caller is gone; the effect of its answer is undone.
    pub(crate) fn abandon_call(&mut self, key: Option<ChannelKey>, call: CallId) {
        if let Some(Ok(reply)) = self.link.calls.abandon(call)
            && let Some(Ok(mut channel)) = key.map(|key| self.channel(key))
        {
            channel.undo(reply);
        }
    }

    /// Returns all channels that can be used, or will be again.
    pub(crate) fn open_channels(&self) -> Vec<ChannelKey> {
        self.channels_that(|channel| !channel.is_closing())
    }

    /// Asks the broker to close a channel; returns the call to wait for, unless the channel has
    /// ended or is being closed.
    pub(crate) fn close_channel(&mut self, key: ChannelKey) -> Option<CallId> {
        self.forget_lost_channel(key);
        self.channel(key).ok()?.close()
    }

    /// Closes a channel whose last handle was dropped.
    pub(crate) fn drop_channel(&mut self, key: ChannelKey) {
        self.forget_lost_channel(key);
        if let Ok(mut channel) = self.channel(key) {
            channel.close_unheeded();
        }
    }

    /// Ends a channel that the broker does not know: it is not reopened.
    fn forget_lost_channel(&mut self, key: ChannelKey) {
        if let Ok(mut channel) = self.channel(key)
            && channel.lost_for().is_some()
        {
            channel.end(&Error::ChannelEnded { channel: key.id });
            self.free_channel(key.id);
        }
    }

    /// Cancels a consumer whose handle was dropped, and requeues the deliveries that it had not
    /// handed out.
    pub(crate) fn drop_consumer(
        &mut self,
        key: ChannelKey,
        tag: &ShortString,
        unread: impl Iterator<Item = u64>,
    ) {
        if let Ok(mut channel) = self.channel(key) {
            channel.drop_consumer(tag, unread);
        }
        self.forget_queues_without_consumers();
    }

    /// Returns why the broker accepts no publishes; `None` while it does.
    pub(crate) fn blocked(&self) -> Option<String> {
        self.link.blocked.as_ref().map(ToString::to_string)
    }

    /// Lets the driver read again after a consumer has taken deliveries, if it had paused for them.
    pub(crate) fn resume_reading(&mut self) {
        if self.is_reading_paused && !self.link.backlog.is_full() {
            self.link.wakes.extend(self.driver.take());
        }
    }
}
