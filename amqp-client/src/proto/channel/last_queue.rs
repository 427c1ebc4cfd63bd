//! The queue declared last on a channel, which an empty name stands for (spec, `queue.bind` and
//! others).
//!
//! The broker forgets it with the connection, so that after a recovery its name is filled in here.

use amqp_codec::{
    Method, ShortString,
    method::{basic, queue},
};

use super::Channel;
use crate::proto::{expects::Expects, link::Link};

impl Channel {
    /// Fills in the queue's name where a method leaves it out, unless a declaration is unanswered:
    /// then only the broker knows the queue.
    pub(super) fn name_queue(&self, link: &Link, method: &mut Method, expects: &mut Expects) {
        if link.registry.is_none() || self.is_declaring() {
            return;
        }
        put_name(method, &self.last_queue);
        if let (Method::Basic(basic::Method::Consume(consume)), Expects::Consume(subscription, _)) =
            (method, expects)
        {
            subscription.consume.queue = consume.queue.clone();
        }
    }

    /// As [`name_queue`](Self::name_queue), for a method that has been answered or needs no answer,
    /// so that the name is known.
    pub(super) fn name_answered_queue(&self, method: &mut Method) {
        put_name(method, &self.last_queue);
    }

    /// Notes the queue of a declaration without an answer.
    pub(super) fn declared_no_wait(&mut self, method: &Method) {
        if let Method::Queue(queue::Method::Declare(declare)) = method
            && !declare.queue.is_empty()
        {
            self.last_queue = declare.queue.clone();
        }
    }

    fn is_declaring(&self) -> bool {
        let declares = Expects::reply_to::<queue::Declare>();
        self.due.iter().any(|due| due.expects.name() == declares.name())
    }
}

fn put_name(method: &mut Method, last: &ShortString) {
    let queue = match method {
        Method::Queue(queue::Method::Bind(bind)) => {
            // If both are empty, the queue's name becomes the key too.
            if bind.queue.is_empty() && bind.routing_key.is_empty() {
                bind.routing_key = last.clone();
            }
            &mut bind.queue
        }
        Method::Queue(queue::Method::Unbind(unbind)) => {
            if unbind.queue.is_empty() && unbind.routing_key.is_empty() {
                unbind.routing_key = last.clone();
            }
            &mut unbind.queue
        }
        Method::Queue(queue::Method::Purge(purge)) => &mut purge.queue,
        Method::Queue(queue::Method::Delete(delete)) => &mut delete.queue,
        Method::Basic(basic::Method::Consume(consume)) => &mut consume.queue,
        Method::Basic(basic::Method::Get(get)) => &mut get.queue,
        _ => return,
    };
    if queue.is_empty() {
        *queue = last.clone();
    }
}
