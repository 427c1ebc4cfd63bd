use amqp_client::{Binding, Channel, ConnectOptions, ConsumeOptions, Message, Queue, Uri};
use messaging::{Exchange, Target, Transport, rpc};
use serde_json::{Value, json};

use crate::script::{must_end, runtime};

const NAME: &str = "fuzz-rpc";
const TOPIC: &str = "math";
/// The placeholder for the call's id in a reply.
const ID: &str = "$ID";

/// The first octet's lowest bit selects a request (0) or a reply (1); its body follows, with `$ID`
/// for the call's id. Whatever it is, the server serves the next call, and the client's call ends.
pub fn rpc(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else { return };
    runtime().block_on(async {
        // All inputs share one broker, since it stays until the process ends. The previous input's
        // queue is deleted.
        let broker = amqp_broker::memory(NAME);
        for queue in broker.queues("/") {
            broker.faults().delete_queue("/", &queue.name);
        }
        let connection = ConnectOptions::new().connect_stream(broker.connect(), &Uri::default()).await;
        let channel = connection.expect("a connection").open_channel().await.expect("a channel");
        let transport = Transport::connect(&format!("memory://{NAME}")).await.expect("a transport");
        if kind & 1 == 0 {
            must_end("a request", request(&transport, &channel, body)).await;
        } else {
            must_end("a reply", reply(&transport, &channel, body)).await;
        }
        must_end("close()", transport.close()).await.expect("all was in order");
    });
}

async fn request(transport: &Transport, channel: &Channel, body: &[u8]) {
    let double = |_, number: Number| async move { Ok(number.number.wrapping_mul(2)) };
    let server = transport.rpc_server(Target::topic(TOPIC).server("s"));
    let server = server.endpoint(rpc::Endpoint::new().method("double", double)).start();
    let server = server.await.expect("a server");
    publish(channel, TOPIC, body.to_vec()).await;
    let client = transport.rpc_client(Target::topic(TOPIC));
    let doubled: i64 = client.call("double", &json!({"number": 4})).await.expect("the server serves");
    assert_eq!(doubled, 8);
    server.stop().await.expect("it stops");
}

#[derive(serde::Deserialize)]
struct Number {
    number: i64,
}

async fn reply(transport: &Transport, channel: &Channel, body: &[u8]) {
    channel.declare(&Exchange::topic("openstack")).await.expect("the exchange");
    channel.declare(&Queue::new(TOPIC)).await.expect("the queue");
    channel.bind(Binding::new(TOPIC, "openstack").routing_key(TOPIC)).await.expect("the binding");
    let mut requests = channel.consume(TOPIC, ConsumeOptions::new()).await.expect("a consumer");
    let client = transport.rpc_client(Target::topic(TOPIC));
    let answering = async {
        let request = requests.recv().await.expect("a request").expect("no error");
        let outer: Value = serde_json::from_slice(request.body()).expect("an envelope");
        let inner = outer["oslo.message"].as_str().expect("a message");
        let inner: Value = serde_json::from_str(inner).expect("JSON in JSON");
        let (id, queue) =
            (inner["_msg_id"].as_str().expect("an id"), inner["_reply_q"].as_str().expect("a queue"));
        let text = String::from_utf8_lossy(body);
        let body = if text.contains(ID) { text.replace(ID, id).into_bytes() } else { body.to_vec() };
        publish(channel, queue, body).await;
        let good = json!({"result": 8, "failure": null, "ending": true, "_msg_id": id, "_unique_id": "u"});
        let good = json!({"oslo.version": "2.0", "oslo.message": good.to_string()});
        publish(channel, queue, good.to_string().into_bytes()).await;
        request.ack().await.expect("the channel is open");
    };
    let calling = async { client.call::<Value>("double", &json!({"number": 4})).await };
    // The fuzzed reply may have answered the call, perhaps with a failure.
    let ((), _answer) = tokio::join!(answering, calling);
}

async fn publish(channel: &Channel, queue: &str, body: Vec<u8>) {
    let message = Message::new(body).content_type("application/json");
    channel.publish(("", queue), &message).await.expect("the channel is open");
}
