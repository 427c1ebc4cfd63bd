//! Restoring a lost channel.

use amqp_codec::{
    Method,
    method::{basic, channel, confirm, tx},
};

use super::{Channel, Phase};
use crate::{
    error::Result,
    proto::{
        calls::CallId,
        expects::Expects,
        link::Link,
        publishing::{publish, republish::Kept},
    },
};

impl Channel {
    /// Opens the channel on a new connection, or again on this one, and sets its modes. Returns the
    /// calls to wait for.
    pub(crate) fn reopen(&mut self, link: &mut Link) -> Result<Vec<CallId>> {
        self.phase = Phase::Restoring;
        let mut calls = Vec::new();
        let mut call = |channel: &mut Self, method: Method, expects| {
            let call = link.calls.begin();
            calls.push(call);
            channel.request(link, method, expects, Some(call))
        };
        call(self, channel::Open::default().into(), Expects::reply_to::<channel::Open>())?;
        if self.confirms.is_some() {
            call(self, confirm::Select { no_wait: false }.into(), Expects::ConfirmSelect)?;
        }
        if self.transaction.is_some() {
            call(self, tx::Select {}.into(), Expects::reply_to::<tx::Select>())?;
        }
        if let Some(qos) = self.qos.clone() {
            call(self, qos.into(), Expects::reply_to::<basic::Qos>())?;
        }
        Ok(calls)
    }

    /// Repeats the publishes that are kept for that, and makes the channel usable again. Returns
    /// how many publishes were repeated.
    pub(crate) fn restored(&mut self, link: &mut Link) -> usize {
        let (id, frame_max, output) = (self.id, link.frame_max, &mut link.output);
        let metrics = &mut link.metrics;
        let publish = |kept: &Kept| {
            metrics.frames_sent += publish::encode(output, frame_max, id, kept.route(), &kept.message)?;
            metrics.messages_published += 1;
            Ok(())
        };
        let confirms = self.confirms.as_mut();
        let published = confirms.map_or(0, |confirms| confirms.republish(publish, &mut link.wakes));
        self.phase = Phase::Open;
        self.window_waiters.wake_all(&mut link.wakes);
        published
    }
}
