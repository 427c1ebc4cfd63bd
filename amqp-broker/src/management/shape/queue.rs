//! Queues.

use amqp_codec::Table;
use serde_json::{Map, Value, json};

use super::stats;
use crate::{
    core::{rabbitmq::arguments::QueueType, vhost::observe::QueueState},
    management::{
        answer::table::table_json,
        samples::{counts::Counts, sampler::Samples},
        service::NODE,
    },
};

/// A queue without what is counted, as in definitions.
pub(crate) fn declaration(queue: &QueueState) -> Map<String, Value> {
    let mut shown = Map::new();
    shown.insert("arguments".to_owned(), table_json(&queue.arguments));
    shown.insert("auto_delete".to_owned(), queue.auto_delete.into());
    shown.insert("durable".to_owned(), queue.durable.into());
    shown.insert("name".to_owned(), queue.name.to_text().into());
    shown
}

/// Merges the policy and the operator policy: of two numbers the smaller one holds, and
/// otherwise the operator's value.
fn effective(definitions: &[Option<Table>; 2]) -> Map<String, Value> {
    let mut merged = Map::new();
    for definition in definitions.iter().flatten() {
        let Value::Object(own) = table_json(definition) else { continue };
        for (key, value) in own {
            let before = merged.get(&key).and_then(Value::as_i64);
            let is_less = before.zip(value.as_i64()).is_none_or(|(before, now)| now < before);
            if is_less {
                merged.insert(key, value);
            }
        }
    }
    merged
}

/// A queue in a list.
pub(crate) fn queue(vhost: &str, queue: &QueueState, samples: &Samples) -> Map<String, Value> {
    let mut shown = declaration(queue);
    let capacity = u8::from(queue.has_able_consumer);
    let (ready, unacked) = (queue.ready, queue.unacked);
    let (ready_bytes, unacked_bytes) = (queue.ready_bytes, queue.unacked_bytes);
    let more = json!({
        "consumer_capacity": capacity,
        "consumer_utilisation": capacity,
        "consumers": queue.consumers,
        "effective_policy_definition": effective(&queue.definitions),
        "exclusive": queue.owner.is_some(),
        "exclusive_consumer_tag": queue.exclusive_consumer.as_ref().map(|tag| tag.to_text()),
        "memory": ready_bytes + unacked_bytes,
        "message_bytes": ready_bytes + unacked_bytes,
        "message_bytes_paged_out": 0,
        "message_bytes_ram": ready_bytes + unacked_bytes,
        "message_bytes_ready": ready_bytes,
        "message_bytes_unacknowledged": unacked_bytes,
        "messages_paged_out": 0,
        "messages_ram": ready + unacked,
        "messages_ready_ram": ready,
        "messages_unacknowledged_ram": unacked,
        "node": NODE,
        "operator_policy": queue.operator_policy,
        "policy": queue.policy,
        "single_active_consumer_tag": queue.active_consumer.as_ref().map(|tag| tag.to_text()),
        "state": "running",
        "type": queue.kind.short_name(),
        "vhost": vhost,
    });
    if let Value::Object(more) = more {
        shown.extend(more);
    }
    if queue.kind != QueueType::Classic {
        shown.insert("leader".to_owned(), NODE.into());
        shown.insert("members".to_owned(), json!([NODE]));
        shown.insert("online".to_owned(), json!([NODE]));
    }
    let counts = Counts::of(&queue.counters, ready, unacked);
    let sampled = samples.queue(vhost, &queue.name);
    stats::add_depth(&mut shown, &counts, &sampled.rates);
    stats::add_message_stats(&mut shown, &counts, &sampled.rates);
    stats::add_idle_since(&mut shown, &counts, &sampled);
    shown
}
