//! Publishing: confirms, returns, sizes, properties.

use amqp_client::{
    Confirmation, Error, Event, GetOptions, Message, Properties, Queue, ReplyCode, Report, Route,
    ShortString, Table, Value,
};

use super::{
    fixture::{Broker, within},
    on_every_broker,
};

on_every_broker! {
    every_publish_is_confirmed_and_kept_in_order,
    bodies_of_all_sizes_arrive_as_they_were_sent,
    all_properties_and_header_types_arrive_as_they_were_sent,
    an_unroutable_mandatory_message_comes_back_and_others_do_not,
    a_return_that_no_publish_is_told_of_is_an_event,
    returns_and_acks_are_told_apart_among_many_tasks,
    a_publish_to_a_missing_exchange_fails_what_is_unconfirmed_and_names_it,
    a_publish_without_confirm_arrives,
    a_name_that_is_too_long_is_refused_and_harms_nothing,
    confirms_may_be_dropped,
}

async fn every_publish_is_confirmed_and_kept_in_order(broker: Broker) {
    let channel = broker.channel().await;
    let queue = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    let mut confirms = Vec::new();
    for number in 0..5000 {
        confirms.push(publisher.publish(("", &queue), Message::new(number.to_string())).await.unwrap());
    }
    for (number, confirm) in confirms.into_iter().enumerate() {
        let confirmation = within(confirm).await.unwrap();
        assert!(matches!(confirmation, Confirmation::Ack), "{number}: {confirmation:?}");
    }
    let mut consumer = channel.consume(&queue, Default::default()).await.unwrap();
    for number in 0..5000 {
        let delivery = within(consumer.recv()).await.unwrap().unwrap();
        assert_eq!(delivery.body(), number.to_string().as_bytes());
        delivery.ack().await.unwrap();
    }
}

async fn bodies_of_all_sizes_arrive_as_they_were_sent(broker: Broker) {
    let channel = broker.channel().await;
    let queue = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    let mut consumer = channel.consume(&queue, Default::default()).await.unwrap();
    let frame = 131_072 - 8;
    for size in [0, 1, 4095, 4096, 4097, frame - 1, frame, frame + 1, 2 * frame, 3_000_000] {
        let body: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let confirm = publisher.publish(("", &queue), Message::new(body.clone())).await.unwrap();
        let delivery = within(consumer.recv()).await.unwrap().unwrap();
        assert!(delivery.body() == &body, "a body of {size} bytes came as one of {}", delivery.body().len());
        delivery.ack().await.unwrap();
        within(confirm).await.unwrap();
    }
}

async fn all_properties_and_header_types_arrive_as_they_were_sent(broker: Broker) {
    let mut nested = Table::new();
    nested.insert("deep", "er").unwrap();
    let mut headers = Table::new();
    let values = [
        ("bool", Value::Bool(true)),
        ("i8", Value::I8(-1)),
        ("i16", Value::I16(-2)),
        ("i32", Value::I32(-3)),
        ("i64", Value::I64(-4)),
        ("u8", Value::U8(1)),
        ("u16", Value::U16(2)),
        ("u32", Value::U32(3)),
        ("f32", Value::F32(1.5)),
        ("f64", Value::F64(2.5)),
        ("decimal", Value::Decimal { scale: 2, value: 314 }),
        ("text", "\u{e9}".into()),
        ("timestamp", Value::Timestamp(1_700_000_000)),
        ("table", nested.into()),
        ("void", Value::Void),
        ("bytes", Value::Bytes(vec![0, 255].into())),
    ];
    for (key, value) in values {
        headers.insert(key, value).unwrap();
    }
    let short = |text| Some(ShortString::from_static(text));
    let mut properties = Properties {
        content_type: short("application/json"),
        content_encoding: short("utf-8"),
        headers: Some(headers),
        delivery_mode: Some(2),
        priority: Some(3),
        correlation_id: short("c-1"),
        reply_to: short("replies"),
        expiration: short("60000"),
        message_id: short("m-1"),
        timestamp: Some(1_700_000_001),
        kind: short("test"),
        user_id: short("guest"),
        app_id: short("suite"),
        cluster_id: None,
    };
    let channel = broker.channel().await;
    let queue = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    let message = Message::with_properties("{}", properties.clone());
    within(publisher.publish(("", &queue), &message).await.unwrap()).await.unwrap();
    let delivery = channel.get(&queue, GetOptions::new()).await.unwrap().unwrap();
    let came = delivery.properties().unwrap();
    if broker.is_rabbitmq() && came != properties {
        properties.headers = properties.headers.as_ref().map(sorted);
    }
    assert_eq!(came, properties);
}

/// As RabbitMQ 4.0 passes headers on: by name.
fn sorted(headers: &Table) -> Table {
    let mut entries: Vec<_> = headers.iter().collect();
    entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let mut sorted = Table::new();
    for (name, value) in entries {
        sorted.push(name.as_str().unwrap(), value).unwrap();
    }
    sorted
}

async fn an_unroutable_mandatory_message_comes_back_and_others_do_not(broker: Broker) {
    let channel = broker.channel().await;
    let publisher = channel.publisher().await.unwrap();
    let queue = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
    let nowhere = broker.name("nowhere");
    let message = Message::new("lost").content_type("text/plain");
    let returned =
        publisher.publish(Route::new("amq.direct", &nowhere).mandatory(true), &message).await.unwrap();
    let routed = publisher.publish(Route::new("", &queue).mandatory(true), &message).await.unwrap();
    let dropped = publisher.publish(("amq.direct", &nowhere), &message).await.unwrap();

    let Confirmation::Returned(back) = within(returned).await.unwrap() else { panic!("not returned") };
    assert_eq!((back.code(), back.text()), (ReplyCode::NO_ROUTE, "NO_ROUTE"));
    assert_eq!((back.exchange().as_str(), back.routing_key()), ("amq.direct", nowhere));
    assert_eq!(back.body(), "lost");
    assert_eq!(back.properties().unwrap(), *message.properties());
    assert!(matches!(within(routed).await.unwrap(), Confirmation::Ack));
    assert!(matches!(within(dropped).await.unwrap(), Confirmation::Ack));
}

