//! A series of notifications while the broker dies and comes back.

use std::{collections::BTreeMap, io, time::Duration};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use messaging::{
    Context, RetryPolicy, Topology, TransportOptions,
    notify::{Event, Level, NotificationResult},
};
use serde_json::json;
use tests::{EmbeddedBroker, RabbitMq, scale};
use tokio::{sync::mpsc, time::timeout};

use super::agent::Agent;

const EVENTS: u32 = 10_000;

/// A broker that can be killed and restarted with its persistent state.
trait Mortal {
    fn kill(&mut self) -> io::Result<()>;
    async fn shut_down(&mut self) -> io::Result<()>;
    async fn restart(&mut self) -> io::Result<()>;
}

macro_rules! mortal {
    ($broker:ty) => {
        impl Mortal for $broker {
            fn kill(&mut self) -> io::Result<()> {
                self.kill()
            }

            async fn shut_down(&mut self) -> io::Result<()> {
                self.shut_down().await
            }

            async fn restart(&mut self) -> io::Result<()> {
                self.restart().await
            }
        }
    };
}

mortal!(RabbitMq);
mortal!(EmbeddedBroker);

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_that_restarts_under_ten_thousand_events_loses_none() {
    let test = "interop::oslo::notify_restarts::rabbitmq_that_restarts_under_ten_thousand_events_loses_none";
    let Some(python) = Agent::of_notifications(test) else { return };
    if !RabbitMq::require(test) {
        return;
    }
    let mut rabbitmq = RabbitMq::start().await.unwrap();
    println!("{}", none_is_lost(test, python, rabbitmq.port(), &mut rabbitmq).await);
    rabbitmq.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_broker_that_restarts_under_ten_thousand_events_loses_none() {
    let test = "interop::oslo::notify_restarts::the_embedded_broker_that_restarts_under_ten_thousand_events_loses_none";
    let Some(python) = Agent::of_notifications(test) else { return };
    let Some(program) = EmbeddedBroker::require(test) else { return };
    let mut broker = EmbeddedBroker::start(program).await.unwrap();
    println!("{}", none_is_lost(test, python, broker.port(), &mut broker).await);
}

/// Checks that none is lost; returns a description of those that came twice.
async fn none_is_lost(test: &str, python: &Agent, port: u16, broker: &mut impl Mortal) -> String {
    let url = format!("rabbit://guest:guest@127.0.0.1:{port}/");
    let options = TransportOptions::new().topology(Topology::new().durable(true));
    let transport = options.connect(&url).await.unwrap();
    // Each listener has its own queue, so all get everything.
    python
        .ask(json!({
            "do": "listen", "url": format!("{url}?amqp_durable_queues=true"), "name": test, "topics": ["n"], "pool": "python",
            "levels": ["info"],
        }))
        .await
        .unwrap();
    let (sender, mut heard) = mpsc::unbounded_channel();
    let listener = transport.listener("n").pool("rust").on(Level::Info, move |event: Event| {
        let _ = sender.send((event.payload::<u32>().unwrap(), event.redelivered()));
        std::future::ready(NotificationResult::Handled)
    });
    let listener = listener.start().await.unwrap();

    let events = EVENTS * scale() as u32;
    let patient = RetryPolicy::exponential(Duration::from_millis(50), Duration::from_secs(1));
    let notifier = transport.notifier("rust", "n").retry(patient.deadline(Duration::from_secs(180)));
    let context = Context::new();
    let (progress, mut emitted) = tokio::sync::watch::channel(0_u32);
    let emitting = async {
        let emit = |number: u32| {
            let (notifier, context, progress) = (&notifier, &context, &progress);
            async move {
                notifier.info(context, "e", &number).await?;
                progress.send_modify(|emitted| *emitted += 1);
                Ok::<_, messaging::Error>(())
            }
        };
        stream::iter(0..events)
            .map(|number| Ok(emit(number)))
            .try_buffer_unordered(16)
            .try_for_each(|()| async { Ok(()) })
            .await
    };
    let disturbing = async {
        emitted.wait_for(|emitted| *emitted > events / 4).await.unwrap();
        broker.kill().unwrap();
        broker.restart().await.unwrap();
        emitted.wait_for(|emitted| *emitted > events / 2).await.unwrap();
        broker.shut_down().await.unwrap();
        broker.restart().await.unwrap();
    };
    let (outcome, ()) = tokio::join!(emitting, disturbing);
    outcome.unwrap();

    let mut by_us = BTreeMap::<u32, u32>::new();
    while by_us.len() < events as usize {
        let next = timeout(Duration::from_secs(120), heard.recv()).await;
        let (number, redelivered) = next.unwrap_or_else(|_| panic!("{} of {events}", by_us.len())).unwrap();
        let times = by_us.entry(number).or_default();
        *times += 1;
        assert!(*times == 1 || redelivered, "event {number} came twice and does not say so");
    }
    let mut by_python = BTreeMap::<u64, u32>::new();
    let mut count = events as usize;
    while by_python.len() < events as usize {
        let events = python.ask(json!({"do": "heard", "name": test, "count": count})).await.unwrap();
        let events = events.as_array().unwrap();
        assert!(events.len() >= count, "Python has heard {} of {count}", events.len());
        by_python.clear();
        for event in events {
            *by_python.entry(event["payload"].as_u64().unwrap()).or_default() += 1;
        }
        // It detects duplicates only among the last sixteen.
        count = events.len() + 1;
    }
    let twice = |times: &mut dyn Iterator<Item = &u32>| times.filter(|times| **times > 1).count();
    let summary = format!(
        "{events} events, 2 restarts: none lost; {} came twice to us, {} to Python",
        twice(&mut by_us.values()),
        twice(&mut by_python.values())
    );
    listener.stop().await;
    python.ask(json!({"do": "unlisten", "name": test})).await.unwrap();
    transport.close().await.unwrap();
    summary
}
