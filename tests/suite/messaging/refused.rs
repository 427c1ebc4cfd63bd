//! Messages that the broker refuses: only their own publisher is told, and other messages on the
//! same channel are delivered.

use amqp_client::{DeleteOptions, GetOptions};
use std::{collections::BTreeSet, time::Duration};

use futures_util::{StreamExt as _, future::join_all, stream};
use messaging::{
    Error, Exchange, Outcome, Producer, PublishOptions, Published, Queue, Report, RetryPolicy, Transport,
    Undelivered,
};
use tests::{Node, RabbitMq};

use super::{
    fixture::{Broker, impatient, within},
    on_every_broker_and_redis,
};

/// Publishes the numbers up to `count` concurrently, those of `culprits` with these options;
/// returns the outcomes.
async fn publish(
    producer: &Producer,
    queue: &str,
    count: u32,
    (culprits, options): (&[u32], &PublishOptions),
) -> Vec<Result<Published, Error>> {
    let plain = PublishOptions::new();
    let numbers: Vec<_> = (0..count).collect();
    let publishing = numbers.iter().map(|number| {
        let options = if culprits.contains(number) { options } else { &plain };
        producer.ensure_publish((queue, options), number)
    });
    within(join_all(publishing)).await
}

/// The bodies of all messages in the queue, without duplicates.
async fn bodies(channel: &amqp_client::Channel, queue: &str) -> BTreeSet<u32> {
    let mut bodies = BTreeSet::new();
    while let Some(delivery) = within(channel.get(queue, GetOptions::new().no_ack(true))).await.unwrap() {
        bodies.insert(serde_json::from_slice(delivery.body()).unwrap());
    }
    bodies
}

fn undelivered(result: Result<Published, Error>) -> Undelivered {
    match result {
        Err(Error::Undelivered(undelivered)) => *undelivered,
        other => panic!("{other:?}"),
    }
}

/// Checks that each of the culprits, and nobody else, was told that the broker refuses it.
fn check(outcomes: Vec<Result<Published, Error>>, culprits: &[u32], words: &str) {
    for (number, outcome) in (0..).zip(outcomes) {
        if culprits.contains(&number) {
            let error = undelivered(outcome);
            assert_eq!(error.outcome, Outcome::Rejected, "{error}");
            assert!(Report(&error).to_string().contains(words), "{error:?}");
        } else {
            outcome.unwrap_or_else(|error| panic!("{number}: {error}"));
        }
    }
}

async fn scene(broker: &Broker) -> (Transport, Producer, amqp_client::Channel, String) {
    let transport = broker.transport().await;
    let queue = broker.name("q");
    let channel = broker.channel().await;
    channel.declare(&Queue::new(&queue)).await.unwrap();
    let producer = transport.producer(Exchange::default()).mandatory(true);
    within(producer.ensure_publish(&queue, &u32::MAX)).await.unwrap();
    assert_eq!(bodies(&channel, &queue).await.len(), 1);
    (transport, producer, channel, queue)
}

async fn told_alone(broker: &Broker, count: u32, (culprits, options): (&[u32], PublishOptions), words: &str) {
    let (transport, producer, channel, queue) = scene(broker).await;
    for _ in 0..3 {
        let outcomes = publish(&producer, &queue, count, (culprits, &options)).await;
        check(outcomes, culprits, words);
        let there = bodies(&channel, &queue).await;
        assert!(there.into_iter().eq((0..count).filter(|number| !culprits.contains(number))));
    }
    channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
    transport.close().await.unwrap();
}

async fn a_wrong_user_id_among_300_is_told_alone(broker: Broker) {
    let wrong = PublishOptions::new().user_id("somebody").unwrap();
    told_alone(&broker, 300, (&[150], wrong), "user_id property set to 'somebody'").await;
}

async fn an_expiration_that_is_too_long_is_told_alone(broker: Broker) {
    let wrong = PublishOptions::new().expiration(Duration::from_secs(1 << 40));
    told_alone(&broker, 100, (&[99], wrong), "invalid expiration").await;
}

