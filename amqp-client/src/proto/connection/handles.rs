//! What handles do with the connection as a whole. What they do with a channel is for its view,
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
    /// What the handshake came to; `None` while it goes on.
    pub(crate) fn opened(&self) -> Option<Result<()>> {
        match &self.phase {
            Phase::Open | Phase::Restoring => Some(Ok(())),
            Phase::Down(error) | Phase::Ended(error) | Phase::Closing { reason: error, .. } => {
                Some(Err(error.clone()))
            }
            Phase::Handshake(_) => None,
        }
    }

    /// Why the connection has ended for good.
    pub(crate) fn ended(&self) -> Option<&Error> {
        match &self.phase {
            Phase::Ended(error) => Some(error),
            _ => None,
        }
    }

    /// Begins the end of the connection, when it has not begun.
    pub(crate) fn close(&mut self, now: Instant) {
        match self.phase {
            Phase::Down(_) | Phase::Handshake(_) => self.finish(&Error::ConnectionEnded),
            Phase::Open | Phase::Restoring => {
                let close = connection::Close { reply_code: 200, ..Default::default() };
                self.begin_close(now, &close, Error::ConnectionEnded);
            }
            // What it was to be recovered from is not any more.
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
    /// [`Error::Recovering`] while there is no connection, but there is to be one again.
    pub(crate) fn open_channel(&mut self) -> Result<(ChannelKey, Arc<ChannelStatus>, CallId)> {
        self.check_open()?;
        self.open_any_channel(self.reopens)
    }

    /// As [`open_channel`](Self::open_channel), but the channel is not opened again after an error.
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

    /// As [`open_channel`](Self::open_channel), also while the connection is being restored;
    /// `reopens` when it is opened again after an error.
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

    /// Whether a channel, or the connection without one, cannot be used but will be again.
    pub(crate) fn is_recovering(&mut self, key: Option<ChannelKey>) -> bool {
        match key {
            Some(key) => self.channel(key).is_ok_and(|channel| channel.is_recovering()),
            None => self.reason().is_none() && !self.is_open(),
        }
    }

    pub(crate) fn poll_call(&mut self, call: CallId, waker: &Waker) -> Poll<Result<Reply>> {
        self.link.calls.poll(call, waker)
    }

    /// The caller goes away; what the answer brings about is undone.
    pub(crate) fn abandon_call(&mut self, key: Option<ChannelKey>, call: CallId) {
        if let Some(Ok(reply)) = self.link.calls.abandon(call)
            && let Some(Ok(mut channel)) = key.map(|key| self.channel(key))
        {
            channel.undo(reply);
        }
    }

    /// All channels that can be used, or will be again.
    pub(crate) fn open_channels(&self) -> Vec<ChannelKey> {
        self.channels_that(|channel| !channel.is_closing())
    }

    /// Asks for a channel's end; the call to wait for, unless it has ended or is being closed.
    pub(crate) fn close_channel(&mut self, key: ChannelKey) -> Option<CallId> {
        self.forget_lost_channel(key);
        self.channel(key).ok()?.close()
    }

    /// The last handle of a channel was dropped.
    pub(crate) fn drop_channel(&mut self, key: ChannelKey) {
        self.forget_lost_channel(key);
        if let Ok(mut channel) = self.channel(key) {
            channel.close_unheeded();
        }
    }

    /// A channel that the broker knows nothing of is closed by not opening it again.
    fn forget_lost_channel(&mut self, key: ChannelKey) {
        if let Ok(mut channel) = self.channel(key)
            && channel.lost_for().is_some()
        {
            channel.end(&Error::ChannelEnded { channel: key.id });
            self.free_channel(key.id);
        }
    }

    /// A consumer's handle was dropped, with deliveries it had not handed out.
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

    /// Why the broker takes no publishes; `None` while it does.
    pub(crate) fn blocked(&self) -> Option<String> {
        self.link.blocked.as_ref().map(ToString::to_string)
    }

    /// A consumer has taken deliveries: the driver may read again if it had paused for them.
    pub(crate) fn resume_reading(&mut self) {
        if self.is_reading_paused && !self.link.backlog.is_full() {
            self.link.wakes.extend(self.driver.take());
        }
    }
}
