//! Inspection of a broker.

use amqp_codec::{
    Table,
    method::{basic, channel, exchange, queue},
};

use crate::{
    broker::{Broker, inspection::ConnectionState},
    tests::peer::{FRAME_MAX, Peer, capabilities, short, start_ok},
};

#[tokio::test]
async fn queues_exchanges_and_bindings_are_seen_as_they_were_declared() {
    let broker = Broker::builder().build();
    let mut peer = Peer::open(&broker).await;
    let mut arguments = Table::new();
    arguments.insert("x-max-length", 5).unwrap();
    let declare = queue::Declare {
        queue: short("q"),
        durable: true,
        arguments: arguments.clone(),
        ..Default::default()
    };
    peer.call(1, declare).await;
    peer.call(1, queue::Declare { queue: short("own"), exclusive: true, ..Default::default() }).await;
    let declare = exchange::Declare { exchange: short("e"), kind: short("topic"), ..Default::default() };
    peer.call(1, declare).await;
    for key in ["b", "a"] {
        let bind = queue::Bind {
            queue: short("q"),
            exchange: short("e"),
            routing_key: short(key),
            ..Default::default()
        };
        peer.call(1, bind).await;
    }
    let bind = exchange::Bind { source: short("e"), destination: short("amq.fanout"), ..Default::default() };
    peer.call(1, bind).await;
    for _ in 0..3 {
        peer.publish("", "q", "body").await;
    }
    peer.send(1, basic::Get { queue: short("q"), ..Default::default() }).await;
    peer.expect_content::<basic::GetOk>().await;

    let queues = broker.queues("/");
    assert_eq!(queues.iter().map(|queue| queue.name.as_str()).collect::<Vec<_>>(), ["own", "q"]);
    assert!(queues[0].exclusive && !queues[0].durable);
    assert!(queues[1].durable && !queues[1].auto_delete && !queues[1].exclusive);
    assert_eq!((queues[1].ready, queues[1].unacked, queues[1].ready_bytes), (2, 1, 8));
    assert_eq!(queues[1].arguments, arguments);
    assert_eq!(broker.queue("/", "q").as_ref(), Some(&queues[1]));

    let exchanges = broker.exchanges("/");
    assert_eq!(exchanges.len(), 7);
    let e = exchanges.iter().find(|exchange| exchange.name == "e").unwrap();
    assert_eq!((e.kind.as_str(), e.durable, e.internal), ("topic", false, false));
    assert!(exchanges.iter().any(|exchange| exchange.name == "amq.rabbitmq.trace" && exchange.internal));

    let bindings = broker.bindings("/");
    let seen: Vec<_> = bindings
        .iter()
        .map(|binding| (binding.destination.as_str(), binding.to_exchange, binding.routing_key.as_str()))
        .collect();
    assert_eq!(seen, [("amq.fanout", true, ""), ("q", false, "a"), ("q", false, "b")]);
    assert!(broker.queues("nope").is_empty() && broker.bindings("nope").is_empty());
}

#[tokio::test]
async fn connections_and_their_channels_are_seen_from_the_first_octet_to_the_last() {
    let broker = Broker::builder().build();
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    let mut peer = Peer::silent(&broker);
    assert_eq!(broker.connections()[0].state, ConnectionState::Opening);
    let mut client_properties = capabilities();
    client_properties.insert("connection_name", "billing").unwrap();
    let start_ok =
        amqp_codec::method::connection::StartOk { client_properties, ..start_ok("guest", "guest") };
    peer.log_in_as(start_ok, "/", FRAME_MAX as u32).await;
    for number in [3, 1] {
        peer.call(number, channel::Open::default()).await;
    }
    peer.call(1, basic::Qos { prefetch_count: 7, ..Default::default() }).await;
    peer.declare("q").await;
    peer.consume("q", "t").await;
    peer.publish("", "q", "x").await;
    peer.delivery().await;
    let mut other = Peer::silent_at(&listener.local_addr().to_string()).await;
    other.log_in("/", FRAME_MAX as u32).await;

    let connections = broker.connections();
    assert_eq!(connections.len(), 2);
    let first = &connections[0];
    assert_eq!((first.user.as_str(), first.vhost.as_str()), ("guest", "/"));
    assert_eq!((first.client_name.as_deref(), first.state), (Some("billing"), ConnectionState::Running));
    assert_eq!(first.name, format!("memory:{}", first.id));
    assert_eq!(first.channels.iter().map(|channel| channel.number).collect::<Vec<_>>(), [1, 3]);
    let channel = &first.channels[0];
    assert_eq!((channel.unacked, channel.prefetch, channel.shared_prefetch), (1, 7, 0));
    assert_eq!(channel.consumer_tags, ["t"]);
    assert!(connections[1].name.ends_with(&format!(" -> {}", listener.local_addr())));

    broker.faults().block("no");
    peer.publish("", "q", "held").await;
    peer.expect::<amqp_codec::method::connection::Blocked>(0).await;
    assert_eq!(broker.connections()[0].state, ConnectionState::Blocked);
    broker.faults().drop_connections();
    assert_eq!((peer.next().await, other.next().await), (None, None));
    assert!(broker.connections().is_empty());
}
