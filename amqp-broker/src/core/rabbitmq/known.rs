//! The types of queues, the arguments that each knows, and those of its consumers, in the order in
//! which RabbitMQ compares them. An argument that only other types know is refused.

use amqp_codec::{Table, Value};

use super::profile::Profile;

/// The types of queues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum QueueType {
    #[default]
    Classic,
    Quorum,
    Stream,
}

impl QueueType {
    /// The type's name in RabbitMQ's texts.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            QueueType::Classic => "rabbit_classic_queue",
            QueueType::Quorum => "rabbit_quorum_queue",
            QueueType::Stream => "rabbit_stream_queue",
        }
    }

    /// The value of `x-queue-type` for it.
    #[cfg(feature = "management")]
    pub(crate) const fn short_name(self) -> &'static str {
        match self {
            QueueType::Classic => "classic",
            QueueType::Quorum => "quorum",
            QueueType::Stream => "stream",
        }
    }

    /// The type that a declaration asks for, or classic if the value is invalid.
    pub(crate) fn asked_for(table: &Table) -> Self {
        match table.get("x-queue-type").as_ref().and_then(Value::as_str) {
            Some("quorum") => QueueType::Quorum,
            Some("stream") => QueueType::Stream,
            _ => QueueType::Classic,
        }
    }
}

const CLASSIC: &[&str] = &[
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    "x-queue-type",
    "x-queue-master-locator",
    // Versions that place classic queues like others know this one too.
    "x-queue-leader-locator",
];
const QUORUM: &[&str] = &[
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-dead-letter-strategy",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-in-memory-length",
    "x-max-in-memory-bytes",
    "x-overflow",
    "x-single-active-consumer",
    "x-queue-type",
    "x-quorum-initial-group-size",
    "x-delivery-limit",
    "x-message-ttl",
    "x-queue-leader-locator",
    // Versions whose quorum queues delay what returns and time their consumers know these too.
    "x-delayed-retry-type",
    "x-delayed-retry-min",
    "x-delayed-retry-max",
    "x-consumer-timeout",
    "x-consumer-disconnected-timeout",
];
const STREAM: &[&str] = &[
    "x-max-length-bytes",
    "x-queue-type",
    "x-max-age",
    "x-stream-max-segment-size-bytes",
    "x-initial-cluster-size",
    "x-queue-leader-locator",
];

/// The arguments of a type of queue.
pub(crate) fn queue_arguments(kind: QueueType, profile: &Profile) -> &'static [&'static str] {
    match kind {
        QueueType::Classic if profile.classic_leader_locator => CLASSIC,
        QueueType::Classic => CLASSIC.split_last().map_or(CLASSIC, |(_, rest)| rest),
        QueueType::Quorum if profile.delayed_retries => QUORUM,
        QueueType::Quorum => QUORUM.split_last_chunk::<5>().map_or(QUORUM, |(rest, _)| rest),
        QueueType::Stream => STREAM,
    }
}

/// The arguments of a consumer of this type of queue.
pub(crate) fn consumer_arguments(kind: QueueType, profile: &Profile) -> &'static [&'static str] {
    match (kind, profile.consumer_credit) {
        (QueueType::Classic, true) => &["x-cancel-on-ha-failover", "x-priority", "x-credit"],
        (QueueType::Quorum, true) => &["x-priority", "x-credit"],
        (QueueType::Stream, true) => &["x-stream-offset", "x-credit"],
        (QueueType::Quorum, false) if profile.timeouts_end_consumers => &["x-priority", "x-consumer-timeout"],
        (QueueType::Classic | QueueType::Quorum, false) => &["x-priority"],
        (QueueType::Stream, false) => &["x-stream-offset", "x-stream-filter", "x-stream-match-unfiltered"],
    }
}
