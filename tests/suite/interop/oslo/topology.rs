//! Both sides declare the same entities, in either order, under every set of options.

use messaging::{Quorum, Target, Topology, Transport, TransportOptions};
use serde_json::json;

use super::{Meeting, on_both_brokers, serve, within};

async fn both_sides_declare_the_same(meeting: Meeting) {
    let plain = Topology::new();
    let limits = Quorum::new().delivery_limit(3).memory_length(10).memory_bytes(1000);
    let quorum = "rabbit_quorum_queue=true&rabbit_quorum_delivery_limit=3&rabbit_quorum_max_memory_length=10&rabbit_quorum_max_memory_bytes=1000";
    let transient = format!("{quorum}&rabbit_transient_quorum_queue=true");
    let stream = "rabbit_transient_quorum_queue=true&rabbit_stream_fanout=true&rabbit_qos_prefetch_count=10";
    let host = meeting.name("host");
    let names = format!("use_queue_manager=true&hostname={host}&processname=theirs");
    for (name, options, topology) in [
        ("default", "", plain.clone()),
        ("durable", "amqp_durable_queues=true", plain.clone().durable(true)),
        ("auto-delete", "amqp_auto_delete=true", plain.clone().auto_delete(true)),
        ("quorum", quorum, plain.clone().quorum(limits)),
        ("transient-quorum", &transient, plain.clone().quorum(limits).transient_quorum(true)),
        ("stream", stream, plain.clone().stream_fanout(true)),
        (
            "mirrored",
            "rabbit_ha_queues=true&enable_cancel_on_failover=true",
            plain.clone().mirrored(true).cancel_on_failover(true),
        ),
        ("process", &names, plain.clone().process(&host, "ours")),
        ("ttl", "rabbit_transient_queues_ttl=0", plain.clone().transient_ttl(std::time::Duration::ZERO)),
    ] {
        for python_first in [true, false] {
            let topic = meeting.name(&format!("{name}-{python_first}"));
            // Each set has its own exchange, because the sets declare it differently.
            let exchange = meeting.name(&format!("{name}-{python_first}-x"));
            let url = meeting.python_url(options);
            let transport = if python_first {
                // We read Python's options too, except the prefetch, which belongs to our server.
                let options = options.replace("&rabbit_qos_prefetch_count=10", "").replace("theirs", "ours");
                within(Transport::connect(&meeting.python_url(&options))).await.unwrap()
            } else {
                meeting.transport(TransportOptions::new().topology(topology.clone())).await
            };
            let target = Target::topic(&topic).exchange(&exchange);
            let start = || serve(&transport, target.clone(), "rust");
            let python = meeting.python.ask(json!({
                "do": "serve", "url": url, "topic": topic, "server": "python", "exchange": exchange,
            }));
            let server = if python_first {
                within(python).await.unwrap_or_else(|raised| panic!("{name}: {raised:?}"));
                within(start()).await
            } else {
                let server = within(start()).await;
                within(python).await.unwrap_or_else(|raised| panic!("{name}: {raised:?}"));
                server
            };
            for who in ["rust", "python"] {
                let client = transport.rpc_client(target.clone().server(who));
                let answer: String = within(client.call("whoami", &()).into_future()).await.unwrap();
                assert_eq!(answer, who, "{name}");
                let more = json!({"server": who, "exchange": exchange});
                let answer = meeting.python.call(&url, &topic, "whoami", json!({}), more).await;
                assert_eq!(answer.unwrap_or_else(|raised| panic!("{name}: {raised:?}")), who, "{name}");
            }
            // Both use the fanout exchange.
            let python = transport.rpc_client(target.clone().server("python"));
            within(transport.rpc_client(target.clone()).fanout("bump", &())).await.unwrap();
            let more = json!({"exchange": exchange});
            meeting.python.send("fanout", &url, &topic, "bump", json!({}), more).await.unwrap();
            within(async { while python.call::<u32>("counted", &()).await.unwrap() < 2 {} }).await;
            within(server.stop()).await.unwrap();
            meeting.python.stop(&topic, "python").await;
            within(transport.close()).await.unwrap();
        }
    }
    // Python counts its queues there.
    let counter = format!("/dev/shm/{host}_theirs_qmanager");
    std::fs::remove_file(&counter).unwrap_or_else(|error| panic!("{counter}: {error}"));
}

on_both_brokers! {
    both_sides_declare_the_same,
}
