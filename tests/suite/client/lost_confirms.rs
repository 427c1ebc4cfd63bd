//! Confirms that are lost on their way, from the embedded broker and from RabbitMQ.

use amqp_client::{Confirmation, ConnectOptions, Message, Queue};
use amqp_codec::{Arguments as _, method::basic};
use futures_util::FutureExt as _;
use tests::{Direction, FrameLinks};

use super::{
    fixture::{Broker, within},
    on_tcp_brokers,
};

async fn a_lost_confirm_takes_one_place_of_the_window_and_no_more(broker: Broker) {
    let links = FrameLinks::new();
    let there = links.listen(broker.address()).await.unwrap();
    let connection = broker.connect_as(ConnectOptions::new().confirm_window(10), |uri| {
        uri.host = there.ip().to_string();
        uri.port = there.port();
    });
    let connection = connection.await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    let queue = Queue::new(broker.name("q")).exclusive(true);
    channel.declare(&queue).await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    let publish = || within(publisher.publish(("", queue.name()), Message::new("x")));

    links.lose(Direction::ToClient, basic::Ack::ID);
    let mut lost = publish().await.unwrap();
    within(async {
        while links.taken() < 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for _ in 0..50 {
        assert!(matches!(within(publish().await.unwrap()).await, Ok(Confirmation::Ack)));
    }
    assert!((&mut lost).now_or_never().is_none(), "nobody has answered it");
    // It is given up.
    drop(lost);
    within(publisher.flush()).await.unwrap();
    assert_eq!(channel.declare(queue.passive(true)).await.unwrap().messages, 51);
}

on_tcp_brokers!(a_lost_confirm_takes_one_place_of_the_window_and_no_more);
