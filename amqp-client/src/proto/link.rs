//! What all channels of a connection share: the outgoing bytes, the calls under way, and the wakers
//! to wake.

use std::{sync::Arc, task::Waker, time::Instant};

use amqp_codec::{Arguments, Frame, Method, ShortString, Table, frame};

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
    /// The outgoing bytes above which publishes wait.
    pub(crate) write_buffer: usize,
    /// The broker's reason, while it accepts no publishes.
    pub(crate) blocked: Option<ShortString>,
    pub(crate) gathering: Gathering,
    /// The agreed largest frame in either direction.
    pub(crate) frame_max: usize,
    pub(crate) calls: Calls,
    /// The wakers to wake when the engine's lock is released.
    pub(crate) wakes: Vec<Waker>,
    pub(crate) backlog: Arc<Backlog>,
    pub(crate) window: Window,
    /// Whether a channel's window has room of which its waiters have not been told.
    pub(crate) window_opens: bool,
    /// The largest body that is accepted or sent.
    pub(crate) max_message_size: u64,
    /// The events to report when the engine's lock is released.
    pub(crate) events: Vec<Event>,
    pub(crate) metrics: Metrics,
    /// What was declared, if it has to be restored after a loss.
    pub(crate) registry: Option<Registry>,
    /// How many publishes were lost with the connection.
    pub(crate) lost: usize,
    /// The queues of consumers that have ended.
    pub(crate) consumers_gone: Vec<ShortString>,
    /// Whether a prefetch applies to each consumer, as with RabbitMQ, and not to the whole channel.
    pub(crate) has_consumer_qos: bool,
    /// The broker's description of itself.
    pub(crate) server_properties: Table,
    /// The time of the current read.
    pub(crate) now: Instant,
}

/// The limits of unconfirmed publishes of a channel, above which publishes wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) publishes: usize,
    /// The total size of the bodies. A single message is always allowed, however large.
    pub(crate) bytes: u64,
}

impl Window {
    #[inline]
    pub(crate) fn has_room(&self, confirms: &Confirms) -> bool {
        confirms.in_flight() < self.publishes && confirms.bytes_in_flight() < self.bytes
    }

    /// Tells whether to wake waiting publishers: only when there is room for a batch.
    pub(crate) fn has_room_again(&self, confirms: &Confirms) -> bool {
        confirms.in_flight() <= self.publishes / 4 * 3 && confirms.bytes_in_flight() <= self.bytes / 4 * 3
    }
}

impl Link {
    /// Queues a method. A refused one leaves nothing in the buffer.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it does not fit into a frame.
    pub(crate) fn send<A: Arguments>(&mut self, channel: u16, method: &A) -> Result<()> {
        self.metrics.frames_sent += 1;
        frame::encode_method(channel, method, self.frame_max, self.output.buffer()).map_err(Error::Invalid)
    }

    /// Queues a method of any kind, like [`send`](Self::send).
    pub(crate) fn send_method(&mut self, channel: u16, method: Method) -> Result<()> {
        self.metrics.frames_sent += 1;
        Frame::Method(channel, method).encode(self.frame_max, self.output.buffer()).map_err(Error::Invalid)
    }

    /// Tells whether publishes need not wait for the transport or the broker.
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

    /// Returns the error of a message that no connection accepts, so that it need not wait for room
    /// or a reconnect.
    #[cold]
    pub(crate) fn never_fits(&self, route: Route<'_>, message: &Message) -> Option<Error> {
        self.is_too_large(message).or_else(|| publish::check(route, message).err().map(Error::Invalid))
    }

    /// Notes that a consumer has ended: if it was the last one, the broker may delete its queue.
    pub(crate) fn consumer_gone(&mut self, subscription: &Subscription) {
        if self.registry.is_some() {
            self.consumers_gone.push(subscription.consume.queue.clone());
        }
    }

    /// Queues a method that always fits: it has fixed fields, or repeats what came in a frame.
    pub(crate) fn reply<A: Arguments>(&mut self, channel: u16, method: &A) {
        let fits = self.send(channel, method);
        debug_assert!(fits.is_ok(), "{fits:?}");
    }
}
