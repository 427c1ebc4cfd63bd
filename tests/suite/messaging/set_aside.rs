//! Messages that are set aside because they could not be handled: where they go, their headers, and
//! what happens if they cannot go there.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use amqp_client::{Channel, ConnectOptions, DeleteOptions, Message, Properties, Table, Uri};
use amqp_codec::ValueRef;
use futures_util::future::select_all;
use messaging::{
    Error, Exchange, Incoming, Malformed, OnFailure, PublishOptions, Queue, RetryLater, Transport, Worker,
};
use tests::Node;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{
    fixture::{Broker, within},
    odd_headers::{acting, assert_nested, deaths, with_nested},
    on_every_broker_and_redis,
};
use crate::log::Log;

/// The policy that sets a message aside at once.
const AT_ONCE: RetryLater = RetryLater::after(Duration::from_millis(20)).limit(0).dead_letter(true);

/// A worker with one message at a time, which reports its messages and fails on `bad` ones.
pub(super) async fn failing(
    transport: &Transport,
    queue: Queue,
    later: RetryLater,
) -> (Worker, UnboundedReceiver<(String, Properties)>) {
    let (seen, handled) = unbounded_channel();
    let worker = transport
        .worker(queue)
        .on_failure(OnFailure::Retry(later))
        .start(move |message: Incoming<String>| {
            let body = message.body().clone();
            seen.send((body.clone(), message.properties().clone())).unwrap();
            async move { if body.starts_with("bad") { Err("it is bad") } else { Ok(()) } }
        })
        .await
        .unwrap();
    (worker, handled)
}

async fn publish(transport: &Transport, queue: &str, body: &str) {
    let options = PublishOptions::new().message_id(&format!("the id of {body}")).unwrap();
    let producer = transport.producer(Exchange::default()).mandatory(true);
    let delivered = within(producer.ensure_publish((queue, &options), body)).await.unwrap();
    assert_eq!(delivered.attempts, 1, "somebody else's trouble");
}

async fn ready(channel: &Channel, queue: &str) -> u32 {
    channel.declare(Queue::new(queue).passive(true)).await.unwrap().messages
}

/// The message that is in the queue, or is about to be.
pub(super) async fn taken(channel: &Channel, queue: &Queue) -> amqp_client::Delivery {
    channel.declare(queue).await.unwrap();
    let options = amqp_client::ConsumeOptions::new().no_ack(true);
    let mut consumer = channel.consume(queue, options).await.unwrap();
    within(consumer.recv()).await.unwrap().unwrap()
}

pub(super) fn json(body: &str) -> Message {
    Message::new(format!("{body:?}")).content_type("application/json")
}

async fn what_cannot_be_set_aside_is_kept_and_handled_again_after_pauses_and_others_are_not_disturbed(
    broker: Broker,
) {
    let (logged, _guard) = Log::listen();
    let transport = broker.transport().await;
    let (queue, unrelated) = (broker.name("q"), broker.name("unrelated"));
    let dead = format!("{queue}.dead");
    let channel = broker.channel().await;
    // It is transient, but should be durable.
    channel.declare(&Queue::new(&dead)).await.unwrap();
    channel.declare(&Queue::new(&unrelated)).await.unwrap();
    let begun = Instant::now();
    let (worker, mut handled) = failing(&transport, Queue::new(&queue), AT_ONCE).await;
    let mut bad = 0;
    for number in 0..2 {
        publish(&transport, &queue, &format!("bad {number}")).await;
    }
    // Meanwhile the others are handled, one at a time as configured, and publishes continue.
    for number in 0..50 {
        publish(&transport, &unrelated, "unrelated").await;
        publish(&transport, &queue, &format!("good {number}")).await;
        loop {
            let (body, _) = within(handled.recv()).await.unwrap();
            if body == format!("good {number}") {
                break;
            }
            bad += usize::from(body.starts_with("bad"));
        }
    }
    while bad < 8 {
        bad += usize::from(within(handled.recv()).await.unwrap().0.starts_with("bad"));
    }
    // The pauses of each of the two messages are at least 80 ms, 160 ms and so on.
    let most = 2 * (2 + (begun.elapsed().as_millis() / 80 + 1).ilog2() as usize);
    assert!(bad <= most, "handled {bad} times, {most} at most");
    assert_eq!(ready(&channel, &unrelated).await, 50);
    let lines = logged.lines("cannot be set aside");
    assert!(lines.len() >= 6, "{lines:?}");
    for line in lines {
        let is_told = ["the id of bad", "is kept and handled again", "pause=", &dead, "ERROR"];
        assert!(is_told.iter().all(|part| line.contains(part)), "{line}");
    }
    // Once it can be set aside, it is.
    channel.delete_queue(&dead, DeleteOptions::new()).await.unwrap();
    let mut set_aside = Vec::new();
    let mut dead_letters = transport.consumer(Queue::durable(&dead)).start::<String>().await.unwrap();
    for _ in 0..2 {
        let message = within(dead_letters.recv()).await.unwrap().unwrap();
        set_aside.push(message.body().clone());
        message.ack().await.unwrap();
    }
    set_aside.sort();
    assert_eq!(set_aside, ["bad 0", "bad 1"]);
    within(worker.stop()).await;
    assert_eq!(ready(&channel, &queue).await, 0);
    channel.delete_queue(&dead, DeleteOptions::new()).await.unwrap();
}

