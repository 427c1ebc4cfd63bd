//! The events of a connection, and its state.

use std::{sync::Arc, time::Duration};

use amqp_codec::ReplyCode;
use tokio::sync::broadcast;

use crate::error::Error;

/// An event of a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The connection is open for the first time.
    Connected,
    /// The broker accepts no publishes, because it is short of memory or disk: this is its reason.
    Blocked(String),
    /// The broker accepts publishes again.
    Unblocked,
    /// A delivery of this channel has been unsettled for long. RabbitMQ closes the channel after 30
    /// minutes by default (<https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout>). Each
    /// delivery is reported once, and only while heartbeats are on.
    DeliveryHeld {
        /// The channel's number.
        channel: u16,
        /// How long the oldest unsettled delivery has been held.
        held: Duration,
    },
    /// The broker returned a mandatory message whose outcome nobody waits for: one that was
    /// published without confirms, or whose [`Confirm`](crate::Confirm) was dropped. If many are
    /// returned, their events displace others that a slow listener has not taken.
    Returned {
        /// The channel's number.
        channel: u16,
        /// The exchange that the message was published to.
        exchange: String,
        /// The routing key that the message was published with.
        routing_key: String,
        /// The reply code: 312 when there was no route.
        code: ReplyCode,
        /// The reply text.
        text: String,
    },
    /// The broker closed a channel, or this side closed it because of what the broker sent on it.
    /// The connection goes on.
    ChannelClosed {
        /// The channel's number.
        channel: u16,
        /// The reason.
        reason: Error,
    },
    /// The connection was lost, for this reason, and is being recovered.
    Disconnected(Error),
    /// There will be another attempt to connect, after this pause.
    Reconnecting {
        /// The attempt's number, from 1, since the connection last worked.
        attempt: u32,
        /// The pause before the attempt.
        delay: Duration,
    },
    /// An attempt to connect again failed. There will be another, unless the connection ends
    /// because of this failure.
    NotConnected {
        /// The attempt's number.
        attempt: u32,
        /// The reason.
        reason: Error,
    },
    /// The connection is restored, with the exceptions in the report.
    Recovered(Arc<Recovered>),
    /// The broker still reserves something for the lost connection: an exclusive queue, or the
    /// exclusive use of a queue. Another attempt follows after this pause. This is reported before
    /// each attempt.
    Held {
        /// A description: `queue "jobs"`, `consumer "ctag-1" of queue "jobs"`.
        what: String,
        /// The attempt's number, from 1, since the connection was restored.
        attempt: u32,
        /// The pause before the attempt.
        delay: Duration,
        /// The broker's last refusal.
        error: Error,
    },
    /// The broker no longer reserves it, and it is restored together with its consumers.
    Released {
        /// A description of what was released.
        what: String,
    },
    /// Something that the broker had reserved could not be restored. A consumer among these ends
    /// with the error.
    NotRestored(Skipped),
    /// The broker had closed a channel for this error, and it is open again, because of
    /// [`Recovery::reopen_channels`](crate::Recovery::reopen_channels).
    ChannelReopened {
        /// The channel's number.
        channel: u16,
        /// Why the broker had closed it.
        cause: Error,
    },
    /// The connection has ended.
    Closed(Error),
}

/// The report of a recovery.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Recovered {
    /// How many attempts it took.
    pub attempts: u32,
    /// How many exchanges were declared again.
    pub exchanges: usize,
    /// How many queues were declared again.
    pub queues: usize,
    /// How many bindings were made again.
    pub bindings: usize,
    /// How many channels were reopened.
    pub channels: usize,
    /// How many consumers were restarted.
    pub consumers: usize,
    /// How many publishes were repeated, for publishers with
    /// [`republish`](crate::Publisher::republish).
    pub republished: usize,
    /// How many publishes the broker may or may not have: their [`Confirm`](crate::Confirm)
    /// resolves to [`Error::PublishLost`].
    pub lost: usize,
    /// Queues with a name that the broker generated, and has generated anew.
    pub renamed: Vec<Renamed>,
    /// What the broker still reserves for the lost connection, and is [tried again](Event::Held).
    pub held: Vec<Skipped>,
    /// What could not be restored. Consumers and channels among these end with the error.
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

/// Something that could not be restored.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Skipped {
    /// A description: `queue "jobs"`, `consumer "ctag-1" of queue "jobs"`.
    pub what: String,
    /// The reason.
    pub error: Error,
}

/// The state of a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum State {
    /// Everything works.
    Open,
    /// The broker accepts no publishes, for this reason.
    Blocked(String),
    /// The connection was lost and is being recovered.
    Recovering {
        /// The reason of the loss.
        reason: Error,
        /// How many attempts to connect again have begun; an attempt begins with the pause before
        /// it.
        attempt: u32,
    },
    /// The connection is being closed, for this reason.
    Closing(Error),
    /// The connection has ended, for this reason.
    Closed(Error),
}

/// The events of a connection, as they happen; the last is [`Event::Closed`].
///
/// A slow listener does not delay anything: when more than 64 events wait for it, the oldest are
/// dropped.
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<Arc<Event>>,
    /// Why the connection had already ended when this was created.
    ended: Option<Error>,
    is_over: bool,
}

/// How many events are kept for a slow listener. The memory for them is allocated at the start, and
/// each event is stored by reference.
pub(crate) const KEPT: usize = 64;

impl Events {
    /// Takes the reason of the connection's end, which has to be read after the receiver was
    /// created, so that the end cannot be missed.
    pub(crate) fn new(receiver: broadcast::Receiver<Arc<Event>>, ended: Option<Error>) -> Self {
        Events { receiver, ended, is_over: false }
    }

    /// Returns the next event; `None` after [`Event::Closed`].
    ///
    /// # Cancel safety
    /// If the future is dropped while pending, nothing was taken.
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

    /// Returns an event that is available without waiting.
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
