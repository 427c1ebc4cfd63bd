//! What all channels of a connection share: the outgoing bytes, the calls under way, and who is to
//! be woken.

use std::{sync::Arc, task::Waker, time::Instant};

use amqp_codec::{Arguments, Frame, Method, ShortString, frame};

use crate::proto::{
    calls::Calls,
    consuming::{inbox::Backlog, subscription::Subscription},
    ground::gathering::Gathering,
    ground::output::Output,
    publishing::{confirms::Confirms, publish},
    registry::Registry,
};
use crate::{
    error::{Error, Result},
    event::Event,
    message::Message,
    metrics::Metrics,
    options::route::Route,
};

pub(crate) struct Link {
    pub(crate) output: Output,
    /// Outgoing bytes over which publishes wait.
    pub(crate) write_buffer: usize,
    /// The broker takes no publishes, for this reason.
    pub(crate) blocked: Option<ShortString>,
    pub(crate) gathering: Gathering,
    /// The largest frame in either direction, as agreed on.
    pub(crate) frame_max: usize,
    pub(crate) calls: Calls,
    /// To be woken when the engine's lock has been released.
    pub(crate) wakes: Vec<Waker>,
    pub(crate) backlog: Arc<Backlog>,
    pub(crate) window: Window,
    /// The window of some channel has room that those who wait for it have not been told of.
    pub(crate) window_opens: bool,
    /// The largest body taken, and the largest sent.
    pub(crate) max_message_size: u64,
    /// To be told when the engine's lock has been released.
    pub(crate) events: Vec<Event>,
    pub(crate) metrics: Metrics,
    /// What was declared, when it is to be there again after the connection was lost.
    pub(crate) registry: Option<Registry>,
    /// Publishes that were lost with the connection.
    pub(crate) lost: usize,
    /// Queues whose consumer has gone.
    pub(crate) consumers_gone: Vec<ShortString>,
    /// A prefetch is each consumer's own, as with RabbitMQ, and not the whole channel's.
    pub(crate) has_consumer_qos: bool,
    /// When the read under way was made.
    pub(crate) now: Instant,
}

/// How much of a channel may be unconfirmed before publishes wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) publishes: usize,
    /// Of bodies. One message may always be under way, however large.
    pub(crate) bytes: u64,
}

impl Window {
    #[inline]
    pub(crate) fn has_room(&self, confirms: &Confirms) -> bool {
        confirms.in_flight() < self.publishes && confirms.bytes_in_flight() < self.bytes
    }

    /// Whether who waited should be woken: not at the first free place, for it should find room for
    /// a batch.
    pub(crate) fn has_room_again(&self, confirms: &Confirms) -> bool {
        confirms.in_flight() <= self.publishes / 4 * 3 && confirms.bytes_in_flight() <= self.bytes / 4 * 3
    }
}

impl Link {
    /// Queues a method. A refused one leaves nothing behind.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it does not fit into a frame.
    pub(crate) fn send<A: Arguments>(&mut self, channel: u16, method: &A) -> Result<()> {
        self.metrics.frames_sent += 1;
        frame::encode_method(channel, method, self.frame_max, self.output.buffer()).map_err(Error::Invalid)
    }

    /// As [`send`](Self::send), for a method of any kind.
    pub(crate) fn send_method(&mut self, channel: u16, method: Method) -> Result<()> {
        self.metrics.frames_sent += 1;
        Frame::Method(channel, method).encode(self.frame_max, self.output.buffer()).map_err(Error::Invalid)
    }

    /// Whether publishes need not wait for the transport or the broker.
    #[inline]
    pub(crate) fn has_room_to_send(&self) -> bool {
        self.output.len() < self.write_buffer && self.blocked.is_none()
    }

    /// Tells whether the body is over the limit.
    #[inline]
    pub(crate) fn is_too_large(&self, message: &Message) -> Option<Error> {
        let (size, limit) = (message.body().len() as u64, self.max_message_size);
        (size > limit).then_some(Error::PublishTooLarge { size, limit })
    }

    /// Tells what is wrong with a message that no connection takes: it is not to wait for room, or
    /// for another connection.
    #[cold]
    pub(crate) fn never_fits(&self, route: Route<'_>, message: &Message) -> Option<Error> {
        self.is_too_large(message).or_else(|| publish::check(route, message).err().map(Error::Invalid))
    }

    /// A consumer is no more: with its last one the broker may delete its queue.
    pub(crate) fn consumer_gone(&mut self, subscription: &Subscription) {
        if self.registry.is_some() {
            self.consumers_gone.push(subscription.consume.queue.clone());
        }
    }

    /// Queues a method that always fits: of fixed fields, or echoing what came in a frame.
    pub(crate) fn reply<A: Arguments>(&mut self, channel: u16, method: &A) {
        let fits = self.send(channel, method);
        debug_assert!(fits.is_ok(), "{fits:?}");
    }
}
