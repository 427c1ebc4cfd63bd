//! The options of a transport for messages of RPC and notifications, by its setters or by its URL.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use amqp_client::{Binding, ConsumeOptions, DeleteOptions, Delivery, GetOptions, Message, Queue};
use futures_util::future::join_all;
use messaging::{
    Compression, Context, Target, Transport, TransportOptions,
    rpc::{Acknowledge, Endpoint},
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{
    fixture::{Broker, within},
    on_every_broker_and_redis,
};

/// A transport with a prefetch of 1 and zlib: in memory by the setters, over the network by the
/// URL.
fn transport(broker: &Broker) -> Transport {
    let connecting = match broker.url.strip_prefix("amqp") {
        Some(rest) => {
            let url = format!("rabbit{rest}?rabbit_qos_prefetch_count=1&kombu_compression=gzip");
            TransportOptions::new().lazy(&url)
        }
        None => {
            TransportOptions::new().oslo_prefetch(1).oslo_compression(Compression::Zlib).lazy(&broker.url)
        }
    };
    connecting.unwrap()
}

fn is_compressed(delivery: &Delivery) -> bool {
    let headers = delivery.properties().unwrap().headers.unwrap_or_default();
    headers.get("compression").is_some_and(|name| name.as_str() == Some("application/x-gzip"))
}

async fn its_compression_is_that_of_requests_replies_and_notifications(broker: Broker) {
    let (transport, topic) = (transport(&broker), broker.name("t"));
    let echo = Endpoint::new().method("echo", |_, args: Value| async move { Ok(args) });
    let server = transport.rpc_server(Target::topic(&topic).server("s1")).endpoint(echo);
    let server = within(server.start()).await.unwrap();
    let channel = broker.channel().await;
    // This queue gets a copy of each request, and the reply to ours.
    let seen = channel.declare(&Queue::new("").exclusive(true)).await.unwrap().name;
    channel.bind(Binding::new(&seen, "openstack").routing_key(&topic)).await.unwrap();
    let mut spy = channel.consume(&seen, ConsumeOptions::new()).await.unwrap();

    let client = transport.rpc_client(Target::topic(&topic));
    let echoed: Value = within(client.call("echo", &json!({"a": 1})).into_future()).await.unwrap();
    assert_eq!(echoed, json!({"a": 1}));
    assert!(is_compressed(&within(spy.recv()).await.unwrap().unwrap()));

    channel.unbind(Binding::new(&seen, "openstack").routing_key(&topic)).await.unwrap();
    let request = json!({
        "method": "echo", "args": {}, "_unique_id": "u", "_msg_id": "5fcebaf07d464aa48f7a1e9546ccf035", "_reply_q": seen,
    });
    let request = Message::new(request.to_string()).content_type("application/json");
    channel.publish(("openstack", &topic), &request).await.unwrap();
    assert!(is_compressed(&within(spy.recv()).await.unwrap().unwrap()));

    let notifier = transport.notifier("p", &topic);
    within(notifier.info(&Context::new(), "e", &1)).await.unwrap();
    let emitted =
        channel.get(&format!("{topic}.info"), GetOptions::new()).await.unwrap().expect("it was confirmed");
    assert!(is_compressed(&emitted));
    channel.delete_queue(&format!("{topic}.info"), DeleteOptions::new()).await.unwrap();
    within(server.stop()).await.unwrap();
}

async fn its_prefetch_is_that_of_servers(broker: Broker) {
    let (transport, topic) = (transport(&broker), broker.name("t"));
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (gate, highest) = (Arc::new(Semaphore::new(0)), most.clone());
    let opened = gate.clone();
    let work = Endpoint::new().method("work", move |_, (): ()| {
        let (running, most, gate) = (running.clone(), most.clone(), gate.clone());
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            gate.acquire().await?.forget();
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
    });
    let server = transport.rpc_server(Target::topic(&topic).server("s1")).acknowledge(Acknowledge::After);
    let server = within(server.concurrency(5).endpoint(work).start()).await.unwrap();
    let client = transport.rpc_client(Target::topic(&topic));
    let calls =
        tokio::spawn(
            async move { join_all((0..5).map(|_| client.call::<()>("work", &()).into_future())).await },
        );
    // Without a prefetch no message would be left in the queue.
    let channel = broker.channel().await;
    let queue = Queue::new(&topic);
    within(async { while channel.declare(queue.clone().passive(true)).await.unwrap().messages != 4 {} })
        .await;
    opened.add_permits(5);
    assert!(within(calls).await.unwrap().iter().all(Result::is_ok));
    assert_eq!(highest.load(Ordering::SeqCst), 1);
    within(server.stop()).await.unwrap();
}

on_every_broker_and_redis! {
    its_compression_is_that_of_requests_replies_and_notifications,
    its_prefetch_is_that_of_servers,
}
