//! The way of answers to their callers.

use amqp_codec::{Method, method::basic};

use super::Channel;
use crate::{
    error::Result,
    proto::{
        calls::{CallId, Reply},
        link::Link,
    },
};

impl Channel {
    /// Gives an answer to its caller. If the caller is gone, undoes the effect of the answer.
    pub(super) fn finish(&mut self, link: &mut Link, call: Option<CallId>, result: Result<Reply>) {
        let unwanted = match call {
            Some(call) => link.calls.finish(call, result, &mut link.wakes),
            None => Some(result),
        };
        if let Some(Ok(reply)) = unwanted {
            self.undo(link, reply);
        }
    }

    /// Undoes an answer that nobody takes: a fetched message is requeued, a consumer is cancelled.
    pub(crate) fn undo(&mut self, link: &mut Link, reply: Reply) {
        match reply {
            Reply::Got(delivery, _) if !delivery.no_ack && self.is_open() => {
                self.nack(link, delivery.tag, true);
            }
            Reply::Method(Method::Basic(basic::Method::ConsumeOk(ok))) => {
                self.drop_consumer(link, &ok.consumer_tag);
            }
            _ => {}
        }
    }
}
