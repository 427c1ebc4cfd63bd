//! Messages with properties and options, many at once, and entities that exist with other
//! properties.

use std::time::Duration;

use amqp_client::{DeleteOptions, GetOptions};
use futures_util::{StreamExt as _, stream};
use messaging::{
    BoundQueue, Compression, Error, Exchange, Malformed, Outcome, Properties, PublishOptions, Queue,
    Serializers, Table, TraceContext, TransportOptions,
};

use super::{
    fixture::{Broker, within},
    on_every_broker_and_redis,
};

async fn every_option_arrives(broker: Broker) {
    let transport = broker.transport().await;
    let queue = Queue::new(broker.name("q"));
    let mut consumer = transport.consumer(queue.clone()).start::<u32>().await.unwrap();
    let options = PublishOptions::new()
        .priority(7)
        .expiration(Duration::from_secs(60))
        .transient()
        .correlation_id("c")
        .and_then(|options| options.reply_to("r"))
        .and_then(|options| options.message_id("m"))
        .and_then(|options| options.kind("k"))
        .and_then(|options| options.app_id("a"))
        .and_then(|options| options.user_id("guest"))
        .and_then(|options| options.header("h", 1))
        .unwrap()
        .timestamp(1_700_000_000);
    let producer = transport.producer(Exchange::default());
    within(producer.ensure_publish((queue.name(), &options), &1)).await.unwrap();
    let delivery = within(consumer.recv()).await.unwrap().unwrap();
    let properties = delivery.properties().unwrap();
    let text = |value: &Option<messaging::ShortString>| value.as_ref().unwrap().to_string();
    assert_eq!((properties.priority, properties.delivery_mode), (Some(7), Some(1)));
    assert_eq!(text(&properties.expiration), "60000");
    assert_eq!(text(&properties.correlation_id) + &text(&properties.reply_to), "cr");
    assert_eq!(text(&properties.message_id) + &text(&properties.kind) + &text(&properties.app_id), "mka");
    assert_eq!(text(&properties.user_id), "guest");
    assert_eq!(properties.timestamp, Some(1_700_000_000));
    assert_eq!(properties.headers.unwrap().get("h").unwrap().as_i64(), Some(1));
    let Properties { content_type, content_encoding, .. } = properties;
    assert_eq!(text(&content_type) + &text(&content_encoding), "application/jsonutf-8");
}

async fn what_a_message_needs_is_declared_and_again_when_it_was_deleted(broker: Broker) {
    let transport = broker.transport().await;
    let (queue, exchange) = (Queue::new(broker.name("q")), Exchange::topic(broker.name("e")));
    let options = PublishOptions::new().bind(&queue, &exchange, "#");
    let producer = transport.producer(exchange.clone());
    let channel = broker.channel().await;
    for round in 0..3 {
        within(producer.ensure_publish(("k", &options), &round)).await.unwrap();
        let delivery = channel.get(queue.name(), GetOptions::new()).await.unwrap().expect("it is not lost");
        assert_eq!(delivery.body().as_ref(), round.to_string().as_bytes());
        delivery.ack().await.unwrap();
        if round == 0 {
            channel.delete_queue(queue.name(), DeleteOptions::new()).await.unwrap();
        } else {
            channel.delete_exchange(exchange.name(), DeleteOptions::new()).await.unwrap();
        }
    }
    channel.delete_queue(queue.name(), DeleteOptions::new()).await.unwrap();
}

/// A consumer binds its queue by arguments, and a message needs a queue bound by others.
async fn a_headers_exchange_is_bound_by_arguments(broker: Broker) {
    let transport = broker.transport().await;
    let exchange = Exchange::headers(broker.name("e"));
    let size = |size: &str| {
        let mut arguments = Table::new();
        arguments.insert("size", size).unwrap();
        arguments
    };
    let large = Queue::new(broker.name("large")).exclusive(true);
    let mut large = transport.consumer(large).bind(&exchange, size("large")).start::<u32>().await.unwrap();
    let small = Queue::new(broker.name("small"));
    let needs = PublishOptions::new().bind(&small, &exchange, ("ignored", size("small")));
    let producer = transport.producer(exchange.clone());
    for (number, size) in [(1, "large"), (2, "small"), (3, "large")] {
        let options = needs.clone().mandatory(true).header("size", size).unwrap();
        within(producer.ensure_publish(("", &options), &number)).await.unwrap();
    }
    for number in [1, 3] {
        assert_eq!(*within(large.recv()).await.unwrap().unwrap().body(), number);
    }
    let channel = broker.channel().await;
    let delivery = channel.get(&small, GetOptions::new()).await.unwrap().expect("it is not lost");
    assert_eq!(delivery.body().as_ref(), b"2");
    delivery.ack().await.unwrap();
    assert!(channel.get(&small, GetOptions::new()).await.unwrap().is_none());
    channel.delete_queue(&small, DeleteOptions::new()).await.unwrap();
    channel.delete_exchange(&exchange, DeleteOptions::new()).await.unwrap();
}

