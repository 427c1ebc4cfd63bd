//! Consuming, getting, acknowledging.

use amqp_client::{
    Channel, ConnectOptions, Connection, ConsumeOptions, Consumer, DeleteOptions, Error, GetOptions, Message,
    Queue, ReplyCode, Table,
};
use futures_util::StreamExt as _;

use super::{
    fixture::{Broker, within},
    on_every_broker,
};

on_every_broker! {
    get_tells_what_is_left_and_none_when_nothing_is,
    a_rejected_message_is_dropped_or_redelivered,
    prefetch_limits_what_is_outstanding,
    acks_out_of_order_ack_what_was_acked_and_nothing_else,
    two_consumers_share_a_queue,
    consumers_of_one_channel_get_their_own,
    a_consumer_without_acks_gets_everything,
    a_cancelled_consumer_ends_without_an_error,
    a_dropped_consumer_gives_back_what_it_had_not_handed_out,
    closing_a_channel_gives_back_what_was_not_acked,
    a_deleted_queue_ends_its_consumer_with_a_reason,
    consuming_from_a_missing_queue_names_it,
    an_exclusive_consumer_keeps_others_out,
    a_delivery_outlives_the_handles_it_came_from,
    recover_brings_back_what_is_outstanding_and_old_deliveries_ack_nothing,
    a_transaction_takes_effect_when_it_is_committed,
    a_drained_consumer_hands_out_what_arrived_and_leaves_the_rest,
    headers_larger_than_the_frames_of_this_connection_are_read,
    a_large_body_that_is_not_wanted_is_settled_without_it,
}

/// Brokers do not apply frame_max to the headers that they send.
async fn headers_larger_than_the_frames_of_this_connection_are_read(broker: Broker) {
    let queue = broker.name("q");
    let publishing = broker.channel().await;
    publishing.declare(&Queue::new(&queue)).await.unwrap();
    let connection = broker.connect_with(ConnectOptions::new().frame_max(8192)).await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    let mut consumer = channel.consume(&queue, ConsumeOptions::new()).await.unwrap();
    for size in [10_000, 10, 100_000] {
        let mut headers = Table::new();
        headers.insert("large", "x".repeat(size)).unwrap();
        let message = Message::new(vec![7; 20_000]).headers(headers);
        publishing.publish(("", &queue), &message).await.unwrap();
        let delivery = within(consumer.recv()).await.unwrap().unwrap();
        assert_eq!(delivery.properties().unwrap().headers, message.properties().headers);
        assert_eq!(delivery.body(), message.body());
        delivery.ack().await.unwrap();
    }
    publishing.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
}

async fn a_large_body_that_is_not_wanted_is_settled_without_it(broker: Broker) {
    let connection = broker.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
    for size in [10, 3_000_000, 1000, 1001] {
        channel.publish(("", &queue.name), Message::new(vec![7; size])).await.unwrap();
    }
    let options = ConsumeOptions::new().prefetch(1).withhold_bodies_over(1000);
    let mut consumer = channel.consume(&queue, options).await.unwrap();
    for withheld in [None, Some(3_000_000), None, Some(1001)] {
        let delivery = within(consumer.recv()).await.unwrap().unwrap();
        assert_eq!((delivery.withheld(), delivery.body().is_empty()), (withheld, withheld.is_some()));
        delivery.ack().await.unwrap();
    }
    drop(consumer);
    assert_eq!(depth(&connection, &queue.name).await, 0);
}

/// Declares a queue with messages numbered from 0.
async fn filled_queue(channel: &Channel, count: usize) -> String {
    let queue = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    let mut last = None;
    for number in 0..count {
        last = Some(publisher.publish(("", &queue), Message::new(number.to_string())).await.unwrap());
    }
    if let Some(last) = last {
        within(last).await.unwrap();
    }
    queue.name
}

async fn bodies(consumer: &mut Consumer, count: usize) -> Vec<String> {
    let mut bodies = Vec::new();
    for _ in 0..count {
        let delivery = within(consumer.recv()).await.unwrap().unwrap();
        bodies.push(String::from_utf8(delivery.body().to_vec()).unwrap());
        delivery.ack().await.unwrap();
    }
    bodies
}

/// The number of ready messages, once the broker has processed everything sent on `connection` so
/// far.
async fn depth(connection: &Connection, queue: &str) -> u32 {
    let channel = connection.open_channel().await.unwrap();
    channel.declare(Queue::new(queue).exclusive(true).passive(true)).await.unwrap().messages
}

