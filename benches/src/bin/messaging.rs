//! Compares the messaging layer with the bare client, on the same small JSON messages, and prints
//! one JSON line.
//!
//! `messaging URL MODE COUNT [current-thread]`, where MODE is `client-publish`, `ensure-publish`,
//! `client-consume`, `handle`, or `call-N`: one task calls a method of a server in this process,
//! with N calls in flight. `current-thread` selects a runtime of one thread. Publishing keeps 1000
//! messages in flight, as a stream or, with the suffix `-each` of the mode, each by its own call.
//! Consuming takes messages that were published before to the queue `bench-messaging`, with a
//! prefetch of 1000 and an acknowledgement for each. The code is written as a user would write it.
//! `benches/kombu_peer.py` does the same with kombu.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use amqp_client::{ConsumeOptions, Message};
use futures_util::{StreamExt as _, stream};
use messaging::{Exchange, Incoming, Queue, Target, Transport, rpc};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

type Failure = Box<dyn std::error::Error>;

const QUEUE: &str = "bench-messaging";
const IN_FLIGHT: u16 = 1000;

#[derive(Serialize, Deserialize)]
struct Event {
    id: u64,
    name: String,
    ok: bool,
}

fn event(id: u64) -> Event {
    Event { id, name: "resize".to_owned(), ok: true }
}

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: messaging URL (client|ensure)-publish[-each]|client-consume|handle|call-N COUNT [current-thread]";
    let (Some(url), Some(mode), Some(count)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err(usage.into());
    };
    let mut runtime = match arguments.next().as_deref() {
        None => tokio::runtime::Builder::new_multi_thread(),
        Some("current-thread") => tokio::runtime::Builder::new_current_thread(),
        Some(_) => return Err(usage.into()),
    };
    runtime.enable_all().build()?.block_on(time(&url, &mode, count.parse()?, usage))
}

