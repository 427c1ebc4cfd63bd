//! RabbitMQ is restarted or killed during calls of both sides.

use messaging::{Target, TransportOptions, rpc::Endpoint};
use serde_json::json;
use tests::RabbitMq;
use tokio::sync::{mpsc, watch};

use super::{agent::Agent, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_rabbitmq_that_restarts_in_a_call_costs_neither_side_the_answer() {
    let test = "interop::oslo::restarts::a_rabbitmq_that_restarts_in_a_call_costs_neither_side_the_answer";
    // The process is not shared, because its connections break here.
    let Some(python) = Agent::own(test) else { return };
    if !RabbitMq::require(test) {
        return;
    }
    let mut node = RabbitMq::start().await.unwrap();
    let url = format!("rabbit://guest:guest@{}/", node.authority());
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
    let transport = TransportOptions::new().connect(&url).await.unwrap();
    let server = transport.rpc_server(Target::topic("ours").server("rust")).endpoint(endpoint);
    let server = server.start().await.unwrap();
    python.serve(&url, "theirs", "python").await.unwrap();
    let theirs = transport.rpc_client(Target::topic("theirs"));
    for is_killed in [false, true] {
        open.send_replace(false);
        let by_python = python.call(&url, "ours", "work", json!({}), json!({"timeout": 55}));
        let args = json!({"seconds": 3});
        let by_us = theirs.call::<()>("sleep", &args);
        let restart = async {
            within(starts.recv()).await.unwrap();
            // Requests arrive in order: once this is answered, the other has begun.
            within(theirs.call::<String>("whoami", &()).into_future()).await.unwrap();
            if is_killed {
                node.kill().unwrap();
            } else {
                node.shut_down().await.unwrap();
            }
            node.restart().await.unwrap();
            open.send_replace(true);
        };
        let (by_python, by_us, ()) =
            within(async { tokio::join!(by_python, by_us.into_future(), restart) }).await;
        assert_eq!(by_python.unwrap(), "done");
        by_us.unwrap();
        // Both continue as before.
        let next = theirs.clone().wait_for_server(true);
        assert_eq!(within(next.call::<String>("whoami", &()).into_future()).await.unwrap(), "python");
    }
    within(server.stop()).await.unwrap();
    node.stop().await.unwrap();
}
