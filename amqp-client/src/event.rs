//! What happens to a connection, told to whoever listens.

use std::{sync::Arc, time::Duration};

use tokio::sync::broadcast;

use crate::error::Error;

/// Something that happened to a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The handshake is over.
    Connected,
    /// The broker takes no publishes, for this reason: it is short of memory or disk.
    Blocked(String),
    /// The broker takes publishes again.
    Unblocked,
    /// A delivery of this channel has been held unacked for long. RabbitMQ closes the channel after
    /// 30 minutes by default (<https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout>).
    /// Told once a delivery, while heartbeats are on.
    DeliveryHeld {
        /// The channel's number.
        channel: u16,
        /// For how long the oldest one.
        held: Duration,
    },
    /// A channel was closed by the broker, or by this side for what the broker sent on it. The
    /// connection goes on.
    ChannelClosed {
        /// The channel's number.
        channel: u16,
        /// Why.
        reason: Error,
    },
    /// The connection was lost, for this reason, and is to be recovered.
    Disconnected(Error),
    /// It is tried to connect again, after this pause.
    Reconnecting {
        /// Counted from 1, since the connection was last in order.
        attempt: u32,
        /// The pause before it.
        delay: Duration,
    },
    /// An attempt to connect again failed; unless the connection ends for it, there will be
    /// another.
    NotConnected {
        /// Which attempt.
        attempt: u32,
        /// Why.
        reason: Error,
    },
    /// The connection is as it was before it was lost, but for what the report says.
    Recovered(Arc<Recovered>),
    /// The broker keeps for the lost connection what that had to itself: a queue, or the exclusive
    /// use of one. It is tried again after this pause. Told before each attempt.
    Held {
        /// What, in words: `queue "jobs"`, `consumer "ctag-1" of queue "jobs"`.
        what: String,
        /// Counted from 1, since the connection is back.
        attempt: u32,
        /// The pause before it.
        delay: Duration,
        /// What the broker said last.
        error: Error,
    },
    /// The broker has let go of it, and it is as it was, with its consumers.
    Released {
        /// What, in words.
        what: String,
    },
    /// It could not be set up again after all. A consumer ends with the error.
    NotRestored(Skipped),
    /// The broker had closed a channel for this error; it is open again, as
    /// [`Recovery::reopen_channels`](crate::Recovery::reopen_channels) has it.
    ChannelReopened {
        /// The channel's number.
        channel: u16,
        /// Why the broker had closed it.
        cause: Error,
    },
    /// The connection has ended.
    Closed(Error),
}

/// What the recovery of a connection came to.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Recovered {
    /// Attempts it took.
    pub attempts: u32,
    /// Exchanges declared again.
    pub exchanges: usize,
    /// Queues declared again.
    pub queues: usize,
    /// Bindings made again.
    pub bindings: usize,
    /// Channels opened again.
    pub channels: usize,
    /// Consumers begun again.
    pub consumers: usize,
    /// Publishes that were made again, for publishers with
    /// [`republish`](crate::Publisher::republish).
    pub republished: usize,
    /// Publishes that nobody knows of whether the broker has them: their
    /// [`Confirm`](crate::Confirm) says [`Error::PublishLost`].
    pub lost: usize,
    /// Queues that the broker had named, and has named anew.
    pub renamed: Vec<Renamed>,
    /// What the broker keeps for the lost connection, and is [tried again](Event::Held).
    pub held: Vec<Skipped>,
    /// What could not be set up again. A consumer among these ends with the error, a channel too.
    pub skipped: Vec<Skipped>,
}

/// A queue with a new name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Renamed {
    /// The name it had.
    pub old: String,
    /// The name it has.
    pub new: String,
}

/// Something that could not be set up again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Skipped {
    /// What, in words: `queue "jobs"`, `consumer "ctag-1" of queue "jobs"`.
    pub what: String,
    /// Why.
    pub error: Error,
}

/// How a connection is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum State {
    /// Everything works.
    Open,
    /// The broker takes no publishes, for this reason.
    Blocked(String),
    /// It was lost and is being recovered.
    Recovering {
        /// Why it was lost.
        reason: Error,
        /// Attempts to connect again that have begun, the pause before each counted in.
        attempt: u32,
    },
    /// It has been told to end; what everyone was told is the reason.
    Closing(Error),
    /// It has ended.
    Closed(Error),
}

/// Events of a connection as they happen; the last is [`Event::Closed`].
///
/// Nobody waits for a listener: of more than 64 events that were not taken the oldest are dropped.
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<Arc<Event>>,
    /// Why the connection had ended before this was created.
    ended: Option<Error>,
    is_over: bool,
}

/// How many events are kept for a slow listener. The memory for them is allocated at the start, and
/// each event is stored by reference.
pub(crate) const KEPT: usize = 64;

impl Events {
    /// `ended` is called after the receiver was created, so that the end cannot be missed.
    pub(crate) fn new(receiver: broadcast::Receiver<Arc<Event>>, ended: Option<Error>) -> Self {
        Events { receiver, ended, is_over: false }
    }

    /// The next event; `None` after [`Event::Closed`].
    ///
    /// # Cancel safety
    /// Dropped while pending, nothing was taken.
    pub async fn recv(&mut self) -> Option<Event> {
        if self.is_over {
            return None;
        }
        let event = match self.ended.clone() {
            Some(reason) => self.kept().unwrap_or(Event::Closed(reason)),
            None => self.next().await?,
        };
        self.is_over = matches!(event, Event::Closed(_));
        Some(event)
    }

    async fn next(&mut self) -> Option<Event> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(Arc::unwrap_or_clone(event)),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// An event that is available without waiting.
    fn kept(&mut self) -> Option<Event> {
        loop {
            match self.receiver.try_recv() {
                Ok(event) => return Some(Arc::unwrap_or_clone(event)),
                Err(broadcast::error::TryRecvError::Lagged(_)) => {}
                Err(_) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_comes_after_the_end_is_told_of_it_once() {
        let (sender, receiver) = broadcast::channel(KEPT);
        let mut events = Events::new(receiver, Some(Error::ConnectionEnded));
        assert!(matches!(events.recv().await, Some(Event::Closed(Error::ConnectionEnded))));
        assert!(events.recv().await.is_none());
        drop(sender);
    }

    #[tokio::test]
    async fn a_listener_that_does_not_take_loses_the_oldest_and_still_sees_the_end() {
        let (sender, receiver) = broadcast::channel(KEPT);
        let mut events = Events::new(receiver, None);
        for _ in 0..3 * KEPT {
            sender.send(Event::Unblocked.into()).unwrap();
        }
        sender.send(Event::Closed(Error::ConnectionEnded).into()).unwrap();
        let mut seen = 0;
        while let Some(event) = events.recv().await {
            seen += 1;
            assert!(matches!(event, Event::Unblocked | Event::Closed(_)));
        }
        assert_eq!(seen, KEPT);
    }
}
