//! The intervals as CSV, one a line, for other tools.

use crate::load::measured::Measured;

/// The lines, with a heading. Numbers need no quotes.
pub(crate) fn lines(measured: &Measured) -> String {
    let mut lines = String::from(
        "seconds,published_per_second,confirmed_per_second,consumed_per_second,latency_p50_us,latency_p99_us,latency_max_us\n",
    );
    for interval in &measured.intervals {
        let latency = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.1}"));
        lines.push_str(&format!(
            "{:.3},{:.1},{:.1},{:.1},{},{},{}\n",
            interval.end,
            interval.published,
            interval.confirmed,
            interval.consumed,
            latency(interval.p50),
            latency(interval.p99),
            latency(interval.max),
        ));
    }
    lines
}
