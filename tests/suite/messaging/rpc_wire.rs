//! Calls on the wire, with a peer that is not ours: what Python's client sends, and what it expects
//! of replies.

use amqp_client::{Binding, Channel, Delivery, Exchange, Message, Properties, Queue, ShortString, Table};
use messaging::{
    Target,
    rpc::{Endpoint, RunningServer},
};
use serde_json::{Value, json};

use super::{
    fixture::{Broker, within},
    on_every_broker_and_redis,
};

/// A message as captured from a Python client.
fn captured(body: &str) -> Message {
    let properties = Properties {
        content_type: Some(ShortString::from_static("application/json")),
        content_encoding: Some(ShortString::from_static("utf-8")),
        headers: Some(Table::new()),
        delivery_mode: Some(2),
        priority: Some(0),
        ..Properties::default()
    };
    Message::with_properties(body.to_owned(), properties)
}

fn enveloped(message: &Value) -> Message {
    captured(&json!({"oslo.version": "2.0", "oslo.message": message.to_string()}).to_string())
}

/// The message inside the envelope.
fn opened(delivery: &Delivery) -> Value {
    let outer: Value = serde_json::from_slice(delivery.body()).unwrap();
    assert_eq!(outer["oslo.version"], "2.0");
    serde_json::from_str(outer["oslo.message"].as_str().unwrap()).unwrap()
}

async fn echo_server(broker: &Broker, topic: &str) -> RunningServer {
    let endpoint = Endpoint::new()
        .version(1, 5)
        .method("echo", |_, args: Value| async move { Ok(args) })
        .method("count", {
            let count = std::sync::atomic::AtomicU32::new(0);
            move |_, (): ()| {
                let runs = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
                async move { Ok(runs) }
            }
        });
    let target = Target::topic(topic).server("s1");
    within(broker.transport().await.rpc_server(target).endpoint(endpoint).start()).await.unwrap()
}

/// A client without a library, with its reply queue.
struct Raw {
    channel: Channel,
    replies: amqp_client::Consumer,
    queue: String,
    topic: String,
}

impl Raw {
    async fn new(broker: &Broker, topic: &str) -> Self {
        let channel = broker.channel().await;
        let queue = channel.declare(&Queue::new("").exclusive(true)).await.unwrap().name;
        let replies = channel.consume(&queue, amqp_client::ConsumeOptions::new()).await.unwrap();
        Raw { channel, replies, queue, topic: topic.to_owned() }
    }

    async fn send(&self, message: &Message) {
        self.channel.publish(("openstack", &self.topic), message).await.unwrap();
    }

    /// Adds the reply queue, sends the request, and returns the reply.
    async fn call(&mut self, mut request: Value) -> Value {
        request["_reply_q"] = json!(self.queue);
        self.send(&enveloped(&request)).await;
        self.reply().await
    }

    async fn reply(&mut self) -> Value {
        let delivery = within(self.replies.recv()).await.unwrap().unwrap();
        let reply = opened(&delivery);
        delivery.ack().await.unwrap();
        reply
    }
}

async fn a_captured_call_is_answered_with_all_five_keys(broker: Broker) {
    let topic = broker.name("t");
    let server = echo_server(&broker, &topic).await;
    let mut raw = Raw::new(&broker, &topic).await;
    let reply = raw
        .call(json!({
            "method": "echo", "args": {"a": 1, "s": "é😀\"q", "d": {"k": [1, null, true]}}, "version": "1.0",
            "_msg_id": "5fcebaf07d464aa48f7a1e9546ccf035", "_timeout": null,
            "_unique_id": "f809af92bd2f4264b07e88e8365b0428", "_context_user": "alice", "unknown": 1,
        }))
        .await;
    let keys: Vec<_> = reply.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["_msg_id", "_unique_id", "ending", "failure", "result"]);
    assert_eq!(reply["result"], json!({"a": 1, "s": "é😀\"q", "d": {"k": [1, null, true]}}));
    assert_eq!((&reply["failure"], &reply["ending"]), (&Value::Null, &json!(true)));
    assert_eq!(reply["_msg_id"], "5fcebaf07d464aa48f7a1e9546ccf035");
    within(server.stop()).await.unwrap();
}