/// No second consumer is let in, not even for a moment.
async fn what_cannot_be_set_aside_is_not_in_the_way_of_an_exclusive_consumer(broker: Broker) {
    let transport = broker.transport().await;
    let queue = broker.name("q");
    let channel = broker.channel().await;
    channel.declare(&Queue::new(format!("{queue}.dead"))).await.unwrap();
    let (seen, mut handled) = unbounded_channel();
    let worker = transport
        .worker(Queue::new(&queue))
        .exclusive(true)
        .on_failure(OnFailure::Retry(AT_ONCE))
        .start(move |message: Incoming<String>| {
            let body = message.into_body();
            let is_bad = body.starts_with("bad");
            seen.send(body).unwrap();
            async move { if is_bad { Err("it is bad") } else { Ok(()) } }
        })
        .await
        .unwrap();
    for round in ["1", "2", "3"] {
        for kind in ["bad", "good"] {
            publish(&transport, &queue, &format!("{kind} {round}")).await;
        }
        while within(handled.recv()).await.unwrap() != format!("good {round}") {}
    }
    within(worker.stop()).await;
    assert_eq!(ready(&channel, &queue).await, 3);
    for queue in [format!("{queue}.dead"), queue] {
        channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
    }
}

/// One consumer ends before the next begins, and another client's may begin between them.
async fn an_exclusive_consumer_that_loses_its_queue_to_another_has_it_back_when_that_is_gone(broker: Broker) {
    let (transport, other) = (broker.transport().await, broker.transport().await);
    let queue = broker.name("q");
    let channel = broker.channel().await;
    channel.declare(&Queue::new(format!("{queue}.dead"))).await.unwrap();
    let (seen, mut handled) = unbounded_channel();
    let worker = transport
        .worker(Queue::new(&queue))
        .exclusive(true)
        .on_failure(OnFailure::Retry(AT_ONCE))
        .start(move |message: Incoming<String>| {
            let body = message.into_body();
            let is_bad = body.starts_with("bad");
            seen.send(body).unwrap();
            async move { if is_bad { Err("it is bad") } else { Ok(()) } }
        })
        .await
        .unwrap();
    let standby = other.consumer(Queue::new(&queue)).exclusive(true);
    let compete = || async {
        loop {
            match standby.start::<String>().await {
                Ok(consumer) => return consumer,
                Err(error) => assert!(matches!(error, Error::QueueTaken { .. }), "{error}"),
            }
        }
    };
    let keep_renewing = async {
        for number in 0.. {
            publish(&transport, &queue, &format!("bad {number}")).await;
            tokio::task::yield_now().await;
        }
    };
    let competing = select_all((0..4).map(|_| Box::pin(compete())));
    let mut winner = tokio::select! {
        (winner, ..) = within(competing) => winner,
        () = keep_renewing => unreachable!(),
    };
    // The worker's message is requeued, because the worker was refused.
    while !within(winner.recv()).await.unwrap().unwrap().redelivered() {}
    within(winner.close()).await.unwrap();
    publish(&transport, &queue, "good").await;
    while within(handled.recv()).await.expect("the worker goes on") != "good" {}
    within(worker.stop()).await;
    for queue in [format!("{queue}.dead"), queue] {
        channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
    }
}

async fn where_no_other_queue_can_have_a_name_a_message_is_handled_again_until_it_succeeds(broker: Broker) {
    let transport = broker.transport().await;
    let queue = format!("{:x<253}", broker.name("q"));
    let (seen, mut handled) = unbounded_channel();
    let handled_before = AtomicU32::new(0);
    let worker = transport
        .worker(Queue::new(&queue))
        .on_failure(OnFailure::Retry(RetryLater::after(Duration::from_millis(20)).dead_letter(true)))
        .start(move |message: Incoming<String>| {
            let attempt = handled_before.fetch_add(1, Ordering::SeqCst);
            seen.send(message.retries()).unwrap();
            async move { if attempt < 3 { Err("not yet") } else { Ok(()) } }
        })
        .await
        .unwrap();
    publish(&transport, &queue, "a message").await;
    for _ in 0..4 {
        assert_eq!(within(handled.recv()).await.unwrap(), 0);
    }
    within(worker.stop()).await;
    assert_eq!(ready(&broker.channel().await, &queue).await, 0);
}

