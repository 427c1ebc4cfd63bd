//! Connections, channels and consumers.

use serde_json::{Map, Value, json};

use super::stats;
use crate::{
    core::{
        entities::channel::ChannelMode,
        vhost::observe::{ChannelState, ConsumerState},
    },
    management::{
        answer::table::table_json,
        observed::connections::ConnectionState,
        samples::{counts::Counts, sampler::Samples},
        service::NODE,
    },
    session::holdings::TrafficCounts,
};

/// A connection in a list.
pub(crate) fn connection(connection: &ConnectionState, samples: &Samples) -> Value {
    let [(peer_host, peer_port), (host, port)] = connection.ends();
    let Some(login) = connection.login() else { return Value::Null };
    let rates = samples.connection(connection.client.number);
    let TrafficCounts { octets: [received, sent], operations: [reads, writes] } = connection.traffic;
    json!({
        "auth_mechanism": login.introduction.mechanism,
        "channel_max": login.tune.channel_max,
        "channels": connection.channels,
        "client_properties": table_json(&login.introduction.properties),
        "connected_at": connection.client.since,
        "frame_max": login.tune.frame_max,
        "host": host,
        "name": connection.client.name,
        "node": NODE,
        "peer_host": peer_host,
        "peer_port": peer_port,
        "port": port,
        "protocol": "AMQP 0-9-1",
        "recv_cnt": reads,
        "recv_oct": received,
        "recv_oct_details": { "rate": rates[0] },
        "send_cnt": writes,
        "send_oct": sent,
        "send_oct_details": { "rate": rates[1] },
        "send_pend": 0,
        "ssl": connection.is_tls,
        "state": if connection.is_blocked { "blocked" } else { "running" },
        "timeout": login.tune.heartbeat,
        "type": if peer_port == 0 { "direct" } else { "network" },
        "user": login.user,
        "user_provided_name": login.client_name,
        "user_who_performed_action": login.user,
        "vhost": login.vhost,
    })
}

/// The name of a channel.
pub(crate) fn channel_name(connection: &ConnectionState, number: u16) -> String {
    format!("{} ({number})", connection.client.name)
}

/// A channel in a list.
pub(crate) fn channel(
    connection: &ConnectionState,
    channel: &ChannelState,
    samples: &Samples,
) -> Map<String, Value> {
    let [(peer_host, peer_port), _] = connection.ends();
    let unconfirmed = match channel.mode {
        ChannelMode::Confirm => channel.counters.published.saturating_sub(channel.counters.confirmed),
        _ => 0,
    };
    // What a transaction has published is not known here.
    let uncommitted = if channel.mode == ChannelMode::Transaction { Value::Null } else { 0.into() };
    let shown = json!({
        "acks_uncommitted": channel.uncommitted_acks,
        "confirm": channel.mode == ChannelMode::Confirm,
        "connection_details": {
            "name": connection.client.name,
            "peer_host": peer_host,
            "peer_port": peer_port,
        },
        "consumer_count": channel.consumers,
        "global_prefetch_count": channel.shared_prefetch,
        "messages_unacknowledged": channel.unacked,
        "messages_uncommitted": uncommitted,
        "messages_unconfirmed": unconfirmed,
        "name": channel_name(connection, channel.number),
        "node": NODE,
        "number": channel.number,
        "prefetch_count": channel.prefetch,
        "state": "running",
        "transactional": channel.mode == ChannelMode::Transaction,
        "user": connection.user(),
        "user_who_performed_action": connection.user(),
        "vhost": connection.vhost(),
    });
    let Value::Object(mut shown) = shown else { return Map::new() };
    let counts = Counts::of(&channel.counters, 0, channel.unacked);
    let sampled = samples.channel(connection.vhost(), channel.id);
    stats::add_message_stats(&mut shown, &counts, &sampled.rates);
    stats::add_idle_since(&mut shown, &counts, &sampled);
    shown
}

/// A consumer in a list.
pub(crate) fn consumer(connection: &ConnectionState, consumer: &ConsumerState) -> Value {
    let [(peer_host, peer_port), _] = connection.ends();
    let arguments = match consumer.priority {
        0 => json!({}),
        priority => json!({ "x-priority": priority }),
    };
    json!({
        "ack_required": !consumer.no_ack,
        "active": consumer.is_active,
        "activity_status": if consumer.is_active { "up" } else { "waiting" },
        "arguments": arguments,
        "channel_details": {
            "connection_name": connection.client.name,
            "name": channel_name(connection, consumer.channel),
            "node": NODE,
            "number": consumer.channel,
            "peer_host": peer_host,
            "peer_port": peer_port,
            "user": connection.user(),
        },
        "consumer_tag": consumer.tag.to_text(),
        "exclusive": consumer.exclusive,
        "prefetch_count": consumer.prefetch,
        "queue": { "name": consumer.queue.to_text(), "vhost": connection.vhost() },
    })
}
