//! `amqp bench compare`

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;
use serde_json::Value as Json;

use crate::{
    error::Error,
    exit::Exit,
    load::measured::{FORMAT, Latency, Measured, PERCENTILES},
    output::{arguments::OutputArguments, notes::note, screen::Screen, table::Table},
};

/// Compares two reports of `amqp bench --json-file`
///
/// What differs in the settings is said on standard error. A change is that of B against A.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The report to compare with
    a: PathBuf,

    /// The report to compare
    b: PathBuf,

    #[command(flatten)]
    output: OutputArguments,
}

/// A figure of both reports.
#[derive(Debug, PartialEq, Serialize)]
struct Compared {
    figure: String,
    a: f64,
    b: f64,
    /// The change in percent; `None` where A is 0.
    change: Option<f64>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<Exit, Error> {
    let mut screen = Screen::new(&arguments.output);
    let (a, b) = (read(&arguments.a)?, read(&arguments.b)?);
    for difference in differences(&a, &b) {
        note(&difference);
    }
    screen.objects(&compare(&a, &b), table)?;
    Ok(Exit::Done)
}

fn read(path: &Path) -> Result<Measured, Error> {
    let content = |why| Error::Content { path: path.to_owned(), why };
    let text = fs::read(path).map_err(Error::file("read", path))?;
    let json: Json = serde_json::from_slice(&text).map_err(|error| content(format!("not JSON: {error}")))?;
    match json.get("format").and_then(Json::as_u64) {
        Some(format) if format == u64::from(FORMAT) => {
            serde_json::from_value(json).map_err(|error| content(format!("no report: {error}")))
        }
        Some(format) => Err(content(format!("a report of form {format}, and this program knows {FORMAT}"))),
        None => Err(content("no report of amqp bench".to_owned())),
    }
}

/// The differences in the circumstances.
fn differences(a: &Measured, b: &Measured) -> Vec<String> {
    let mut differences = Vec::new();
    if a.broker != b.broker {
        differences.push(format!("the broker is {} in A, {} in B", a.broker, b.broker));
    }
    let plan = |measured: &Measured| serde_json::to_value(&measured.plan).unwrap_or_default();
    let (a, b) = (plan(a), plan(b));
    if let (Json::Object(a), Json::Object(b)) = (&a, &b) {
        let different = a.iter().filter_map(|(name, value)| Some((name, value, b.get(name)?)));
        let different = different.filter(|(_, a, b)| a != b);
        differences.extend(
            different.map(|(name, a, b)| format!("{} is {a} in A, {b} in B", name.replace('_', " "))),
        );
    }
    differences
}

fn compare(a: &Measured, b: &Measured) -> Vec<Compared> {
    let flows = [
        ("published a second", a.published, b.published),
        ("confirmed a second", a.confirmed, b.confirmed),
        ("consumed a second", a.consumed, b.consumed),
    ];
    let flows = flows.into_iter().filter(|(_, a, b)| a.messages > 0 || b.messages > 0);
    let mut compared: Vec<Compared> = flows
        .map(|(figure, a, b)| figures(figure.to_owned(), a.messages_per_second, b.messages_per_second))
        .collect();
    for (what, a, b) in
        [("delivery", &a.latency, &b.latency), ("confirm", &a.confirm_latency, &b.confirm_latency)]
    {
        if let (Some(a), Some(b)) = (a, b) {
            compared.extend(compare_latencies(what, a, b));
        }
    }
    compared
}

fn compare_latencies(what: &str, a: &Latency, b: &Latency) -> Vec<Compared> {
    let figure = |name: &str| format!("{what} {name} us");
    let mut compared = vec![figures(figure("mean"), a.mean, b.mean)];
    for percentile in PERCENTILES {
        if let (Some(a), Some(b)) = (a.at(percentile), b.at(percentile)) {
            compared.push(figures(figure(&format!("p{percentile}")), a, b));
        }
    }
    compared.push(figures(figure("max"), a.max, b.max));
    compared
}

fn figures(figure: String, a: f64, b: f64) -> Compared {
    let change = (a > 0.0).then(|| (b / a - 1.0) * 100.0);
    Compared { figure, a, b, change }
}

fn table(compared: &[Compared]) -> Table {
    let mut table = Table::new(&["", "A", "B", "change %"]);
    for row in compared {
        let change = row.change.map_or_else(String::new, |change| format!("{change:+.1}"));
        table.row([row.figure.clone(), format!("{:.0}", row.a), format!("{:.0}", row.b), change]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_that_of_b_against_a() {
        let change = |a, b| figures(String::new(), a, b).change.map(f64::round);
        assert_eq!(change(200.0, 150.0), Some(-25.0));
        assert_eq!(change(100.0, 300.0), Some(200.0));
        assert_eq!(change(0.0, 1.0), None);
    }
}