async fn several_that_are_refused_are_each_told_and_nobody_else(broker: Broker) {
    let wrong = PublishOptions::new().user_id("somebody").unwrap();
    let culprits = [0, 1, 2, 50, 77, 199];
    told_alone(&broker, 200, (&culprits, wrong), "user_id").await;
}

async fn all_that_are_refused_are_told(broker: Broker) {
    let (transport, producer, channel, queue) = scene(&broker).await;
    let wrong = PublishOptions::new().user_id("somebody").unwrap();
    let culprits: Vec<_> = (0..300).collect();
    check(publish(&producer, &queue, 300, (&culprits, &wrong)).await, &culprits, "user_id");
    within(producer.ensure_publish(&queue, &1)).await.unwrap();
    assert!(bodies(&channel, &queue).await.into_iter().eq([1]));
    channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
    transport.close().await.unwrap();
}

/// Each is tried alone, and declares what it needs there, which takes several turns.
async fn all_that_are_refused_are_told_though_they_need_a_queue(broker: Broker) {
    let (transport, producer, channel, queue) = scene(&broker).await;
    let needed = Queue::new(broker.name("needed"));
    let wrong = PublishOptions::new().user_id("somebody").unwrap().declare(&needed);
    let culprits: Vec<_> = (0..300).collect();
    check(publish(&producer, &queue, 300, (&culprits, &wrong)).await, &culprits, "user_id");
    within(producer.ensure_publish(&queue, &1)).await.unwrap();
    assert!(bodies(&channel, &queue).await.into_iter().eq([1]));
    channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
    channel.delete_queue(needed.name(), DeleteOptions::new()).await.unwrap();
    transport.close().await.unwrap();
}

async fn what_needs_a_queue_that_exists_otherwise_is_told_alone(broker: Broker) {
    let (transport, producer, channel, queue) = scene(&broker).await;
    let existing = Queue::new(broker.name("dead"));
    channel.declare(&existing).await.unwrap();
    let conflicting = PublishOptions::new().declare(existing.clone().max_length(5));
    let culprits = [20, 60, 61, 62];
    for _ in 0..3 {
        let outcomes = publish(&producer, &queue, 100, (&culprits, &conflicting)).await;
        for (number, outcome) in (0..).zip(outcomes) {
            if culprits.contains(&number) {
                let error = undelivered(outcome);
                assert_eq!((error.outcome, error.attempts), (Outcome::NotSent, 1), "{error}");
                assert!(matches!(error.source.as_deref(), Some(Error::Conflict(_))), "{error}");
            } else {
                assert_eq!(outcome.unwrap().attempts, 1, "{number}: nothing else is touched");
            }
        }
        assert_eq!(bodies(&channel, &queue).await.len(), 96);
    }
    channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
    channel.delete_queue(existing.name(), DeleteOptions::new()).await.unwrap();
    transport.close().await.unwrap();
}

async fn messages_to_an_exchange_that_goes_missing_are_all_delivered(broker: Broker) {
    let (transport, _, channel, queue) = scene(&broker).await;
    let exchange = Exchange::fanout(broker.name("x"));
    let producer = transport.producer(exchange.clone()).retry(impatient());
    within(producer.ensure_publish("", &0)).await.unwrap();
    channel.delete_exchange(&exchange, DeleteOptions::new()).await.unwrap();
    let needs = PublishOptions::new().bind(&Queue::new(&queue), &exchange, "");
    let all: Vec<_> = (0..100).collect();
    for outcome in publish(&producer, "", 100, (&all, &needs)).await {
        outcome.unwrap();
    }
    assert_eq!(bodies(&channel, &queue).await.len(), 100);
    channel.delete_exchange(&exchange, DeleteOptions::new()).await.unwrap();
    channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
    transport.close().await.unwrap();
}

