//! Statistics with their rates.

use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value, json};

use crate::management::samples::{
    counts::{Counts, NAMES, READY, Rates, UNACKED},
    sampler::Sampled,
};

/// Adds a value and its rate.
pub(crate) fn put(object: &mut Map<String, Value>, name: &str, value: u64, rate: f64) {
    object.insert(name.to_owned(), value.into());
    object.insert(format!("{name}_details"), json!({ "rate": rate }));
}

/// The statistics of messages.
pub(crate) fn message_stats(counts: &Counts, rates: &Rates) -> Map<String, Value> {
    let mut stats = Map::new();
    for (place, name) in NAMES.iter().enumerate() {
        put(&mut stats, name, counts.at(place), rates.at(place));
    }
    // What was delivered in any way.
    let places = 4..8;
    let sum = places.clone().map(|place| counts.at(place)).sum();
    put(&mut stats, "deliver_get", sum, places.map(|place| rates.at(place)).sum());
    stats
}

/// Adds the statistics of messages, if anything has happened to any.
pub(crate) fn add_message_stats(object: &mut Map<String, Value>, counts: &Counts, rates: &Rates) {
    if counts.has_stats() {
        object.insert("message_stats".to_owned(), message_stats(counts, rates).into());
    }
}

/// Adds the time since which nothing has happened, if nothing has since the last sample.
pub(crate) fn add_idle_since(object: &mut Map<String, Value>, counts: &Counts, sampled: &Sampled) {
    let since = sampled.idle_since.filter(|_| *counts == sampled.counts);
    let time = since.and_then(|since| DateTime::from_timestamp_millis(i64::try_from(since).ok()?));
    if let Some(time) = time {
        let text = time.to_rfc3339_opts(SecondsFormat::Millis, false);
        object.insert("idle_since".to_owned(), text.into());
    }
}

/// Adds how many messages there are.
pub(crate) fn add_depth(object: &mut Map<String, Value>, counts: &Counts, rates: &Rates) {
    let (ready, unacked) = (counts.at(READY), counts.at(UNACKED));
    put(object, "messages", ready + unacked, rates.at(READY) + rates.at(UNACKED));
    put(object, "messages_ready", ready, rates.at(READY));
    put(object, "messages_unacknowledged", unacked, rates.at(UNACKED));
}