async fn odd_requests_are_answered_and_unreadable_ones_rejected_and_the_server_goes_on(broker: Broker) {
    let topic = broker.name("t");
    let server = echo_server(&broker, &topic).await;
    let mut raw = Raw::new(&broker, &topic).await;

    let reply = raw.call(json!({"method": "nope", "_msg_id": "1"})).await;
    assert_eq!((&reply["result"], &reply["ending"]), (&Value::Null, &json!(true)));
    let failure: Value = serde_json::from_str(reply["failure"].as_str().unwrap()).unwrap();
    assert_eq!(failure["class"], "NoSuchMethod");
    assert_eq!(failure["module"], "oslo_messaging.rpc.dispatcher");
    assert_eq!(failure["args"], json!(["Endpoint does not support RPC method nope"]));
    assert_eq!((&failure["kwargs"], &failure["tb"]), (&json!({}), &json!([])));

    for odd in [
        json!({"method": "echo", "args": null}),
        json!({"args": {}}),
        json!({"method": "echo", "version": 1}),
    ] {
        let mut odd = odd;
        odd["_msg_id"] = json!("2");
        assert!(raw.call(odd).await["failure"].is_string());
    }
    for unreadable in ["", "[]", "{", r#"{"oslo.version": "3.0", "oslo.message": "{}"}"#] {
        raw.send(&captured(unreadable)).await;
    }
    raw.send(&Message::new("{}").content_type("text/plain")).await;

    // It has no envelope, and uses Python's dialect of JSON.
    let queue = &raw.queue;
    let bare =
        format!(r#"{{"method": "echo", "args": {{"x": NaN}}, "_msg_id": "3", "_reply_q": "{queue}"}}"#);
    raw.send(&captured(&bare)).await;
    let reply = raw.reply().await;
    assert_eq!((&reply["_msg_id"], &reply["result"]), (&json!("3"), &json!({"x": null})));
    within(server.stop()).await.unwrap();
    let left = broker.channel().await.declare(Queue::new(&topic).passive(true)).await.unwrap().messages;
    assert_eq!(left, 0, "rejected, not requeued");
}

async fn a_request_that_comes_twice_runs_once(broker: Broker) {
    let topic = broker.name("t");
    let server = echo_server(&broker, &topic).await;
    let mut raw = Raw::new(&broker, &topic).await;
    let request = json!({"method": "count", "_msg_id": "1", "_unique_id": "u1"});
    assert_eq!(raw.call(request.clone()).await["result"], 1);
    raw.send(&enveloped(&request)).await;
    let next = json!({"method": "count", "_msg_id": "2", "_unique_id": "u2"});
    let reply = raw.call(next).await;
    assert_eq!((&reply["_msg_id"], &reply["result"]), (&json!("2"), &json!(2)));
    within(server.stop()).await.unwrap();
}

async fn what_a_client_sends_is_what_python_sends(broker: Broker) {
    let topic = broker.name("t");
    let channel = broker.channel().await;
    channel.declare(&Exchange::topic("openstack")).await.unwrap();
    let queue = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
    channel.bind(Binding::new(&queue, "openstack").routing_key(&topic)).await.unwrap();
    let mut requests = channel.consume(&queue, amqp_client::ConsumeOptions::new()).await.unwrap();

    let transport = broker.transport().await;
    let client = transport.rpc_client(Target::topic(&topic).namespace("ns").version(1, 3));
    let calling = tokio::spawn(async move { client.call::<Value>("echo", &json!({"a": 1})).await });
    let delivery = within(requests.recv()).await.unwrap().unwrap();
    let properties = delivery.properties().unwrap();
    let expiration: u64 = properties.expiration.as_ref().unwrap().to_text().parse().unwrap();
    assert!((1..=60_000).contains(&expiration));
    let with_expiration =
        Properties { expiration: properties.expiration.clone(), ..captured("").properties().clone() };
    assert_eq!(properties, with_expiration);
    let mut request = opened(&delivery);
    let mut taken = |key: &str| request.as_object_mut().unwrap().remove(key).unwrap();
    let (id, reply_queue) = (taken("_msg_id"), taken("_reply_q"));
    assert_eq!(taken("_unique_id").as_str().unwrap().len(), 32);
    assert_eq!(id.as_str().unwrap().len(), 32);
    assert!(reply_queue.as_str().unwrap().starts_with("reply_"));
    let expected =
        json!({"method": "echo", "args": {"a": 1}, "namespace": "ns", "version": "1.3", "_timeout": null});
    assert_eq!(request, expected);
    delivery.ack().await.unwrap();

    // Heartbeats, replies to others and malformed ones are ignored; a result may precede the end.
    let answer = |message: Value| {
        let (channel, queue) = (channel.clone(), reply_queue.as_str().unwrap().to_owned());
        async move { channel.publish(("", &queue), enveloped(&message)).await.unwrap() }
    };
    answer(json!({"result": null, "failure": null, "ending": false, "_msg_id": id})).await;
    answer(json!({"result": "other", "failure": null, "ending": true, "_msg_id": "0".repeat(32)})).await;
    channel.publish(("", reply_queue.as_str().unwrap()), captured("[]")).await.unwrap();
    answer(json!({"result": "early", "failure": null, "ending": false, "_msg_id": id})).await;
    answer(json!({"result": null, "failure": null, "ending": true, "_msg_id": id})).await;
    answer(json!({"result": "late", "failure": null, "ending": true, "_msg_id": id})).await;
    assert_eq!(within(calling).await.unwrap().unwrap(), "early");
    within(transport.close()).await.unwrap();
}

/// A declaration that differs from Python's is refused with 406, whoever comes first.
async fn entities_are_declared_as_python_declares_them(broker: Broker) {
    let topic = broker.name("t");
    let server = echo_server(&broker, &topic).await;
    let channel = broker.channel().await;
    channel.declare(&Exchange::topic("openstack")).await.unwrap();
    channel.declare(&Exchange::fanout(format!("{topic}_fanout")).auto_delete(true)).await.unwrap();
    for queue in [topic.clone(), format!("{topic}.s1")] {
        assert_eq!(channel.declare(&Queue::new(queue)).await.unwrap().consumers, 1);
    }
    within(server.stop()).await.unwrap();
}

on_every_broker_and_redis! {
    a_captured_call_is_answered_with_all_five_keys,
    odd_requests_are_answered_and_unreadable_ones_rejected_and_the_server_goes_on,
    a_request_that_comes_twice_runs_once,
    what_a_client_sends_is_what_python_sends,
    entities_are_declared_as_python_declares_them,
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_for_heartbeats_gets_them_while_its_call_runs_and_no_longer() {
    let broker = Broker::memory();
    let (open, gate) = tokio::sync::watch::channel(false);
    let endpoint = Endpoint::new().method("work", move |_, (): ()| {
        let mut gate = gate.clone();
        async move {
            gate.wait_for(|open| *open).await?;
            Ok("done")
        }
    });
    let target = Target::topic("t").server("s1");
    let server = broker.transport().await.rpc_server(target).endpoint(endpoint).start().await.unwrap();
    let mut raw = Raw::new(&broker, "t").await;
    let begun = tokio::time::Instant::now();
    let heartbeat = raw.call(json!({"method": "work", "_msg_id": "1", "_timeout": 4})).await;
    assert!(begun.elapsed() >= std::time::Duration::from_secs(2), "half of the client's patience");
    for heartbeat in [heartbeat, raw.reply().await] {
        assert_eq!((&heartbeat["result"], &heartbeat["failure"]), (&Value::Null, &Value::Null));
        assert_eq!((&heartbeat["ending"], &heartbeat["_msg_id"]), (&json!(false), &json!("1")));
    }
    open.send(true).unwrap();
    let reply = raw.reply().await;
    assert_eq!((&reply["result"], &reply["ending"]), (&json!("done"), &json!(true)));
    // Unless requested there are none, however long the call takes.
    open.send(false).unwrap();
    raw.send(&enveloped(&json!({"method": "work", "_msg_id": "2", "_reply_q": raw.queue, "_timeout": null})))
        .await;
    tokio::time::timeout(std::time::Duration::from_secs(15), raw.reply()).await.unwrap_err();
    open.send(true).unwrap();
    assert_eq!(raw.reply().await["_msg_id"], "2");
    within(server.stop()).await.unwrap();
}
