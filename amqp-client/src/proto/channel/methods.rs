//! Methods that arrive: answers to calls, and methods that the broker sends by itself.

use amqp_codec::{
    Method,
    method::{basic, channel, queue},
};
use bytes::Bytes;

use super::{After, Channel, Incoming, Phase};
use crate::{
    error::{Error, Result},
    proto::{
        calls::Reply, expects::Expects, link::Link, publishing::confirms::Confirms, transaction::Transaction,
    },
};

impl Channel {
    /// Handles any method except `basic.deliver`.
    pub(crate) fn method(&mut self, link: &mut Link, payload: &Bytes) -> Result<After> {
        self.incoming.expect_method().map_err(|error| self.broken(error))?;
        let method = Method::decode(payload).map_err(|error| self.broken(error))?;
        match method {
            Method::Channel(channel::Method::Close(close)) => return Ok(self.closed_by_broker(link, &close)),
            _ if matches!(self.phase, Phase::Lost(_)) => {}
            Method::Channel(channel::Method::CloseOk(_)) => return self.answer(link, method, payload),
            _ if self.is_discarding => {}
            Method::Channel(channel::Method::Flow(flow)) => {
                self.flow_stopped = !flow.active;
                self.window_waiters.wake_all(&mut link.wakes);
                link.reply(self.id, &channel::FlowOk { active: flow.active });
            }
            Method::Basic(basic::Method::Ack(ack)) => {
                self.settle(link, ack.delivery_tag, ack.multiple, false);
            }
            Method::Basic(basic::Method::Nack(nack)) => {
                self.settle(link, nack.delivery_tag, nack.multiple, true);
            }
            Method::Basic(basic::Method::Return(returned)) => self.begin_return(payload, &returned)?,
            Method::Basic(basic::Method::Cancel(cancel)) => self.cancelled_by_broker(link, &cancel),
            other => return self.answer(link, other, payload),
        }
        Ok(After::Goes)
    }

    /// Gives an answer to the oldest call that it can answer. This is not always the oldest call:
    /// RabbitMQ answers `basic.consume` and `basic.cancel` from the queue's process, so later
    /// methods may be answered first.
    fn answer(&mut self, link: &mut Link, method: Method, payload: &Bytes) -> Result<After> {
        let found = self.due.iter().position(|due| due.expects.is_answered_by(&method));
        let Some(due) = found.and_then(|index| self.due.remove(index)) else {
            let expected = self.due.front().map_or("no answer", |due| due.expects.name());
            return Err(self.unexpected(expected, method.name()));
        };
        let call = due.call;
        if let Method::Queue(queue::Method::DeclareOk(ok)) = &method {
            self.last_queue = ok.queue.detach();
        }
        if let (Some(registry), Some(mut request)) = (&mut link.registry, due.request) {
            self.name_answered_queue(&mut request);
            registry.apply(request, Some(&self.last_queue));
        }
        let mut after = After::Goes;
        match due.expects {
            Expects::Get { no_ack } => {
                if let Method::Basic(basic::Method::GetOk(ok)) = method {
                    let incoming = Incoming::Get { payload: payload.clone(), ok, no_ack };
                    self.getting = call;
                    self.withhold_over = None;
                    self.incoming.method(incoming).map_err(|error| self.broken(error))?;
                    return Ok(after);
                }
            }
            Expects::Consume(subscription, inbox) => self.add_consumer(*subscription, inbox),
            Expects::Cancel { tag } => self.remove_consumer(link, &tag, None),
            Expects::ConfirmSelect => {
                self.confirms.get_or_insert_with(|| Confirms::new(self.status.progress.clone()));
            }
            Expects::Transaction(..) => self.transaction = Some(Transaction::default()),
            Expects::Recover => self.recovering -= 1,
            Expects::Close => {
                self.end(link, &Error::ChannelEnded { channel: self.id });
                after = After::Gone;
            }
            Expects::Resume { .. } => {
                self.finish(link, call, Ok(Reply::Resumed));
                return Ok(after);
            }
            Expects::Method(..) => {}
        }
        self.finish(link, call, Ok(Reply::Method(method)));
        Ok(after)
    }
}
