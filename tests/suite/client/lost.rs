//! Consumers whose connection is lost, on the embedded broker and on RabbitMQ.

use std::time::Duration;

use amqp_client::{
    Backoff, Channel, ConnectOptions, Connection, ConsumeOptions, Consumer, DeleteOptions, Error, Event,
    Events, Message, Queue, Recovery, StreamOffset,
};
use amqp_codec::{HeaderTable, RawProperties};
use tests::Lingering;

use super::{
    fixture::{Broker, within},
    on_tcp_brokers,
};

/// A proxy before the broker, and a connection through it that recovers quickly.
async fn through(broker: &Broker) -> (Lingering, Connection) {
    let pauses = Backoff::new(Duration::from_millis(1), Duration::from_millis(20));
    let options = ConnectOptions::new().recovery(Recovery::new().backoff(pauses));
    let proxy = Lingering::start(&broker.address()).await.unwrap();
    let there = proxy.addr();
    let connection = broker.connect_as(options, |uri| {
        uri.host = there.ip().to_string();
        uri.port = there.port();
    });
    (proxy, connection.await.unwrap())
}

async fn publish(broker: &Broker, queue: &str, bodies: impl IntoIterator<Item = u32>) {
    publish_like(broker, queue, bodies, &Message::default()).await;
}

async fn publish_like(
    broker: &Broker,
    queue: &str,
    bodies: impl IntoIterator<Item = u32>,
    template: &Message,
) {
    let publisher = broker.channel().await.publisher().await.unwrap();
    for body in bodies {
        let mut message = template.clone();
        *message.body_mut() = body.to_string().into();
        let confirm = publisher.publish(("", queue), message).await.unwrap();
        within(confirm).await.unwrap();
    }
}

async fn next(consumer: &mut Consumer) -> u32 {
    let delivery = within(consumer.recv()).await.unwrap().unwrap();
    let number = std::str::from_utf8(delivery.body()).unwrap().parse().unwrap();
    delivery.ack().await.unwrap();
    number
}

async fn stream(broker: &Broker, channel: &Channel, name: &str) -> Queue {
    let stream = Queue::stream(broker.name(name));
    channel.declare(&stream).await.unwrap();
    stream
}

async fn until(events: &mut Events, is_it: impl Fn(&Event) -> bool) -> Event {
    within(async {
        loop {
            let event = events.recv().await.expect("the connection ended");
            if is_it(&event) {
                return event;
            }
        }
    })
    .await
}

/// Loses the connection; `meanwhile` is done before it is back.
async fn lose(proxy: &Lingering, events: &mut Events, meanwhile: impl Future<Output = ()>) {
    proxy.refuse(true);
    proxy.vanish();
    until(events, |event| matches!(event, Event::Disconnected(_))).await;
    meanwhile.await;
    proxy.refuse(false);
    until(events, |event| matches!(event, Event::Recovered(_))).await;
}

async fn a_consumer_of_a_stream_goes_on_where_it_was_when_it_shall(broker: Broker) {
    goes_on_where_it_was(&broker, &Message::default()).await;
}

async fn a_consumer_of_a_stream_goes_on_behind_headers_that_are_nested_too_deep(broker: Broker) {
    goes_on_where_it_was(&broker, &too_deep()).await;
}

async fn goes_on_where_it_was(broker: &Broker, template: &Message) {
    for offset in [None, Some(StreamOffset::Next), Some(StreamOffset::First)] {
        let (proxy, connection) = through(broker).await;
        let mut events = connection.events();
        let channel = connection.open_channel().await.unwrap();
        let stream = stream(broker, &channel, &format!("stream-{offset:?}")).await;
        let options = ConsumeOptions::new().prefetch(10).resume_stream(true);
        let options = offset.into_iter().fold(options, ConsumeOptions::stream_offset);
        let mut consumer = channel.consume(&stream, options).await.unwrap();
        publish_like(broker, stream.name(), 1..=3, template).await;
        for number in 1..=3 {
            assert_eq!(next(&mut consumer).await, number, "{offset:?}");
        }
        lose(&proxy, &mut events, publish_like(broker, stream.name(), 4..=6, template)).await;
        publish_like(broker, stream.name(), [7], template).await;
        for number in 4..=7 {
            assert_eq!(next(&mut consumer).await, number, "{offset:?}");
        }
        channel.delete_queue(&stream, DeleteOptions::new()).await.unwrap();
    }
}

