//! What becomes of a message that could not be handled.

use std::time::Duration;

use amqp_client::{Exchange, Properties, Queue};
use amqp_codec::{Table, Value};

/// Of a message that comes back: how often it was handled in vain.
pub(crate) const RETRIES: &str = "x-retry-count";
/// What went wrong the last time.
pub(crate) const FAILURE: &str = "x-failure";
/// Where it was published to at first: coming back, it comes by the default exchange.
pub(crate) const EXCHANGE: &str = "x-original-exchange";
pub(crate) const ROUTING_KEY: &str = "x-original-routing-key";

/// Text of a failure that is kept with its message, in bytes.
const FAILURE_LIMIT: usize = 1000;

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
/// A message waits in a durable queue `QUEUE.retry.MILLISECONDS`, one for each length of pause, from which the broker
/// dead-letters it back to `QUEUE`. It is moved there by a confirmed publish before the original is acknowledged, so it is never
/// lost, and may come twice where the connection is. Headers tell what happened to it: `x-retry-count`, `x-failure` (the last
/// error), `x-original-exchange` and `x-original-routing-key`. None of these queues is ever deleted by this
/// library. A queue that the broker named has none: what fails is rejected there.
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

    /// Whether what failed too often, or cannot be decoded, is kept in a durable queue `QUEUE.dead`, instead of being rejected.
    /// Default: it is rejected.
    #[must_use]
    pub const fn dead_letter(mut self, dead_letter: bool) -> Self {
        self.dead_letter = dead_letter;
        self
    }

    /// The queue for what was handled again `retries` times before; `None` when it is to be rejected.
    pub(crate) fn next_queue(&self, queue: &str, retries: u32) -> Option<Queue> {
        if queue.is_empty() {
            return None;
        }
        if retries >= self.limit {
            return self.dead_queue(queue);
        }
        let doubled = self.first.saturating_mul(1 << retries.min(30));
        let pause = doubled.min(self.longest.max(self.first));
        let waiting = Queue::durable(format!("{queue}.retry.{}", pause.as_millis()));
        Some(waiting.message_ttl(pause).dead_letter(Exchange::direct("")).dead_letter_routing_key(queue))
    }

    pub(crate) fn dead_queue(&self, queue: &str) -> Option<Queue> {
        (self.dead_letter && !queue.is_empty()).then(|| Queue::durable(format!("{queue}.dead")))
    }
}

/// How often a message was handled in vain.
pub(crate) fn retries(properties: &Properties) -> u32 {
    let value = properties.headers.as_ref().and_then(|headers| headers.get(RETRIES));
    value.and_then(|value| value.as_i64()).and_then(|count| u32::try_from(count).ok()).unwrap_or(0)
}

/// The properties of a message that is to be handled again, or set aside.
pub(crate) fn mark(
    mut properties: Properties,
    retries: u32,
    failure: &str,
    exchange: &str,
    routing_key: &str,
) -> Properties {
    let mut failure = failure.to_owned();
    failure.truncate(failure.floor_char_boundary(FAILURE_LIMIT));
    let headers = properties.headers.get_or_insert_default();
    set(headers, RETRIES, i64::from(retries));
    set(headers, FAILURE, failure);
    if headers.get(EXCHANGE).is_none() {
        set(headers, EXCHANGE, exchange);
        set(headers, ROUTING_KEY, routing_key);
    }
    // The broker checks it against the user of the connection, which may be another one here.
    properties.user_id = None;
    // It would end the message where it waits, or make its pause shorter.
    properties.expiration = None;
    properties
}

fn set(headers: &mut Table, key: &'static str, value: impl Into<Value>) {
    let set = headers.insert(key, value);
    debug_assert!(set.is_ok(), "a short key and a flat value always fit");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header;

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

    #[test]
    fn a_message_remembers_its_first_route_and_its_last_failure() {
        let first = mark(Properties::default(), 1, "no", "events", "a.b");
        assert_eq!(retries(&first), 1);
        let second = mark(first, 2, &"é".repeat(1000), "", "q");
        assert_eq!(retries(&second), 2);
        assert_eq!(header::text(&second, EXCHANGE).as_deref(), Some("events"));
        assert_eq!(header::text(&second, ROUTING_KEY).as_deref(), Some("a.b"));
        assert_eq!(header::text(&second, FAILURE).unwrap().len(), 1000);
    }
}
