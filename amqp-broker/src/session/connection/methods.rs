//! The methods of a connection, and those that a channel begins and ends with.

use amqp_codec::{
    Method,
    borrowed::Publish,
    method::{Arguments as _, basic, channel, connection},
};
use bytes::Bytes;

use super::{ConnectionSession, Failure, Phase};
use crate::{
    core::{
        rabbitmq::{
            access::tally::{Counted, Tally},
            refusal::Refusal,
        },
        work::Work,
    },
    session::{
        channel::ChannelSession,
        frames::settling::settlement,
        paused::{Paused, Then},
        shared::Operation,
    },
};

impl ConnectionSession {
    #[inline]
    pub(super) fn channel_method(
        &mut self,
        op: &mut Operation<'_>,
        number: u16,
        payload: &[u8],
    ) -> Result<(), Failure> {
        let unreadable = |error| Failure::unreadable(error, number, payload);
        if let Some(channel) = self.channel(number) {
            // Frequent methods are decoded without the table of methods.
            if let Some(publish) = Publish::decode(payload).map_err(unreadable)? {
                channel.publish(&publish).map_err(Failure::of(basic::Publish::ID))?;
                if op.shared.alarm.is_on() {
                    self.hold(op);
                }
                return Ok(());
            }
            if let Some((settlement, method)) = settlement(payload).map_err(unreadable)? {
                return channel.settle(op, settlement).map_err(Failure::of(method));
            }
        }
        let method = Method::decode(&Bytes::copy_from_slice(payload)).map_err(unreadable)?;
        let id = method.id();
        if self.is_closing() {
            return Ok(());
        }
        match method {
            Method::Channel(channel::Method::Open(_)) => {
                self.open_channel(op, number).map_err(Failure::of(id))
            }
            Method::Channel(channel::Method::Close(_)) if self.has_channel(number) => {
                let answer = op.shared.outboxes.encoded(self.id, number, &channel::CloseOk {});
                // If both sides close, the number is free once the client has answered the broker's
                // close.
                if self.is_ignored(number) {
                    op.shared.outboxes.send(self.id, number, &channel::CloseOk {});
                } else if let Some(work) = self.close_channel(op, number) {
                    self.run(op, Paused { number, method: id, work, then: Then::Say(Some(answer)) });
                }
                Ok(())
            }
            Method::Channel(channel::Method::CloseOk(_)) if self.is_ignored(number) => {
                if let Some(work) = self.close_channel(op, number) {
                    self.leave_behind(op, number, work);
                }
                Ok(())
            }
            _ if self.is_ignored(number) => Ok(()),
            method => match self.channel(number) {
                Some(channel) => channel.method(op, method).map_err(Failure::of(id)),
                None => {
                    Err(Failure { refusal: Refusal::ChannelError("expected 'channel.open'"), method: id })
                }
            },
        }
    }

    pub(super) fn connection_method(
        &mut self,
        op: &mut Operation<'_>,
        payload: &[u8],
    ) -> Result<(), Failure> {
        let method = Method::decode(&Bytes::copy_from_slice(payload))
            .map_err(|error| Failure::unreadable(error, 0, payload))?;
        match method {
            // The client's close crosses ours, whose answer is still to come.
            Method::Connection(connection::Method::Close(_)) if self.is_closing() => {
                op.shared.outboxes.send(self.id, 0, &connection::CloseOk {});
            }
            Method::Connection(connection::Method::Close(close)) => {
                self.why = Some(format!("the client closed it: {} {}", close.reply_code, close.reply_text));
                self.confirm(op);
                self.phase = Phase::Leaving;
                let work = Work::Remove(Box::new(
                    op.shared.vhost.leave(self.id).with_publishes(self.take_publishes()),
                ));
                self.run(op, Paused { number: 0, method: connection::Close::ID, work, then: Then::Close });
            }
            Method::Connection(connection::Method::CloseOk(_)) if self.is_closing() => {
                self.phase = Phase::Finished;
            }
            _ if self.is_closing() => {}
            Method::Connection(connection::Method::UpdateSecret(_)) => {
                op.shared.outboxes.send(self.id, 0, &connection::UpdateSecretOk {});
            }
            other => {
                let refusal = Refusal::ChannelError("unexpected method in connection state running");
                return Err(Failure { refusal, method: other.id() });
            }
        }
        Ok(())
    }

    fn open_channel(&mut self, op: &mut Operation<'_>, number: u16) -> Result<(), Refusal> {
        let index = usize::from(number);
        if self.has_channel(number) {
            return Err(Refusal::ChannelError("second 'channel.open' seen"));
        }
        // RabbitMQ takes channel_max as the limit of the number of channels, not of their numbers.
        if self.open_channels >= usize::from(self.terms.channel_max) {
            return Err(Refusal::TooManyChannels(self.terms.channel_max));
        }
        let place = Tally::take(&self.terms.tally, Counted::Channels).map_err(|limit| {
            let user = self.terms.tally.user().to_owned();
            Refusal::TooManyOfUser { user, limit }
        })?;
        if self.channels.len() <= index {
            self.channels.resize_with(index + 1, || None);
        }
        let key = op.shared.vhost.open_channel(self.id, number);
        if let Some(slot) = self.channels.get_mut(index) {
            let name = self.terms.client_name.clone();
            *slot = Some(Box::new(ChannelSession::new(number, key, name, place)));
            self.open_channels += 1;
        }
        op.shared.outboxes.send(self.id, number, &channel::OpenOk::default());
        Ok(())
    }

    fn close_channel(&mut self, op: &mut Operation<'_>, number: u16) -> Option<Work> {
        let mut channel = self.channels.get_mut(usize::from(number)).and_then(Option::take)?;
        self.open_channels -= 1;
        // Earlier publishes are confirmed first.
        channel.confirm(op);
        Some(channel.end(op))
    }

    /// Holds the connection back, because it has published during an alarm: it is not read until
    /// the alarm ends.
    #[cold]
    fn hold(&mut self, op: &mut Operation<'_>) {
        if !std::mem::replace(&mut self.is_held_back, true) {
            let told = self.terms.blocked_notify && op.shared.alarm.is_told();
            if told {
                let reason = op.shared.alarm.reason();
                op.shared.outboxes.send(self.id, 0, &connection::Blocked { reason });
            }
            op.shared.alarm.hold(self.id, told);
        }
    }
}
