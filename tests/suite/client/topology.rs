//! Exchanges, queues and bindings.

use amqp_client::{
    Binding, Confirmation, DeleteOptions, Error, Exchange, GetOptions, Message, Queue, ReplyCode, Route,
    Table,
};

use super::{fixture::Broker, on_every_broker};

on_every_broker! {
    a_queue_declared_again_reports_its_messages,
    a_server_named_queue_has_a_name,
    exchanges_route_by_their_type,
    an_exchange_bound_to_an_exchange_passes_messages_on,
    a_headers_exchange_compares_the_arguments_of_its_bindings,
    deletes_on_conditions_are_refused_when_they_do_not_hold,
    a_declaration_without_waiting_takes_effect_in_order,
    a_queue_whose_name_nobody_would_learn_is_not_declared,
    an_unbound_queue_gets_nothing_more,
    purge_and_delete_tell_how_many_messages_went,
    an_unequal_redeclaration_closes_the_channel_with_406,
    an_exclusive_queue_is_locked_to_its_connection_and_goes_with_it,
    an_auto_delete_queue_goes_with_its_last_consumer,
    arguments_reach_the_broker,
}

async fn a_queue_declared_again_reports_its_messages(broker: Broker) {
    let channel = broker.channel().await;
    let queue = Queue::new(broker.name("jobs")).exclusive(true);
    let info = channel.declare(&queue).await.unwrap();
    assert_eq!((info.messages, info.consumers), (0, 0));
    let publisher = channel.publisher().await.unwrap();
    for body in ["one", "two"] {
        publisher.publish(("", &queue), Message::new(body)).await.unwrap().await.unwrap();
    }
    let info = channel.declare(&queue).await.unwrap();
    assert_eq!((info.name.as_str(), info.messages), (queue.name(), 2));
    assert_eq!(channel.declare(queue.clone().passive(true)).await.unwrap(), info);
}

async fn a_server_named_queue_has_a_name(broker: Broker) {
    let channel = broker.channel().await;
    let one = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
    let two = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
    assert!(one.name.starts_with("amq.gen-"), "{}", one.name);
    assert_ne!(one.name, two.name);
}

async fn exchanges_route_by_their_type(broker: Broker) {
    let channel = broker.channel().await;
    let publisher = channel.publisher().await.unwrap();
    let exchanges = [
        Exchange::direct(broker.name("direct")).auto_delete(true),
        Exchange::fanout(broker.name("fanout")).auto_delete(true),
        Exchange::topic(broker.name("topic")).auto_delete(true),
    ];
    let cases = [("job.run", "job.run"), ("job.*", "job.stop"), ("#", "else")];
    let expected = [[true, false, false], [true, true, true], [true, true, true]];
    for (exchange, expected) in exchanges.iter().zip(expected) {
        channel.declare(exchange).await.unwrap();
        for ((binding, key), expected) in cases.into_iter().zip(expected) {
            let queue = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
            channel.bind(Binding::new(&queue, exchange).routing_key(binding)).await.unwrap();
            publisher.publish((exchange, key), Message::new("x")).await.unwrap().await.unwrap();
            let got = channel.get(&queue, GetOptions::new()).await.unwrap();
            let name = exchange.kind();
            assert_eq!(got.is_some(), expected, "{name}: {key:?} to a queue bound with {binding:?}");
            if let Some(delivery) = got {
                assert_eq!(
                    (delivery.exchange(), delivery.routing_key()),
                    (exchange.name().into(), key.into())
                );
            }
            channel.unbind(Binding::new(&queue, exchange).routing_key(binding)).await.unwrap();
            channel.declare(exchange).await.unwrap();
        }
    }
}

async fn an_exchange_bound_to_an_exchange_passes_messages_on(broker: Broker) {
    let channel = broker.channel().await;
    let source = Exchange::topic(broker.name("source")).auto_delete(true);
    let destination = Exchange::fanout(broker.name("destination")).auto_delete(true);
    channel.declare(&source).await.unwrap();
    channel.declare(&destination).await.unwrap();
    let queue = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
    channel.bind(Binding::new(&queue, &destination)).await.unwrap();
    let binding = Binding::new(&destination, &source).routing_key("a.#");
    channel.bind(&binding).await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    publisher.publish((&source, "a.b.c"), Message::new("x")).await.unwrap().await.unwrap();
    let delivery = channel.get(&queue, GetOptions::new()).await.unwrap().unwrap();
    assert_eq!((delivery.exchange(), delivery.routing_key()), (source.name().into(), "a.b.c".into()));
    channel.unbind(&binding).await.unwrap();
    let error = channel.declare(source.clone().passive(true)).await.unwrap_err();
    assert_eq!(error.reply_code(), Some(ReplyCode::NOT_FOUND), "it goes with its last binding: {error}");
}

