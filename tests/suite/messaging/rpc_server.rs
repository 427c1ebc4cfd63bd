//! The promises of a server: when it acknowledges, that a reply is always sent, and that no caller
//! blocks it.

use std::time::Duration;

use amqp_broker::PublishFault;
use amqp_client::{ConnectOptions, ConsumeOptions, Message, Queue, Uri};
use messaging::{
    Error, Exchange, OsloError, Target, Transport, TransportOptions,
    rpc::{AccessPolicy, Acknowledge, Endpoint, Failure, RepeatWindow, RunningServer},
};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

use super::{
    fixture::{Broker, within},
    odd_headers::with_nested,
    on_every_broker_and_redis,
};
use crate::log::Log;

/// A method `work` that reports its start, and answers `name` once the gate is open.
fn gated(name: &'static str, started: mpsc::UnboundedSender<()>, gate: watch::Receiver<bool>) -> Endpoint {
    Endpoint::new().method("work", move |_, (): ()| {
        let (started, mut gate) = (started.clone(), gate.clone());
        async move {
            started.send(())?;
            gate.wait_for(|open| *open).await?;
            Ok(name)
        }
    })
}

async fn serve(
    transport: &Transport,
    topic: &str,
    acknowledge: Acknowledge,
    endpoint: Endpoint,
) -> RunningServer {
    let server = transport.rpc_server(Target::topic(topic).server("s1")).acknowledge(acknowledge);
    within(server.concurrency(1).endpoint(endpoint).start()).await.unwrap()
}

async fn acknowledged_after_it_ran_a_request_survives_its_server(broker: Broker) {
    let topic = broker.name("work");
    let (open, gate) = watch::channel(false);
    let (started, mut starts) = mpsc::unbounded_channel();
    let transport = broker.transport().await;
    let endpoint = gated("first", started.clone(), gate.clone());
    let first = serve(&transport, &topic, Acknowledge::After, endpoint).await;
    let client = broker.transport().await.rpc_client(Target::topic(&topic));
    let call = tokio::spawn(async move { client.call::<String>("work", &()).await });
    within(starts.recv()).await.unwrap();
    // The server crashes.
    drop(first);
    let endpoint = gated("second", started, gate);
    let second = serve(&broker.transport().await, &topic, Acknowledge::After, endpoint).await;
    within(starts.recv()).await.unwrap();
    open.send(true).unwrap();
    assert_eq!(within(call).await.unwrap().unwrap(), "second");
    within(second.stop()).await.unwrap();
    assert_eq!(waiting(&broker, &topic).await, 0, "it was acknowledged");
}

async fn acknowledged_before_it_ran_a_request_goes_with_its_server(broker: Broker) {
    let topic = broker.name("work");
    let (_open, gate) = watch::channel(false);
    let (started, mut starts) = mpsc::unbounded_channel();
    let transport = broker.transport().await;
    let server = serve(&transport, &topic, Acknowledge::Before, gated("first", started, gate)).await;
    within(transport.rpc_client(Target::topic(&topic)).cast("work", &())).await.unwrap();
    within(starts.recv()).await.unwrap();
    drop(server);
    within(transport.close()).await.unwrap();
    assert_eq!(waiting(&broker, &topic).await, 0);
}

async fn a_request_over_the_limit_is_rejected_and_the_next_one_served(broker: Broker) {
    let topic = broker.name("echo");
    let options = messaging::TransportOptions::new().max_message_size(10_000);
    let sparing = within(options.connect(&broker.url)).await.unwrap();
    let endpoint = Endpoint::new().method("echo", |_, args: Value| async move { Ok(args) });
    let (log, _guard) = Log::listen();
    let server = serve(&sparing, &topic, Acknowledge::After, endpoint).await;
    let client = broker.transport().await.rpc_client(Target::topic(&topic));
    within(client.cast("echo", &json!({"text": "x".repeat(100_000)}))).await.unwrap();
    let small = json!({"text": "small"});
    assert_eq!(client.call::<Value>("echo", &small).await.unwrap(), small);
    assert_eq!(server.metrics().unreadable, 1);
    let line = log.line("a request cannot be decoded; it is rejected");
    assert!(line.contains(&topic) && line.contains("body of 1"), "{line}");
    within(server.stop()).await.unwrap();
    assert_eq!(waiting(&broker, &topic).await, 0);
}

