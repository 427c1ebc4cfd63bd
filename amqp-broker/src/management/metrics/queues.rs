//! Metrics of queues.

use super::text::{Family, counter, gauge};
use crate::core::vhost::observe::QueueState;

/// A metric of a queue, and its value.
pub(super) type QueueMetric = (Family, fn(&QueueState) -> u64);

/// Metrics of the numbers of messages.
pub(super) const COARSE: &[QueueMetric] = &[
    (gauge("queue_messages_ready", "Messages ready to be delivered to consumers"), |queue| {
        queue.ready as u64
    }),
    (gauge("queue_messages_unacked", "Messages delivered to consumers but not yet acknowledged"), |queue| {
        queue.unacked as u64
    }),
    (gauge("queue_messages", "Sum of ready and unacknowledged messages - total queue depth"), messages),
];

/// Further metrics of a queue. Everything is in memory, whatever is on disk besides.
pub(super) const FINE: &[QueueMetric] = &[
    (gauge("queue_consumers", "Consumers on a queue"), |queue| queue.consumers as u64),
    (gauge("queue_consumer_capacity", "Consumer capacity"), capacity),
    (gauge("queue_consumer_utilisation", "Same as consumer capacity"), capacity),
    (gauge("queue_messages_ram", "Ready and unacknowledged messages stored in memory"), messages),
    (gauge("queue_messages_ram_bytes", "Size of ready and unacknowledged messages stored in memory"), bytes),
    (gauge("queue_messages_ready_ram", "Ready messages stored in memory"), |queue| queue.ready as u64),
    (gauge("queue_messages_unacked_ram", "Unacknowledged messages stored in memory"), |queue| {
        queue.unacked as u64
    }),
    (gauge("queue_messages_bytes", "Size in bytes of ready and unacknowledged messages"), bytes),
    (gauge("queue_messages_ready_bytes", "Size in bytes of ready messages"), |queue| queue.ready_bytes),
    (gauge("queue_messages_unacked_bytes", "Size in bytes of all unacknowledged messages"), |queue| {
        queue.unacked_bytes
    }),
    (gauge("queue_messages_paged_out", "Messages paged out to disk"), |_| 0),
    (gauge("queue_messages_paged_out_bytes", "Size in bytes of messages paged out to disk"), |_| 0),
];

/// The consumers of a queue.
pub(super) const CONSUMERS: &[QueueMetric] =
    &[(gauge("queue_consumers", "Consumers on a queue"), |queue| queue.consumers as u64)];

/// Metrics of publishes and deliveries by queue, which RabbitMQ 4.0 has too.
pub(super) const DELIVERY: &[QueueMetric] = &[
    (
        counter(
            "queue_get_ack_total",
            "Total number of messages fetched from a queue with basic.get in manual acknowledgement mode",
        ),
        |queue| queue.counters.got,
    ),
    (
        counter(
            "queue_get_total",
            "Total number of messages fetched from a queue with basic.get in automatic acknowledgement mode",
        ),
        |queue| queue.counters.got_no_ack,
    ),
    (
        counter(
            "queue_messages_delivered_ack_total",
            "Total number of messages delivered from a queue to consumers in manual acknowledgement mode",
        ),
        |queue| queue.counters.delivered,
    ),
    (
        counter(
            "queue_messages_delivered_total",
            "Total number of messages delivered from a queue to consumers in automatic acknowledgement mode",
        ),
        |queue| queue.counters.delivered_no_ack,
    ),
    (
        counter(
            "queue_messages_redelivered_total",
            "Total number of messages redelivered from a queue to consumers",
        ),
        |queue| queue.counters.redelivered,
    ),
    (
        counter(
            "queue_messages_acked_total",
            "Total number of messages acknowledged by consumers on a queue",
        ),
        |queue| queue.counters.acked,
    ),
    (
        counter(
            "queue_get_empty_total",
            "Total number of times basic.get operations fetched no message on a queue",
        ),
        |queue| queue.counters.got_nothing,
    ),
];

/// Metrics of the messages that came into queues.
pub(super) const PUBLISHED: &[QueueMetric] =
    &[(counter("queue_messages_published_total", "Total number of messages published to queues"), |queue| {
        queue.counters.published
    })];

fn messages(queue: &QueueState) -> u64 {
    (queue.ready + queue.unacked) as u64
}

fn bytes(queue: &QueueState) -> u64 {
    queue.ready_bytes + queue.unacked_bytes
}

/// One while a consumer waits for messages.
fn capacity(queue: &QueueState) -> u64 {
    u64::from(queue.has_able_consumer)
}
