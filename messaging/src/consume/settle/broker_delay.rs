//! The pause that the broker itself makes before a message that failed is delivered again
//! (<https://www.rabbitmq.com/docs/quorum-queues#delayed-retry>).

use std::time::Duration;

use amqp_client::{Queue, Received};
use amqp_codec::{RawProperties, Value};

use crate::{
    connection::lazy_connection::LazyConnection,
    consume::settle::on_failure::{OnFailure, RetryLater},
};

/// The first version of RabbitMQ whose quorum queues delay what returns to them.
const SINCE: (u32, u32) = (4, 3);

/// The delivery limit of quorum queues whose declaration has none.
const DELIVERY_LIMIT: i64 = 20;

/// The pauses of one queue, as it is declared.
pub(crate) struct BrokerDelay {
    link: LazyConnection,
    pauses: Pauses,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pauses {
    shortest: Duration,
    longest: Duration,
}

impl BrokerDelay {
    /// Returns the pauses of a queue whose messages are retried; `None` when its declaration asks
    /// for none, or allows too few deliveries for this policy.
    pub(crate) fn of(queue: &Queue, on_failure: &OnFailure, link: &LazyConnection) -> Option<Self> {
        let OnFailure::Retry(later) = on_failure else { return None };
        let pauses = Pauses::of(queue, later)?;
        Some(BrokerDelay { link: link.clone(), pauses })
    }

    /// Tells whether the broker makes these pauses. Others ignore the arguments that ask for them.
    pub(crate) fn is_in_effect(&self) -> bool {
        self.link.is_on_rabbitmq_since(SINCE)
    }

    /// Returns the pause of a message that has now failed so often.
    pub(crate) fn pause(&self, failures: u32) -> Duration {
        let Pauses { shortest, longest } = self.pauses;
        shortest.saturating_mul(failures.max(1)).min(longest)
    }
}

impl Pauses {
    fn of(queue: &Queue, later: &RetryLater) -> Option<Self> {
        let arguments = queue.arguments();
        let text = |name| arguments.get(name).as_ref().and_then(Value::as_str).map(str::to_owned);
        let number = |name| arguments.get(name).as_ref().and_then(Value::as_i64);
        let milliseconds = |name| number(name).and_then(|count| u64::try_from(count).ok());
        // Of the type `returned` no failure is delayed.
        let is_delayed = matches!(text("x-delayed-retry-type").as_deref(), Some("all" | "failed"));
        if text("x-queue-type").as_deref() != Some("quorum") || !is_delayed {
            return None;
        }
        let shortest = Duration::from_millis(milliseconds("x-delayed-retry-min")?);
        let longest = milliseconds("x-delayed-retry-max").map_or(shortest, Duration::from_millis);
        // A negative limit is none.
        let limit = number("x-delivery-limit").unwrap_or(DELIVERY_LIMIT);
        (limit < 0 || i64::from(later.most()) <= limit).then_some(Pauses { shortest, longest })
    }
}

/// Returns how often a message that is delivered again has failed, as its quorum queue counts. On a
/// first delivery, the header would be a publisher's.
pub(crate) fn failures(received: &Received) -> u32 {
    let headers = RawProperties::split(&received.encoded_properties()).and_then(|raw| raw.headers());
    let count =
        headers.ok().and_then(|headers| headers.get("x-delivery-count").and_then(|count| count.as_i64()));
    count.and_then(|count| u32::try_from(count).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(queue: &Queue, limit: u32) -> Option<(u128, u128)> {
        let later = RetryLater::after(Duration::from_secs(1)).limit(limit);
        Pauses::of(queue, &later).map(|pauses| (pauses.shortest.as_millis(), pauses.longest.as_millis()))
    }

    fn delayed(queue: Queue, kind: &str) -> Queue {
        let queue = queue.arg("x-delayed-retry-type", kind).unwrap();
        queue.arg("x-delayed-retry-min", 500).unwrap()
    }

    #[test]
    fn only_quorum_queues_that_delay_failures_make_the_pauses() {
        let quorum = || Queue::quorum("q");
        assert_eq!(pauses(&delayed(quorum(), "failed"), 3), Some((500, 500)));
        assert_eq!(
            pauses(&quorum().delayed_retry(Duration::from_millis(20), Duration::from_secs(2)), 3),
            Some((20, 2000))
        );
        assert_eq!(pauses(&delayed(quorum(), "all"), 3), Some((500, 500)));
        for kind in ["returned", "disabled"] {
            assert_eq!(pauses(&delayed(quorum(), kind), 3), None, "{kind}");
        }
        assert_eq!(pauses(&delayed(Queue::durable("q"), "all"), 3), None);
        assert_eq!(pauses(&quorum().arg("x-delayed-retry-type", "all").unwrap(), 3), None);
        assert_eq!(pauses(&quorum(), 3), None);
    }

    #[test]
    fn a_delivery_limit_below_the_retries_leaves_them_to_other_queues() {
        let queue = |limit: i64| delayed(Queue::quorum("q"), "all").arg("x-delivery-limit", limit).unwrap();
        assert_eq!(pauses(&queue(2), 3), None);
        assert!(pauses(&queue(3), 3).and(pauses(&queue(-1), 1000)).is_some());
        assert!(pauses(&delayed(Queue::quorum("q"), "all"), 20).is_some());
        assert_eq!(pauses(&delayed(Queue::quorum("q"), "all"), 21), None);
    }
}
