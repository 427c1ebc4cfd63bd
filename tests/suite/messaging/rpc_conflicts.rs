//! Entities of RPC that exist with other properties: a conflict, or used as they are.

use amqp_client::{Binding, Channel, DeleteOptions, Exchange, Queue};
use messaging::{
    Conflict, Error, Quorum, Target, Topology, Transport, TransportOptions,
    rpc::{Client, Endpoint, RunningServer},
};
use tokio::sync::mpsc;

use super::{
    fixture::{Broker, within},
    on_every_broker_and_redis,
};

async fn transport(broker: &Broker, topology: &Topology) -> Transport {
    within(TransportOptions::new().topology(topology.clone()).connect(&broker.url)).await.unwrap()
}

/// A server whose only method answers "ran" and reports it.
async fn serve(
    transport: &Transport,
    target: &Target,
    ran: &mpsc::UnboundedSender<()>,
) -> Result<RunningServer, Error> {
    let ran = ran.clone();
    let endpoint = Endpoint::new().method("run", move |_, (): ()| {
        let sent = ran.send(());
        async move {
            sent?;
            Ok("ran")
        }
    });
    within(transport.rpc_server(target.clone().server("s1")).endpoint(endpoint).start()).await
}

async fn run(client: &Client) -> Result<String, Error> {
    within(client.call("run", &()).into_future()).await
}

fn target(broker: &Broker) -> Target {
    Target::topic(broker.name("t")).exchange(broker.name("exchange"))
}

fn refused(error: Option<Error>) -> Conflict {
    match error {
        Some(Error::Conflict(conflict)) => *conflict,
        Some(Error::Undelivered(undelivered)) => refused(undelivered.source.map(|source| *source)),
        other => panic!("{other:?}"),
    }
}

async fn what_exists_otherwise_is_a_conflict_that_says_how(broker: Broker) {
    broker.channel().await.declare(&Exchange::topic(broker.name("exchange"))).await.unwrap();
    let (ran, _runs) = mpsc::unbounded_channel();
    // Differences other than durability have no fallback either.
    for topology in [Topology::new().durable(true), Topology::new().auto_delete(true).durable_fallback(true)]
    {
        let transport = transport(&broker, &topology).await;
        let Conflict { kind, argument, wanted, existing, .. } =
            refused(serve(&transport, &target(&broker), &ran).await.err());
        assert_eq!((kind, wanted.as_str(), existing.as_str()), ("exchange", "true", "false"));
        let sent = refused(run(&transport.rpc_client(target(&broker))).await.err());
        assert_eq!((sent.argument.as_str(), sent.name), (argument.as_str(), broker.name("exchange")));
    }
}

/// The exchange, the topic's queue and the server's queue, each durable or not.
pub(super) async fn durable_entities_fall_back_to_what_exists(broker: Broker) {
    let topology = Topology::new().durable(true).durable_fallback(true);
    let (ran, _runs) = mpsc::unbounded_channel();
    for existing in [
        [Some(false), None, None],
        [Some(true), Some(false), None],
        [None, Some(false), None],
        [Some(false), Some(true), None],
        [Some(false), Some(false), Some(false)],
        [Some(true), None, None],
    ] {
        let name = broker.name(&format!("{existing:?}").replace([' ', ',', '(', ')', '[', ']'], ""));
        let channel = broker.channel().await;
        let [exchange, topic, own] = existing;
        let target = Target::topic(&name).exchange(format!("{name}-exchange"));
        if let Some(durable) = exchange {
            let exchange = Exchange::topic(format!("{name}-exchange")).durable(durable);
            channel.declare(&exchange).await.unwrap();
        }
        for (queue, durable) in [(name.clone(), topic), (format!("{name}.s1"), own)] {
            match durable {
                Some(true) => drop(channel.declare(&Queue::durable(queue)).await.unwrap()),
                Some(false) => drop(channel.declare(&Queue::new(queue)).await.unwrap()),
                None => {}
            }
        }
        let transport = transport(&broker, &topology).await;
        let server = serve(&transport, &target, &ran).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        let client = transport.rpc_client(target.clone());
        for _ in 0..2 {
            assert_eq!(run(&client).await.unwrap(), "ran", "{name}");
            assert_eq!(run(&client.prepare(|target| target.server("s1"))).await.unwrap(), "ran", "{name}");
        }
        within(server.stop()).await.unwrap();
        if existing == [Some(false), None, None] {
            // Python's servers declare all of it as transient.
            channel.declare(&Queue::new(&name)).await.unwrap();
            delete(&channel, &name).await;
        }
    }
}

async fn delete(channel: &Channel, topic: &str) {
    for queue in [topic.to_owned(), format!("{topic}.s1")] {
        channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
    }
}

pub(super) async fn the_exchange_of_fanouts_falls_back_too(broker: Broker) {
    let (ran, mut runs) = mpsc::unbounded_channel();
    let target = target(&broker);
    let channel = broker.channel().await;
    // It has a binding so that it is not deleted.
    let exchange = Exchange::fanout(format!("{}_fanout", broker.name("t"))).auto_delete(true);
    channel.declare(&exchange).await.unwrap();
    let kept = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
    channel.bind(Binding::new(&kept, &exchange)).await.unwrap();

    let durable = Topology::new().quorum(Quorum::new()).transient_quorum(true);
    let refusing = transport(&broker, &durable).await;
    let conflict = refused(serve(&refusing, &target, &ran).await.err());
    assert_eq!(conflict.name, exchange.name());
    // Not every broker names the argument.
    assert!(["durable", ""].contains(&conflict.argument.as_str()), "{conflict}");
    let sent = within(refusing.rpc_client(target.clone()).fanout("run", &())).await;
    assert_eq!(refused(sent.err()), conflict);

    let yielding = transport(&broker, &durable.durable_fallback(true)).await;
    let server = serve(&yielding, &target, &ran).await.unwrap();
    let client = yielding.rpc_client(target);
    for _ in 0..2 {
        within(client.fanout("run", &())).await.unwrap();
        within(runs.recv()).await.unwrap();
    }
    within(server.stop()).await.unwrap();
}

on_every_broker_and_redis! {
    durable_entities_fall_back_to_what_exists,
    what_exists_otherwise_is_a_conflict_that_says_how;
    the_exchange_of_fanouts_falls_back_too,
}