async fn what_has_no_room_for_another_header_is_kept_and_goes_back_when_the_worker_stops(broker: Broker) {
    let (logged, _guard) = Log::listen();
    let transport = broker.transport().await;
    let queue = broker.name("q");
    let channel = broker.channel().await;
    let (worker, mut handled) = failing(&transport, Queue::new(&queue), AT_ONCE).await;
    let mut headers = Table::new();
    headers.insert("large", "x".repeat(130_980)).unwrap();
    channel.publish(("", &queue), json("bad").headers(headers)).await.unwrap();
    within(handled.recv()).await.unwrap();
    // Other messages are handled.
    publish(&transport, &queue, "good").await;
    while within(handled.recv()).await.unwrap().0 != "good" {}
    within(worker.stop()).await;
    assert_eq!(ready(&channel, &queue).await, 1);
    let lines = logged.lines("cannot be set aside");
    let is_named = |line: &String| line.contains("a content header frame");
    assert!(!lines.is_empty() && lines.iter().all(is_named), "{lines:?}");
    channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
    channel.delete_queue(&format!("{queue}.dead"), DeleteOptions::new()).await.unwrap();
}

async fn what_is_moved_goes_to_its_one_queue_and_has_all_headers_for_who_handles_it(broker: Broker) {
    let transport = broker.transport().await;
    let (queue, other) = (broker.name("q"), broker.name("other"));
    let (dead, waiting) = (format!("{queue}.dead"), format!("{queue}.retry.20"));
    let channel = broker.channel().await;
    channel.declare(&Queue::new(&other)).await.unwrap();
    let later = RetryLater::after(Duration::from_millis(20)).limit(2).dead_letter(true);
    let (worker, mut handled) = failing(&transport, Queue::new(&queue), later).await;
    let headers = acting(&other);
    channel.publish(("", &queue), json("bad").headers(headers.clone())).await.unwrap();
    let old = ("elsewhere".to_owned(), 3);
    for retries in 0..=2 {
        let (_, properties) = within(handled.recv()).await.unwrap();
        let given = properties.headers.unwrap();
        for name in ["mine", "CC", "x-delivery-count"] {
            assert_eq!(given.get(name), headers.get(name), "{name} of {given}");
        }
        let wait = (retries > 0).then(|| (waiting.clone(), 1));
        assert_eq!(deaths(&given), wait.into_iter().chain([old.clone()]).collect::<Vec<_>>());
        assert_eq!(given.get("x-original-CC"), None);
    }
    let set_aside = taken(&channel, &Queue::durable(&dead)).await;
    let kept = set_aside.properties().unwrap().headers.unwrap();
    assert_eq!((kept.get("mine"), deaths(&kept)), (headers.get("mine"), vec![old.clone()]));
    for name in ["CC", "x-delivery-count"] {
        assert_eq!(kept.get(&format!("x-original-{name}")), headers.get(name), "{kept}");
        assert_eq!(kept.get(name), None);
    }
    within(worker.stop()).await;
    assert_eq!(ready(&channel, &other).await, 1);
    // A later consumer finds it unchanged.
    let message = Message::with_encoded_properties(set_aside.body().clone(), set_aside.encoded_properties());
    channel.publish(("", &dead), &message).await.unwrap();
    let mut dead_letters = transport.consumer(Queue::durable(&dead)).start::<String>().await.unwrap();
    let message = within(dead_letters.recv()).await.unwrap().unwrap();
    let given = message.properties().unwrap().headers.unwrap();
    for name in ["mine", "CC", "x-delivery-count"] {
        assert_eq!(given.get(name), headers.get(name), "{name} of {given}");
    }
    assert_eq!(deaths(&given), [old]);
    message.ack().await.unwrap();
    for queue in [dead, waiting] {
        channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
    }
}