async fn a_message_needs_queues_and_exchanges(broker: Broker) {
    let transport = broker.transport().await;
    let (queue, exchange) = (Queue::new(broker.name("q")), Exchange::fanout(broker.name("e")));
    let needs = PublishOptions::new().declare(&queue).declare(&exchange);
    let producer = transport.producer(Exchange::default());
    within(producer.ensure_publish((&queue, &needs), &1)).await.unwrap();
    let channel = broker.channel().await;
    channel.declare(exchange.clone().passive(true)).await.unwrap();
    channel.delete_exchange(&exchange, DeleteOptions::new()).await.unwrap();
    channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap();
}

async fn a_message_can_be_mandatory_by_itself(broker: Broker) {
    let transport = broker.transport().await;
    let producer = transport.producer(Exchange::fanout(broker.name("e")));
    within(producer.ensure_publish("k", &1)).await.unwrap();
    let mandatory = PublishOptions::new().mandatory(true);
    let Err(Error::Undelivered(error)) = within(producer.ensure_publish(("k", &mandatory), &1)).await else {
        panic!("it reached no queue")
    };
    assert_eq!(error.outcome, Outcome::Unroutable);
    broker.channel().await.delete_exchange(&broker.name("e"), DeleteOptions::new()).await.unwrap();
}

async fn an_entity_that_exists_otherwise_is_told_with_both_values(broker: Broker) {
    let transport = broker.transport().await;
    let name = broker.name("q");
    let channel = broker.channel().await;
    channel.declare(&Queue::new(&name).max_length(5)).await.unwrap();
    let other = Queue::new(&name).max_length(7);
    let Err(Error::Conflict(conflict)) = within(transport.consumer(other.clone()).start::<u32>()).await
    else {
        panic!("it exists otherwise")
    };
    let shown = (conflict.kind, conflict.name.as_str(), conflict.argument.as_str());
    assert_eq!(shown, ("queue", name.as_str(), "x-max-length"));
    assert_eq!((conflict.wanted.as_str(), conflict.existing.as_str()), ("7", "5"));

    let needs = PublishOptions::new().declare(&other);
    let producer = transport.producer(Exchange::default());
    let Err(Error::Undelivered(error)) = within(producer.ensure_publish((&name, &needs), &1)).await else {
        panic!("it exists otherwise")
    };
    assert_eq!((error.outcome, error.attempts), (Outcome::NotSent, 1), "no attempt makes it better");
    assert!(matches!(error.source.as_deref(), Some(Error::Conflict(_))));
    channel.delete_queue(&name, DeleteOptions::new()).await.unwrap();
}

async fn a_stream_of_messages_is_published_in_its_order(broker: Broker) {
    const COUNT: u32 = 2000;
    let transport = broker.transport().await;
    let queue = broker.name("q");
    let mut consumer = transport.consumer(Queue::new(&queue)).start::<u32>().await.unwrap();
    let producer = transport.producer(Exchange::default()).mandatory(true);
    let messages = stream::iter(0..COUNT).map(|number| (queue.as_str(), number));
    let publishing = producer.publish_all(messages, 100).collect::<Vec<_>>();
    let consuming = async {
        for number in 0..COUNT {
            let delivery = consumer.recv().await.unwrap().unwrap();
            assert_eq!(*delivery.body(), number);
            delivery.ack().await.unwrap();
        }
    };
    let (outcomes, ()) = within(async { tokio::join!(publishing, consuming) }).await;
    assert_eq!(outcomes.len(), COUNT as usize);
    assert!(outcomes.iter().all(Result::is_ok));
}

async fn a_broadcast_reaches_every_subscription(broker: Broker) {
    let transport = broker.transport().await;
    let exchange = broker.name("news");
    let mut one = transport.consumer(BoundQueue::broadcast(&exchange)).start::<String>().await.unwrap();
    let mut other = transport.consumer(BoundQueue::broadcast(&exchange)).start::<String>().await.unwrap();
    let producer = transport.producer(Exchange::fanout(&exchange).durable(true));
    within(producer.ensure_publish("", "hear")).await.unwrap();
    for consumer in [&mut one, &mut other] {
        assert_eq!(within(consumer.recv()).await.unwrap().unwrap().body(), "hear");
    }
    broker.channel().await.delete_exchange(&exchange, DeleteOptions::new()).await.unwrap();
}

async fn a_simple_queue_keeps_order_and_counts(broker: Broker) {
    let transport = broker.transport().await;
    let name = broker.name("simple");
    let queue = transport.simple_queue(&name);
    for number in 0..3 {
        within(queue.put(&number)).await.unwrap();
    }
    assert_eq!(queue.len().await.unwrap(), 3);
    let mut taker = queue.taker::<u32>().await.unwrap();
    let first = within(taker.get(Duration::from_secs(20))).await.unwrap().unwrap();
    assert_eq!(*first.body(), 0);
    first.ack().await.unwrap();
    drop(taker);
    // What was delivered to the consumer returns when the broker has noticed its end.
    let mut cleared = 0;
    while cleared < 2 {
        cleared += within(queue.clear()).await.unwrap();
    }
    broker.channel().await.delete_queue(&name, DeleteOptions::new()).await.unwrap();
    broker.channel().await.delete_exchange(&name, DeleteOptions::new()).await.unwrap();
}

