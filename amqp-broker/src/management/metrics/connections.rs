//! Metrics of connections.

use super::text::{Family, counter, gauge};
use crate::management::observed::connections::ConnectionState;

/// A metric of a connection, and its value.
pub(super) type ConnectionMetric = (Family, fn(&ConnectionState) -> u64);

/// The octets of connections.
pub(super) const COARSE: &[ConnectionMetric] = &[
    (
        counter("connection_incoming_bytes_total", "Total number of bytes received on a connection"),
        |connection| connection.traffic.octets[0],
    ),
    (
        counter("connection_outgoing_bytes_total", "Total number of bytes sent on a connection"),
        |connection| connection.traffic.octets[1],
    ),
];

/// Further metrics of a connection.
pub(super) const FINE: &[ConnectionMetric] =
    &[(gauge("connection_channels", "Channels on a connection"), |connection| connection.channels as u64)];