async fn an_exchange_that_nobody_declares_is_told_and_holds_up_no_other(broker: Broker) {
    let (transport, producer, channel, queue) = scene(&broker).await;
    let brief = impatient().deadline(Duration::from_millis(300));
    let lost = transport.producer(Exchange::direct("amq.nowhere")).retry(brief);
    let plain = (&[][..], &PublishOptions::new());
    let lost = publish(&lost, "k", 20, plain);
    let (lost, delivered) = tokio::join!(lost, publish(&producer, &queue, 100, plain));
    for outcome in delivered {
        assert_eq!(outcome.unwrap().attempts, 1);
    }
    for outcome in lost {
        let error = undelivered(outcome);
        assert!(Report(&error).to_string().contains("no exchange 'amq.nowhere'"), "{error:?}");
    }
    channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
    transport.close().await.unwrap();
}

async fn a_message_that_is_to_be_published_once_is_not_published_again_for_another(broker: Broker) {
    let (transport, producer, channel, queue) = scene(&broker).await;
    let producer = producer.retry(RetryPolicy::never());
    let wrong = PublishOptions::new().user_id("somebody").unwrap();
    let outcomes = publish(&producer, &queue, 50, (&[25], &wrong)).await;
    let mut delivered = BTreeSet::new();
    for (number, outcome) in (0..).zip(outcomes) {
        match outcome {
            Ok(published) => {
                assert!(published.attempts == 1 && number != 25);
                delivered.insert(number);
            }
            Err(error) => {
                let error = undelivered(Err(error));
                // Nobody can tell which of them was refused without publishing them again.
                assert!(
                    error.attempts == 1 && (error.outcome != Outcome::Rejected || number == 25),
                    "{error}"
                );
            }
        }
    }
    let stored = channel.declare(Queue::new(&queue).passive(true)).await.unwrap().messages as usize;
    let there = bodies(&channel, &queue).await;
    assert_eq!(stored, there.len(), "none is there twice");
    assert!(delivered.is_subset(&there) && !there.contains(&25), "{delivered:?} of {there:?}");
    // The broker has those that came before it, whether it could still say so or not.
    assert!(there.is_superset(&(0..25).collect()), "{there:?}");
    channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
    transport.close().await.unwrap();
}

async fn what_cannot_be_sent_is_told_at_once_and_the_channel_is_as_it_was(broker: Broker) {
    let (transport, producer, channel, queue) = scene(&broker).await;
    let (long, plain) = ("k".repeat(256), PublishOptions::new());
    let headers = PublishOptions::new().header("big", "x".repeat(200_000)).unwrap();
    let text = PublishOptions::new().serializer("text");
    let too_large = "x".repeat((64 << 20) + 1);
    let beside = publish(&producer, &queue, 100, (&[], &plain));
    let (large, many, name, delivered) = tokio::join!(
        producer.ensure_publish((&queue, &text), &too_large),
        producer.ensure_publish((&queue, &headers), &1),
        producer.ensure_publish(&long, &1),
        beside,
    );
    for outcome in [large, many, name] {
        let error = undelivered(outcome);
        assert_eq!((error.outcome, error.attempts), (Outcome::NotSent, 1), "{error}");
    }
    for outcome in delivered {
        assert_eq!(outcome.unwrap().attempts, 1);
    }
    channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
    transport.close().await.unwrap();
}

/// A broker closes the connection for an exchange of a type that it does not know (503).
async fn an_exchange_of_an_unknown_type_is_told_alone_though_the_connection_ends(broker: Broker) {
    let (transport, producer, channel, queue) = scene(&broker).await;
    let bogus = Exchange::new(broker.name("x"), "bogus");
    let plain = PublishOptions::new();
    for round in 0..3 {
        let (refused, outcomes) = within(async {
            futures_util::join!(
                async { transport.producer(bogus.clone()).ensure_publish("k", "x").await },
                publish(&producer, &queue, 100, (&[], &plain)),
            )
        })
        .await;
        check(outcomes, &[], "");
        let refused = undelivered(refused);
        assert_eq!((refused.outcome, refused.attempts), (Outcome::NotSent, 1), "{refused}");
        assert!(Report(&refused).to_string().contains("bogus"), "{refused:?}");
        assert_eq!(bodies(&channel, &queue).await.len(), 100, "{round}");
    }
    let starts = (0..10).map(|number| {
        let queue = Queue::new(broker.name(&format!("q{number}")));
        let exchange = if number == 5 { bogus.clone() } else { Exchange::topic(broker.name("topic")) };
        let consumer = transport.consumer(queue).bind(&exchange, "k");
        async move { consumer.start::<u32>().await }
    });
    for (number, started) in (0..).zip(within(join_all(starts)).await) {
        match started {
            Ok(consumer) => within(consumer.close()).await.unwrap(),
            Err(error) => assert_eq!(number, 5, "{error}"),
        }
    }
    channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
    transport.close().await.unwrap();
}