async fn the_trace_of_who_publishes_comes_along(broker: Broker) {
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let transport = TransportOptions::new().trace_context(move || TraceContext::new(parent));
    let transport = transport.connect(&broker.url).await.unwrap();
    let queue = broker.name("q");
    let mut consumer = transport.consumer(Queue::new(&queue)).start::<u32>().await.unwrap();
    within(transport.producer(Exchange::default()).ensure_publish(&queue, &1)).await.unwrap();
    let delivery = within(consumer.recv()).await.unwrap().unwrap();
    let context = TraceContext::of(&delivery.properties().unwrap()).unwrap();
    assert_eq!(context.traceparent(), parent);
}

async fn a_serializer_is_chosen_by_name_and_read_by_content_type(broker: Broker) {
    let transport = broker.transport().await;
    let queue = broker.name("q");
    let subscription = transport
        .consumer(Queue::new(&queue))
        .serializers(Serializers::new().accept(["msgpack", "application/json"]).unwrap());
    let mut consumer = subscription.start::<Vec<u8>>().await.unwrap();
    let producer = transport.producer(Exchange::default()).mandatory(true);
    for name in ["msgpack", "json"] {
        let options = PublishOptions::new().serializer(name);
        within(producer.ensure_publish((&queue, &options), &[1, 2, 3])).await.unwrap();
        let delivery = within(consumer.recv()).await.unwrap().unwrap();
        assert_eq!(delivery.body(), &[1, 2, 3]);
        assert!(delivery.properties().unwrap().content_type.unwrap().to_string().ends_with(name));
        delivery.ack().await.unwrap();
    }
    let options = PublishOptions::new().serializer("text");
    within(producer.ensure_publish((&queue, &options), "text")).await.unwrap();
    let Some(Err(Error::Undecodable(refused))) = within(consumer.recv()).await else {
        panic!("not accepted")
    };
    assert!(matches!(refused.reason, Malformed::NotAccepted(_)), "{refused}");
    refused.reject().await.unwrap();
    for name in ["pickle", "marshal"] {
        let options = PublishOptions::new().serializer(name);
        let refused = producer.ensure_publish((&queue, &options), &1).await;
        assert!(matches!(refused, Err(Error::Serializer(_))), "{refused:?}");
    }
}

async fn each_compression_is_undone_where_it_is_read(broker: Broker) {
    let transport = broker.transport().await;
    let queue = broker.name("q");
    let mut consumer = transport.consumer(Queue::new(&queue)).start::<String>().await.unwrap();
    let producer = transport.producer(Exchange::default()).mandatory(true);
    let text = "again and ".repeat(1000);
    for compression in Compression::ALL {
        let options = PublishOptions::new().compression(compression);
        within(producer.ensure_publish((&queue, &options), &text)).await.unwrap();
        let delivery = within(consumer.recv()).await.unwrap().unwrap();
        assert_eq!(delivery.body(), &text);
        let headers = delivery.properties().unwrap().headers.unwrap();
        assert_eq!(headers.get("compression").unwrap().as_str(), Some(compression.content_type()));
        delivery.ack().await.unwrap();
    }
}

async fn only_so_much_is_decompressed_as_the_consumer_allows(broker: Broker) {
    let transport = broker.transport().await;
    let queue = broker.name("q");
    // The limit is the body and its two quotes.
    let serializers = Serializers::new().decompressed_limit(10_002);
    let consumer = transport.consumer(Queue::new(&queue)).serializers(serializers);
    let mut consumer = consumer.start::<String>().await.unwrap();
    let producer = transport.producer(Exchange::default()).mandatory(true);
    let options = PublishOptions::new().compression(Compression::Zlib);
    for length in [10_001, 10_000] {
        within(producer.ensure_publish((&queue, &options), &"a".repeat(length))).await.unwrap();
    }
    let Some(Err(Error::Undecodable(refused))) = within(consumer.recv()).await else { panic!("read") };
    assert!(matches!(refused.reason, Malformed::TooLarge { limit: 10_002 }));
    refused.reject().await.unwrap();
    assert_eq!(within(consumer.recv()).await.unwrap().unwrap().body().len(), 10_000);
}

on_every_broker_and_redis!(
    only_so_much_is_decompressed_as_the_consumer_allows,
    each_compression_is_undone_where_it_is_read,
    a_serializer_is_chosen_by_name_and_read_by_content_type,
    a_broadcast_reaches_every_subscription,
    a_simple_queue_keeps_order_and_counts,
    the_trace_of_who_publishes_comes_along,
    every_option_arrives,
    what_a_message_needs_is_declared_and_again_when_it_was_deleted,
    a_message_needs_queues_and_exchanges,
    a_message_can_be_mandatory_by_itself,
    a_stream_of_messages_is_published_in_its_order;
    a_headers_exchange_is_bound_by_arguments,
    an_entity_that_exists_otherwise_is_told_with_both_values,
);