/// RabbitMQ 3.10.8 was seen to send 517 messages with a prefetch of 1: the rest of a chunk.
async fn a_stream_over_the_prefetch_is_no_breach_of_it(broker: Broker) {
    const MESSAGES: usize = 3000;
    let channel = broker.channel().await;
    let stream = stream(&broker, &channel, "chunks").await;
    let publisher = channel.publisher().await.unwrap();
    let mut confirms = Vec::new();
    for _ in 0..MESSAGES {
        confirms.push(publisher.publish(("", &stream), Message::new("x")).await.unwrap());
    }
    for confirm in confirms {
        within(confirm).await.unwrap();
    }
    let middle = StreamOffset::Offset(MESSAGES as u64 / 2);
    let options = ConsumeOptions::new().prefetch(1).stream_offset(middle);
    let mut consumer = channel.consume(&stream, options).await.unwrap();
    let mut ahead = Vec::new();
    // It takes as many as come without an acknowledgement, and then the others.
    while let Ok(delivery) = tokio::time::timeout(Duration::from_millis(200), consumer.recv()).await {
        ahead.push(delivery.unwrap().unwrap());
    }
    let mut seen = ahead.len();
    for delivery in ahead {
        delivery.ack().await.unwrap();
    }
    while seen < MESSAGES / 2 {
        within(consumer.recv()).await.unwrap().unwrap().ack().await.unwrap();
        seen += 1;
    }
    channel.delete_queue(&stream, DeleteOptions::new()).await.unwrap();
}

/// RabbitMQ closes a connection with 540 that requeues a message of a stream.
async fn nothing_of_a_stream_is_given_back(broker: Broker) {
    nothing_is_given_back(&broker, "kept", &Message::default()).await;
}

async fn nothing_of_a_stream_is_given_back_whose_headers_are_nested_too_deep(broker: Broker) {
    nothing_is_given_back(&broker, "deep", &too_deep()).await;
}

/// A message with headers that are nested deeper than can be decoded.
fn too_deep() -> Message {
    let nested = (0..40).fold(Vec::new(), |inner: Vec<u8>, _| {
        let length = u32::try_from(inner.len()).unwrap();
        [&b"\x04deepF"[..], &length.to_be_bytes(), &inner].concat()
    });
    let mut raw = RawProperties::default();
    raw.set_headers(&HeaderTable::from_encoded(&nested).unwrap()).unwrap();
    Message::with_encoded_properties("", raw.join())
}

async fn nothing_is_given_back(broker: &Broker, name: &str, template: &Message) {
    let connection = broker.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let stream = stream(broker, &channel, name).await;
    publish_like(broker, stream.name(), 1..=10, template).await;
    let options = ConsumeOptions::new().prefetch(10).stream_offset(StreamOffset::First);
    for round in 0..3 {
        let mut consumer = channel.consume(&stream, options.clone()).await.unwrap();
        let first = within(consumer.recv()).await.unwrap().unwrap();
        match round {
            0 => first.nack(true).await.unwrap(),
            1 => first.reject(false).await.unwrap(),
            // It is dropped with some deliveries taken and some on their way.
            _ => drop(first),
        }
        if round < 2 {
            for number in 2..=10 {
                assert_eq!(next(&mut consumer).await, number);
            }
        }
        drop(consumer);
    }
    channel.delete_queue(&stream, DeleteOptions::new()).await.unwrap();
    assert!(connection.is_open());
}

