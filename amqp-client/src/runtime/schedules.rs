//! Searches for orders of the client's tasks, and of the broker's beside them, in which a wake-up
//! is lost, a window leaks, or a buffer is overwritten while a delivery still uses it.

#![allow(clippy::panic, clippy::unwrap_used)]

use std::{collections::VecDeque, sync::Arc};

use amqp_broker::Broker;
use bytes::{BufMut, Bytes};
use shuttle::{
    future::{block_on, spawn},
    thread,
};

use crate::{
    Confirmation, ConnectOptions, Connection, ConsumeOptions, Message, Queue, Uri,
    runtime::read_buffer::ReadBuffer,
    sync::{Mutex, search},
};

async fn connect(options: ConnectOptions) -> Connection {
    let broker = Broker::builder().build();
    options
        .heartbeat(std::time::Duration::ZERO)
        .connect_stream(broker.connect(), &Uri::default())
        .await
        .unwrap()
}

#[test]
fn all_publishers_of_a_channel_get_through_a_narrow_window() {
    search(|| {
        block_on(async {
            let connection = connect(ConnectOptions::new().confirm_window(2)).await;
            let channel = connection.open_channel().await.unwrap();
            channel.declare(&Queue::new("q")).await.unwrap();
            let publisher = Arc::new(channel.publisher().await.unwrap());
            let publishing: Vec<_> = (0..3)
                .map(|_| {
                    let publisher = publisher.clone();
                    spawn(async move {
                        for _ in 0..2 {
                            let confirm = publisher.publish(("", "q"), Message::new("x")).await.unwrap();
                            assert!(matches!(confirm.await.unwrap(), Confirmation::Ack));
                        }
                    })
                })
                .collect();
            for one in publishing {
                one.await.unwrap();
            }
            assert_eq!(connection.metrics().unconfirmed, 0);
            assert_eq!(channel.declare(&Queue::new("q").passive(true)).await.unwrap().messages, 6);
        });
    });
}

#[test]
fn a_publish_and_a_confirm_that_are_dropped_leave_their_places_in_the_window() {
    search(|| {
        block_on(async {
            let connection = connect(ConnectOptions::new().confirm_window(1)).await;
            let channel = connection.open_channel().await.unwrap();
            let publisher = Arc::new(channel.publisher().await.unwrap());
            let dropping = {
                let publisher = publisher.clone();
                spawn(async move {
                    for _ in 0..2 {
                        drop(publisher.publish(("", "q"), Message::new("x")).await.unwrap());
                    }
                })
            };
            let aborted = {
                let publisher = publisher.clone();
                spawn(async move {
                    drop(publisher.publish(("", "q"), Message::new("x")).await);
                })
            };
            aborted.abort();
            let confirm = publisher.publish(("", "q"), Message::new("x")).await.unwrap();
            assert!(matches!(confirm.await.unwrap(), Confirmation::Ack));
            dropping.await.unwrap();
            let confirm = publisher.publish(("", "q"), Message::new("x")).await.unwrap();
            assert!(matches!(confirm.await.unwrap(), Confirmation::Ack));
        });
    });
}

#[test]
fn every_delivery_reaches_a_consumer_whose_inbox_stops_the_reading() {
    search(|| {
        block_on(async {
            let connection = connect(ConnectOptions::new().delivery_buffer(8).inbox_limit(16)).await;
            let channel = connection.open_channel().await.unwrap();
            channel.declare(&Queue::new("q")).await.unwrap();
            let mut consumer = channel.consume("q", ConsumeOptions::new().no_ack(true)).await.unwrap();
            let publisher = connection.open_channel().await.unwrap().publisher().await.unwrap();
            let publishing = spawn(async move {
                for number in 0..4 {
                    let message = Message::new(vec![number; 16]);
                    let confirm = publisher.publish(("", "q"), message).await.unwrap();
                    assert!(matches!(confirm.await.unwrap(), Confirmation::Ack));
                }
            });
            for number in 0..4 {
                let delivery = consumer.recv().await.unwrap().unwrap();
                assert_eq!(delivery.body(), &[number; 16][..]);
            }
            publishing.await.unwrap();
        });
    });
}

#[test]
fn deliveries_are_settled_while_others_come() {
    search(|| {
        block_on(async {
            let connection = connect(ConnectOptions::new()).await;
            let channel = connection.open_channel().await.unwrap();
            channel.declare(&Queue::new("q")).await.unwrap();
            let mut consumer = channel.consume("q", ConsumeOptions::new().prefetch(2)).await.unwrap();
            let publisher = connection.open_channel().await.unwrap().publisher().await.unwrap();
            let publishing = spawn(async move {
                for _ in 0..4 {
                    publisher.publish(("", "q"), Message::new("x")).await.unwrap().await.unwrap();
                }
            });
            let settling: Vec<_> = {
                let mut settling = Vec::new();
                for _ in 0..4 {
                    let delivery = consumer.recv().await.unwrap().unwrap();
                    settling.push(spawn(async move { delivery.ack().await.unwrap() }));
                }
                settling
            };
            for one in settling {
                one.await.unwrap();
            }
            publishing.await.unwrap();
            consumer.cancel().await.unwrap();
            assert_eq!(channel.declare(&Queue::new("q").passive(true)).await.unwrap().messages, 0);
            connection.close().await.unwrap();
        });
    });
}

#[test]
fn whoever_closes_first_all_that_wait_end() {
    search(|| {
        block_on(async {
            let connection = connect(ConnectOptions::new().confirm_window(1)).await;
            let channel = connection.open_channel().await.unwrap();
            let publisher = channel.publisher().await.unwrap();
            let waiting: Vec<_> = (0..2)
                .map(|_| {
                    let publisher = publisher.clone();
                    spawn(async move {
                        if let Ok(confirm) = publisher.publish(("", "q"), Message::new("x")).await {
                            let _ = confirm.await;
                        }
                    })
                })
                .collect();
            let closing = spawn(async move { channel.close().await });
            let _ = connection.close().await;
            let _ = closing.await.unwrap();
            for one in waiting {
                one.await.unwrap();
            }
        });
    });
}

#[test]
fn a_buffer_is_read_into_again_when_its_deliveries_are_gone() {
    search(|| {
        let (given, taking) = (Arc::new(Mutex::new(VecDeque::<(u8, Bytes)>::new())), 3);
        let consumers: Vec<_> = (0..taking)
            .map(|_| {
                let given = given.clone();
                thread::spawn(move || {
                    for _ in 0..4 {
                        let taken = given.lock().pop_front();
                        thread::yield_now();
                        if let Some((number, delivery)) = taken {
                            assert!(delivery.iter().all(|&octet| octet == number));
                        }
                    }
                })
            })
            .collect();
        let mut buffer = ReadBuffer::new();
        for number in 0..12 {
            let room = buffer.with_room();
            let size = room.capacity() - room.len();
            room.put_bytes(number, size);
            buffer.adapt(size);
            let delivery = buffer.unread().split().freeze();
            given.lock().push_back((number, delivery));
        }
        for one in consumers {
            one.join().unwrap();
        }
        for (number, delivery) in given.lock().drain(..) {
            assert!(delivery.iter().all(|&octet| octet == number));
        }
    });
}
