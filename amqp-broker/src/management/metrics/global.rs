//! Metrics of all queues and channels together, which outlive them.

use super::{
    channels::CountedMetric,
    snapshot::{Snapshot, TYPES},
    text::{Page, counter, gauge, labels},
};

/// Metrics of deliveries, by the type of the queue.
const BY_TYPE: &[CountedMetric] = &[
    (
        counter("global_messages_acknowledged_total", "Total number of messages acknowledged by consumers"),
        |counters| counters.acked,
    ),
    (
        counter(
            "global_messages_delivered_consume_auto_ack_total",
            "Total number of messages delivered to consumers using basic.consume with automatic acknowledgment",
        ),
        |counters| counters.delivered_no_ack,
    ),
    (
        counter(
            "global_messages_delivered_consume_manual_ack_total",
            "Total number of messages delivered to consumers using basic.consume with manual acknowledgment",
        ),
        |counters| counters.delivered,
    ),
    (
        counter(
            "global_messages_delivered_get_auto_ack_total",
            "Total number of messages delivered to consumers using basic.get with automatic acknowledgment",
        ),
        |counters| counters.got_no_ack,
    ),
    (
        counter(
            "global_messages_delivered_get_manual_ack_total",
            "Total number of messages delivered to consumers using basic.get with manual acknowledgment",
        ),
        |counters| counters.got,
    ),
    (
        counter("global_messages_delivered_total", "Total number of messages delivered to consumers"),
        |counters| counters.delivered + counters.delivered_no_ack + counters.got + counters.got_no_ack,
    ),
    (
        counter(
            "global_messages_get_empty_total",
            "Total number of times basic.get operations fetched no message",
        ),
        |counters| counters.got_nothing,
    ),
    (
        counter("global_messages_redelivered_total", "Total number of messages redelivered to consumers"),
        |counters| counters.redelivered,
    ),
];

/// Metrics of publishes.
const OF_CHANNELS: &[CountedMetric] = &[
    (
        counter("global_messages_confirmed_total", "Total number of messages confirmed to publishers"),
        |counters| counters.confirmed,
    ),
    (
        counter("global_messages_received_total", "Total number of messages received from publishers"),
        |counters| counters.published,
    ),
    (
        counter(
            "global_messages_received_confirm_total",
            "Total number of messages received from publishers using confirms",
        ),
        |counters| counters.published_to_confirm,
    ),
    (
        counter(
            "global_messages_unroutable_dropped_total",
            "Total number of messages published as non-mandatory into an exchange and dropped as unroutable",
        ),
        |counters| counters.dropped,
    ),
    (
        counter(
            "global_messages_unroutable_returned_total",
            "Total number of messages published as mandatory into an exchange and returned to the publisher as unroutable",
        ),
        |counters| counters.returned,
    ),
];

/// Writes them.
pub(super) fn write(page: &mut Page, snapshot: &Snapshot) {
    let protocol = labels(&[("protocol", "amqp091")]);
    let consumers: usize = snapshot.vhosts.iter().map(|vhost| vhost.consumers).sum();
    page.one(gauge("global_consumers", "Current number of consumers"), &protocol, consumers);
    let publishing = snapshot.channels().filter(|channel| channel.counters.published > 0).count();
    page.one(gauge("global_publishers", "Current number of publishers"), &protocol, publishing);
    let all = snapshot.all_channels();
    for (family, value) in OF_CHANNELS {
        page.one(*family, &protocol, value(&all));
    }
    let by_type = TYPES.map(|kind| (kind, snapshot.all_queues(kind)));
    let routed: u64 = by_type.iter().map(|(_, counters)| counters.published).sum();
    let help = "Total number of messages routed to queues or streams";
    page.one(counter("global_messages_routed_total", help), &protocol, routed);
    for (family, value) in BY_TYPE {
        page.begin(*family);
        for (kind, counters) in &by_type {
            let labels = labels(&[("protocol", "amqp091"), ("queue_type", kind.name())]);
            page.sample(*family, &labels, value(counters));
        }
    }
}