async fn headers_that_cannot_be_read_are_set_aside_as_the_bytes_they_are(broker: Broker) {
    let transport = broker.transport().await;
    let queue = broker.name("q");
    let channel = broker.channel().await;
    let (worker, _handled) = failing(&transport, Queue::new(&queue), AT_ONCE).await;
    channel.publish(("", &queue), &with_nested(&json("deep"))).await.unwrap();
    let dead = Queue::durable(format!("{queue}.dead"));
    let set_aside = taken(&channel, &dead).await;
    assert_eq!(set_aside.body(), "\"deep\"");
    let headers = assert_nested(&set_aside);
    assert_eq!(headers.get("x-original-routing-key"), Some(ValueRef::LongString(queue.as_bytes())));
    within(worker.stop()).await;
    assert_eq!(ready(&channel, &queue).await, 0);
    channel.delete_queue(&dead, DeleteOptions::new()).await.unwrap();
}

/// Publishes small messages with a large one between them.
async fn publish_around_a_large_one(channel: &Channel, queue: &str) {
    for body in ["before", &"x".repeat(300_000), "after"] {
        channel.publish(("", queue), json(body).message_id("the id").unwrap()).await.unwrap();
    }
}

/// A worker that accepts no bodies over 1000 bytes.
fn sparing(transport: &Transport, queue: Queue) -> messaging::WorkerBuilder {
    let later = OnFailure::Retry(RetryLater::after(Duration::from_millis(20)).dead_letter(true));
    transport.worker(queue).max_message_size(1000).on_failure(later)
}

async fn a_body_over_the_limit_goes_to_who_is_there_for_it_by_its_size(broker: Broker) {
    let transport = broker.transport().await;
    let queue = broker.name("q");
    let channel = broker.channel().await;
    let (seen, mut handled) = unbounded_channel();
    let told = seen.clone();
    let worker = sparing(&transport, Queue::new(&queue))
        .on_undecodable(move |message, reason| {
            assert!(matches!(reason, Malformed::Withheld { size: 300_002 }), "{reason}");
            let id = message.properties().unwrap().message_id.unwrap().to_string();
            told.send((message.withheld(), id)).unwrap();
            async { Ok::<_, String>(()) }
        })
        .start(move |message: Incoming<String>| {
            seen.send((None, message.into_body())).unwrap();
            async { Ok::<_, String>(()) }
        })
        .await
        .unwrap();
    publish_around_a_large_one(&channel, &queue).await;
    for expected in [(None, "before"), (Some(300_002), "the id"), (None, "after")] {
        let (size, text) = within(handled.recv()).await.unwrap();
        assert_eq!((size, text.as_str()), expected);
    }
    within(worker.stop()).await;
    assert_eq!(ready(&channel, &queue).await, 0);
}

async fn a_body_over_the_limit_is_dead_lettered_whole_where_that_is_declared_and_kept_where_not(
    broker: Broker,
) {
    let (logged, _guard) = Log::listen();
    let transport = broker.transport().await;
    let channel = broker.channel().await;
    for dead_letters in [true, false] {
        let (name, letters) = (broker.name(&format!("q-{dead_letters}")), Queue::new(broker.name("letters")));
        channel.declare(&letters).await.unwrap();
        let mut queue = Queue::new(&name);
        if dead_letters {
            queue = queue.dead_letter(Exchange::default()).dead_letter_routing_key(letters.name());
        }
        let (seen, mut handled) = unbounded_channel();
        let worker = sparing(&transport, queue)
            .start(move |message: Incoming<String>| {
                seen.send(message.into_body()).unwrap();
                async { Ok::<_, String>(()) }
            })
            .await
            .unwrap();
        publish_around_a_large_one(&channel, &name).await;
        for expected in ["before", "after"] {
            assert_eq!(within(handled.recv()).await.unwrap(), expected);
        }
        if dead_letters {
            assert_eq!(taken(&channel, &letters).await.body().len(), 300_002);
        }
        within(worker.stop()).await;
        assert_eq!(ready(&channel, &name).await, u32::from(!dead_letters));
    }
    let lines = logged.lines("cannot be set aside");
    assert!(!lines.is_empty());
    assert!(lines.iter().all(|line| line.contains("the id") && line.contains("300002 bytes")), "{lines:?}");
}

/// The body exceeds the default limit by a MiB.
async fn a_large_body_between_small_ones_stops_no_consumer(broker: Broker) {
    let options = ConnectOptions::new().max_message_size(u64::MAX);
    let connection = match broker.url.strip_prefix("memory://") {
        Some(name) => {
            let stream = amqp_broker::memory(name).connect();
            options.connect_stream(stream, &Uri::default()).await.unwrap()
        }
        None => options.connect(&broker.url).await.unwrap(),
    };
    let channel = connection.open_channel().await.unwrap();
    let transport = broker.transport().await;
    let queue = broker.name("q");
    let (worker, mut handled) = failing(&transport, Queue::new(&queue), AT_ONCE).await;
    for body in ["before", &"x".repeat(65 << 20), "after"] {
        channel.publish(("", &queue), json(body)).await.unwrap();
    }
    for expected in ["before", "after"] {
        assert_eq!(within(handled.recv()).await.unwrap().0, expected);
    }
    within(worker.stop()).await;
    assert_eq!(ready(&channel, &queue).await, 1);
    channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
}

