//! How a channel ends, or is lost and waits to be restored.

use amqp_codec::{
    Arguments as _,
    method::{basic, channel},
};

use super::{After, Channel, Due, Loss, Phase};
use crate::{
    error::{Close, Error},
    event::Event,
    proto::{calls::Reply, expects::Expects, link::Link},
};

impl Channel {
    /// Ends the channel with its calls, publishes and consumers; `reason` is what they are told.
    pub(crate) fn end(&mut self, link: &mut Link, reason: &Error) {
        let reason = self.status.ended.get_or_init(|| reason.clone()).clone();
        self.consumers.put_batches(&mut link.wakes);
        // The broker may answer the close before earlier cancels, which have taken effect
        // nevertheless.
        let cancelled = match reason {
            Error::ChannelEnded { .. } | Error::ConnectionEnded => self.being_cancelled(),
            _ => Vec::new(),
        };
        self.end_calls(link, &reason);
        for consumer in self.consumers.iter() {
            let is_cancelled = cancelled.contains(consumer.subscription.tag());
            link.wakes.extend(consumer.inbox.end((!is_cancelled).then(|| reason.clone())));
            link.consumer_gone(&consumer.subscription);
        }
        if let Some(mut confirms) = self.confirms.take() {
            confirms.wake_all(&mut link.wakes);
            *self.status.remains.lock() = Some(confirms);
        }
        self.end_waiters.wake_all(&mut link.wakes);
        self.drain_waiters.wake_all(&mut link.wakes);
        self.window_waiters.wake_all(&mut link.wakes);
    }

    fn end_calls(&mut self, link: &mut Link, reason: &Error) {
        let getting = self.getting.take().map(|call| (Some(call), Expects::Get { no_ack: true }));
        let due = self.due.drain(..).map(|due| (due.call, due.expects));
        for (call, expects) in due.chain(getting) {
            if let Some(call) = call {
                let result = match expects {
                    Expects::Close => Ok(Reply::Method(channel::CloseOk {}.into())),
                    _ => Err(reason.clone()),
                };
                let _ = link.calls.finish(call, result, &mut link.wakes);
            }
        }
    }

    /// Ends the channel because the broker closed it. If both sides closed it at once, the answer
    /// to our close is still to come.
    pub(super) fn closed_by_broker(&mut self, link: &mut Link, close: &channel::Close) -> After {
        link.reply(self.id, &channel::CloseOk {});
        let crossed = matches!(self.phase, Phase::Closing);
        let close = Close::new(close.reply_code, &close.reply_text, close.class_id, close.method_id);
        let reason = Error::ChannelClosed { channel: self.id, close };
        if self.is_restoring() || (self.resumes_held && reason.may_be_of(basic::Consume::ID)) {
            self.lose(link, &reason, Loss::Transport);
            return After::Lost;
        }
        if self.status.ended.get().is_none() {
            link.events.push(Event::ChannelClosed { channel: self.id, reason: reason.clone() });
        }
        if self.reopens && self.is_open() {
            self.lose(link, &reason, Loss::Closed);
            return After::Lost;
        }
        self.end(link, &reason);
        if !crossed {
            return After::Gone;
        }
        self.due.push_back(Due { call: None, expects: Expects::Close, request: None });
        After::Goes
    }

    /// Ends everything under way with `reason`. The channel and its consumers continue once they
    /// are restored. Returns `false` if the channel was being closed, in which case it ends.
    pub(crate) fn lose(&mut self, link: &mut Link, reason: &Error, loss: Loss) -> bool {
        match self.phase {
            Phase::Closing => {
                self.end(link, &Error::ChannelEnded { channel: self.id });
                return false;
            }
            Phase::Lost(_) => return true,
            Phase::Open | Phase::Restoring => {}
        }
        let cancelled = self.being_cancelled();
        self.end_calls(link, reason);
        self.incoming.clear();
        self.is_discarding = false;
        self.recovering = 0;
        self.flow_stopped = false;
        self.resumes_held = false;
        self.take_back_deliveries(link);
        cancelled.iter().for_each(|tag| self.remove_consumer(link, tag, None));
        if let Some(confirms) = &mut self.confirms {
            link.lost += confirms.lose(loss == Loss::Transport, reason, &mut link.wakes);
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.is_lost |= transaction.has_work;
        }
        self.phase = Phase::Lost(reason.clone());
        self.drain_waiters.wake_all(&mut link.wakes);
        self.window_waiters.wake_all(&mut link.wakes);
        true
    }

    /// Drops deliveries that need an acknowledgement, because the broker delivers them again.
    /// Deliveries without acknowledgement are kept, since they do not come again.
    fn take_back_deliveries(&mut self, link: &mut Link) {
        self.consumers.put_batches(&mut link.wakes);
        for consumer in self.consumers.iter() {
            if !consumer.subscription.consume.no_ack {
                consumer.inbox.drain();
            }
        }
        self.tags_before = self.acks.newest();
        self.status.set_stale_up_to(self.tags_before);
        self.acks.lose();
        self.loosest_limit = 0;
    }
}