async fn a_headers_exchange_compares_the_arguments_of_its_bindings(broker: Broker) {
    let channel = broker.channel().await;
    let publisher = channel.publisher().await.unwrap();
    let queue = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
    let binding =
        Binding::new(&queue, "amq.headers").arg("x-match", "all").unwrap().arg("region", "eu").unwrap();
    channel.bind(&binding).await.unwrap();
    for (region, arrives) in [("eu", true), ("us", false)] {
        let mut headers = Table::new();
        headers.insert("region", region).unwrap();
        let message = Message::new("x").headers(headers);
        publisher.publish(("amq.headers", ""), &message).await.unwrap().await.unwrap();
        assert_eq!(
            channel.get(&queue, GetOptions::new().no_ack(true)).await.unwrap().is_some(),
            arrives,
            "{region}"
        );
    }
    channel.unbind(&binding).await.unwrap();
}

async fn deletes_on_conditions_are_refused_when_they_do_not_hold(broker: Broker) {
    let connection = broker.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let queue = Queue::new(broker.name("kept")).exclusive(true);
    channel.declare(&queue).await.unwrap();
    channel.publish(("", queue.name()), Message::new("x")).await.unwrap();
    let error = channel.delete_queue(&queue, DeleteOptions::new().if_empty(true)).await.unwrap_err();
    assert!(error.to_string().contains("not empty"), "{error}");

    let channel = connection.open_channel().await.unwrap();
    let _consumer = channel.consume(&queue, Default::default()).await.unwrap();
    let other = connection.open_channel().await.unwrap();
    let error = other.delete_queue(&queue, DeleteOptions::new().if_unused(true)).await.unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");

    let exchange = Exchange::fanout(broker.name("e")).auto_delete(true);
    channel.declare(&exchange).await.unwrap();
    channel.bind(Binding::new(&queue, &exchange)).await.unwrap();
    let other = connection.open_channel().await.unwrap();
    let error = other.delete_exchange(&exchange, DeleteOptions::new().if_unused(true)).await.unwrap_err();
    assert_eq!(error.reply_code(), Some(ReplyCode::PRECONDITION_FAILED), "{error}");
}

async fn a_declaration_without_waiting_takes_effect_in_order(broker: Broker) {
    let connection = broker.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let queue = Queue::new(broker.name("quick")).exclusive(true);
    channel.declare(queue.clone().no_wait(true)).await.unwrap();
    channel.publish(("", queue.name()), Message::new("x")).await.unwrap();
    assert_eq!(channel.purge(&queue).await.unwrap(), 1);
    channel.declare(Queue::new("amq.mine").no_wait(true)).await.unwrap();
    assert_eq!(channel.closed().await.reply_code(), Some(ReplyCode::ACCESS_REFUSED));
}

async fn a_queue_whose_name_nobody_would_learn_is_not_declared(broker: Broker) {
    let channel = broker.channel().await;
    let error = channel.declare(Queue::new("").exclusive(true).no_wait(true)).await.unwrap_err();
    assert!(matches!(error, Error::UnnamedQueue) && !error.is_connection_error(), "{error}");
    // The channel has declared nothing, so there is no last queue for an empty name to mean.
    let error = channel.purge("").await.unwrap_err();
    assert_eq!(error.reply_code(), Some(ReplyCode::NOT_FOUND), "{error}");
}

async fn an_unbound_queue_gets_nothing_more(broker: Broker) {
    let channel = broker.channel().await;
    let publisher = channel.publisher().await.unwrap();
    let queue = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
    channel.bind(Binding::new(&queue, "amq.topic").routing_key("stock.#")).await.unwrap();
    channel.unbind(Binding::new(&queue, "amq.topic").routing_key("stock.#")).await.unwrap();
    let confirm = publisher
        .publish(Route::new("amq.topic", "stock.nyse").mandatory(true), Message::new("x"))
        .await
        .unwrap();
    assert!(matches!(confirm.await.unwrap(), Confirmation::Returned(_)));
    assert!(channel.get(&queue, GetOptions::new()).await.unwrap().is_none());
}

