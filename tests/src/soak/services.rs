//! Clients that use messaging: a producer and a worker, calls, notifications.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use messaging::{
    Context, Error, Exchange, Incoming, Producer, Queue, Target, Transport, Worker,
    notify::{Event, Level, NotificationResult, Notifier, RunningListener},
    rpc::{Client, Endpoint, RunningServer},
};
use serde::{Deserialize, Serialize};

use super::{link::Link, tally::Tally};

/// The most publishes, calls or notifications that are under way.
const IN_FLIGHT: usize = 256;
const CONCURRENCY: u16 = 64;
const EVENT: &str = "soak.message";

/// A producer and a worker.
pub(super) struct Tasks {
    transport: Transport,
    producer: Producer,
    queue: String,
    tally: Arc<Tally>,
    worker: Worker,
}

impl Tasks {
    pub(super) async fn start(link: &Link, expected: u64) -> Result<Self, Error> {
        let queue = format!("{}-tasks", link.name());
        let (transport, tally) = (link.transport()?, Arc::new(Tally::new(&queue, expected)));
        let handled = Arc::clone(&tally);
        let handler = move |message: Incoming<(u64, String)>| {
            match message.body() {
                (number, text) if *text == text_of(*number) => handled.handle(*number),
                (number, _) => handled.wrong(format!("message {number} has another body")),
            }
            async { Ok::<_, Error>(()) }
        };
        let worker = transport.worker(Queue::durable(&queue)).concurrency(CONCURRENCY).start(handler).await?;
        let producer = transport.producer(Exchange::default());
        Ok(Tasks { transport, producer, queue, tally, worker })
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(super) async fn round(&self) -> Result<(), Error> {
        let numbers = stream::iter(0..self.tally.expected());
        let messages = numbers.map(|number| (self.queue.as_str(), (number, text_of(number))));
        let mut published = self.producer.publish_all(messages, IN_FLIGHT);
        while let Some(result) = published.next().await {
            if result?.attempts > 1 {
                self.tally.wrong("a message took more than one attempt");
            }
        }
        Ok(())
    }

    pub(super) async fn end(self) -> Result<(), Error> {
        self.worker.stop().await;
        self.transport.close().await
    }
}

fn text_of(number: u64) -> String {
    "text ".repeat((number % 9) as usize)
}

#[derive(Clone, Copy, Deserialize, Serialize)]
struct Number {
    number: u64,
}

/// Calls, and their server.
pub(super) struct Calls {
    transport: Transport,
    client: Client,
    tally: Arc<Tally>,
    server: RunningServer,
}

impl Calls {
    pub(super) async fn start(link: &Link, expected: u64) -> Result<Self, Error> {
        let topic = format!("{}-calls", link.name());
        let (transport, tally) = (link.transport()?, Arc::new(Tally::new(&topic, expected)));
        let handled = Arc::clone(&tally);
        let endpoint = Endpoint::new().method("double", move |_, Number { number }: Number| {
            handled.handle(number);
            async move { Ok(2 * number) }
        });
        let target = Target::topic(&topic);
        let server = transport.rpc_server(target.clone().server("soak"));
        let server = server.concurrency(CONCURRENCY).endpoint(endpoint).start().await?;
        let client = transport.rpc_client(target);
        Ok(Calls { transport, client, tally, server })
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(super) async fn round(&self) -> Result<(), Error> {
        let call = |number| async move {
            self.client.call::<u64>("double", &Number { number }).await.map(|double| (number, double))
        };
        let mut calls = stream::iter(0..self.tally.expected()).map(call).buffer_unordered(IN_FLIGHT);
        while let Some(called) = calls.next().await {
            let (number, double) = called?;
            if double != 2 * number {
                self.tally.wrong(format!("twice {number} is {double}"));
            }
        }
        Ok(())
    }

    pub(super) async fn end(self) -> Result<(), Error> {
        self.server.stop().await?;
        self.transport.close().await
    }
}

/// Notifications, and their listener.
pub(super) struct Notifications {
    transport: Transport,
    notifier: Notifier,
    tally: Arc<Tally>,
    listener: RunningListener,
}

impl Notifications {
    pub(super) async fn start(link: &Link, expected: u64) -> Result<Self, Error> {
        let topic = format!("{}-notifications", link.name());
        let (transport, tally) = (link.transport()?, Arc::new(Tally::new(&topic, expected)));
        let handled = Arc::clone(&tally);
        let handler = move |event: Event| {
            match event.payload::<Number>() {
                Ok(Number { number }) => handled.handle(number),
                Err(error) => handled.wrong(format!("a payload: {error}")),
            }
            async { NotificationResult::Handled }
        };
        let listener = transport.listener(&topic).on(Level::Info, handler).start().await?;
        let notifier = transport.notifier("soak", &topic);
        Ok(Notifications { transport, notifier, tally, listener })
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(super) async fn round(&self) -> Result<(), Error> {
        let context = &Context::new();
        let notify = |number| async move { self.notifier.info(context, EVENT, &Number { number }).await };
        let mut emitted = stream::iter(0..self.tally.expected()).map(notify).buffer_unordered(IN_FLIGHT);
        while let Some(result) = emitted.next().await {
            result?;
        }
        Ok(())
    }

    pub(super) async fn end(self) -> Result<(), Error> {
        self.listener.stop().await;
        self.transport.close().await
    }
}
