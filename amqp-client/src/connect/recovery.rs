//! How a connection is recovered when it was lost: values only, nothing here connects.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use crate::{channel::Channel, error::Result, runtime::backoff::Backoff};

/// How a connection is recovered when it was lost; see
/// [`ConnectOptions::recovery`](crate::ConnectOptions::recovery).
///
/// What is recovered, once a broker is reached again:
/// - exchanges, queues and bindings that were declared over the connection and were not deleted,
///   auto-deleted ones not after their last consumer or binding has gone. A queue that the broker
///   had named gets a new name, which its bindings and consumers follow;
///   [`Event::Recovered`](crate::Event::Recovered) tells it. One that fails stops no other.
/// - channels, with their prefetch, confirm or transaction mode, and consumers. Handles stay what
///   they are. A consumer of a stream begins where its options say again, or [goes on where it
///   was](crate::ConsumeOptions::resume_stream).
///
/// A broker that has not noticed the loss keeps what the lost connection had to itself: exclusive
/// queues with names of their own (405), and queues with an
/// [exclusive](crate::ConsumeOptions::exclusive) consumer (403). Those are tried again, with pauses
/// of 200 ms to 10 s, until it lets go, while all else goes on
/// ([`Event::Held`](crate::Event::Held)); their consumers wait. See
/// [`wait_for_release`](Self::wait_for_release).
///
/// Meanwhile calls and publishes wait, each until its deadline. A call that was under way fails
/// with the reason; a publish that was not confirmed resolves to
/// [`Error::PublishLost`](crate::Error::PublishLost), or is made again
/// ([`Publisher::republish`](crate::Publisher::republish)). A delivery of the lost connection
/// cannot be acked any more ([`Error::StaleDelivery`](crate::Error::StaleDelivery)): it comes
/// again, flagged as redelivered.
///
/// Whatever ended the connection is recovered from, but its user's own close. A refused login or
/// virtual host, and what lies on this side, such as a certificate that cannot be read, end it at
/// once.
#[derive(Clone, Debug)]
pub struct Recovery {
    pub(crate) backoff: Backoff,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) give_up_after: Option<Duration>,
    pub(crate) first_connect: bool,
    pub(crate) reopen_channels: bool,
    pub(crate) wait_for_release: Duration,
    pub(crate) setup: Option<Setup>,
}

impl Default for Recovery {
    fn default() -> Self {
        Recovery {
            backoff: Backoff::default(),
            max_attempts: None,
            give_up_after: None,
            first_connect: false,
            reopen_channels: false,
            wait_for_release: Duration::from_secs(5 * 60),
            setup: None,
        }
    }
}

impl Recovery {
    /// All defaults: tried for ever, after pauses of up to 200 ms at first and 30 s in the end.
    pub fn new() -> Self {
        Self::default()
    }

    /// The pauses between attempts. An attempt tries all hosts, in their order or shuffled.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Gives up after so many attempts in a row: the connection ends with
    /// [`Error::NotRecovered`](crate::Error::NotRecovered). Default: never.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// Begins no attempt when the connection has been away for so long: it ends with
    /// [`Error::NotRecovered`](crate::Error::NotRecovered). Default: never.
    pub fn give_up_after(mut self, away: Duration) -> Self {
        self.give_up_after = Some(away);
        self
    }

    /// Whether the first connect is tried again too, within the same limits, for a broker that may
    /// not be there yet. Default: it is not.
    pub fn first_connect(mut self, retry: bool) -> Self {
        self.first_connect = retry;
        self
    }

    /// Whether a channel that the broker closes for an error is opened again, with its modes and
    /// consumers: after a 406 for a delivery that was held for too long, for instance. Calls under
    /// way fail with the error, and unconfirmed publishes are lost, for one of them may have caused
    /// it. Default: the channel ends.
    pub fn reopen_channels(mut self, reopen: bool) -> Self {
        self.reopen_channels = reopen;
        self
    }

    /// For how long, since the connection is back, what the broker keeps for the lost one is tried
    /// again. After that it is [not restored](crate::Event::NotRestored), and consumers of it end
    /// with the broker's refusal; zero is at once. Default 5 minutes, for a broker with RabbitMQ's
    /// heartbeats of 60 s notices a loss within three.
    pub fn wait_for_release(mut self, deadline: Duration) -> Self {
        self.wait_for_release = deadline;
        self
    }

    /// Sets up exchanges, queues and bindings by the user's own code instead of what was recorded.
    /// It is given a channel for it, which is closed after; other channels and consumers are
    /// recovered then. When it fails, the attempt has failed.
    pub fn setup<F, Fut>(mut self, setup: F) -> Self
    where
        F: Fn(Channel) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.setup = Some(Setup(Arc::new(move |channel| Box::pin(setup(channel)))));
        self
    }

    /// The pause before the next attempt, after so many in a row and so much time; `None` when the
    /// limits leave none. For whoever tries by these rules what the connection itself does not.
    pub fn next_pause(&self, attempts: u32, elapsed: Duration) -> Option<Duration> {
        self.goes_on(attempts, elapsed).then(|| self.backoff.pause(attempts.saturating_add(1)))
    }

    /// Tells whether the [first connect](Self::first_connect) is tried again too.
    pub fn is_for_first_connect(&self) -> bool {
        self.first_connect
    }

    /// Whether there may be another attempt, after so many and so much time.
    pub(crate) fn goes_on(&self, attempts: u32, elapsed: Duration) -> bool {
        self.max_attempts.is_none_or(|max| attempts < max)
            && self.give_up_after.is_none_or(|after| elapsed < after)
    }
}

type SetupFuture = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// The user's own code.
#[derive(Clone)]
pub(crate) struct Setup(Arc<dyn Fn(Channel) -> SetupFuture + Send + Sync>);

impl Setup {
    pub(crate) async fn run(&self, channel: Channel) -> Result<()> {
        (self.0)(channel).await
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Setup")
    }
}