/// Without confirms, and where the confirm was dropped; not where it is awaited.
async fn a_return_that_no_publish_is_told_of_is_an_event(broker: Broker) {
    let connection = broker.connect().await;
    let mut events = connection.events();
    let channel = connection.open_channel().await.unwrap();
    let (first, last) = (broker.name("first"), broker.name("last"));
    channel.publish(Route::new("", &first).mandatory(true), Message::new("x")).await.unwrap();
    let confirming = connection.open_channel().await.unwrap();
    let publisher = confirming.publisher().await.unwrap();
    let awaited = publisher.publish(Route::new("", "awaited").mandatory(true), Message::new("x"));
    assert!(matches!(awaited.await.unwrap().await.unwrap(), Confirmation::Returned(_)));
    let told = publisher.publish(Route::new("amq.topic", &last).mandatory(true), Message::new("x"));
    drop(told.await.unwrap());
    let mut returned = Vec::new();
    while returned.len() < 2 {
        if let Event::Returned { channel, exchange, routing_key, code, text } =
            within(events.recv()).await.unwrap()
        {
            assert_eq!((code, text.as_str()), (ReplyCode::NO_ROUTE, "NO_ROUTE"));
            returned.push((channel, exchange, routing_key));
        }
    }
    // The two channels have a race.
    returned.sort();
    let expected = [(channel.id(), String::new(), first), (confirming.id(), "amq.topic".to_owned(), last)];
    assert_eq!(returned, expected);
    assert_eq!(connection.metrics().messages_returned, 3);
}

async fn returns_and_acks_are_told_apart_among_many_tasks(broker: Broker) {
    let channel = broker.channel().await;
    let queue = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    let mut tasks = Vec::new();
    for task in 0..4 {
        let (publisher, queue, nowhere) = (publisher.clone(), queue.name.clone(), broker.name("nowhere"));
        tasks.push(tokio::spawn(async move {
            let mut confirms = Vec::new();
            for number in 0..1000 {
                let unroutable = number % 3 == 0;
                let key = if unroutable { &nowhere } else { &queue };
                let message = Message::new(format!("{task}/{number}"));
                let confirm = publisher.publish(Route::new("", key).mandatory(true), message).await.unwrap();
                confirms.push((format!("{task}/{number}"), unroutable, confirm));
            }
            for (body, unroutable, confirm) in confirms {
                match confirm.await.unwrap() {
                    Confirmation::Returned(back) => assert!(unroutable && back.body() == body.as_bytes()),
                    Confirmation::Ack => assert!(!unroutable, "{body} did not come back"),
                    Confirmation::Nack => panic!("{body} nacked"),
                }
            }
        }));
    }
    for task in tasks {
        within(task).await.unwrap();
    }
}

async fn a_publish_to_a_missing_exchange_fails_what_is_unconfirmed_and_names_it(broker: Broker) {
    let connection = broker.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    let missing = broker.name("missing");
    let confirm = publisher.publish((&missing, "key"), Message::new("x")).await.unwrap();
    let error = within(confirm).await.unwrap_err();
    assert_eq!(error.reply_code(), Some(ReplyCode::NOT_FOUND));
    assert!(error.to_string().contains(&format!("no exchange '{missing}' in vhost '/'")), "{error}");
    let error = publisher.publish(("", "key"), Message::new("x")).await.unwrap_err();
    assert_eq!(error.reply_code(), Some(ReplyCode::NOT_FOUND), "the reason is kept: {error}");
    assert_eq!(within(publisher.closed()).await.reply_code(), Some(ReplyCode::NOT_FOUND));
    connection.open_channel().await.unwrap();
}

async fn a_publish_without_confirm_arrives(broker: Broker) {
    let channel = broker.channel().await;
    let queue = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
    channel.publish(("", &queue.name), Message::new("x")).await.unwrap();
    // On the same channel the answer comes after the publish has been routed.
    assert_eq!(channel.purge(&queue).await.unwrap(), 1);
}

async fn a_name_that_is_too_long_is_refused_and_harms_nothing(broker: Broker) {
    let channel = broker.channel().await;
    let publisher = channel.publisher().await.unwrap();
    let long = "k".repeat(256);
    let error = publisher.publish(("", &long), Message::new("x")).await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error:?}");
    assert!(Report(&error).to_string().contains("routing_key is 256 bytes"), "{error:?}");
    let mut headers = Table::new();
    headers.insert("big", "x".repeat(200_000)).unwrap();
    let error = publisher.publish(("", "k"), Message::new("x").headers(headers)).await.unwrap_err();
    assert!(Report(&error).to_string().contains("131072"), "{error:?}");
    let queue = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
    let confirm = publisher.publish(("", &queue), Message::new("x")).await.unwrap();
    assert_eq!(confirm.tag(), 1);
    within(confirm).await.unwrap();
}

async fn confirms_may_be_dropped(broker: Broker) {
    let channel = broker.channel().await;
    let publisher = channel.publisher().await.unwrap();
    let nowhere = broker.name("nowhere");
    for number in 0..1000 {
        let confirm =
            publisher.publish(Route::new("", &nowhere).mandatory(true), Message::new("x")).await.unwrap();
        if number % 2 == 0 {
            drop(confirm);
        } else {
            assert!(matches!(within(confirm).await.unwrap(), Confirmation::Returned(_)));
        }
    }
}
