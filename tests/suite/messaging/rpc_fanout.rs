//! Requests to all servers of a topic: over temporary queues, and over a stream that all read.

use amqp_client::Exchange;
use messaging::{
    StreamStart, Target, Topology, Transport, TransportOptions,
    rpc::{Client, Endpoint, RunningServer},
};
use serde_json::{Value, json};
use tests::Proxy;
use tokio::sync::mpsc;

use super::{
    fixture::{Broker, within},
    on_every_broker_and_redis,
};

async fn transport(url: &str, topology: &Topology) -> Transport {
    within(TransportOptions::new().topology(topology.clone()).connect(url)).await.unwrap()
}

/// A server that reports the ids it runs.
async fn serve(transport: &Transport, target: &Target, ran: &mpsc::UnboundedSender<u64>) -> RunningServer {
    let ran = ran.clone();
    let endpoint = Endpoint::new().method("run", move |_, args: Value| {
        let sent = ran.send(args["id"].as_u64().unwrap());
        async move { Ok(sent?) }
    });
    within(transport.rpc_server(target.clone().server("s1")).endpoint(endpoint).start()).await.unwrap()
}

async fn fanout(client: &Client, id: u64) {
    within(client.fanout("run", &json!({"id": id}))).await.unwrap();
}

async fn the_exchange_is_there_again_after_it_went_with_the_last_server(broker: Broker) {
    let (ran, mut runs) = mpsc::unbounded_channel();
    let target = Target::topic(broker.name("t"));
    let transport = transport(&broker.url, &Topology::new()).await;
    let client = transport.rpc_client(target.clone());
    let server = serve(&transport, &target, &ran).await;
    fanout(&client, 1).await;
    assert_eq!(within(runs.recv()).await, Some(1));
    within(server.stop()).await.unwrap();
    let exchange = Exchange::fanout(format!("{}_fanout", broker.name("t")));
    assert!(
        broker.channel().await.declare(exchange.clone().passive(true)).await.is_err(),
        "it is deleted by itself"
    );
    // Nobody gets it, which is not an error.
    fanout(&client, 2).await;
    let server = serve(&transport, &target, &ran).await;
    fanout(&client, 3).await;
    assert_eq!(within(runs.recv()).await, Some(3));
    within(server.stop()).await.unwrap();
}

async fn a_server_of_a_stream_begins_with_what_comes_or_with_the_last_as_python_does(broker: Broker) {
    for (start, first) in [(StreamStart::Next, 2), (StreamStart::Last, 1)] {
        let topology = Topology::new().stream_fanout(true).stream_start(start);
        let (ran, mut runs) = mpsc::unbounded_channel();
        let target = Target::topic(broker.name(&format!("{start:?}")));
        let transport = transport(&broker.url, &topology).await;
        let client = transport.rpc_client(target.clone());
        within(serve(&transport, &target, &ran).await.stop()).await.unwrap();
        fanout(&client, 1).await;
        let server = serve(&transport, &target, &ran).await;
        fanout(&client, 2).await;
        assert_eq!(within(runs.recv()).await, Some(first), "{start:?}");
        within(server.stop()).await.unwrap();
        within(transport.close()).await.unwrap();
    }
}

on_every_broker_and_redis! {
    the_exchange_is_there_again_after_it_went_with_the_last_server;
    a_server_of_a_stream_begins_with_what_comes_or_with_the_last_as_python_does,
}

#[tokio::test]
async fn a_server_whose_connection_was_lost_goes_on_in_the_stream_where_it_was() {
    let broker = Broker::embedded().await;
    let address = broker.url.trim_start_matches("amqp://guest:guest@").trim_end_matches('/');
    for start in [StreamStart::Next, StreamStart::Last] {
        let mut proxy = Proxy::start(address).await.unwrap();
        let topology = Topology::new().stream_fanout(true).stream_start(start);
        let target = Target::topic(format!("{start:?}"));
        let (ran, mut runs) = mpsc::unbounded_channel();
        let serving = transport(&format!("amqp://guest:guest@{}/", proxy.addr()), &topology).await;
        let server = serve(&serving, &target, &ran).await;
        let client = transport(&broker.url, &topology).await.rpc_client(target);
        fanout(&client, 1).await;
        assert_eq!(within(runs.recv()).await, Some(1));
        proxy.refuse(true).await.unwrap();
        proxy.cut();
        // There are several, so that the last is not the only one.
        for id in [2, 3, 4] {
            fanout(&client, id).await;
        }
        proxy.refuse(false).await.unwrap();
        fanout(&client, 5).await;
        for id in 2..=5 {
            assert_eq!(within(runs.recv()).await, Some(id), "{start:?}");
        }
        within(server.stop()).await.unwrap();
        assert!(runs.try_recv().is_err(), "none ran twice");
    }
}
