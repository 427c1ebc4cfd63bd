//! Messages whose header `compression` names no compression.

use std::time::Duration;

use amqp_client::{Channel, DeleteOptions, Message};
use amqp_codec::{Table, Value};
use messaging::{Compression, Error, Incoming, Malformed, OnFailure, Queue, RetryLater};
use tokio::sync::mpsc;

use super::{
    fixture::{Broker, within},
    on_every_broker_and_redis,
};

/// Publishes `1` as JSON, with this header.
async fn publish(channel: &Channel, queue: &str, compression: impl Into<Value>) {
    let mut headers = Table::new();
    headers.insert("compression", compression).unwrap();
    let message = Message::new("1").content_type("application/json").headers(headers);
    channel.publish(("", queue), &message).await.unwrap();
}

async fn a_consumer_gets_an_item_that_names_the_unknown_compression_and_goes_on(broker: Broker) {
    let transport = broker.transport().await;
    let queue = broker.name("q");
    let mut consumer = transport.consumer(Queue::new(&queue)).start::<u32>().await.unwrap();
    let channel = broker.channel().await;
    for unknown in [Value::from("application/x-unknown"), Value::from(5), Value::from("zlib")] {
        publish(&channel, &queue, unknown).await;
    }
    for nothing in [Value::from(""), Value::Void] {
        publish(&channel, &queue, nothing).await;
    }
    for expected in [
        r#"the header `compression` is "application/x-unknown"; this build knows zlib, "#,
        "the header `compression` is not text; this build knows zlib, ",
        "the body cannot be decompressed",
    ] {
        let Some(Err(Error::Undecodable(refused))) = within(consumer.recv()).await else { panic!("read") };
        assert!(refused.reason.to_string().starts_with(expected), "{}", refused.reason);
        refused.reject().await.unwrap();
    }
    for _ in 0..2 {
        let message = within(consumer.recv()).await.unwrap().unwrap();
        assert_eq!(message.body(), &1);
        message.ack().await.unwrap();
    }
    transport.close().await.unwrap();
}

async fn a_worker_passes_it_on_or_sets_it_aside(broker: Broker) {
    let transport = broker.transport().await;
    let queue = broker.name("q");
    let (told, mut reasons) = mpsc::unbounded_channel();
    let later = RetryLater::after(Duration::from_secs(60)).dead_letter(true);
    let worker = transport
        .worker(Queue::new(&queue))
        .on_failure(OnFailure::Retry(later))
        .on_undecodable(move |message, reason| {
            told.send((message.body().clone(), reason)).unwrap();
            async { Err("not mine") }
        })
        .start(move |_: Incoming<u32>| async { Ok::<_, String>(()) })
        .await
        .unwrap();
    publish(&broker.channel().await, &queue, "lz4").await;
    let (body, reason) = within(reasons.recv()).await.unwrap();
    assert_eq!(body, "1");
    let Malformed::UnknownCompression { name, compiled } = reason else { panic!("{reason}") };
    assert_eq!(name.as_deref(), Some("lz4"));
    assert_eq!(compiled, Compression::ALL.map(Compression::name));
    let dead = format!("{queue}.dead");
    let channel = broker.channel().await;
    // The worker may not have declared it yet: it asks first what to do.
    channel.declare(&Queue::durable(&dead)).await.unwrap();
    let mut set_aside = channel.consume(&dead, Default::default()).await.unwrap();
    let message = within(set_aside.recv()).await.unwrap().unwrap();
    assert_eq!(message.body(), "1");
    let headers = message.properties().unwrap().headers.unwrap();
    assert_eq!(headers.get("compression").unwrap().as_str(), Some("lz4"));
    message.ack().await.unwrap();
    within(worker.stop()).await;
    channel.delete_queue(&dead, DeleteOptions::new()).await.unwrap();
}

on_every_broker_and_redis!(
    a_consumer_gets_an_item_that_names_the_unknown_compression_and_goes_on,
    a_worker_passes_it_on_or_sets_it_aside,
);
