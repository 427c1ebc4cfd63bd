//! The declarations of both sides, frame by frame: they are equal under every set of options.

use std::collections::BTreeSet;

use messaging::{Quorum, StreamStart, Target, Topology, TransportOptions};
use serde_json::json;

use super::{Meeting, on_both_brokers, serve, tap::Tap, within};

/// The method without ids and consumer tags, which are new each time.
fn told_apart(method: &str) -> String {
    let mut out = String::new();
    for (index, part) in method.split(['"', '_', ' ']).enumerate() {
        let separator = if index == 0 { "" } else { "|" };
        let is_id = part.len() == 32 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let part = if is_id { "ID" } else { part };
        out.push_str(separator);
        out.push_str(part);
    }
    out
}

fn declared(tap: &Tap) -> BTreeSet<String> {
    let methods =
        tap.methods(&["exchange.declare", "queue.declare", "queue.bind", "queue.delete", "basic.consume"]);
    let untagged = |method: String| match method.split_once(" consumer_tag=") {
        Some((before, after)) => {
            let after = after.split_once(' ').map_or("", |(_, after)| after);
            format!("{before} {after}").trim_end().to_owned()
        }
        None => method,
    };
    methods.into_iter().map(untagged).map(|method| told_apart(&method)).collect()
}

async fn both_sides_send_the_same_declarations(meeting: Meeting) {
    let plain = Topology::new();
    let limits = Quorum::new().delivery_limit(3).memory_length(10).memory_bytes(1000);
    let quorum = "rabbit_quorum_queue=true&rabbit_quorum_delivery_limit=3&rabbit_quorum_max_memory_length=10&rabbit_quorum_max_memory_bytes=1000";
    let transient = format!("{quorum}&rabbit_transient_quorum_queue=true");
    let stream = format!("{transient}&rabbit_stream_fanout=true&rabbit_qos_prefetch_count=10");
    for (name, options, topology) in [
        ("default", "", plain.clone()),
        ("durable", "amqp_durable_queues=true", plain.clone().durable(true)),
        ("auto-delete", "amqp_auto_delete=true", plain.clone().auto_delete(true)),
        ("quorum", quorum, plain.clone().quorum(limits)),
        ("transient", &transient, plain.clone().quorum(limits).transient_quorum(true)),
        ("stream", &stream, plain.clone().quorum(limits).stream_fanout(true).stream_start(StreamStart::Last)),
        (
            "mirrored",
            "rabbit_ha_queues=true&enable_cancel_on_failover=true",
            plain.clone().mirrored(true).cancel_on_failover(true),
        ),
        ("ttl", "rabbit_transient_queues_ttl=0", plain.clone().transient_ttl(std::time::Duration::ZERO)),
    ] {
        let (topic, exchange) = (meeting.name(name).replace('_', "-"), meeting.name(&format!("{name}-x")));
        let (theirs, ours) = (Tap::on(&meeting.authority).await, Tap::on(&meeting.authority).await);

        let url = format!("rabbit://guest:guest@{}/?{options}", theirs.authority());
        let serve_theirs = json!({
            "do": "serve", "url": url, "topic": topic, "server": "s1", "exchange": exchange,
        });
        within(meeting.python.ask(serve_theirs)).await.unwrap();
        let more = json!({"exchange": exchange});
        meeting.python.call(&url, &topic, "whoami", json!({}), more.clone()).await.unwrap();
        meeting.python.send("fanout", &url, &topic, "bump", json!({}), more).await.unwrap();
        meeting.python.stop(&topic, "s1").await;

        let url = format!("rabbit://guest:guest@{}/", ours.authority());
        let transport = within(TransportOptions::new().topology(topology).connect(&url)).await.unwrap();
        let target = Target::topic(&topic).exchange(&exchange);
        let server = within(serve(&transport, target.clone(), "s1")).await;
        let client = transport.rpc_client(target);
        within(client.call::<String>("whoami", &()).into_future()).await.unwrap();
        within(client.fanout("bump", &())).await.unwrap();
        within(server.stop()).await.unwrap();

        let (theirs, ours) = (declared(&theirs), declared(&ours));
        assert_eq!(ours, theirs, "{name}");
        assert!(ours.len() >= 9, "{name}: {ours:#?}");
        within(transport.close()).await.unwrap();
    }
}

on_both_brokers! {
    both_sides_send_the_same_declarations,
}
