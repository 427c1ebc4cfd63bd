//! Clients that use messaging: producers and workers, calls and servers, notifications.

use std::{sync::Arc, time::Duration};

use amqp_client::{Backoff, Recovery, Report};
use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use messaging::{
    Context, Error, Exchange, Incoming, Queue, Quorum, Target, Topology, Transport, TransportOptions, Worker,
    notify::{Event, Level, NotificationResult, RunningListener},
    rpc::{Endpoint, RunningServer},
};
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{
    body::{body_of, number_of},
    calls::Calls,
    load::{HEARTBEAT, Load, ends, fate},
};

/// The most publishes or calls of a client that are under way.
const IN_FLIGHT: usize = 100;
/// The deadline of calls; that of publishes is 30 s.
const CALL: Duration = Duration::from_secs(10);
/// The time that may pass beyond a deadline, on a machine that has much to do.
const MARGIN: Duration = Duration::from_secs(10);
const PUBLISH: Duration = Duration::from_secs(30 + MARGIN.as_secs());
const CONCURRENCY: u16 = 8;
const EVENT: &str = "cluster.message";

/// A transport to these nodes. All of RPC and notifications has quorum queues, or is declared as
/// usual.
pub(super) fn transport(uri: &str, name: &str, is_quorum: bool) -> Result<Transport, Error> {
    let recovery = Recovery::new().backoff(Backoff::new(Duration::from_millis(50), Duration::from_secs(2)));
    let topology = match is_quorum {
        true => Topology::new().quorum(Quorum::new()).transient_quorum(true).control_exchange("quorum"),
        false => Topology::new().control_exchange("usual"),
    };
    TransportOptions::new()
        .name(name)
        .heartbeat(HEARTBEAT)
        .connect_timeout(2 * HEARTBEAT)
        .recovery(recovery)
        .topology(topology)
        .lazy(uri)
}

/// Does something at this rate until the load is over, and awaits all of it.
async fn repeat<'a>(load: &Load, every: Duration, begin: impl Fn() -> BoxFuture<'a, ()>) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut under_way = FuturesUnordered::new();
    while !load.is_over() {
        tokio::select! {
            _ = ticks.tick(), if under_way.len() < IN_FLIGHT => under_way.push(begin()),
            Some(()) = under_way.next() => {}
        }
    }
    while under_way.next().await.is_some() {}
}

/// Publishes to a queue until each message is confirmed or given up.
pub(super) async fn produce(
    load: Load,
    transport: Transport,
    queue: &'static str,
    (number, every): (usize, Duration),
) {
    let producer = transport.producer(Exchange::default());
    let progress = load.continuity.begin("producer", number);
    let (load, producer, progress) = (&load, &producer, &progress);
    let begin = || {
        Box::pin(async move {
            let number = load.tasks.publish();
            let body = body_of(number);
            let publishing = producer.ensure_publish(queue, &body);
            if let Some(published) = ends(&load.tasks, "a publish", PUBLISH, publishing).await {
                let is_again = published.as_ref().is_ok_and(|published| published.attempts > 1);
                load.tasks.settle(number, fate(&published, is_again));
                if published.is_ok() {
                    progress.made();
                }
            }
        }) as BoxFuture<'_, ()>
    };
    repeat(load, every, begin).await;
}

/// Handles the messages of a queue.
pub(super) async fn work(
    load: &Load,
    transport: &Transport,
    queue: &'static str,
    number: usize,
) -> Result<Worker, Error> {
    let progress = load.continuity.begin("worker", number);
    let tasks = Arc::clone(&load.tasks);
    let handler = move |message: Incoming<String>| {
        match number_of(message.body()) {
            Some(task) => tasks.handle(task, number, message.redelivered()),
            None => tasks.wrong("a body that nobody published"),
        }
        progress.made();
        async { Ok::<_, Error>(()) }
    };
    transport.worker(Queue::quorum(queue)).concurrency(CONCURRENCY).start(handler).await
}

