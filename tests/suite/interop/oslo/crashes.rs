//! One side crashes during a call.

use std::time::Duration;

use messaging::{
    Error, Target, TransportOptions,
    rpc::{Acknowledge, Endpoint},
};
use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::{Meeting, agent::Agent, on_both_brokers, serve, within};

async fn a_python_server_that_is_killed_is_given_up_by_a_call_that_watches_it(meeting: Meeting) {
    let Some(python) = Agent::own("interop::oslo::crashes::a_python_server_that_is_killed") else { return };
    let topic = meeting.name("t");
    python.serve(&meeting.python_url(""), &topic, "python").await.unwrap();
    let transport = meeting.transport(TransportOptions::new()).await;
    let client = transport.rpc_client(Target::topic(&topic)).monitor(Duration::from_secs(2));
    let args = json!({"seconds": 1000});
    let call = client.call::<()>("sleep", &args).timeout(Duration::from_secs(600)).into_future();
    let kill = async {
        // Python's own clients see that it is at work.
        let url = meeting.python_url("");
        meeting.python.call(&url, &topic, "whoami", json!({}), json!({})).await.unwrap();
        python.kill();
    };
    let (answer, ()) = within(async { tokio::join!(call, kill) }).await;
    let Err(Error::Timeout { during, .. }) = answer else { panic!("{answer:?}") };
    assert!(during.contains("heartbeat"), "{during}");
}

async fn a_python_client_that_is_killed_leaves_our_server_at_work(meeting: Meeting) {
    let Some(python) = Agent::own("interop::oslo::crashes::a_python_client_that_is_killed") else { return };
    let topic = meeting.name("t");
    let (open, gate) = watch::channel(false);
    let (started, mut starts) = mpsc::unbounded_channel();
    let endpoint = Endpoint::new().method("work", move |_, (): ()| {
        let (started, mut gate) = (started.clone(), gate.clone());
        async move {
            started.send(())?;
            gate.wait_for(|open| *open).await?;
            Ok("done")
        }
    });
    let transport = meeting.transport(TransportOptions::new()).await;
    let server = transport.rpc_server(Target::topic(&topic).server("rust")).concurrency(1);
    let server = server.acknowledge(Acknowledge::After).endpoint(endpoint).start().await.unwrap();
    let url = meeting.python_url("");
    {
        let call = python.call(&url, &topic, "work", json!({}), json!({"monitor": 2}));
        tokio::select! {
            answer = call => panic!("{answer:?}"),
            started = within(starts.recv()) => started.unwrap(),
        }
    }
    python.kill();
    let next = meeting.python.call(&url, &topic, "work", json!({}), json!({}));
    open.send(true).unwrap();
    assert_eq!(within(next).await.unwrap(), "done");
    within(server.stop()).await.unwrap();
}

async fn a_connection_that_is_lost_in_a_call_costs_neither_side_the_answer(meeting: Meeting) {
    let proxy = tests::Proxy::start(&meeting.authority).await.unwrap();
    let topic = meeting.name("t");
    let through = format!("rabbit://guest:guest@{}/", proxy.addr());
    let transport = TransportOptions::new().connect(&through).await.unwrap();
    let server = serve(&transport, Target::topic(&topic), "rust").await;
    let args = json!({"seconds": 2});
    let url = meeting.python_url("");
    let call = meeting.python.call(&url, &topic, "sleep", args, json!({}));
    let cut = async {
        let client = meeting.transport(TransportOptions::new()).await.rpc_client(Target::topic(&topic));
        // Requests arrive in order: once this is answered, the other has begun or is about to be
        // sent.
        within(client.call::<String>("whoami", &()).into_future()).await.unwrap();
        proxy.cut();
    };
    let (answer, ()) = within(async { tokio::join!(call, cut) }).await;
    answer.unwrap();
    within(server.stop()).await.unwrap();
}

on_both_brokers! {
    a_python_server_that_is_killed_is_given_up_by_a_call_that_watches_it,
    a_python_client_that_is_killed_leaves_our_server_at_work,
    a_connection_that_is_lost_in_a_call_costs_neither_side_the_answer,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_restarts_in_a_call_costs_neither_side_the_answer() {
    let test = "interop::oslo::crashes::a_broker_that_restarts_in_a_call_costs_neither_side_the_answer";
    let Some(python) = Agent::shared(test) else { return };
    let broker = amqp_broker::Broker::builder().build();
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr();
    let url = format!("rabbit://guest:guest@{address}/?");
    let (open, gate) = watch::channel(false);
    let (started, mut starts) = mpsc::unbounded_channel();
    let endpoint = Endpoint::new().method("work", move |_, (): ()| {
        let (started, mut gate) = (started.clone(), gate.clone());
        async move {
            started.send(())?;
            gate.wait_for(|open| *open).await?;
            Ok("done")
        }
    });
    let transport =
        TransportOptions::new().connect(&format!("rabbit://guest:guest@{address}/")).await.unwrap();
    let server = transport.rpc_server(Target::topic("restarted").server("rust")).endpoint(endpoint);
    let server = server.start().await.unwrap();
    let call = python.call(&url, "restarted", "work", json!({}), json!({}));
    let restart = async {
        within(starts.recv()).await.unwrap();
        broker.shutdown().await;
        drop(listener);
        let listener = amqp_broker::Broker::builder().build().listen(address).await.unwrap();
        open.send(true).unwrap();
        listener
    };
    let (answer, _listener) = within(async { tokio::join!(call, restart) }).await;
    assert_eq!(answer.unwrap(), "done");
    within(server.stop()).await.unwrap();
}
