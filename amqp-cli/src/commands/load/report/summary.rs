//! The report for people.

use crate::{
    error::Error,
    load::measured::{Flow, Latency, Measured, PERCENTILES},
    output::{screen::Screen, table::Table},
};

/// Prints what was measured: as one object, or as tables.
///
/// # Errors
/// As [`Screen::object`].
pub(crate) fn print(screen: &mut Screen, measured: &Measured) -> Result<(), Error> {
    let mut text = flows(measured).draw(screen.style);
    if let Some(latencies) = latencies(measured) {
        text.push('\n');
        text.push_str(&latencies.draw(screen.style));
    }
    for remark in remarks(measured) {
        text.push_str(&remark);
        text.push('\n');
    }
    screen.object(measured, text.trim_end())
}

fn flows(measured: &Measured) -> Table {
    let mut table = Table::new(&["", "messages", "a second", "MB/s"]);
    for (what, flow) in named_flows(measured) {
        table.row([
            what.to_owned(),
            flow.messages.to_string(),
            format!("{:.0}", flow.messages_per_second),
            if flow.bytes_per_second > 0.0 {
                format!("{:.1}", flow.bytes_per_second / 1e6)
            } else {
                String::new()
            },
        ]);
    }
    table
}

/// The flows that there were, with their names.
pub(crate) fn named_flows(measured: &Measured) -> Vec<(&'static str, Flow)> {
    let flows = [
        ("published", measured.published),
        ("confirmed", measured.confirmed),
        ("consumed", measured.consumed),
    ];
    flows.into_iter().filter(|(_, flow)| flow.messages > 0).collect()
}

/// The latencies that there were, with their names.
pub(crate) fn named_latencies(measured: &Measured) -> Vec<(&'static str, &Latency)> {
    let latencies = [
        ("publish to delivery", measured.latency.as_ref()),
        ("publish to confirm", measured.confirm_latency.as_ref()),
    ];
    latencies.into_iter().filter_map(|(what, latency)| Some((what, latency?))).collect()
}

fn latencies(measured: &Measured) -> Option<Table> {
    let latencies = named_latencies(measured);
    let label = label(latencies.first()?.1);
    let headings = [label, "min", "mean", "p50", "p75", "p90", "p95", "p99", "p99.9", "p99.99", "max"];
    let mut table = Table::new(&headings);
    for (what, latency) in latencies {
        let percentiles =
            PERCENTILES.into_iter().map(|percentile| latency.at(percentile).unwrap_or_default());
        let values = [latency.min, latency.mean].into_iter().chain(percentiles).chain([latency.max]);
        table.row([what.to_owned()].into_iter().chain(values.map(|value| format!("{value:.0}"))));
    }
    Some(table)
}

/// The kinds of times that a distribution has.
pub(crate) fn label(latency: &Latency) -> &'static str {
    match latency.is_corrected {
        true => "microseconds, from when due",
        false => "microseconds, uncorrected",
    }
}

/// Further remarks.
pub(crate) fn remarks(measured: &Measured) -> Vec<String> {
    let remarks = [
        (measured.refused, "messages were nacked or returned"),
        (measured.redelivered, "deliveries were redelivered"),
        (measured.left, "messages were published and not consumed"),
    ];
    let counted = remarks.into_iter().filter(|(count, _)| *count > 0);
    counted.map(|(count, what)| format!("{count} {what}")).collect()
}