/// The calls of a topic, by whether its queues are quorum queues.
fn calls_of(load: &Load, is_quorum: bool) -> (Arc<Calls>, &'static str) {
    match is_quorum {
        true => (Arc::clone(&load.calls), "sums"),
        false => (Arc::clone(&load.usual_calls), "usual sums"),
    }
}

/// Serves calls.
pub(super) async fn serve(
    load: &Load,
    transport: &Transport,
    is_quorum: bool,
    number: usize,
) -> Result<RunningServer, Error> {
    let (calls, topic) = calls_of(load, is_quorum);
    let progress = load.continuity.begin(if is_quorum { "server" } else { "usual server" }, number);
    let endpoint = Endpoint::new().method("add", move |_, Sum { a, b }: Sum| {
        calls.run();
        progress.made();
        async move { Ok(a + b) }
    });
    let target = Target::topic(topic).server(format!("server-{number}"));
    transport.rpc_server(target).endpoint(endpoint).start().await
}

/// Calls a server at this rate until the load is over.
pub(super) async fn call(
    load: Load,
    transport: Transport,
    is_quorum: bool,
    (number, every): (usize, Duration),
) {
    let (calls, topic) = calls_of(&load, is_quorum);
    let client = transport.rpc_client(Target::topic(topic)).timeout(CALL);
    let progress = load.continuity.begin(if is_quorum { "caller" } else { "usual caller" }, number);
    let (calls, client, progress) = (&*calls, &client, &progress);
    let begin = || {
        Box::pin(async move {
            calls.begin();
            let (a, b) = (fastrand::u64(..1 << 40), fastrand::u64(..1 << 40));
            let calling = client.call::<u64>("add", &Sum { a, b }).into_future();
            match timeout(CALL + MARGIN, calling).await {
                Ok(Ok(sum)) if sum == a + b => {
                    calls.answer();
                    progress.made();
                }
                Ok(Ok(sum)) => calls.wrong(format!("{a} and {b} are {sum}")),
                Ok(Err(error)) => calls.fail(kind_of(&error)),
                Err(_) => calls.wrong("a call has not ended by its deadline"),
            }
        }) as BoxFuture<'_, ()>
    };
    repeat(&load, every, begin).await;
}

#[derive(Serialize, Deserialize)]
struct Sum {
    a: u64,
    b: u64,
}

/// A few words about an error of a call.
fn kind_of(error: &Error) -> String {
    match error {
        Error::Timeout { during, .. } => format!("timed out ({during})"),
        Error::Undelivered(undelivered) => format!("requests {}", undelivered.outcome),
        other => format!("failed: {}", Report(other)),
    }
}

/// Emits notifications at this rate until the load is over.
pub(super) async fn notify(load: Load, transport: Transport, topic: &'static str, every: Duration) {
    let notifier = transport.notifier("cluster", topic);
    let progress = load.continuity.begin("notifier", 0);
    let (load, notifier, progress) = (&load, &notifier, &progress);
    let begin = || {
        Box::pin(async move {
            let number = load.notifications.publish();
            let (context, body) = (Context::new(), body_of(number));
            let notifying = notifier.info(&context, EVENT, &body);
            if let Some(notified) = ends(&load.notifications, "a notification", PUBLISH, notifying).await {
                // A listener handles what is published again once.
                load.notifications.settle(number, fate(&notified, false));
                if notified.is_ok() {
                    progress.made();
                }
            }
        }) as BoxFuture<'_, ()>
    };
    repeat(load, every, begin).await;
}

/// Listens for notifications.
pub(super) async fn listen(
    load: &Load,
    transport: &Transport,
    topic: &'static str,
) -> Result<RunningListener, Error> {
    let progress = load.continuity.begin("listener", 0);
    let notifications = Arc::clone(&load.notifications);
    let handler = move |event: Event| {
        match event.payload::<String>().ok().as_deref().and_then(number_of) {
            Some(number) => notifications.handle(number, 0, event.redelivered()),
            None => notifications.wrong("a payload that nobody emitted"),
        }
        progress.made();
        async { NotificationResult::Handled }
    };
    transport.listener(topic).concurrency(CONCURRENCY).on(Level::Info, handler).start().await
}