async fn a_body_over_the_limit_of_the_transport_is_an_item_that_can_be_settled(broker: Broker) {
    let options = messaging::TransportOptions::new().max_message_size(1000);
    let transport = within(options.connect(&broker.url)).await.unwrap();
    let queue = broker.name("q");
    let mut consumer = transport.consumer(Queue::new(&queue)).start::<String>().await.unwrap();
    publish_around_a_large_one(&broker.channel().await, &queue).await;
    within(consumer.recv()).await.unwrap().unwrap().ack().await.unwrap();
    let Some(Err(messaging::Error::Undecodable(large))) = within(consumer.recv()).await else {
        panic!("it was read")
    };
    assert!(matches!(large.reason, Malformed::Withheld { size: 300_002 }));
    large.ack().await.unwrap();
    assert_eq!(within(consumer.recv()).await.unwrap().unwrap().body(), "after");
}

/// The user may declare the queue `permitted` and no other.
async fn a_message_that_may_not_be_set_aside_is_kept(url: &str) {
    let (logged, _guard) = Log::listen();
    let transport = within(Transport::connect(url)).await.unwrap();
    let (worker, mut handled) = failing(&transport, Queue::durable("permitted"), AT_ONCE).await;
    publish(&transport, "permitted", "bad").await;
    for _ in 0..3 {
        publish(&transport, "permitted", "good").await;
        while within(handled.recv()).await.unwrap().0 != "good" {}
        while within(handled.recv()).await.unwrap().0 != "bad" {}
    }
    within(worker.stop()).await;
    let connection = amqp_client::connect(url).await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    assert_eq!(ready(&channel, "permitted").await, 1);
    channel.delete_queue("permitted", DeleteOptions::new()).await.unwrap();
    let lines = logged.lines("cannot be set aside");
    assert!(!lines.is_empty() && lines.iter().all(|line| line.contains("ACCESS_REFUSED")), "{lines:?}");
}

#[tokio::test]
async fn a_message_that_may_not_be_set_aside_is_kept_on_the_embedded_broker() {
    let permissions = amqp_broker::Permissions::new("^permitted$", ".*", ".*").unwrap();
    let broker = amqp_broker::Broker::builder()
        .user("worker", "secret")
        .permissions("worker", "/", permissions)
        .build();
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    let url = format!("amqp://worker:secret@{}/", listener.local_addr());
    a_message_that_may_not_be_set_aside_is_kept(&url).await;
}

#[tokio::test]
async fn a_message_that_may_not_be_set_aside_is_kept_on_rabbitmq() {
    let test = concat!(module_path!(), "::a_message_that_may_not_be_set_aside_is_kept_on_rabbitmq");
    let Some(node) = Node::require(test) else { return };
    let user = format!("worker-{}", std::process::id());
    node.ctl(&["add_user", &user, "secret"]).await.unwrap();
    node.ctl(&["set_permissions", &user, "^permitted$", ".*", ".*"]).await.unwrap();
    a_message_that_may_not_be_set_aside_is_kept(&node.uri_for(&user, "secret", "/")).await;
    node.ctl(&["delete_user", &user]).await.unwrap();
}

on_every_broker_and_redis!(
    where_no_other_queue_can_have_a_name_a_message_is_handled_again_until_it_succeeds,
    what_has_no_room_for_another_header_is_kept_and_goes_back_when_the_worker_stops,
    a_body_over_the_limit_goes_to_who_is_there_for_it_by_its_size,
    a_body_over_the_limit_is_dead_lettered_whole_where_that_is_declared_and_kept_where_not,
    a_body_over_the_limit_of_the_transport_is_an_item_that_can_be_settled,
    what_cannot_be_set_aside_is_kept_and_handled_again_after_pauses_and_others_are_not_disturbed,
    what_cannot_be_set_aside_is_not_in_the_way_of_an_exclusive_consumer,
    an_exclusive_consumer_that_loses_its_queue_to_another_has_it_back_when_that_is_gone;
    a_large_body_between_small_ones_stops_no_consumer,
    headers_that_cannot_be_read_are_set_aside_as_the_bytes_they_are,
    what_is_moved_goes_to_its_one_queue_and_has_all_headers_for_who_handles_it,
);
