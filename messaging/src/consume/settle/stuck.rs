//! A message that cannot be moved where it belongs.

use std::time::Duration;

use amqp_client::Received;
use amqp_codec::RawProperties;
use tokio::time::Instant;

use crate::consume::{handlers::permits::Permit, settle::acker::Acker};

/// The shortest and longest pause before it is retried.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);
/// The longest time for which it may be kept. RabbitMQ closes a channel that holds a message for
/// over 30 minutes (<https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout>), which
/// affects all messages on it.
const HELD_AT_MOST: Duration = Duration::from_secs(25 * 60);

/// A message that could not be moved where it belongs, and is not settled yet.
pub(crate) struct Stuck {
    acker: Acker,
    why: String,
}

/// The time for which a message has been stuck, and the number of its pauses.
#[derive(Debug)]
pub(crate) struct Patience {
    /// The time of its delivery.
    since: Instant,
    /// The time at which the last attempt began.
    begun: Instant,
    times: u32,
}

impl Stuck {
    pub(crate) fn new(acker: Acker, why: &str) -> Self {
        Stuck { acker, why: why.to_owned() }
    }
}

impl Patience {
    /// Returns the state of a message that was delivered at this time.
    pub(crate) fn new(since: Instant) -> Self {
        Patience { since, begun: since, times: 0 }
    }

    /// Keeps a message of a queue for a while, without blocking others. Returns `None` when it must
    /// not be handled any more, because it is requeued.
    pub(crate) async fn keep(
        &mut self,
        stuck: Stuck,
        queue: &str,
        received: Option<&Received>,
        permit: &mut Permit,
    ) -> Option<Acker> {
        let Stuck { acker, why } = stuck;
        if acker.is_stale() {
            return None;
        }
        let pause = self.next_pause();
        let id = received.and_then(message_id);
        // The next attempt is likely to take as long as the last.
        if self.since.elapsed() + pause + self.begun.elapsed() > HELD_AT_MOST {
            tracing::error!(queue, id, why, "a message cannot be set aside; it is requeued");
            // If its channel has just ended, it has been requeued already.
            let _ = acker.nack(true).await;
            return None;
        }
        tracing::error!(
            queue,
            id,
            why,
            ?pause,
            "a message cannot be set aside; it is kept and handled again after the pause"
        );
        let bytes = received.map_or(0, |received| received.body().len());
        let has_permit = permit.hold(bytes, self.times == 1, pause).await;
        self.begun = Instant::now();
        (has_permit && !acker.is_stale()).then_some(acker)
    }

    /// Returns the next pause, twice as long as the last. Up to a fifth is taken off at random, so
    /// that messages that got stuck together do not stay together.
    fn next_pause(&mut self) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.times.min(16)).min(LONGEST);
        self.times = self.times.saturating_add(1);
        doubled.mul_f64(1.0 - fastrand::f64() / 5.0)
    }
}

/// Returns the message's own id.
pub(crate) fn message_id(received: &Received) -> Option<String> {
    let raw = RawProperties::split(&received.encoded_properties()).ok()?;
    Some(String::from_utf8_lossy(raw.get("message_id")?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pauses_grow_up_to_the_longest() {
        let mut patience = Patience::new(Instant::now());
        let mut longest = FIRST;
        for _ in 0..20 {
            let pause = patience.next_pause();
            assert!(pause <= longest && pause >= longest.mul_f64(0.8), "{pause:?} of {longest:?}");
            longest = (longest * 2).min(LONGEST);
        }
        assert_eq!(longest, LONGEST);
    }
}
