//! A broker with other error texts than RabbitMQ: those of LavinMQ, which a proxy puts into the
//! answers of the embedded broker and of RabbitMQ.

use amqp_client::{Exchange, Queue, ReplyCode, Uri};
use amqp_codec::{
    Frame, Method, RawFrame, ShortString,
    method::{channel, exchange},
};
use bytes::BytesMut;
use messaging::{Conflict, Error, Transport};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::{
    fixture::{Broker, within},
    on_tcp_brokers,
    rpc_conflicts::{durable_entities_fall_back_to_what_exists, the_exchange_of_fanouts_falls_back_too},
};

/// The broker behind a proxy that replaces its texts.
async fn rewording(mut broker: Broker) -> Broker {
    let address = Uri::parse(&broker.url).unwrap().address();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    broker.url = broker.url.replacen(&address, &listener.local_addr().unwrap().to_string(), 1);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (to_broker, address) = (client, address.clone());
            tokio::spawn(link(to_broker, address));
        }
    });
    broker
}

async fn link(client: TcpStream, address: String) {
    let Ok(broker) = TcpStream::connect(address).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (from_broker, mut to_broker) = broker.into_split();
    let there = async {
        let _ = copy(&mut from_client, &mut to_broker).await;
        let _ = to_broker.shutdown().await;
    };
    tokio::join!(there, reword(from_broker, &mut to_client));
}

async fn reword(mut broker: OwnedReadHalf, client: &mut OwnedWriteHalf) {
    let (mut received, mut sent) = (BytesMut::new(), BytesMut::new());
    while broker.read_buf(&mut received).await.is_ok_and(|count| count > 0) {
        while let Ok(Some(raw)) = RawFrame::split_from(&mut received, usize::MAX) {
            in_other_words(raw.decode().unwrap()).encode(usize::MAX, &mut sent).unwrap();
        }
        if client.write_all(&sent.split()).await.is_err() {
            return;
        }
    }
    let _ = client.shutdown().await;
}

fn in_other_words(mut frame: Frame) -> Frame {
    if let Frame::Method(_, Method::Channel(channel::Method::Close(close))) = &mut frame
        && ReplyCode(close.reply_code) == ReplyCode::PRECONDITION_FAILED
        && close.reply_text.to_string().contains("inequivalent arg")
    {
        let kind = if close.class_id == exchange::CLASS_ID { "exchange" } else { "queue" };
        let text = format!("PRECONDITION_FAILED - Existing {kind} declared with other arguments");
        close.reply_text = ShortString::new("reply text", &text).unwrap();
    }
    frame
}

async fn durable_entities_fall_back_all_the_same(broker: Broker) {
    durable_entities_fall_back_to_what_exists(rewording(broker).await).await;
}

async fn the_exchange_of_fanouts_falls_back_all_the_same(broker: Broker) {
    the_exchange_of_fanouts_falls_back_too(rewording(broker).await).await;
}

async fn a_conflict_is_told_from_arguments_that_cannot_be(broker: Broker) {
    let broker = rewording(broker).await;
    let transport = within(Transport::connect(&broker.url)).await.unwrap();
    let channel = broker.channel().await;
    let (queue, exchange, other) = (broker.name("q"), broker.name("e"), broker.name("other"));
    channel.declare(&Queue::durable(&queue)).await.unwrap();
    channel.declare(&Exchange::topic(&exchange)).await.unwrap();
    let of_queue = within(transport.consumer(Queue::new(&queue)).start::<u32>()).await.err().unwrap();
    let bound = transport.consumer(Queue::new(&other)).bind(&Exchange::fanout(&exchange), "");
    let of_exchange = within(bound.start::<u32>()).await.err().unwrap();
    for (error, kind, name) in [(of_queue, "queue", &queue), (of_exchange, "exchange", &exchange)] {
        let Error::Conflict(conflict) = error else { panic!("{error}") };
        let said = format!("PRECONDITION_FAILED - Existing {kind} declared with other arguments");
        assert_eq!(
            conflict.to_string(),
            format!("{kind} {name:?} exists with other properties than declared: {said}")
        );
        let Conflict { argument, wanted, existing, .. } = *conflict;
        assert_eq!([argument, wanted, existing], [const { String::new() }; 3]);
    }
    let impossible = Queue::new(broker.name("new")).arg("x-message-ttl", -1).unwrap();
    let error = within(transport.consumer(impossible).start::<u32>()).await.err().unwrap();
    assert!(matches!(&error, Error::Broker { .. }), "{error}");
}

on_tcp_brokers!(
    durable_entities_fall_back_all_the_same,
    the_exchange_of_fanouts_falls_back_all_the_same,
    a_conflict_is_told_from_arguments_that_cannot_be,
);
