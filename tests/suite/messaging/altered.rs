//! Brokers that lose a confirm, leave `BCC` in what they deliver, or ignore the prefetch: links
//! before the embedded broker and RabbitMQ alter their frames.

use std::{collections::BTreeSet, time::Duration};

use amqp_client::{ConsumeOptions, DeleteOptions, Message, Queue, Table, Uri};
use amqp_codec::{
    Arguments as _, Array,
    method::{basic, channel},
};
use futures_util::FutureExt as _;
use messaging::{Error, Exchange, Incoming, OnFailure, Outcome, RetryLater, RetryPolicy, Transport};
use tests::{Direction, FrameLinks};
use tokio::sync::mpsc::unbounded_channel;

use super::{
    fixture::{Broker, DEADLINE, within},
    on_tcp_brokers,
};
use crate::log::Log;

/// Links before a broker, and a transport over them.
async fn linked(broker: &Broker) -> (FrameLinks, Transport) {
    let links = FrameLinks::new();
    let address = Uri::parse(&broker.url).unwrap().address();
    let there = links.listen(&address).await.unwrap().to_string();
    let transport = Transport::connect(&broker.url.replace(&address, &there)).await.unwrap();
    (links, transport)
}

async fn until(is_so: impl Fn() -> bool) {
    within(async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

async fn ready(channel: &amqp_client::Channel, queue: &str) -> u32 {
    channel.declare(Queue::new(queue).passive(true)).await.unwrap().messages
}

async fn a_lost_confirm_is_told_and_what_is_under_way_beside_it_has_its_own_answer(broker: Broker) {
    let (links, transport) = linked(&broker).await;
    let (channel, queue) = (broker.channel().await, broker.name("q"));
    channel.declare(&Queue::new(&queue).auto_delete(true)).await.unwrap();
    let patient = RetryPolicy::default().deadline(2 * DEADLINE).attempt_timeout(2 * DEADLINE);
    let producer = transport.producer(Exchange::default()).mandatory(true).retry(patient);
    let publish = |policy: RetryPolicy, number: u32| {
        let (producer, queue) = (producer.clone().retry(policy), queue.clone());
        tokio::spawn(async move { producer.ensure_publish(&queue, &number).await })
    };
    within(publish(patient, 0)).await.unwrap().unwrap();
    links.keep_back(Direction::ToClient, basic::Ack::ID);
    let mut healthy = publish(patient, 1);
    until(|| links.taken() == 1).await;
    links.lose(Direction::ToClient, basic::Ack::ID);
    let once = RetryPolicy::never().attempt_timeout(Duration::from_millis(500));
    let lost = publish(once, 2);
    let Err(Error::Undelivered(lost)) = within(lost).await.unwrap() else { panic!("it is answered") };
    assert_eq!((lost.outcome, lost.attempts, links.taken()), (Outcome::Unknown, 1, 2), "{lost}");
    for number in 3..20 {
        assert_eq!(within(publish(patient, number)).await.unwrap().unwrap().attempts, 1);
    }
    assert!((&mut healthy).now_or_never().is_none(), "its answer is kept back");
    links.release();
    assert_eq!(within(healthy).await.unwrap().unwrap().attempts, 1);
    let channels = links.channels_of(Direction::ToBroker, basic::Publish::ID);
    let (replaced, other) = channels.split_at(3);
    assert!(replaced.iter().all(|channel| *channel == replaced[0]), "{channels:?}");
    assert!(other.iter().all(|channel| *channel == other[0] && *channel != replaced[0]), "{channels:?}");
    // It is closed with the last that was under way on it.
    until(|| links.channels_of(Direction::ToBroker, channel::Close::ID).contains(&replaced[0])).await;
    assert_eq!(ready(&channel, &queue).await, 20, "each is there once");
    channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
}

async fn blind_copies_of_what_is_moved_go_nowhere_though_the_broker_leaves_the_header(broker: Broker) {
    let (links, transport) = linked(&broker).await;
    // A broker removes the header from what it delivers. It is there again under this name.
    links.replace(Direction::ToClient, b"\x03BDD", b"\x03BCC");
    let (queue, hidden) = (broker.name("q"), broker.name("hidden"));
    let (dead, waiting) = (format!("{queue}.dead"), format!("{queue}.retry.20"));
    let channel = broker.channel().await;
    channel.declare(&Queue::new(&hidden)).await.unwrap();
    let (seen, mut handled) = unbounded_channel();
    let later = RetryLater::after(Duration::from_millis(20)).limit(1).dead_letter(true);
    let worker = transport
        .worker(Queue::new(&queue).auto_delete(true))
        .on_failure(OnFailure::Retry(later))
        .start(move |message: Incoming<u32>| {
            seen.send(message.properties().headers.clone().unwrap()).unwrap();
            async { Err::<(), _>("it is bad") }
        });
    let worker = within(worker).await.unwrap();
    let mut copies = Array::new();
    copies.push(hidden.as_str()).unwrap();
    for (name, left) in [("BDD", true), ("BCC", false)] {
        let mut headers = Table::new();
        headers.insert(name, copies.clone()).unwrap();
        headers.insert("mine", 7).unwrap();
        let message = Message::new("7").content_type("application/json").headers(headers.clone());
        channel.publish(("", &queue), message).await.unwrap();
        for _ in 0..=1 {
            let given = within(handled.recv()).await.unwrap();
            assert_eq!(given.get("BCC"), headers.get(name).filter(|_| left), "{given}");
            assert_eq!((given.get("mine"), given.get("x-original-BCC")), (headers.get("mine"), None));
        }
        channel.declare(&Queue::durable(&dead)).await.unwrap();
        let mut consumer = channel.consume(&dead, ConsumeOptions::new().no_ack(true)).await.unwrap();
        let set_aside = within(consumer.recv()).await.unwrap().unwrap();
        let kept = set_aside.properties().unwrap().headers.unwrap();
        assert_eq!(kept.get("x-original-BCC"), headers.get(name).filter(|_| left), "{kept}");
        assert_eq!((kept.get("mine"), kept.get("BCC")), (headers.get("mine"), None), "{kept}");
        within(consumer.cancel()).await.unwrap();
    }
    within(worker.stop()).await;
    assert_eq!(ready(&channel, &hidden).await, 1, "the one copy that its publisher wanted");
    for queue in [hidden, dead, waiting] {
        channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
    }
}

/// More messages than a consumer with a small prefetch may have unsettled, and a link before a
/// broker that does not know of that prefetch. The first of them arrive together, so that nobody
/// can settle some before the others are there.
const MANY: u32 = 300;
const TOGETHER: usize = 150;

async fn ignoring_the_prefetch(broker: &Broker, queue: &str) -> Transport {
    let (links, transport) = linked(broker).await;
    let qos = |prefetch: u8| [&basic::Qos::ID.octets()[..], &[0, 0, 0, 0, 0, prefetch, 0]].concat();
    links.replace(Direction::ToBroker, &qos(4), &qos(0));
    links.gather(Direction::ToClient, basic::Deliver::ID, TOGETHER);
    let channel = broker.channel().await;
    channel.declare(&Queue::new(queue)).await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    for number in 0..MANY {
        let message = Message::new(number.to_string()).content_type("application/json");
        drop(publisher.publish(("", queue), message).await.unwrap());
    }
    within(publisher.flush()).await.unwrap();
    transport
}

/// Checks that what the broker did is told, and that another consumer of the connection goes on.
async fn is_told_and_alone(log: &Log, transport: &Transport, broker: &Broker) {
    let line = log.line("consuming from the queue ended; the consumer restarts");
    assert!(line.contains("the broker exceeded its prefetch of 4"), "{line}");
    assert_eq!(transport.metrics().reconnects, 0);
    broker.channel().await.close().await.unwrap();
}

async fn a_worker_whose_broker_ignores_the_prefetch_begins_again_and_handles_all(broker: Broker) {
    let (log, _guard) = Log::listen();
    let queue = broker.name("q");
    let transport = ignoring_the_prefetch(&broker, &queue).await;
    let other = Queue::new(broker.name("other")).auto_delete(true);
    let mut undisturbed = transport.consumer(other.clone()).start::<u32>().await.unwrap();
    let (seen, mut handled) = unbounded_channel();
    let worker = transport.worker(Queue::new(&queue)).concurrency(4).start(move |number: Incoming<u32>| {
        seen.send(*number.body()).unwrap();
        async { Ok::<_, String>(()) }
    });
    let worker = within(worker).await.unwrap();
    let mut numbers = BTreeSet::new();
    while numbers.len() < MANY as usize {
        numbers.insert(within(handled.recv()).await.unwrap());
    }
    transport.producer(Exchange::default()).ensure_publish(other.name(), &7).await.unwrap();
    assert_eq!(*within(undisturbed.recv()).await.unwrap().unwrap().body(), 7);
    is_told_and_alone(&log, &transport, &broker).await;
    within(worker.stop()).await;
    broker.channel().await.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
}

async fn a_consumer_whose_broker_ignores_the_prefetch_begins_again_and_receives_all(broker: Broker) {
    let (log, _guard) = Log::listen();
    let queue = broker.name("q");
    let transport = ignoring_the_prefetch(&broker, &queue).await;
    let mut consumer = transport.consumer(Queue::new(&queue)).prefetch(4).start::<u32>().await.unwrap();
    let mut numbers = BTreeSet::new();
    while numbers.len() < MANY as usize {
        let message = within(consumer.recv()).await.unwrap().unwrap();
        numbers.insert(*message.body());
        // Messages of an ended consumer go back to the queue.
        let _ = message.ack().await;
    }
    is_told_and_alone(&log, &transport, &broker).await;
    consumer.close().await.unwrap();
    broker.channel().await.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
}

on_tcp_brokers!(
    a_lost_confirm_is_told_and_what_is_under_way_beside_it_has_its_own_answer,
    blind_copies_of_what_is_moved_go_nowhere_though_the_broker_leaves_the_header,
    a_worker_whose_broker_ignores_the_prefetch_begins_again_and_handles_all,
    a_consumer_whose_broker_ignores_the_prefetch_begins_again_and_receives_all,
);
