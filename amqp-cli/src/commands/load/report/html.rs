//! The report as one page of HTML: no script, and nothing from elsewhere.

use std::fmt::Write as _;

use serde_json::Value as Json;

use crate::{
    commands::load::report::{
        axis::{Axis, nines},
        plot::{self, Line},
        summary::{label, named_flows, named_latencies, remarks},
    },
    load::measured::{Interval, Measured, PERCENTILES},
};

const STYLE: &str = include_str!("page.css");

/// The page. All texts in it are escaped: a queue's name, a file's, what the broker calls itself.
pub(crate) fn page(measured: &Measured) -> String {
    let title = format!("amqp bench: {}", escaped(&measured.broker));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    page.push_str(&flows(measured));
    for remark in remarks(measured) {
        page.push_str(&format!("<p class=\"remark\">{}</p>\n", escaped(&remark)));
    }
    page.push_str(&latencies(measured));
    page.push_str("<h2>Throughput</h2>\n");
    page.push_str(&throughput_plot(measured));
    if measured.latency.is_some() || measured.confirm_latency.is_some() {
        page.push_str("<h2>Latency over time</h2>\n");
        page.push_str(&latency_plot(measured));
        page.push_str("<h2>Latency by percentile</h2>\n");
        page.push_str(&percentile_plot(measured));
    }
    page.push_str("<h2>Settings</h2>\n");
    page.push_str(&settings(measured));
    page.push_str("</body>\n</html>\n");
    page
}

fn flows(measured: &Measured) -> String {
    let rows = named_flows(measured).into_iter().map(|(what, flow)| {
        vec![
            what.to_owned(),
            flow.messages.to_string(),
            format!("{:.0}", flow.messages_per_second),
            format!("{:.2}", flow.bytes_per_second / 1e6),
        ]
    });
    let heading = format!("in {:.1} seconds", measured.seconds);
    table(&[&heading, "messages", "messages a second", "MB a second"], rows)
}

fn latencies(measured: &Measured) -> String {
    let latencies = named_latencies(measured);
    let Some((_, first)) = latencies.first() else { return String::new() };
    let names: Vec<String> = PERCENTILES.into_iter().map(|percentile| format!("p{percentile}")).collect();
    let headings: Vec<&str> = [label(first), "min", "mean"]
        .into_iter()
        .chain(names.iter().map(String::as_str))
        .chain(["max"])
        .collect();
    let rows = latencies.into_iter().map(|(what, latency)| {
        let percentiles =
            PERCENTILES.into_iter().map(|percentile| latency.at(percentile).unwrap_or_default());
        let values = [latency.min, latency.mean].into_iter().chain(percentiles).chain([latency.max]);
        [what.to_owned()].into_iter().chain(values.map(|value| format!("{value:.1}"))).collect()
    });
    table(&headings, rows)
}

fn throughput_plot(measured: &Measured) -> String {
    let line = |name, rate: fn(&Interval) -> f64| Line {
        name,
        points: over_time(measured, |interval| Some(rate(interval))),
    };
    let lines = [
        line("published", |interval| interval.published),
        line("confirmed", |interval| interval.confirmed),
        line("consumed", |interval| interval.consumed),
    ];
    let values = lines.iter().flat_map(|line| line.points.iter().map(|(_, value)| *value));
    plot::draw("throughput", &time(measured), &Axis::linear("messages a second", values), &lines)
}

fn latency_plot(measured: &Measured) -> String {
    let line =
        |name, latency: fn(&Interval) -> Option<f64>| Line { name, points: over_time(measured, latency) };
    let lines = [
        line("p50", |interval| interval.p50),
        line("p99", |interval| interval.p99),
        line("max", |interval| interval.max),
    ];
    let values = lines.iter().flat_map(|line| line.points.iter().map(|(_, value)| *value));
    plot::draw("latency over time", &time(measured), &Axis::logarithmic("microseconds", values), &lines)
}

fn percentile_plot(measured: &Measured) -> String {
    let lines: Vec<Line> = named_latencies(measured)
        .into_iter()
        .map(|(name, latency)| Line {
            name,
            points: latency.curve.iter().map(|at| (nines(at.percentile), at.microseconds)).collect(),
        })
        .collect();
    let points = || lines.iter().flat_map(|line| &line.points);
    let highest = points().map(|(nines, _)| *nines).fold(0.0, f64::max);
    let vertical = Axis::logarithmic("microseconds", points().map(|(_, value)| *value));
    plot::draw("latency by percentile", &Axis::percentiles(highest), &vertical, &lines)
}

fn time(measured: &Measured) -> Axis {
    Axis::linear("seconds", measured.intervals.iter().map(|interval| interval.end))
}

fn over_time(measured: &Measured, value: impl Fn(&Interval) -> Option<f64>) -> Vec<(f64, f64)> {
    measured.intervals.iter().filter_map(|interval| Some((interval.end, value(interval)?))).collect()
}

fn settings(measured: &Measured) -> String {
    let Ok(Json::Object(plan)) = serde_json::to_value(&measured.plan) else { return String::new() };
    let rows = plan.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| {
        let value = match value {
            Json::String(text) => text,
            other => other.to_string(),
        };
        vec![name.replace('_', " "), value]
    });
    let program = vec!["program".to_owned(), format!("amqp {}", measured.version)];
    table(&["", ""], [program].into_iter().chain(rows))
}

fn table(headings: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = String::from("<table>\n<tr>");
    for heading in headings {
        // Writing to a string does not fail.
        let _ = write!(table, "<th>{}</th>", escaped(heading));
    }
    table.push_str("</tr>\n");
    for row in rows {
        table.push_str("<tr>");
        for cell in row {
            let _ = write!(table, "<td>{}</td>", escaped(&cell));
        }
        table.push_str("</tr>\n");
    }
    table.push_str("</table>\n");
    table
}

/// Text, in which nothing is markup.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_text_is_markup() {
        assert_eq!(escaped("<b a='\"'>&"), "&lt;b a=&#39;&quot;&#39;&gt;&amp;");
        assert_eq!(
            table(&["<"], [vec![">".to_owned()]].into_iter()),
            "<table>\n<tr><th>&lt;</th></tr>\n<tr><td>&gt;</td></tr>\n</table>\n"
        );
    }
}