on_every_broker_and_redis! {
    a_wrong_user_id_among_300_is_told_alone,
    an_expiration_that_is_too_long_is_told_alone,
    several_that_are_refused_are_each_told_and_nobody_else,
    all_that_are_refused_are_told,
    all_that_are_refused_are_told_though_they_need_a_queue,
    an_exchange_that_nobody_declares_is_told_and_holds_up_no_other,
    a_message_that_is_to_be_published_once_is_not_published_again_for_another,
    what_cannot_be_sent_is_told_at_once_and_the_channel_is_as_it_was,
    what_needs_a_queue_that_exists_otherwise_is_told_alone;
    an_exchange_of_an_unknown_type_is_told_alone_though_the_connection_ends,
    messages_to_an_exchange_that_goes_missing_are_all_delivered,
}

/// One message of 200 exceeds the broker's limit of 1000 bytes, alone and in a series.
async fn one_over_the_limit_among_200(url: &str) {
    let transport = within(Transport::connect(url)).await.unwrap();
    let producer = transport.producer(Exchange::default()).mandatory(true);
    drop(within(transport.consumer(Queue::new("sizes")).start::<String>()).await.unwrap());
    let body = |number: u32| if number == 100 { "x".repeat(2000) } else { number.to_string() };
    for round in 0..3 {
        let outcomes: Vec<_> = if round == 0 {
            let messages = stream::iter(0..200).map(|number| ("sizes", body(number)));
            within(producer.publish_all(messages, 200).collect()).await
        } else {
            let bodies: Vec<_> = (0..200).map(body).collect();
            within(join_all(bodies.iter().map(|body| producer.ensure_publish("sizes", body)))).await
        };
        check(outcomes, &[100], "larger than");
    }
    let mut consumer = transport.consumer(Queue::new("sizes")).start::<String>().await.unwrap();
    let mut there = BTreeSet::new();
    while there.len() < 199 {
        let delivery = within(consumer.recv()).await.unwrap().unwrap();
        there.insert(delivery.body().clone());
        delivery.ack().await.unwrap();
    }
    transport.close().await.unwrap();
}

/// Messages of a refused series are tried in groups; that ends even if the series waits for more.
async fn streams_that_idle_after_a_refusal_hold_up_no_other(url: &str) {
    let transport = within(Transport::connect(url)).await.unwrap();
    let producer = transport.producer(Exchange::direct("amq.direct"));
    let body = |number: u32| if number == 100 { "x".repeat(2000) } else { number.to_string() };
    let mut idle = Vec::new();
    for _ in 0..12 {
        let messages = stream::iter(0..200).map(|number| ("nowhere", body(number)));
        let mut outcomes = Box::pin(producer.publish_all(messages.chain(stream::pending()), 200));
        check(within(outcomes.by_ref().take(200).collect()).await, &[100], "larger than");
        idle.push(outcomes);
    }
    drop(idle);
    transport.close().await.unwrap();
}

