//! Errors of this side that no further attempt can change are told at once.

use std::time::Duration;

use amqp_client::{Backoff, ConnectOptions, Event, GetOptions, Message, Queue, Recovery, Table, Uri};
use futures_util::{StreamExt as _, stream};
use messaging::{
    ConnectionEvents, Context, Error, Exchange, Incoming, Outcome, Report, Target, Transport,
    TransportOptions, rpc::Endpoint,
};
use tokio::sync::mpsc::unbounded_channel;

use super::{
    fixture::{Broker, within},
    on_every_broker_and_redis,
};

const TOLD: &str = "cannot be published; the limit is 1000 bytes";

async fn limited(broker: &Broker) -> Transport {
    within(TransportOptions::new().max_message_size(1000).connect(&broker.url)).await.unwrap()
}

fn large() -> String {
    "x".repeat(2000)
}

/// Checks that there was one attempt, of which nothing was sent.
fn is_told(error: Error) {
    assert!(Report(&error).to_string().contains(TOLD), "{}", Report(&error));
    let Error::Undelivered(error) = error else { panic!("{error:?}") };
    assert_eq!((error.outcome, error.attempts), (Outcome::NotSent, 1), "{error}");
}

async fn a_body_over_the_own_limit_fails_alone_among_many(broker: Broker) {
    let (transport, queue) = (limited(&broker).await, broker.name("q"));
    let channel = broker.channel().await;
    channel.declare(&Queue::new(&queue).auto_delete(true)).await.unwrap();
    let producer = transport.producer(Exchange::default()).mandatory(true);
    let bodies = ["small".to_owned(), large(), "small".to_owned()];
    let messages = stream::iter(bodies).map(|body| (queue.as_str(), body));
    let mut outcomes: Vec<_> = within(producer.publish_all(messages, 10).collect()).await;
    is_told(outcomes.remove(1).unwrap_err());
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_ok_and(|one| one.attempts == 1)));
    is_told(within(producer.ensure_publish(&queue, &large())).await.unwrap_err());
    let deleted = channel.delete_queue(&queue, amqp_client::DeleteOptions::new()).await.unwrap();
    assert_eq!(deleted, 2);
}

async fn a_request_over_the_own_limit_fails_at_once(broker: Broker) {
    let topic = broker.name("t");
    let server = broker.transport().await.rpc_server(Target::topic(&topic).server("s1"));
    let endpoint = Endpoint::new().method("length", |_, text: Vec<String>| async move { Ok(text.len()) });
    let server = within(server.endpoint(endpoint).start()).await.unwrap();
    let client = limited(&broker).await.rpc_client(Target::topic(&topic));
    let arguments = serde_json::json!({"text": large()});
    is_told(within(client.call::<usize>("length", &arguments).into_future()).await.unwrap_err());
    is_told(within(client.cast("length", &arguments)).await.unwrap_err());
    assert_eq!(client.metrics().in_flight, 0);
    within(server.stop()).await.unwrap();
}

async fn a_notification_over_the_own_limit_fails_at_once(broker: Broker) {
    let (transport, topic) = (limited(&broker).await, broker.name("n"));
    let notifier = transport.notifier("p", &topic);
    is_told(within(notifier.info(&Context::new(), "e", &large())).await.unwrap_err());
    within(notifier.info(&Context::new(), "e", "small")).await.unwrap();
    let channel = broker.channel().await;
    let deleted = channel.delete_queue(&format!("{topic}.info"), amqp_client::DeleteOptions::new()).await;
    assert_eq!(deleted.unwrap(), 1);
}

/// Headers of 2 MiB can only be published with larger frames.
#[tokio::test(start_paused = true)]
async fn headers_over_all_bounds_are_told_and_met_again_after_longer_pauses_until_they_are_gone() {
    const FRAME_MAX: u32 = 8 << 20;
    let broker = amqp_broker::Broker::builder().frame_max(FRAME_MAX).build();
    let generous = ConnectOptions::new().frame_max(FRAME_MAX).heartbeat(Duration::ZERO);
    let generous = generous.connect_stream(broker.connect(), &Uri::default()).await.unwrap();
    let channel = generous.open_channel().await.unwrap();
    let queue = Queue::durable("jobs");
    channel.declare(&queue).await.unwrap();
    let pauses = Backoff::new(Duration::from_secs(1), Duration::from_secs(4)).jitter(false);
    let transport = TransportOptions::new().recovery(Recovery::new().backoff(pauses)).on(&broker);
    let mut events = transport.events();
    let (sender, mut handled) = unbounded_channel();
    let handler = move |message: Incoming<String>| {
        let sent = sender.send(message.into_body());
        async move { sent.map_err(|_| "nobody listens") }
    };
    let _worker = within(transport.worker(queue).start(handler)).await.unwrap();
    let mut headers = Table::new();
    headers.insert("large", "x".repeat(2 << 20)).unwrap();
    let json = |body: &'static str| Message::new(body).content_type("application/json");
    channel.publish(("", "jobs"), json("\"large\"").headers(headers)).await.unwrap();
    channel.publish(("", "jobs"), json("\"small\"")).await.unwrap();
    for pause in [2, 4, 4] {
        assert_eq!(loss_and_pause(&mut events).await, Duration::from_secs(pause));
    }
    let large = loop {
        if let Some(large) = channel.get("jobs", GetOptions::new()).await.unwrap() {
            break large;
        }
    };
    assert_eq!(large.body(), "\"large\"");
    large.ack().await.unwrap();
    assert_eq!(within(handled.recv()).await.unwrap(), "small");
}

/// Returns the pause after the next loss, which must be told with its reason.
async fn loss_and_pause(events: &mut ConnectionEvents) -> Duration {
    let mut reason = None;
    loop {
        match within(events.recv()).await.unwrap().event {
            Event::Disconnected(error) => reason = Some(Report(&error).to_string()),
            Event::Reconnecting { delay, .. } => {
                assert!(reason.as_ref().is_some_and(|reason| reason.contains("frame")), "{reason:?}");
                return delay;
            }
            _ => {}
        }
    }
}

on_every_broker_and_redis!(
    a_body_over_the_own_limit_fails_alone_among_many,
    a_request_over_the_own_limit_fails_at_once,
    a_notification_over_the_own_limit_fails_at_once,
);
