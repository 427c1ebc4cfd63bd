//! Calls over entities of every kind that oslo.messaging knows, and over ones that exist otherwise.

use amqp_client::{Exchange, Queue};
use messaging::{
    Conflict, Error, Quorum, Target, Topology, Transport, TransportOptions,
    rpc::{Client, Endpoint, RunningServer, Server},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    fixture::{Broker, within},
    on_every_broker,
};

async fn transport(broker: &Broker, topology: &Topology) -> Transport {
    within(TransportOptions::new().topology(topology.clone()).connect(&broker.url)).await.unwrap()
}

/// Tells of whatever runs, under the server's name.
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
    Server::new(transport, target.server(name)).endpoint(endpoint)
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
        let client = Client::new(&calling, target);
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

async fn what_exists_otherwise_is_a_conflict_or_used_as_it_is(broker: Broker) {
    let target = || Target::topic(broker.name("t")).exchange(broker.name("exchange"));
    let channel = broker.channel().await;
    channel.declare(&Exchange::topic(broker.name("exchange"))).await.unwrap();
    let (ran, _runs) = mpsc::unbounded_channel();

    let durable = Topology::new().durable(true);
    let refusing = transport(&broker, &durable).await;
    let refused = within(server(&refusing, target(), "s1", &ran).start()).await.err().unwrap();
    let Error::Conflict(conflict) = refused else { panic!("{refused}") };
    let Conflict { kind, argument, wanted, existing, .. } = &*conflict;
    assert_eq!(
        (*kind, argument.as_str(), wanted.as_str(), existing.as_str()),
        ("exchange", "durable", "true", "false")
    );
    let Err(Error::Undelivered(undelivered)) = run(&Client::new(&refusing, target()), 1).await else {
        panic!()
    };
    assert!(matches!(undelivered.source.as_deref(), Some(Error::Conflict(_))), "{undelivered}");

    let yielding = transport(&broker, &durable.durable_fallback(true)).await;
    let serving = within(server(&yielding, target(), "s1", &ran).start()).await.unwrap();
    let client = Client::new(&yielding, target());
    for id in 0..2 {
        assert_eq!(run(&client, id).await.unwrap(), "s1");
    }
    within(serving.stop()).await.unwrap();
    // Neither is durable now.
    channel.declare(&Queue::new(broker.name("t"))).await.unwrap();
}

async fn scoped_services_of_one_topic_do_not_get_each_others_requests(broker: Broker) {
    let (ran, _runs) = mpsc::unbounded_channel();
    let transport = transport(&broker, &Topology::new().scoped(true)).await;
    let target = |exchange| Target::topic(broker.name("t")).exchange(broker.name(exchange));
    let first = within(server(&transport, target("a"), "of a", &ran).start()).await.unwrap();
    let second = within(server(&transport, target("b"), "of b", &ran).start()).await.unwrap();
    for (exchange, answer) in [("a", "of a"), ("b", "of b")] {
        let client = Client::new(&transport, target(exchange));
        for id in 0..4 {
            assert_eq!(run(&client, id).await.unwrap(), answer);
        }
    }
    within(first.stop()).await.unwrap();
    within(second.stop()).await.unwrap();
}

on_every_broker! {
    calls_and_fanouts_go_over_entities_of_every_kind,
    what_exists_otherwise_is_a_conflict_or_used_as_it_is,
    scoped_services_of_one_topic_do_not_get_each_others_requests,
}