/// The user may not configure queues of this name. `setup` declares the queue that takes messages.
async fn a_declaration_that_is_not_permitted_among_200_is_told_alone(limited: &str, setup: &str) {
    let queue = format!("permitted-{}", std::process::id());
    let owner = amqp_client::connect(setup).await.unwrap().open_channel().await.unwrap();
    owner.declare(&Queue::new(&queue)).await.unwrap();
    let transport = within(Transport::connect(limited)).await.unwrap();
    let producer = transport.producer(Exchange::default()).mandatory(true);
    let forbidden = PublishOptions::new().declare(Queue::new("forbidden"));
    let outcomes = publish(&producer, &queue, 200, (&[100], &forbidden)).await;
    for (number, outcome) in (0..).zip(outcomes) {
        match number {
            100 => {
                let error = undelivered(outcome);
                assert_eq!(error.outcome, Outcome::NotSent, "{error}");
                assert!(Report(&error).to_string().contains("ACCESS_REFUSED"), "{}", Report(&error));
            }
            _ => drop(outcome.unwrap()),
        }
    }
    assert!(bodies(&owner, &queue).await.into_iter().eq((0..200).filter(|number| *number != 100)));
    owner.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
    transport.close().await.unwrap();
}

#[tokio::test]
async fn a_declaration_that_the_embedded_broker_does_not_permit_is_told_alone() {
    let permissions = amqp_broker::Permissions::new("^permitted", ".*", ".*").unwrap();
    let broker = amqp_broker::Broker::builder()
        .user("limited", "secret")
        .permissions("limited", "/", permissions)
        .user("owner", "secret")
        .permissions("owner", "/", amqp_broker::Permissions::new(".*", ".*", ".*").unwrap())
        .build();
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr();
    let [limited, owner] = ["limited", "owner"].map(|user| format!("amqp://{user}:secret@{address}/"));
    a_declaration_that_is_not_permitted_among_200_is_told_alone(&limited, &owner).await;
}

#[tokio::test]
async fn a_declaration_that_rabbitmq_does_not_permit_is_told_alone() {
    let test = "messaging::refused::a_declaration_that_rabbitmq_does_not_permit_is_told_alone";
    let Some(node) = Node::require(test) else { return };
    let user = format!("limited-{}", std::process::id());
    node.ctl(&["add_user", &user, "secret"]).await.unwrap();
    node.ctl(&["set_permissions", &user, "^permitted", ".*", ".*"]).await.unwrap();
    let limited = node.uri_for(&user, "secret", "/");
    a_declaration_that_is_not_permitted_among_200_is_told_alone(&limited, node.uri()).await;
    node.ctl(&["delete_user", &user]).await.unwrap();
}

#[tokio::test]
async fn one_over_the_limit_of_the_embedded_broker_among_200_is_told_alone() {
    let broker = amqp_broker::Broker::builder().max_message_size(1000).build();
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    let url = format!("amqp://{}/", listener.local_addr());
    one_over_the_limit_among_200(&url).await;
    streams_that_idle_after_a_refusal_hold_up_no_other(&url).await;
}

#[tokio::test]
async fn one_over_the_limit_of_rabbitmq_among_200_is_told_alone_and_so_is_a_topic_that_is_not_allowed() {
    let test = "messaging::refused::one_over_the_limit_of_rabbitmq_among_200_is_told_alone";
    if !RabbitMq::require(test) {
        return;
    }
    let rabbitmq = RabbitMq::start_with("max_message_size = 1000\n", &[]).await.unwrap();
    one_over_the_limit_among_200(rabbitmq.uri()).await;
    streams_that_idle_after_a_refusal_hold_up_no_other(rabbitmq.uri()).await;
    rabbitmq.ctl(&["set_topic_permissions", "guest", "amq.topic", "^open", ".*"]).await.unwrap();
    let transport = within(Transport::connect(rabbitmq.uri())).await.unwrap();
    let producer = transport.producer(Exchange::topic("amq.topic"));
    let keys: Vec<_> = (0..100).map(|number| if number == 40 { "closed" } else { "open" }).collect();
    let outcomes = within(join_all(keys.iter().map(|key| producer.ensure_publish(key, &1)))).await;
    for (key, outcome) in keys.iter().zip(outcomes) {
        match *key {
            "open" => drop(outcome.unwrap()),
            _ => assert!(Report(&undelivered(outcome)).to_string().contains("ACCESS_REFUSED")),
        }
    }
    rabbitmq.stop().await.unwrap();
}
