//! Calls over every kind of entity that oslo.messaging knows.

use messaging::{
    Error, Quorum, Target, Topology, Transport, TransportOptions,
    rpc::{Client, Endpoint, RunningServer, Server},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    fixture::{Broker, within},
    on_every_broker_and_redis,
};

async fn transport(broker: &Broker, topology: &Topology) -> Transport {
    within(TransportOptions::new().topology(topology.clone()).connect(&broker.url)).await.unwrap()
}

/// A server that reports what it runs, under its own name.
fn server(
    transport: &Transport,
    target: Target,
    name: &'static str,
    ran: &mpsc::UnboundedSender<String>,
) -> Server {
    let ran = ran.clone();
    let endpoint = Endpoint::new().method("run", move |_, id: Value| {
        let sent = ran.send(format!("{name} {}", id["id"]));
        async move {
            sent?;
            Ok(name)
        }
    });
    transport.rpc_server(target.server(name)).endpoint(endpoint)
}

async fn run(client: &Client, id: u32) -> Result<String, Error> {
    within(client.call("run", &json!({"id": id})).into_future()).await
}

async fn calls_and_fanouts_go_over_entities_of_every_kind(broker: Broker) {
    let plain = Topology::new();
    for (name, topology) in [
        ("durable", plain.clone().durable(true)),
        ("auto-delete", plain.clone().auto_delete(true)),
        ("quorum", plain.clone().quorum(Quorum::new().delivery_limit(3))),
        ("transient-quorum", plain.clone().quorum(Quorum::new()).transient_quorum(true)),
        ("mirrored", plain.clone().mirrored(true).cancel_on_failover(true)),
        ("stream", plain.clone().stream_fanout(true)),
        ("process", plain.clone().process("node1", &broker.name("p"))),
        ("scoped", plain.clone().scoped(true)),
    ] {
        let (ran, mut runs) = mpsc::unbounded_channel();
        let target = Target::topic(broker.name(name)).exchange(broker.name(&format!("{name}-exchange")));
        let serving = transport(&broker, &topology).await;
        let mut servers: Vec<RunningServer> = Vec::new();
        for server_name in ["s1", "s2"] {
            servers.push(within(server(&serving, target.clone(), server_name, &ran).start()).await.unwrap());
        }
        let calling = transport(&broker, &topology).await;
        let client = calling.rpc_client(target);
        let answered = run(&client, 1).await;
        assert!(matches!(answered.as_deref(), Ok("s1" | "s2")), "{name}: {answered:?}");
        assert_eq!(run(&client.prepare(|target| target.server("s2")), 2).await.unwrap(), "s2", "{name}");
        within(client.fanout("run", &json!({"id": 3}))).await.unwrap();
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(within(runs.recv()).await.unwrap());
        }
        seen.sort_unstable();
        assert_eq!(seen.iter().filter(|run| run.ends_with('3')).count(), 2, "{name}: {seen:?}");
        for server in servers {
            within(server.stop()).await.unwrap();
        }
        within(calling.close()).await.unwrap();
    }
}

async fn scoped_services_of_one_topic_do_not_get_each_others_requests(broker: Broker) {
    let (ran, _runs) = mpsc::unbounded_channel();
    let transport = transport(&broker, &Topology::new().scoped(true)).await;
    let target = |exchange| Target::topic(broker.name("t")).exchange(broker.name(exchange));
    let first = within(server(&transport, target("a"), "of a", &ran).start()).await.unwrap();
    let second = within(server(&transport, target("b"), "of b", &ran).start()).await.unwrap();
    for (exchange, answer) in [("a", "of a"), ("b", "of b")] {
        let client = transport.rpc_client(target(exchange));
        for id in 0..4 {
            assert_eq!(run(&client, id).await.unwrap(), answer);
        }
    }
    within(first.stop()).await.unwrap();
    within(second.stop()).await.unwrap();
}

async fn a_target_without_an_exchange_goes_through_the_control_exchange(broker: Broker) {
    let (ran, _runs) = mpsc::unbounded_channel();
    let exchange = broker.name("control");
    let transport = transport(&broker, &Topology::new().control_exchange(&exchange).scoped(true)).await;
    let target = Target::topic(broker.name("t"));
    let server = within(server(&transport, target.clone(), "s1", &ran).start()).await.unwrap();
    for target in [target.clone(), target.exchange(&exchange)] {
        assert_eq!(run(&transport.rpc_client(target), 1).await.unwrap(), "s1");
    }
    within(server.stop()).await.unwrap();
}

on_every_broker_and_redis! {
    scoped_services_of_one_topic_do_not_get_each_others_requests,
    a_target_without_an_exchange_goes_through_the_control_exchange;
    calls_and_fanouts_go_over_entities_of_every_kind,
}
