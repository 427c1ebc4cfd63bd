//! Exchanges.

use serde_json::{Map, Value, json};

use super::stats;
use crate::{
    core::{counters::ExchangeCounters, vhost::observe::ExchangeState},
    management::{answer::table::table_json, samples::sampler::Samples},
};

/// The name by which requests know the default exchange.
pub(crate) const DEFAULT: &str = "amq.default";

/// An exchange in a list.
pub(crate) fn exchange(
    vhost: &str,
    ExchangeState { info: exchange, counters }: &ExchangeState,
    samples: &Samples,
) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("arguments".to_owned(), table_json(&exchange.arguments));
    shown.insert("auto_delete".to_owned(), exchange.auto_delete.into());
    shown.insert("durable".to_owned(), exchange.durable.into());
    shown.insert("internal".to_owned(), exchange.internal.into());
    add_message_stats(&mut shown, counters, samples.exchange(vhost, &exchange.name));
    shown.insert("name".to_owned(), exchange.name.as_str().into());
    // Unlike a queue, an exchange without a policy has no such member.
    for (name, policy) in [("policy", &exchange.policy), ("operator_policy", &exchange.operator_policy)] {
        if let Some(policy) = policy {
            shown.insert(name.to_owned(), policy.as_str().into());
        }
    }
    shown.insert("type".to_owned(), exchange.kind.as_str().into());
    shown.insert("vhost".to_owned(), vhost.into());
    shown
}

/// Adds the statistics of messages, if any was published to the exchange.
fn add_message_stats(object: &mut Map<String, Value>, counters: &ExchangeCounters, rates: [f64; 2]) {
    if counters.published > 0 {
        let mut stats = Map::new();
        stats::put(&mut stats, "publish_in", counters.published, rates[0]);
        stats::put(&mut stats, "publish_out", counters.routed, rates[1]);
        object.insert("message_stats".to_owned(), stats.into());
    }
}

/// The default exchange of a virtual host.
pub(crate) fn default_exchange(
    vhost: &str,
    counters: &ExchangeCounters,
    samples: &Samples,
) -> Map<String, Value> {
    let shown = json!({
        "arguments": {},
        "auto_delete": false,
        "durable": true,
        "internal": false,
        "name": "",
        "type": "direct",
        "vhost": vhost,
    });
    let Value::Object(mut shown) = shown else { return Map::new() };
    add_message_stats(&mut shown, counters, samples.exchange(vhost, ""));
    shown
}