async fn an_exclusive_queue_of_a_connection_that_lingers_is_had_back_when_it_goes(broker: Broker) {
    let (proxy, connection) = through(&broker).await;
    let mut events = connection.events();
    let channel = connection.open_channel().await.unwrap();
    let queue = Queue::new(broker.name("mine")).exclusive(true);
    channel.declare(&queue).await.unwrap();
    let mut consumer = channel.consume(&queue, ConsumeOptions::new()).await.unwrap();
    let is_recovering = async { assert!(!connection.is_open() && !connection.is_closed()) };
    lose(&proxy, &mut events, is_recovering).await;
    assert!(connection.is_open() && !connection.is_closed());
    let Event::Held { what, attempt: 1, error, .. } =
        until(&mut events, |event| matches!(event, Event::Held { .. })).await
    else {
        panic!("not the first")
    };
    assert_eq!(what, format!("queue {:?}", queue.name()));
    assert!(matches!(&error, Error::QueueTaken { queue: of, .. } if of == queue.name()), "{error}");
    // Nothing else waits for it.
    let other = Queue::new(broker.name("other")).exclusive(true);
    channel.declare(&other).await.unwrap();
    proxy.release();
    until(&mut events, |event| matches!(event, Event::Released { .. })).await;
    // The publish is on the same channel, because the queue is exclusive to this connection.
    let publisher = channel.publisher().await.unwrap();
    within(publisher.publish(("", &queue), Message::new("1")).await.unwrap()).await.unwrap();
    assert_eq!(next(&mut consumer).await, 1);
}

async fn an_exclusive_consumer_begins_again_when_the_lost_one_goes(broker: Broker) {
    let (proxy, connection) = through(&broker).await;
    let mut events = connection.events();
    let channel = connection.open_channel().await.unwrap();
    let queue = Queue::durable(broker.name("only"));
    channel.declare(&queue).await.unwrap();
    let mut consumer = channel.consume(&queue, ConsumeOptions::new().exclusive(true)).await.unwrap();
    lose(&proxy, &mut events, async {}).await;
    for _ in 0..2 {
        until(&mut events, |event| matches!(event, Event::Held { .. })).await;
    }
    proxy.release();
    until(&mut events, |event| matches!(event, Event::Released { .. })).await;
    publish(&broker, queue.name(), [1]).await;
    assert_eq!(next(&mut consumer).await, 1);
    assert!(channel.is_open());
    channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
}

async fn what_is_taken_from_the_start_is_told_at_once(broker: Broker) {
    let (owner, other) = (broker.channel().await, broker.connect().await);
    let mine = Queue::new(broker.name("mine")).exclusive(true);
    owner.declare(&mine).await.unwrap();
    let shared = Queue::new(broker.name("shared"));
    owner.declare(&shared).await.unwrap();
    let _only = owner.consume(&shared, ConsumeOptions::new().exclusive(true)).await.unwrap();
    let declared = other.open_channel().await.unwrap().declare(&mine).await.map(drop);
    let consumed = [&mine, &shared].map(async |queue| {
        let channel = other.open_channel().await.unwrap();
        channel.consume(queue, ConsumeOptions::new().exclusive(true)).await.map(drop)
    });
    let [of_mine, of_shared] = consumed;
    for (result, queue) in [(declared, &mine), (of_mine.await, &mine), (of_shared.await, &shared)] {
        let error = result.unwrap_err();
        assert!(matches!(&error, Error::QueueTaken { queue: of, .. } if of == queue.name()), "{error}");
    }
    owner.delete_queue(&shared, DeleteOptions::new()).await.unwrap();
}

on_tcp_brokers! {
    a_consumer_of_a_stream_goes_on_where_it_was_when_it_shall,
    a_consumer_of_a_stream_goes_on_behind_headers_that_are_nested_too_deep,
    a_stream_over_the_prefetch_is_no_breach_of_it,
    nothing_of_a_stream_is_given_back,
    nothing_of_a_stream_is_given_back_whose_headers_are_nested_too_deep,
    an_exclusive_queue_of_a_connection_that_lingers_is_had_back_when_it_goes,
    an_exclusive_consumer_begins_again_when_the_lost_one_goes,
    what_is_taken_from_the_start_is_told_at_once,
}
