//! The memory alarm: RabbitMQ announces it, holds publishers back, and accepts their messages when
//! it ends.

use amqp_client::{Error, Event, Message, Queue, State, WhileBlocked, connect};
use tests::RabbitMq;

use super::fixture::within;

#[tokio::test]
async fn a_memory_alarm_of_rabbitmq_holds_publishers_and_nobody_else() {
    if !RabbitMq::require("client::alarm::a_memory_alarm_of_rabbitmq_holds_publishers_and_nobody_else") {
        return;
    }
    let node = RabbitMq::start().await.unwrap();
    let connection = connect(node.uri()).await.unwrap();
    let mut events = connection.events();
    assert!(matches!(within(events.recv()).await, Some(Event::Connected)));
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    let watcher = connect(node.uri()).await.unwrap();

    node.ctl(&["set_vm_memory_high_watermark", "0.0000001"]).await.unwrap();
    // The alarm holds a connection back from its next publish on.
    let held = publisher.publish(("", &queue), Message::new("held")).await.unwrap();
    let Some(Event::Blocked(reason)) = within(events.recv()).await else { panic!("not blocked") };
    assert_eq!(reason, "low on memory");
    assert!(matches!(connection.state(), State::Blocked(_)));
    let impatient = publisher.clone().while_blocked(WhileBlocked::Fail);
    let error = impatient.publish(("", &queue), Message::new("x")).await.unwrap_err();
    assert!(matches!(error, Error::Blocked { .. }), "{error}");
    // A connection that does not publish is not held back.
    watcher.open_channel().await.unwrap().declare(&Queue::new("").exclusive(true)).await.unwrap();

    let waiting = tokio::spawn({
        let (publisher, queue) = (publisher.clone(), queue.clone());
        async move { publisher.publish(("", &queue), Message::new("waited")).await.unwrap().await }
    });
    node.ctl(&["set_vm_memory_high_watermark", "0.4"]).await.unwrap();
    assert!(matches!(within(events.recv()).await, Some(Event::Unblocked)));
    within(held).await.unwrap();
    within(waiting).await.unwrap().unwrap();
    assert_eq!(channel.purge(&queue).await.unwrap(), 2);
    connection.close().await.unwrap();
    watcher.close().await.unwrap();
    node.stop().await.unwrap();
}