async fn get_tells_what_is_left_and_none_when_nothing_is(broker: Broker) {
    let channel = broker.channel().await;
    let queue = filled_queue(&channel, 2).await;
    let first = channel.get(&queue, GetOptions::new()).await.unwrap().unwrap();
    assert_eq!((first.body().as_ref(), first.remaining()), (&b"0"[..], Some(1)));
    let second = channel.get(&queue, GetOptions::new()).await.unwrap().unwrap();
    assert_eq!((second.body().as_ref(), second.remaining()), (&b"1"[..], Some(0)));
    assert!(channel.get(&queue, GetOptions::new()).await.unwrap().is_none());
    first.nack(true).await.unwrap();
    second.ack().await.unwrap();
    let again = channel.get(&queue, GetOptions::new()).await.unwrap().unwrap();
    assert_eq!((again.body().as_ref(), again.redelivered()), (&b"0"[..], true));
    again.ack().await.unwrap();
    assert!(channel.get(&queue, GetOptions::new()).await.unwrap().is_none());
}

async fn a_rejected_message_is_dropped_or_redelivered(broker: Broker) {
    let channel = broker.channel().await;
    let queue = filled_queue(&channel, 3).await;
    let mut consumer = channel.consume(&queue, ConsumeOptions::new().prefetch(1)).await.unwrap();
    let first = within(consumer.recv()).await.unwrap().unwrap();
    assert!(!first.redelivered());
    first.reject(true).await.unwrap();
    let first = within(consumer.recv()).await.unwrap().unwrap();
    assert_eq!((first.body().as_ref(), first.redelivered()), (&b"0"[..], true));
    first.reject(false).await.unwrap();
    let second = within(consumer.recv()).await.unwrap().unwrap();
    assert_eq!((second.body().as_ref(), second.redelivered()), (&b"1"[..], false));
    second.nack(false).await.unwrap();
    assert_eq!(bodies(&mut consumer, 1).await, ["2"]);
}

async fn prefetch_limits_what_is_outstanding(broker: Broker) {
    let connection = broker.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let queue = filled_queue(&channel, 10).await;
    let mut consumer = channel.consume(&queue, ConsumeOptions::new().prefetch(3)).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(within(consumer.recv()).await.unwrap().unwrap());
    }
    assert_eq!(depth(&connection, &queue).await, 7);
    for delivery in held {
        delivery.ack().await.unwrap();
    }
    assert_eq!(bodies(&mut consumer, 7).await, ["3", "4", "5", "6", "7", "8", "9"]);
}

async fn acks_out_of_order_ack_what_was_acked_and_nothing_else(broker: Broker) {
    let connection = broker.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let queue = filled_queue(&channel, 6).await;
    let worker = connection.open_channel().await.unwrap();
    let mut consumer = worker.consume(&queue, Default::default()).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(Some(within(consumer.recv()).await.unwrap().unwrap()));
    }
    for number in [4, 0, 1, 5] {
        held[number].take().unwrap().ack().await.unwrap();
    }
    worker.close().await.unwrap();
    let mut consumer = channel.consume(&queue, Default::default()).await.unwrap();
    assert_eq!(bodies(&mut consumer, 2).await, ["2", "3"]);
    assert_eq!(depth(&connection, &queue).await, 0);
}

async fn two_consumers_share_a_queue(broker: Broker) {
    let channel = broker.channel().await;
    let queue = filled_queue(&channel, 0).await;
    let options = || ConsumeOptions::new().prefetch(1);
    let mut one = channel.consume(&queue, options()).await.unwrap();
    let mut two = channel.consume(&queue, options()).await.unwrap();
    assert_ne!(one.tag(), two.tag());
    for body in ["a", "b"] {
        channel.publish(("", &queue), Message::new(body)).await.unwrap();
    }
    let mut both = bodies(&mut one, 1).await;
    both.extend(bodies(&mut two, 1).await);
    both.sort();
    assert_eq!(both, ["a", "b"]);
}

async fn consumers_of_one_channel_get_their_own(broker: Broker) {
    let channel = broker.channel().await;
    let (red, blue) = (filled_queue(&channel, 50).await, filled_queue(&channel, 30).await);
    let mut reds = channel.consume(&red, ConsumeOptions::new().tag("red")).await.unwrap();
    let mut blues = channel.consume(&blue, ConsumeOptions::new().tag("blue")).await.unwrap();
    assert_eq!((reds.tag(), blues.tag()), ("red", "blue"));
    let numbers = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>();
    assert_eq!(bodies(&mut blues, 30).await, numbers(30));
    assert_eq!(bodies(&mut reds, 50).await, numbers(50));
}

