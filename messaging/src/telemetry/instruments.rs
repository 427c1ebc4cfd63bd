//! The instruments of metrics.

use opentelemetry::metrics::{Counter, Histogram, Meter, UpDownCounter};

use crate::telemetry::names;

/// The bounds that the conventions advise for durations, in seconds.
const BOUNDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

pub(super) struct Instruments {
    pub(super) operation_duration: Histogram<f64>,
    pub(super) process_duration: Histogram<f64>,
    pub(super) sent: Counter<u64>,
    pub(super) consumed: Counter<u64>,
    pub(super) connections: UpDownCounter<i64>,
    pub(super) reconnects: Counter<u64>,
    pub(super) blocked: Counter<f64>,
}

impl Instruments {
    pub(super) fn new(meter: &Meter) -> Self {
        let duration = |name, what| {
            let histogram = meter.f64_histogram(name).with_unit("s").with_description(what);
            histogram.with_boundaries(BOUNDS.to_vec()).build()
        };
        let counter =
            |name, unit, what| meter.u64_counter(name).with_unit(unit).with_description(what).build();
        Instruments {
            operation_duration: duration(
                names::OPERATION_DURATION,
                "The duration of an operation of a producer or a consumer.",
            ),
            process_duration: duration(names::PROCESS_DURATION, "The duration of handling a message."),
            sent: counter(names::SENT_MESSAGES, "{message}", "The number of messages sent to the broker."),
            consumed: counter(
                names::CONSUMED_MESSAGES,
                "{message}",
                "The number of messages that the application has received.",
            ),
            connections: meter
                .i64_up_down_counter(names::CONNECTIONS)
                .with_unit("{connection}")
                .with_description("The number of open connections.")
                .build(),
            reconnects: counter(
                names::RECONNECTS,
                "{reconnect}",
                "The number of times that a lost connection was opened again.",
            ),
            blocked: meter
                .f64_counter(names::BLOCKED_TIME)
                .with_unit("s")
                .with_description("The time for which the broker accepted no publishes.")
                .build(),
        }
    }
}
