//! Errors of this side that no further attempt can change are told at once.

use amqp_client::Queue;
use futures_util::{StreamExt as _, stream};
use messaging::{
    Context, Error, Exchange, Outcome, Report, Target, Transport, TransportOptions, rpc::Endpoint,
};

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

on_every_broker_and_redis!(
    a_body_over_the_own_limit_fails_alone_among_many,
    a_request_over_the_own_limit_fails_at_once,
    a_notification_over_the_own_limit_fails_at_once,
);