async fn a_consumer_without_acks_gets_everything(broker: Broker) {
    let connection = broker.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let queue = filled_queue(&channel, 2000).await;
    let options = ConsumeOptions::new().no_ack(true);
    let consumer = channel.consume(&queue, options).await.unwrap();
    let all: Vec<_> = within(consumer.take(2000).collect()).await;
    for (number, delivery) in all.into_iter().enumerate() {
        let delivery = delivery.unwrap();
        assert_eq!(delivery.body(), number.to_string().as_bytes());
        delivery.ack().await.unwrap();
    }
    assert!(channel.is_open());
    assert_eq!(depth(&connection, &queue).await, 0);
}

async fn a_cancelled_consumer_ends_without_an_error(broker: Broker) {
    let channel = broker.channel().await;
    let queue = filled_queue(&channel, 0).await;
    let mut consumer = channel.consume(&queue, Default::default()).await.unwrap();
    consumer.cancel().await.unwrap();
    assert!(within(consumer.recv()).await.is_none());
    assert!(within(consumer.recv()).await.is_none());
    assert!(channel.is_open());
}

async fn a_dropped_consumer_gives_back_what_it_had_not_handed_out(broker: Broker) {
    let connection = broker.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let queue = filled_queue(&channel, 20).await;
    let mut consumer = channel.consume(&queue, Default::default()).await.unwrap();
    let first = within(consumer.recv()).await.unwrap().unwrap();
    drop(consumer);
    first.ack().await.unwrap();
    let mut consumer = channel.consume(&queue, Default::default()).await.unwrap();
    let mut rest = bodies(&mut consumer, 19).await;
    rest.sort_by_key(|body| body.parse::<u32>().unwrap());
    assert_eq!(rest, (1..20).map(|number| number.to_string()).collect::<Vec<_>>());
}

async fn closing_a_channel_gives_back_what_was_not_acked(broker: Broker) {
    let connection = broker.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let queue = filled_queue(&channel, 3).await;
    let worker = connection.open_channel().await.unwrap();
    let mut consumer = worker.consume(&queue, Default::default()).await.unwrap();
    let kept = within(consumer.recv()).await.unwrap().unwrap();
    worker.close().await.unwrap();
    let error = kept.ack().await.unwrap_err();
    assert!(matches!(error, Error::ChannelEnded { .. }), "{error:?}");
    assert!(matches!(within(worker.closed()).await, Error::ChannelEnded { .. }));
    let again = channel.get(&queue, GetOptions::new()).await.unwrap().unwrap();
    assert_eq!((again.body().as_ref(), again.redelivered()), (&b"0"[..], true));
}

async fn a_deleted_queue_ends_its_consumer_with_a_reason(broker: Broker) {
    let channel = broker.channel().await;
    let queue = filled_queue(&channel, 0).await;
    let mut consumer = channel.consume(&queue, ConsumeOptions::new().tag("worker")).await.unwrap();
    channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
    let error = within(consumer.recv()).await.unwrap().unwrap_err();
    assert!(matches!(&error, Error::ConsumerCancelled { tag } if tag == "worker"), "{error:?}");
    assert!(within(consumer.recv()).await.is_none());
    assert!(channel.is_open());
}

async fn consuming_from_a_missing_queue_names_it(broker: Broker) {
    let connection = broker.connect().await;
    let missing = broker.name("missing");
    let channel = connection.open_channel().await.unwrap();
    let error = channel.consume(&missing, Default::default()).await.unwrap_err();
    assert_eq!(error.reply_code(), Some(ReplyCode::NOT_FOUND));
    assert!(error.to_string().contains(&format!("no queue '{missing}' in vhost '/'")), "{error}");
    let channel = connection.open_channel().await.unwrap();
    let error = channel.get(&missing, GetOptions::new()).await.unwrap_err();
    assert!(error.to_string().contains("basic.get"), "{error}");
}

async fn an_exclusive_consumer_keeps_others_out(broker: Broker) {
    let connection = broker.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let queue = filled_queue(&channel, 0).await;
    let _only = channel.consume(&queue, ConsumeOptions::new().exclusive(true)).await.unwrap();
    let other = connection.open_channel().await.unwrap();
    let error = other.consume(&queue, Default::default()).await.unwrap_err();
    assert_eq!(error.reply_code(), Some(ReplyCode::ACCESS_REFUSED));
    assert!(error.to_string().contains("in exclusive use"), "{error}");
}

