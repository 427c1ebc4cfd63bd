//! Samples within statistics, as many as a query asks for.

use serde_json::{Map, Value, json};

use crate::management::{
    answer::query::Query,
    samples::counts::{Counts, NAMES, READY, UNACKED},
};

/// The most samples of one value in an answer.
const MOST_SAMPLES: u64 = 1000;

/// Adds samples to the statistics of messages and to how many there are. `history` has the samples
/// of the last so many milliseconds, the newest first, with so many milliseconds between them.
pub(crate) fn add_history(
    message_stats: &mut Map<String, Value>,
    depths: &mut Map<String, Value>,
    query: &Query,
    history: impl Fn(u64, u64) -> Vec<(u64, Counts)>,
) {
    if let Some((age, step)) = asked(query, "msg_rates") {
        let history = history(age, step);
        for (place, name) in NAMES.iter().enumerate() {
            put(message_stats, name, &history, &|counts| counts.at(place));
        }
        let delivered = |counts: &Counts| (4..8).map(|place| counts.at(place)).sum();
        put(message_stats, "deliver_get", &history, &delivered);
    }
    if let Some((age, step)) = asked(query, "lengths") {
        let history = history(age, step);
        put(depths, "messages", &history, &|counts| counts.at(READY) + counts.at(UNACKED));
        put(depths, "messages_ready", &history, &|counts| counts.at(READY));
        put(depths, "messages_unacknowledged", &history, &|counts| counts.at(UNACKED));
    }
}

/// The age and the step that a query asks for, in milliseconds.
fn asked(query: &Query, name: &str) -> Option<(u64, u64)> {
    let seconds = |what: &str| query.get(&format!("{name}_{what}"))?.parse::<u64>().ok();
    let (age, step) = (seconds("age")?, seconds("incr")?.max(1));
    Some((age.min(step.saturating_mul(MOST_SAMPLES)) * 1000, step.saturating_mul(1000)))
}

/// Adds the samples of one value, their mean, and their mean change in a second.
fn put(
    object: &mut Map<String, Value>,
    name: &str,
    history: &[(u64, Counts)],
    value: &dyn Fn(&Counts) -> u64,
) {
    let Some(Value::Object(details)) = object.get_mut(&format!("{name}_details")) else { return };
    let samples = history.iter().map(|(at, counts)| json!({ "sample": value(counts), "timestamp": at }));
    details.insert("samples".to_owned(), samples.collect());
    let sum: u64 = history.iter().map(|(_, counts)| value(counts)).sum();
    details.insert("avg".to_owned(), (sum as f64 / history.len().max(1) as f64).into());
    let rate = match (history.first(), history.last()) {
        (Some((end, last)), Some((begin, first))) if end > begin => {
            (value(last) as f64 - value(first) as f64) * 1000.0 / (end - begin) as f64
        }
        _ => 0.0,
    };
    details.insert("avg_rate".to_owned(), rate.into());
}