async fn purge_and_delete_tell_how_many_messages_went(broker: Broker) {
    let channel = broker.channel().await;
    let queue = Queue::new(broker.name("jobs")).exclusive(true);
    channel.declare(&queue).await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    for _ in 0..3 {
        publisher.publish(("", &queue), Message::new("x")).await.unwrap().await.unwrap();
    }
    assert_eq!(channel.purge(&queue).await.unwrap(), 3);
    publisher.publish(("", &queue), Message::new("x")).await.unwrap().await.unwrap();
    assert_eq!(channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap(), 1);
    assert_eq!(channel.delete_queue(&queue, DeleteOptions::new()).await.unwrap(), 0);
    let exchange = Exchange::direct(broker.name("e"));
    channel.declare(&exchange).await.unwrap();
    channel.delete_exchange(&exchange, DeleteOptions::new()).await.unwrap();
    channel.delete_exchange(&exchange, DeleteOptions::new()).await.unwrap();
}

async fn an_unequal_redeclaration_closes_the_channel_with_406(broker: Broker) {
    let connection = broker.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let name = broker.name("jobs");
    channel.declare(&Queue::new(&name)).await.unwrap();
    let error = channel.declare(&Queue::durable(&name)).await.unwrap_err();
    let text = format!("inequivalent arg 'durable' for queue '{name}' in vhost '/'");
    assert_eq!(error.reply_code(), Some(ReplyCode::PRECONDITION_FAILED));
    assert!(error.to_string().contains(&text), "{error}");
    assert!(error.to_string().contains("queue.declare"), "{error}");

    let channel = connection.open_channel().await.unwrap();
    let exchange = Exchange::topic(broker.name("e"));
    channel.declare(&exchange).await.unwrap();
    let error = channel.declare(&Exchange::direct(exchange.name())).await.unwrap_err();
    assert!(error.to_string().contains("received 'direct' but current is 'topic'"), "{error}");
    let channel = connection.open_channel().await.unwrap();
    channel.delete_queue(&name, DeleteOptions::new()).await.unwrap();
    channel.delete_exchange(&exchange, DeleteOptions::new()).await.unwrap();
}

async fn an_exclusive_queue_is_locked_to_its_connection_and_goes_with_it(broker: Broker) {
    let owner = broker.connect().await;
    let queue = Queue::new(broker.name("mine")).exclusive(true);
    owner.open_channel().await.unwrap().declare(&queue).await.unwrap();

    let other = broker.connect().await;
    let error = other.open_channel().await.unwrap().declare(queue.clone().passive(true)).await.unwrap_err();
    assert_eq!(error.reply_code(), Some(ReplyCode::RESOURCE_LOCKED));

    owner.close().await.unwrap();
    let error = other.open_channel().await.unwrap().declare(queue.clone().passive(true)).await.unwrap_err();
    assert_eq!(error.reply_code(), Some(ReplyCode::NOT_FOUND), "{error}");
}

async fn an_auto_delete_queue_goes_with_its_last_consumer(broker: Broker) {
    let connection = broker.connect().await;
    let channel = connection.open_channel().await.unwrap();
    let queue = Queue::new(broker.name("fleeting")).auto_delete(true);
    channel.declare(&queue).await.unwrap();
    channel.declare(queue.clone().passive(true)).await.unwrap();
    let mut consumer = channel.consume(&queue, Default::default()).await.unwrap();
    consumer.cancel().await.unwrap();
    let error = channel.declare(queue.clone().passive(true)).await.unwrap_err();
    assert!(matches!(error, Error::ChannelClosed { .. }), "{error}");
    assert_eq!(error.reply_code(), Some(ReplyCode::NOT_FOUND));
}

async fn arguments_reach_the_broker(broker: Broker) {
    let channel = broker.channel().await;
    let queue = Queue::new(broker.name("short")).exclusive(true).arg("x-message-ttl", -1).unwrap();
    let error = channel.declare(&queue).await.unwrap_err();
    assert!(error.to_string().contains("invalid arg 'x-message-ttl'"), "{error}");
}