async fn a_delivery_outlives_the_handles_it_came_from(broker: Broker) {
    let connection = broker.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let queue = filled_queue(&channel, 1).await;
    let worker = connection.open_channel().await.unwrap();
    let delivery = worker.get(&queue, GetOptions::new()).await.unwrap().unwrap();
    drop(worker);
    delivery.ack().await.unwrap();
    // It was acknowledged before its channel was closed in the background, so it is not
    // redelivered.
    let probe = connection.open_channel().await.unwrap();
    assert!(probe.get(&queue, GetOptions::new()).await.unwrap().is_none());
}

async fn recover_brings_back_what_is_outstanding_and_old_deliveries_ack_nothing(broker: Broker) {
    let connection = broker.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let queue = filled_queue(&channel, 3).await;
    let worker = connection.open_channel().await.unwrap();
    let mut consumer = worker.consume(&queue, ConsumeOptions::new().prefetch(2)).await.unwrap();
    let old =
        [within(consumer.recv()).await.unwrap().unwrap(), within(consumer.recv()).await.unwrap().unwrap()];
    worker.recover().await.unwrap();
    for delivery in old {
        delivery.ack().await.unwrap();
    }
    for number in 0..3 {
        let delivery = within(consumer.recv()).await.unwrap().unwrap();
        assert_eq!(delivery.body(), number.to_string().as_bytes());
        assert_eq!(delivery.redelivered(), number < 2, "message {number}");
        delivery.ack().await.unwrap();
    }
    worker.close().await.unwrap();
    assert_eq!(depth(&connection, &queue).await, 0);
}

async fn a_transaction_takes_effect_when_it_is_committed(broker: Broker) {
    let connection = broker.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let queue = filled_queue(&channel, 0).await;
    let tx = connection.open_channel().await.unwrap();
    tx.tx_select().await.unwrap();
    for (body, commit) in [("dropped", false), ("kept", true)] {
        tx.publish(("", &queue), Message::new(body)).await.unwrap();
        match commit {
            true => tx.tx_commit().await.unwrap(),
            false => tx.tx_rollback().await.unwrap(),
        }
    }
    let delivery = tx.get(&queue, GetOptions::new()).await.unwrap().unwrap();
    assert_eq!((delivery.body().as_ref(), delivery.remaining()), (&b"kept"[..], Some(0)));
    delivery.ack().await.unwrap();
    tx.tx_rollback().await.unwrap();
    tx.close().await.unwrap();
    // RabbitMQ may answer the close before it has given back what the channel had.
    let mut consumer = channel.consume(&queue, ConsumeOptions::new()).await.unwrap();
    let delivery = within(consumer.recv()).await.unwrap().expect("the ack was rolled back");
    delivery.ack().await.unwrap();
    let error = channel.tx_select().await.unwrap_err();
    assert!(error.to_string().contains("cannot switch from confirm to tx mode"), "{error}");
}

async fn a_drained_consumer_hands_out_what_arrived_and_leaves_the_rest(broker: Broker) {
    let connection = broker.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let queue = filled_queue(&channel, 10).await;
    let mut consumer = channel.consume(&queue, ConsumeOptions::new().prefetch(4)).await.unwrap();
    let first = within(consumer.recv()).await.unwrap().unwrap();
    let mut drain = consumer.drain(std::time::Duration::from_secs(10));
    let mut acked = tokio::task::JoinSet::new();
    acked.spawn(first.ack());
    let mut numbers = vec![0];
    while let Some(delivery) = within(drain.recv()).await {
        let delivery = delivery.unwrap();
        numbers.push(std::str::from_utf8(delivery.body()).unwrap().parse::<usize>().unwrap());
        acked.spawn(delivery.ack());
    }
    // It ended when they were acknowledged, and not before.
    assert_eq!(connection.metrics().unacked, 0);
    // Acknowledgements that the broker reads before the cancel may have made room for more.
    assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>());
    let info = channel.declare(Queue::new(&queue).passive(true)).await.unwrap();
    assert_eq!(info.messages as usize, 10 - numbers.len());
    while let Some(acked) = acked.join_next().await {
        acked.unwrap().unwrap();
    }
}
