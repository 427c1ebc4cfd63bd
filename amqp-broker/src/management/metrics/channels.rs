//! Metrics of channels.

use super::text::{Family, counter, gauge};
use crate::core::{counters::MessageCounters, entities::channel::ChannelMode, vhost::observe::ChannelState};

/// A metric of a channel, and its value.
pub(super) type ChannelMetric = (Family, fn(&ChannelState) -> u64);

/// A metric of what a channel has counted, and its value.
pub(super) type CountedMetric = (Family, fn(&MessageCounters) -> u64);

/// The states of channels.
pub(super) const STATE: &[ChannelMetric] = &[
    (gauge("channel_consumers", "Consumers on a channel"), |channel| channel.consumers as u64),
    (gauge("channel_messages_unacked", "Delivered but not yet acknowledged messages"), |channel| {
        channel.unacked as u64
    }),
    (gauge("channel_messages_unconfirmed", "Published but not yet confirmed messages"), |channel| {
        match channel.mode {
            ChannelMode::Confirm => channel.counters.published.saturating_sub(channel.counters.confirmed),
            _ => 0,
        }
    }),
    (
        gauge("channel_acks_uncommitted", "Message acknowledgements in a transaction not yet committed"),
        |channel| channel.uncommitted_acks as u64,
    ),
    (gauge("consumer_prefetch", "Limit of unacknowledged messages for each consumer"), |channel| {
        channel.prefetch.into()
    }),
    (
        gauge("channel_prefetch", "Total limit of unacknowledged messages for all consumers on a channel"),
        |channel| channel.shared_prefetch.into(),
    ),
];

/// Metrics of the publishes of channels.
pub(super) const PUBLISHED: &[CountedMetric] = &[
    (
        counter(
            "channel_messages_published_total",
            "Total number of messages published into an exchange on a channel",
        ),
        |counters| counters.published,
    ),
    (
        counter(
            "channel_messages_confirmed_total",
            "Total number of messages published into an exchange and confirmed on the channel",
        ),
        |counters| counters.confirmed,
    ),
    (
        counter(
            "channel_messages_unroutable_returned_total",
            "Total number of messages published as mandatory into an exchange and returned to the publisher as unroutable",
        ),
        |counters| counters.returned,
    ),
    (
        counter(
            "channel_messages_unroutable_dropped_total",
            "Total number of messages published as non-mandatory into an exchange and dropped as unroutable",
        ),
        |counters| counters.dropped,
    ),
];

/// Metrics of deliveries and acknowledgements on channels.
pub(super) const DELIVERED: &[CountedMetric] = &[
    (
        counter(
            "channel_get_ack_total",
            "Total number of messages fetched with basic.get in manual acknowledgement mode",
        ),
        |counters| counters.got,
    ),
    (
        counter(
            "channel_get_total",
            "Total number of messages fetched with basic.get in automatic acknowledgement mode",
        ),
        |counters| counters.got_no_ack,
    ),
    (
        counter(
            "channel_messages_delivered_ack_total",
            "Total number of messages delivered to consumers in manual acknowledgement mode",
        ),
        |counters| counters.delivered,
    ),
    (
        counter(
            "channel_messages_delivered_total",
            "Total number of messages delivered to consumers in automatic acknowledgement mode",
        ),
        |counters| counters.delivered_no_ack,
    ),
    (
        counter("channel_messages_redelivered_total", "Total number of messages redelivered to consumers"),
        |counters| counters.redelivered,
    ),
    (
        counter("channel_messages_acked_total", "Total number of messages acknowledged by consumers"),
        |counters| counters.acked,
    ),
    (
        counter("channel_get_empty_total", "Total number of times basic.get operations fetched no message"),
        |counters| counters.got_nothing,
    ),
];
