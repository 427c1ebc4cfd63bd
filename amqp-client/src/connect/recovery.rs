//! The options of recovery. Nothing here connects.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use crate::{channel::Channel, error::Result, runtime::backoff::Backoff};

/// How a connection is recovered after a loss; see
/// [`ConnectOptions::recovery`](crate::ConnectOptions::recovery).
///
/// What is recovered, once a broker is reached again:
/// - Exchanges, queues and bindings that were declared over the connection and not deleted since.
///   Auto-deleted ones are not recovered if their last consumer or binding had ended. A queue with
///   a name that the broker generated gets a new one, which its bindings and consumers follow;
///   [`Event::Recovered`](crate::Event::Recovered) reports it. A failure of one does not stop the
///   others.
/// - Channels, with their prefetch, confirm or transaction mode, and consumers. Handles stay valid.
///   A consumer of a stream begins again where its options say, or [resumes where it
///   was](crate::ConsumeOptions::resume_stream).
///
/// A broker that has not noticed the loss still reserves what the lost connection used exclusively:
/// exclusive queues with names that it did not generate (405), and queues with an
/// [exclusive](crate::ConsumeOptions::exclusive) consumer (403). Those are tried again, with pauses
/// of 200 ms to 10 s, until the broker gives them up. Meanwhile their consumers wait, and
/// everything else goes on ([`Event::Held`](crate::Event::Held)). See
/// [`wait_for_release`](Self::wait_for_release).
///
/// During the recovery, calls and publishes wait, each until its deadline. A call that was under
/// way fails with the reason of the loss. A publish that was not confirmed resolves to
/// [`Error::PublishLost`](crate::Error::PublishLost), or is repeated
/// ([`Publisher::republish`](crate::Publisher::republish)). A delivery of the lost connection
/// cannot be acked any more ([`Error::StaleDelivery`](crate::Error::StaleDelivery)): it is
/// delivered again, flagged as redelivered.
///
/// A connection is recovered whatever ended it, except its user's own close. A refused login or
/// virtual host, or a fault on this side such as an unreadable certificate, ends it at once.
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
    /// Makes options with all defaults: unlimited attempts, with pauses of up to 200 ms at first
    /// and up to 30 s in the end.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the pauses between attempts. An attempt tries all hosts, in their order or shuffled.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Limits the attempts in a row: after so many the connection ends with
    /// [`Error::NotRecovered`](crate::Error::NotRecovered). Default: no limit.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = Some(attempts);
        self
    }

    /// Limits the time: when the connection has been lost for so long, no further attempt begins,
    /// and it ends with [`Error::NotRecovered`](crate::Error::NotRecovered). Default: no limit.
    pub fn give_up_after(mut self, away: Duration) -> Self {
        self.give_up_after = Some(away);
        self
    }

    /// Sets whether the first connect is repeated too, within the same limits, because the broker
    /// may not be running yet. Default: it is not.
    pub fn first_connect(mut self, retry: bool) -> Self {
        self.first_connect = retry;
        self
    }

    /// Sets whether a channel is reopened, with its modes and consumers, when the broker closes it
    /// for an error, such as a 406 for a delivery that was held for too long. Calls under way fail
    /// with the error, and unconfirmed publishes are lost, because one of them may have caused it.
    /// Default: the channel ends.
    pub fn reopen_channels(mut self, reopen: bool) -> Self {
        self.reopen_channels = reopen;
        self
    }

    /// Sets for how long after the reconnect it is tried to regain what the broker reserves for the
    /// lost connection. After that it is [not restored](crate::Event::NotRestored), and its
    /// consumers end with the broker's refusal; with zero this happens at once. Default 5 minutes,
    /// because a broker with RabbitMQ's heartbeats of 60 s notices a loss within three minutes.
    pub fn wait_for_release(mut self, deadline: Duration) -> Self {
        self.wait_for_release = deadline;
        self
    }

    /// Replaces the recovery of exchanges, queues and bindings by the user's own code. The code
    /// gets a channel, which is closed afterwards; then the other channels and the consumers are
    /// recovered. If the code fails, so does the attempt.
    pub fn setup<F, Fut>(mut self, setup: F) -> Self
    where
        F: Fn(Channel) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.setup = Some(Setup(Arc::new(move |channel| Box::pin(setup(channel)))));
        self
    }

    /// Returns the pause before the next attempt, after this many attempts in a row and this much
    /// time; `None` when the limits allow no more. This is for code that retries by the same rules.
    pub fn next_pause(&self, attempts: u32, elapsed: Duration) -> Option<Duration> {
        self.goes_on(attempts, elapsed).then(|| self.backoff.pause(attempts.saturating_add(1)))
    }

    /// Tells whether the [first connect](Self::first_connect) is repeated too.
    pub fn is_for_first_connect(&self) -> bool {
        self.first_connect
    }

    /// Tells whether another attempt is allowed, after this many attempts and this much time.
    pub(crate) fn goes_on(&self, attempts: u32, elapsed: Duration) -> bool {
        self.max_attempts.is_none_or(|max| attempts < max)
            && self.give_up_after.is_none_or(|after| elapsed < after)
    }
}

type SetupFuture = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// The user's own code that sets up the topology.
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