async fn time(url: &str, mode: &str, count: u64, usage: &str) -> Result<(), Failure> {
    let (wall, cpu) = (Instant::now(), cpu_seconds());
    match mode {
        "client-publish" => client_publish(url, count).await?,
        "ensure-publish" => ensure_publish(url, count).await?,
        "client-publish-each" => client_publish_each(url, count).await?,
        "ensure-publish-each" => ensure_publish_each(url, count).await?,
        "client-consume" => client_consume(url, count).await?,
        "handle" => handle(url, count).await?,
        mode => match mode.strip_prefix("call-") {
            Some(in_flight) => {
                let (url, in_flight) = (url.to_owned(), in_flight.parse()?);
                tokio::spawn(
                    async move { call(&url, count, in_flight).await.map_err(|error| error.to_string()) },
                )
                .await??;
            }
            None => return Err(usage.into()),
        },
    }
    let (wall, cpu) = (wall.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let line = serde_json::json!({
        "mode": mode,
        "count": count,
        "msg_per_s": (count as f64 / wall).round(),
        "cpu_ns_per_msg": (cpu * 1e9 / count as f64).round(),
    });
    println!("{line}");
    Ok(())
}

async fn client_publish(url: &str, count: u64) -> Result<(), Failure> {
    let connection = amqp_client::connect(url).await?;
    let channel = connection.open_channel().await?;
    channel.declare(&Queue::durable(QUEUE)).await?;
    let publisher = channel.publisher().await?;
    let mut in_flight = VecDeque::with_capacity(IN_FLIGHT.into());
    for id in 0..count {
        if in_flight.len() == usize::from(IN_FLIGHT)
            && let Some(oldest) = in_flight.pop_front()
        {
            publisher_confirmed(oldest).await?;
        }
        let body = serde_json::to_vec(&event(id))?;
        let message = Message::new(body).content_type("application/json").persistent();
        in_flight.push_back(publisher.publish(("", QUEUE), message).await?);
    }
    for confirm in in_flight {
        publisher_confirmed(confirm).await?;
    }
    Ok(())
}

/// Publishes each message by its own call, as the tasks of a program do.
async fn client_publish_each(url: &str, count: u64) -> Result<(), Failure> {
    let connection = amqp_client::connect(url).await?;
    let channel = connection.open_channel().await?;
    channel.declare(&Queue::durable(QUEUE)).await?;
    let publisher = channel.publisher().await?;
    let publish = async |id| {
        let body = serde_json::to_vec(&event(id))?;
        let message = Message::new(body).content_type("application/json").persistent();
        publisher_confirmed(publisher.publish(("", QUEUE), message).await?).await
    };
    each(count, publish).await
}

async fn ensure_publish_each(url: &str, count: u64) -> Result<(), Failure> {
    let transport = Transport::connect(url).await?;
    transport.consumer(Queue::durable(QUEUE)).start::<Event>().await?.close().await?;
    // As the bare client publishes.
    let producer = transport.producer(Exchange::default()).mandatory(false);
    each(count, async |id| Ok(producer.ensure_publish(QUEUE, &event(id)).await.map(drop)?)).await
}

async fn each(count: u64, publish: impl AsyncFn(u64) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut published = pin!(stream::iter(0..count).map(|id| publish(id)).buffer_unordered(IN_FLIGHT.into()));
    while let Some(outcome) = published.next().await {
        outcome?;
    }
    Ok(())
}

async fn publisher_confirmed(confirm: amqp_client::Confirm) -> Result<(), Failure> {
    match confirm.await? {
        amqp_client::Confirmation::Ack => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

async fn ensure_publish(url: &str, count: u64) -> Result<(), Failure> {
    let transport = Transport::connect(url).await?;
    transport.consumer(Queue::durable(QUEUE)).start::<Event>().await?.close().await?;
    let producer = transport.producer(Exchange::default()).mandatory(false);
    let events = stream::iter(0..count).map(|id| (QUEUE, event(id)));
    let mut outcomes = producer.publish_all(events, IN_FLIGHT.into());
    while let Some(outcome) = outcomes.next().await {
        outcome?;
    }
    Ok(())
}

async fn client_consume(url: &str, count: u64) -> Result<(), Failure> {
    let connection = amqp_client::connect(url).await?;
    let channel = connection.open_channel().await?;
    let mut consumer = channel.consume(QUEUE, ConsumeOptions::new().prefetch(IN_FLIGHT)).await?;
    let mut sum = 0;
    for _ in 0..count {
        let delivery = consumer.recv().await.ok_or("the consumer ended")??;
        let event: Event = serde_json::from_slice(delivery.body())?;
        sum += event.id;
        delivery.ack().await?;
    }
    assert_eq!(sum, count * (count - 1) / 2, "each message once");
    Ok(())
}

async fn handle(url: &str, count: u64) -> Result<(), Failure> {
    static LEFT: AtomicU64 = AtomicU64::new(0);
    static DONE: Notify = Notify::const_new();
    LEFT.store(count, Ordering::Relaxed);
    let transport = Transport::connect(url).await?;
    let worker = transport
        .worker(Queue::durable(QUEUE))
        .concurrency(IN_FLIGHT)
        .start(async |event: Incoming<Event>| {
            std::hint::black_box(event.body().id);
            if LEFT.fetch_sub(1, Ordering::Relaxed) == 1 {
                DONE.notify_one();
            }
            Ok::<_, String>(())
        })
        .await?;
    DONE.notified().await;
    worker.stop().await;
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Add {
    a: u64,
    b: u64,
}

async fn call(url: &str, count: u64, in_flight: usize) -> Result<(), Failure> {
    let (serving, calling) = (Transport::connect(url).await?, Transport::connect(url).await?);
    let add = |_, args: Add| async move { Ok(args.a + args.b) };
    let server = serving.rpc_server(Target::topic("bench-rpc").server("s")).concurrency(IN_FLIGHT);
    let server = server.endpoint(rpc::Endpoint::new().method("add", add)).start().await?;
    let client = calling.rpc_client(Target::topic("bench-rpc"));
    let calls = stream::iter(0..count).map(|number| {
        let call = client.call::<u64>("add", &Add { a: number, b: 1 });
        async move { call.await.map(|sum| assert_eq!(sum, number + 1)) }
    });
    let mut results = pin!(calls.buffer_unordered(in_flight));
    while let Some(result) = results.next().await {
        result?;
    }
    server.stop().await?;
    calling.close().await?;
    Ok(serving.close().await?)
}

/// The CPU time of this process, user and system, in seconds.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