async fn a_request_with_headers_that_cannot_be_read_is_rejected_and_the_next_one_served(broker: Broker) {
    let topic = broker.name("echo");
    let transport = broker.transport().await;
    let (log, _guard) = Log::listen();
    let endpoint = Endpoint::new().method("echo", |_, args: Value| async move { Ok(args) });
    let server = serve(&transport, &topic, Acknowledge::After, endpoint).await;
    let request = Message::new(r#"{"method": "echo", "args": {}}"#).content_type("application/json");
    let deep = with_nested(&request.message_id("the id").unwrap());
    broker.channel().await.publish(("openstack", &topic), &deep).await.unwrap();
    let small = json!({"text": "small"});
    let client = transport.rpc_client(Target::topic(&topic));
    assert_eq!(within(client.call::<Value>("echo", &small).into_future()).await.unwrap(), small);
    assert_eq!((server.metrics().unreadable, server.metrics().answered), (1, 1));
    within(server.stop()).await.unwrap();
    assert_eq!(waiting(&broker, &topic).await, 0);
    let line = log.line("a request cannot be decoded; it is rejected");
    assert!([&topic, "the id", "properties"].iter().all(|part| line.contains(*part)), "{line}");
}

/// How many messages are left in a queue.
async fn waiting(broker: &Broker, queue: &str) -> u32 {
    let channel = broker.channel().await;
    within(channel.declare(amqp_client::Queue::new(queue).passive(true))).await.unwrap().messages
}

async fn a_client_that_has_vanished_holds_up_nobody(broker: Broker) {
    for acknowledge in [Acknowledge::Before, Acknowledge::After] {
        let topic = broker.name(&format!("{acknowledge:?}"));
        let transport = broker.transport().await;
        let echo = Endpoint::new().method("echo", |_, args: Value| async move { Ok(args) });
        let server = serve(&transport, &topic, acknowledge, echo).await;
        let raw = transport.producer(Exchange::topic("openstack"));
        for n in 0..3 {
            let request = json!({"method": "echo", "args": {}, "_msg_id": n.to_string(), "_reply_q": "gone"});
            within(raw.ensure_publish(&topic, &request)).await.unwrap();
        }
        // They come before it in the queue, and the server runs one at a time.
        let client = transport.rpc_client(Target::topic(&topic));
        let echoed: Value = within(client.call("echo", &json!({"a": 1})).into_future()).await.unwrap();
        assert_eq!(echoed, json!({"a": 1}), "{acknowledge:?}");
        // They do not delay its stop either.
        within(server.stop()).await.unwrap();
    }
}

async fn a_server_is_stopped_from_elsewhere_and_waited_for(broker: Broker) {
    let topic = broker.name("work");
    let (open, gate) = watch::channel(false);
    let (started, mut starts) = mpsc::unbounded_channel();
    let transport = broker.transport().await;
    let mut server = serve(&transport, &topic, Acknowledge::Before, gated("done", started, gate)).await;
    let client = transport.rpc_client(Target::topic(&topic));
    let call = tokio::spawn(async move { client.call::<String>("work", &()).await });
    within(starts.recv()).await.unwrap();
    server.stopper().stop();
    tokio::select! {
        biased;
        stopped = server.wait() => panic!("{stopped:?}, while a method runs"),
        () = std::future::ready(()) => {}
    }
    open.send(true).unwrap();
    within(server.wait()).await.unwrap();
    assert_eq!(within(call).await.unwrap().unwrap(), "done");
}

on_every_broker_and_redis! {
    acknowledged_after_it_ran_a_request_survives_its_server,
    acknowledged_before_it_ran_a_request_goes_with_its_server,
    a_client_that_has_vanished_holds_up_nobody,
    a_server_is_stopped_from_elsewhere_and_waited_for,
    a_request_over_the_limit_is_rejected_and_the_next_one_served;
    a_request_with_headers_that_cannot_be_read_is_rejected_and_the_next_one_served,
}

#[tokio::test]
async fn a_ping_is_answered_where_it_is_wanted_under_every_policy() {
    let transport = Broker::memory().transport().await;
    for policy in [AccessPolicy::Default, AccessPolicy::Legacy, AccessPolicy::Explicit] {
        for ping in [true, false] {
            let topic = format!("{policy:?}-{ping}");
            let endpoint = Endpoint::new().method("open", |_, (): ()| async { Ok(()) });
            let server = transport.rpc_server(Target::topic(&topic).server("s1"));
            let server = server.access_policy(policy).ping(ping).endpoint(endpoint).start().await.unwrap();
            let client = transport.rpc_client(Target::topic(&topic));
            let pong = within(client.call::<String>("oslo_rpc_server_ping", &()).into_future()).await;
            assert_eq!(pong.ok().as_deref(), ping.then_some("pong"), "{topic}");
            let opened = within(client.call::<()>("open", &()).into_future()).await;
            assert_eq!(opened.is_ok(), policy != AccessPolicy::Explicit, "{topic}");
            within(server.stop()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_request_that_comes_again_while_it_runs_is_acknowledged_with_the_first() {
    let broker = Broker::memory();
    let transport = broker.transport().await;
    let (open, gate) = watch::channel(false);
    let (started, mut starts) = mpsc::unbounded_channel();
    let endpoint = gated("done", started, gate);
    let server = transport.rpc_server(Target::topic("t").server("s1")).acknowledge(Acknowledge::After);
    let server = server.concurrency(4).endpoint(endpoint).start().await.unwrap();
    let raw = transport.producer(Exchange::topic("openstack"));
    for id in ["1", "1", "2"] {
        raw.ensure_publish("t", &json!({"method": "work", "_unique_id": id})).await.unwrap();
    }
    for _ in 0..2 {
        within(starts.recv()).await.unwrap();
    }
    open.send(true).unwrap();
    within(server.stop()).await.unwrap();
    assert!(starts.try_recv().is_err(), "the second one did not run");
    assert_eq!(waiting(&broker, "t").await, 0);
}

#[tokio::test]
async fn how_many_requests_are_remembered_is_the_servers_choice() {
    let broker = Broker::memory();
    let transport = broker.transport().await;
    for (remembered, runs) in [(0, 5), (1, 4), (2, 3)] {
        let topic = remembered.to_string();
        let (ran, mut seen) = mpsc::unbounded_channel();
        let endpoint = Endpoint::new().method("work", move |_, (): ()| {
            let sent = ran.send(());
            async move { Ok(sent?) }
        });
        let server = transport.rpc_server(Target::topic(&topic).server("s1")).concurrency(1);
        let server = server.repeats(RepeatWindow::last(remembered)).endpoint(endpoint).start().await.unwrap();
        let raw = transport.producer(Exchange::topic("openstack"));
        for id in ["1", "2", "2", "1"] {
            raw.ensure_publish(&topic, &json!({"method": "work", "_unique_id": id})).await.unwrap();
        }
        within(server_has_run(&transport, &topic)).await;
        within(server.stop()).await.unwrap();
        assert_eq!(std::iter::from_fn(|| seen.try_recv().ok()).count(), runs, "{remembered}");
    }
}

/// Waits until all earlier requests have been taken, one at a time.
async fn server_has_run(transport: &Transport, topic: &str) {
    transport.rpc_client(Target::topic(topic)).call::<()>("work", &()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_watched_call_that_fails_at_once_is_told_once_and_no_heartbeats_follow() {
    let broker = Broker::memory();
    let transport = broker.transport().await;
    let endpoint = Endpoint::new()
        .method("fail", |_, (): ()| async { Err::<(), _>(Failure::new("ValueError", "no")) })
        .method("panic", |_, args: Value| async move { Ok(args["n"].as_i64().unwrap()) });
    let server = serve(&transport, "t", Acknowledge::Before, endpoint).await;
    let mut replies = transport.consumer(amqp_client::Queue::new("replies")).start::<Value>().await.unwrap();
    let raw = transport.producer(Exchange::topic("openstack"));
    for method in ["nope", "fail", "panic"] {
        let request = json!({"method": method, "_msg_id": method, "_reply_q": "replies", "_timeout": 2});
        raw.ensure_publish("t", &request).await.unwrap();
        let reply = replies.recv().await.unwrap().unwrap();
        let inner: Value = serde_json::from_str(reply.body()["oslo.message"].as_str().unwrap()).unwrap();
        assert_eq!((&inner["_msg_id"], &inner["ending"]), (&json!(method), &json!(true)));
        reply.ack().await.unwrap();
    }
    let more = tokio::time::timeout(Duration::from_secs(100), replies.recv()).await;
    assert!(more.is_err(), "{more:?}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_result_that_the_broker_does_not_take_is_a_failure_to_its_caller() {
    let broker = amqp_broker::Broker::builder().max_message_size(100_000).build();
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    let url = format!("amqp://guest:guest@{}/", listener.local_addr());
    let transport = Transport::connect(&url).await.unwrap();
    let endpoint = Endpoint::new().method("large", |_, (): ()| async { Ok("x".repeat(200_000)) });
    let server = serve(&transport, "t", Acknowledge::Before, endpoint).await;
    let (log, _guard) = Log::listen();
    let client = transport.rpc_client(Target::topic("t"));
    let answer = within(client.call::<String>("large", &()).into_future()).await;
    let Err(Error::Oslo(OsloError::Remote(remote))) = answer else { panic!("{answer:?}") };
    assert!(remote.message.starts_with("the result could not be sent"), "{remote}");
    assert!(log.line("cannot send a reply").contains("; its caller receives a failure instead"));
    within(server.stop()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_reply_whose_first_attempt_was_lost_waits_for_its_client_too() {
    let broker = amqp_broker::Broker::builder().build();
    let transport = TransportOptions::new().name("server").on(&broker);
    let endpoint = Endpoint::new().method("now", |_, (): ()| async { Ok("now") });
    let server = transport.rpc_server(Target::topic("t").server("s1")).endpoint(endpoint);
    let server = within(server.start()).await.unwrap();
    // The client's queue is gone when the reply is published again.
    broker.faults().at_publish_of("server (publish)", 1, PublishFault::DropConnection);
    let uri = Uri::default();
    let client = ConnectOptions::new().connect_stream(broker.connect(), &uri).await.unwrap();
    let channel = client.open_channel().await.unwrap();
    let request = json!({"method": "now", "args": {}, "_unique_id": "u", "_msg_id": "m", "_reply_q": "reply_of_client"});
    let request = Message::new(request.to_string()).content_type("application/json");
    channel.publish(("openstack", "t"), &request).await.unwrap();
    let returned = async {
        while transport.metrics().returned == 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    within(returned).await;
    let replies = channel.declare(&Queue::new("reply_of_client")).await.unwrap().name;
    let mut replies = channel.consume(&replies, ConsumeOptions::new()).await.unwrap();
    let reply = within(replies.recv()).await.unwrap().unwrap();
    let envelope: Value = serde_json::from_slice(reply.body()).unwrap();
    let reply: Value = serde_json::from_str(envelope["oslo.message"].as_str().unwrap()).unwrap();
    assert_eq!((&reply["result"], &reply["failure"]), (&json!("now"), &Value::Null));
    within(server.stop()).await.unwrap();
}
