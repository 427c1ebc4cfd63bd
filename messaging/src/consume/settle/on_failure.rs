//! The policy for a message that could not be handled.

use std::time::Duration;

use amqp_client::{Exchange, Properties, Queue};
use amqp_codec::{HeaderTable, ValueRef};

/// The header that counts the failed attempts to handle a message.
pub(crate) const RETRIES: &str = "x-retry-count";
/// The header with the error of the last attempt.
pub(crate) const FAILURE: &str = "x-failure";
/// The header with the exchange to which the message was first published. A message that comes back
/// comes by way of the default exchange.
pub(crate) const EXCHANGE: &str = "x-original-exchange";
pub(crate) const ROUTING_KEY: &str = "x-original-routing-key";

/// The text between the name of a queue and the pause, in the name of the queue where messages wait
/// for a retry.
const WAITING: &str = ".retry.";

/// The policy for a message whose handler failed or panicked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Requeues the message. It is delivered again at once, here or elsewhere, without a limit.
    Requeue,
    /// Rejects the message: it is dead-lettered if the queue has a dead-letter exchange, and
    /// dropped otherwise.
    #[default]
    Reject,
    /// Retries the message after a pause, a limited number of times, and then sets it aside.
    Retry(RetryLater),
}

/// Retries with pauses: their length, their number, and what follows the last one.
///
/// A message waits in a durable queue `QUEUE.retry.MILLISECONDS`, one for each length of pause,
/// from which the broker dead-letters it back to `QUEUE`. It is moved there by a confirmed publish
/// before the original is acknowledged. So it is never lost, but it may come twice when the
/// connection is lost in between. Headers tell what happened to it: `x-retry-count`, `x-failure`
/// (the last error), `x-original-exchange` and `x-original-routing-key`. This library never deletes
/// any of these queues. A queue that the broker named has none of them: failed messages are
/// rejected there.
///
/// A queue can ask RabbitMQ to make the pauses itself, with
/// [`Queue::delayed_retry`](amqp_client::Queue::delayed_retry). From version 4.3 on a message that
/// failed then returns to its own queue, with nothing changed, and is delivered again after the
/// queue's pause instead of this policy's. It is not copied, so it cannot come twice, and there are
/// no queues to wait in and no `x-failure` until it is set aside. The number of retries is still
/// this policy's; the broker's count (`x-delivery-count`) includes deliveries that ended with their
/// channel. Every other broker ignores those arguments of the queue, and messages wait as said
/// above; so they do when the queue's [delivery limit](amqp_client::Queue::delivery_limit), by
/// default 20, is below the number of retries.
///
/// A message is moved to one queue only, with all headers it came with, even those that cannot be
/// read. The headers `CC`, `BCC`, `x-delivery-count` and `x-death` would take effect on the way, so
/// they are renamed to `x-original-CC` and so on; a handler of this library finds them under their
/// own names. In `QUEUE.dead` the first three keep the changed names, unless it is consumed from
/// with this library.
///
/// A message may be impossible to move: such a queue exists with other properties or may not be
/// declared, its name is over 255 bytes, or the headers do not fit into a frame. It is then kept
/// unacknowledged, without blocking others, and retried after a pause that doubles from 100 ms to a
/// minute, until it is handled, can be moved or the worker stops. When the worker stops, the
/// message goes back to its queue. The same happens to a message that would be kept for longer than
/// 25 minutes since it was delivered, because RabbitMQ [closes the
/// channel](https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout) of a consumer that
/// holds one for 30. Each time an error is logged that names the message. There are two limits:
/// more than 1024 such messages, or 64 MiB of them, take up the prefetch of their worker, and so
/// does each one of an exclusive worker whose queue is deleted with its last consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryLater {
    first: Duration,
    longest: Duration,
    limit: u32,
    dead_letter: bool,
}

impl RetryLater {
    /// Returns a policy that retries three times, each time after this pause, and then rejects the
    /// message.
    #[must_use]
    pub const fn after(pause: Duration) -> Self {
        RetryLater { first: pause, longest: pause, limit: 3, dead_letter: false }
    }

    /// Makes the pause double from one retry to the next, up to `longest`.
    #[must_use]
    pub const fn doubling_up_to(mut self, longest: Duration) -> Self {
        self.longest = longest;
        self
    }

    /// Sets how often a message is retried. Default 3.
    #[must_use]
    pub const fn limit(mut self, retries: u32) -> Self {
        self.limit = retries;
        self
    }

    /// Sets whether a message that failed too often, or cannot be decoded, is kept in a durable
    /// queue `QUEUE.dead`. Default: it is rejected.
    #[must_use]
    pub const fn dead_letter(mut self, dead_letter: bool) -> Self {
        self.dead_letter = dead_letter;
        self
    }

    /// Returns the queue for a message that was retried `retries` times before; `None` when it is
    /// to be rejected.
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

    /// Returns the pause before the next retry of a message that was retried `retries` times
    /// before.
    pub(crate) fn pause(&self, retries: u32) -> Duration {
        self.first.saturating_mul(1 << retries.min(30)).min(self.longest.max(self.first))
    }

    /// Returns how often a message is retried.
    pub(crate) fn most(&self) -> u32 {
        self.limit
    }

    /// Whether a message that was retried `retries` times before is not retried again.
    pub(crate) fn is_exhausted(&self, retries: u32) -> bool {
        retries >= self.limit
    }

    pub(crate) fn dead_queue(&self, queue: &str) -> Option<Queue> {
        (self.dead_letter && !queue.is_empty()).then(|| Queue::durable(format!("{queue}.dead")))
    }
}

/// Whether `name` is a queue in which messages that failed in `queue` wait.
pub(crate) fn is_waiting_queue(name: &str, queue: &str) -> bool {
    name.strip_prefix(queue).and_then(|rest| rest.strip_prefix(WAITING)).is_some()
}

/// Returns how many attempts to handle a message have failed.
pub(crate) fn retries(properties: &Properties) -> u32 {
    let value = properties.headers.as_ref().and_then(|headers| headers.get(RETRIES));
    value.as_ref().map_or(0, |value| count(ValueRef::from(value)))
}

/// Returns the same from headers that are still encoded.
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
