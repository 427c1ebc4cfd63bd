//! What becomes of a message that could not be handled.

use std::time::Duration;

use amqp_client::{Exchange, Properties, Queue};
use amqp_codec::{HeaderTable, ValueRef};

/// Of a message that comes back: how often it was handled in vain.
pub(crate) const RETRIES: &str = "x-retry-count";
/// What went wrong the last time.
pub(crate) const FAILURE: &str = "x-failure";
/// Where it was published to at first: coming back, it comes by the default exchange.
pub(crate) const EXCHANGE: &str = "x-original-exchange";
pub(crate) const ROUTING_KEY: &str = "x-original-routing-key";

/// Between the name of a queue and the pause of messages that wait there to be handled again.
const WAITING: &str = ".retry.";

/// What becomes of a message whose handler failed or panicked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Back to its queue, to be handled again at once, here or elsewhere, without end.
    Requeue,
    /// Refused: dead-lettered where the queue says so, and dropped otherwise.
    #[default]
    Reject,
    /// Handled again after a while, so many times, and then set aside.
    Retry(RetryLater),
}

/// Handling again, later: pauses, their number, and what comes after.
///
/// A message waits in a durable queue `QUEUE.retry.MILLISECONDS`, one for each length of pause,
/// from which the broker dead-letters it back to `QUEUE`. It is moved there by a confirmed publish
/// before the original is acknowledged, so it is never lost, and may come twice where the
/// connection is. Headers tell what happened to it: `x-retry-count`, `x-failure` (the last error),
/// `x-original-exchange` and `x-original-routing-key`. None of these queues is ever deleted by this
/// library. A queue that the broker named has none: what fails is rejected there.
///
/// A message is moved to one queue only, with all headers it came with, those that cannot be read
/// among them. `CC`, `BCC`, `x-delivery-count` and `x-death` would act on the way, so they are
/// called `x-original-CC` and so on there; whoever handles the message here finds them under their
/// own names. In `QUEUE.dead` the former three keep their other names, unless it is consumed from
/// with this library.
///
/// One that cannot be moved, because such a queue exists otherwise or may not be declared, its name
/// is over 255 bytes, or the headers do not fit into a frame, is kept unacknowledged, out of the
/// way of others, and handled again after a pause that doubles from 100 ms to a minute, until it is
/// handled, can be moved or the worker stops. A message that stops so goes back to its queue, and
/// so does one that would be kept for longer than 25 minutes since it was delivered, because
/// RabbitMQ [closes the channel](https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout)
/// of who holds one for 30. Each time an error is logged that names the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryLater {
    first: Duration,
    longest: Duration,
    limit: u32,
    dead_letter: bool,
}

impl RetryLater {
    /// After this pause each time, three times, and then rejected.
    #[must_use]
    pub const fn after(pause: Duration) -> Self {
        RetryLater { first: pause, longest: pause, limit: 3, dead_letter: false }
    }

    /// Pauses double from one time to the next, up to this one.
    #[must_use]
    pub const fn doubling_up_to(mut self, longest: Duration) -> Self {
        self.longest = longest;
        self
    }

    /// How often it is handled again. Default 3.
    #[must_use]
    pub const fn limit(mut self, retries: u32) -> Self {
        self.limit = retries;
        self
    }

    /// Whether what failed too often, or cannot be decoded, is kept in a durable queue
    /// `QUEUE.dead`, instead of being rejected. Default: it is rejected.
    #[must_use]
    pub const fn dead_letter(mut self, dead_letter: bool) -> Self {
        self.dead_letter = dead_letter;
        self
    }

    /// The queue for what was handled again `retries` times before; `None` when it is to be
    /// rejected.
    pub(crate) fn next_queue(&self, queue: &str, retries: u32) -> Option<Queue> {
        if queue.is_empty() {
            return None;
        }
        if self.is_exhausted(retries) {
            return self.dead_queue(queue);
        }
        let pause = self.pause(retries);
        let waiting = Queue::durable(format!("{queue}{WAITING}{}", pause.as_millis()));
        Some(waiting.message_ttl(pause).dead_letter(Exchange::default()).dead_letter_routing_key(queue))
    }

    /// Before what was handled again so often is handled once more.
    pub(crate) fn pause(&self, retries: u32) -> Duration {
        self.first.saturating_mul(1 << retries.min(30)).min(self.longest.max(self.first))
    }

    /// Tells whether what was handled again so often before is handled no more.
    pub(crate) fn is_exhausted(&self, retries: u32) -> bool {
        retries >= self.limit
    }

    pub(crate) fn dead_queue(&self, queue: &str) -> Option<Queue> {
        (self.dead_letter && !queue.is_empty()).then(|| Queue::durable(format!("{queue}.dead")))
    }
}

/// Tells whether a message that failed in `queue` waits in this one.
pub(crate) fn is_waiting_queue(name: &str, queue: &str) -> bool {
    name.strip_prefix(queue).and_then(|rest| rest.strip_prefix(WAITING)).is_some()
}

/// How often a message was handled in vain.
pub(crate) fn retries(properties: &Properties) -> u32 {
    let value = properties.headers.as_ref().and_then(|headers| headers.get(RETRIES));
    value.as_ref().map_or(0, |value| count(ValueRef::from(value)))
}

/// The same, of a message whose headers are the bytes that came.
pub(crate) fn retries_in(headers: &HeaderTable) -> u32 {
    headers.get(RETRIES).map_or(0, count)
}

fn count(value: ValueRef<'_>) -> u32 {
    value.as_i64().and_then(|count| u32::try_from(count).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_then_it_is_set_aside() {
        let later = RetryLater::after(Duration::from_millis(100))
            .doubling_up_to(Duration::from_millis(300))
            .limit(4)
            .dead_letter(true);
        let names: Vec<_> =
            (0..5).map(|retries| later.next_queue("q", retries).unwrap().name().to_owned()).collect();
        assert_eq!(names, ["q.retry.100", "q.retry.200", "q.retry.300", "q.retry.300", "q.dead"]);
        assert!(later.dead_letter(false).next_queue("q", 4).is_none());
    }
}
