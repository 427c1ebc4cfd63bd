//! A queue to consume from again and again, and the place to continue at.

use std::time::Duration;

use amqp_client::{Delivery, Report, StreamOffset};
use tokio::time::{Instant, sleep};

use crate::{
    consume::{consumer::RawConsumer, subscription::Subscription},
    error::Error,
    retry::{Retry, RetryPolicy},
};

/// The pauses between attempts. There is no deadline: errors say when retrying is useless.
const RESTART: RetryPolicy =
    RetryPolicy::exponential(Duration::from_millis(100), Duration::from_secs(10)).deadline(Duration::MAX);

/// How long a consumer must last so that its end is not put down to a cause that was there from the
/// start.
const STEADY: Duration = Duration::from_secs(60);

/// A subscription that is started again whenever it ends.
#[derive(Clone)]
pub(crate) struct Source {
    subscription: Subscription,
    is_stream: bool,
    /// The offset after the last message, if this is a stream and a message was received.
    next: Option<u64>,
    /// The time of its last end.
    ended: Option<Instant>,
    /// How often in a row it ended soon after the end before; the cause is then likely to recur.
    relapses: u32,
    /// Whether the stream may be gone: the broker has cancelled the consumer, because the stream
    /// was deleted or moved.
    is_doubtful: bool,
}

impl From<Subscription> for Source {
    fn from(subscription: Subscription) -> Self {
        let is_stream = subscription.is_stream();
        Source { subscription, is_stream, next: None, ended: None, relapses: 0, is_doubtful: false }
    }
}

impl Source {
    /// Returns the source of a stream, which continues where it was left.
    #[cfg(feature = "oslo")]
    pub(crate) fn stream(subscription: Subscription) -> Self {
        Source { is_stream: true, ..Source::from(subscription) }
    }

    pub(crate) fn queue_name(&self) -> &str {
        self.subscription.queue_name()
    }

    pub(crate) async fn start(&mut self) -> Result<RawConsumer, Error> {
        if self.is_doubtful {
            if self.subscription.has_gone().await? {
                self.next = None;
            }
            self.is_doubtful = false;
        }
        match self.next {
            None => self.subscription.start_raw().await,
            Some(next) => self.subscription.start_raw_at(StreamOffset::Offset(next)).await,
        }
    }

    /// Starts for the first time. A caller that waits for the first connection also waits when it
    /// is lost before the broker has answered everything.
    ///
    /// # Errors
    /// The reason why retrying is useless or not wanted.
    pub(crate) async fn start_first(&mut self) -> Result<RawConsumer, Error> {
        let begun = Instant::now();
        let mut attempts = 1;
        loop {
            let error = match self.start().await {
                Ok(raw) => return Ok(raw),
                Err(error) => error,
            };
            let pause = self.subscription.link().next_pause(attempts, begun.elapsed());
            let Some(pause) = pause.filter(|_| error.is_of_lost_connection()) else { return Err(error) };
            attempts += 1;
            tracing::debug!(queue = self.queue_name(), error = %Report(&error), attempt = attempts, ?pause, "cannot consume from the queue yet; another attempt follows");
            sleep(pause).await;
        }
    }

    /// Logs that consuming ended and starts again. It says nothing if the transport was closed:
    /// then the end was wanted.
    pub(crate) fn log_end(&self, reason: &Error) {
        if !self.subscription.is_transport_closed() {
            let queue = self.queue_name();
            tracing::warn!(queue, error = %Report(reason), "consuming from the queue ended; the consumer restarts");
        }
    }

    /// Starts consuming again as soon as that is possible, with pauses between the attempts.
    ///
    /// # Errors
    /// The reason why retrying is useless: the transport is closed, the user may not consume, or
    /// another connection still had the queue at the end of the wait.
    pub(crate) async fn start_again(&mut self) -> Result<RawConsumer, Error> {
        let mut retry = Retry::start(RESTART);
        (0..self.relapses.min(16)).for_each(|_| retry.begin());
        loop {
            retry.begin();
            retry.pause().await;
            let error = match self.start().await {
                Ok(raw) => return Ok(raw),
                Err(error) => error,
            };
            let may_be_released =
                error.is_of_taken_queue() && retry.elapsed() < self.subscription.wait_for_release();
            if error.ends_consuming() && !may_be_released {
                return Err(error);
            }
            tracing::debug!(queue = self.queue_name(), error = %Report(&error), "cannot consume from the queue yet; another attempt follows");
        }
    }

    /// Returns the offset to continue at, if this is a stream and a message was received.
    pub(crate) fn next(&self) -> Option<u64> {
        self.next
    }

    /// Notes the offset of a message, so that consuming can continue after it.
    pub(crate) fn read(&mut self, delivery: &Delivery) {
        if !self.is_stream {
            return;
        }
        if let Some(offset) = delivery.stream_offset() {
            self.next = Some(offset.saturating_add(1));
        }
    }

    /// Notes the end of the consumer. A stream that was deleted is read from its start settings
    /// again.
    pub(crate) fn ended(&mut self, error: &Error) {
        let now = Instant::now();
        let is_soon = self.ended.replace(now).is_some_and(|before| now.duration_since(before) < STEADY);
        self.relapses = if is_soon { self.relapses.saturating_add(1) } else { 0 };
        if let Error::ConsumerEnded { source: Some(amqp_client::Error::ConsumerCancelled { .. }), .. } = error
        {
            self.is_doubtful = self.next.is_some();
        }
    }
}

#[cfg(test)]
mod tests {
    use amqp_client::{ConnectOptions, Queue, Recovery};
    use tokio::time::advance;

    use super::*;
    use crate::{
        connection::{
            brokers::Brokers,
            event::Teller,
            lazy_connection::{ConnectionSettings, LazyConnection},
            state::Role,
        },
        telemetry::observer::Observer,
    };

    #[tokio::test(start_paused = true)]
    async fn what_ends_soon_again_is_a_relapse_until_it_was_there_for_a_while() {
        let brokers = Brokers::Network(Vec::new());
        let (options, recovery) = (ConnectOptions::new(), Recovery::new());
        let settings = ConnectionSettings { brokers, options, max_message_size: 1000, recovery };
        let link = LazyConnection::new(Role::Consume, settings, Teller::new(Observer::default()));
        let mut source = Source::from(Subscription::new(link, Queue::new("q")));
        for (after, relapses) in [(0, 0), (0, 1), (59, 2), (60, 0), (1, 1)] {
            advance(Duration::from_secs(after)).await;
            source.ended(&Error::ConsumerEnded { queue: "q".to_owned(), source: None });
            assert_eq!(source.relapses, relapses);
        }
    }
}
