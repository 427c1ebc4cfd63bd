//! Each method of the client with all its options: what it sends, to the type of each argument, and
//! what it returns for the answer. Connection and login are in `handshake` and `login`.

use std::{fmt::Debug, time::Duration};

use amqp_client::{
    Binding, ConsumeOptions, DeleteOptions, Destination, Exchange, GetOptions, Message, Overflow, Properties,
    Queue, QueueInfo, Result, Route, StreamOffset, Table, Value,
};
use amqp_codec::{
    Method,
    method::{basic, channel, confirm, connection, exchange, queue, tx},
};
use tests::Peer;
use tokio::join;

use super::{consumer, ends, opened, publisher, send_deliveries, session, short};

/// Checks that the call sends this method on channel 1 and nothing else, and returns this when it
/// is answered so.
async fn transcript<T, M, A>(
    peer: &mut Peer,
    call: impl Future<Output = Result<T>>,
    sent: M,
    answer: A,
    gives: T,
) where
    T: Debug + PartialEq,
    M: Into<Method>,
    A: Into<Method>,
{
    let (given, ()) = join!(ends(call), async {
        peer.expect(1, sent).await;
        peer.send(1, answer).await;
    });
    assert_eq!(given.unwrap(), gives);
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    let mut table = Table::new();
    for (key, value) in entries {
        table.push(key, value).unwrap();
    }
    table
}

fn text(text: &str) -> Value {
    Value::LongString(text.to_owned().into())
}

#[tokio::test(start_paused = true)]
async fn exchanges() {
    let (mut peer, _connection, channel) = session().await;
    let peer = &mut peer;
    let exchange = Exchange::new("events", "x-delayed-message")
        .durable(true)
        .auto_delete(true)
        .internal(true)
        .alternate("unrouted")
        .arg("x-delayed-type", "topic")
        .unwrap();
    let declare = exchange::Declare {
        exchange: short("events"),
        kind: short("x-delayed-message"),
        durable: true,
        auto_delete: true,
        internal: true,
        arguments: table([("alternate-exchange", text("unrouted")), ("x-delayed-type", text("topic"))]),
        ..Default::default()
    };
    let passive = exchange::Declare { passive: true, ..declare.clone() };
    let no_wait = exchange::Declare { no_wait: true, ..declare.clone() };
    transcript(peer, channel.declare(&exchange), declare, exchange::DeclareOk {}, ()).await;
    transcript(peer, channel.declare(exchange.clone().passive(true)), passive, exchange::DeclareOk {}, ())
        .await;
    channel.declare(exchange.clone().no_wait(true)).await.unwrap();
    peer.expect(1, no_wait).await;
    for (of, kind) in [
        (Exchange::direct("e"), "direct"),
        (Exchange::fanout("e"), "fanout"),
        (Exchange::topic("e"), "topic"),
        (Exchange::headers("e"), "headers"),
    ] {
        let declare = exchange::Declare { exchange: short("e"), kind: short(kind), ..Default::default() };
        transcript(peer, channel.declare(&of), declare, exchange::DeclareOk {}, ()).await;
    }

    let delete = exchange::Delete { exchange: short("events"), ..Default::default() };
    let if_unused = exchange::Delete { if_unused: true, ..delete.clone() };
    transcript(
        peer,
        channel.delete_exchange(&exchange, DeleteOptions::new()),
        delete,
        exchange::DeleteOk {},
        (),
    )
    .await;
    let options = DeleteOptions::new().if_unused(true).if_empty(true);
    let call = channel.delete_exchange("events", options);
    transcript(peer, call, if_unused, exchange::DeleteOk {}, ()).await;
}

#[tokio::test(start_paused = true)]
async fn queues() {
    let (mut peer, _connection, channel) = session().await;
    let peer = &mut peer;
    let queue = Queue::durable("jobs").exclusive(true).auto_delete(true).arg("x-custom", 7_i64).unwrap();
    let declare = queue::Declare {
        queue: short("jobs"),
        durable: true,
        exclusive: true,
        auto_delete: true,
        arguments: table([("x-custom", Value::I64(7))]),
        ..Default::default()
    };
    let passive = queue::Declare { passive: true, ..declare.clone() };
    let no_wait = queue::Declare { no_wait: true, ..declare.clone() };
    let ok = queue::DeclareOk { queue: short("jobs"), message_count: 5, consumer_count: 2 };
    let info = QueueInfo { name: "jobs".into(), messages: 5, consumers: 2 };
    transcript(peer, channel.declare(&queue), declare, ok.clone(), info.clone()).await;
    transcript(peer, channel.declare(queue.clone().passive(true)), passive, ok, info).await;
    channel.declare(queue.clone().no_wait(true)).await.unwrap();
    peer.expect(1, no_wait).await;

    // The broker generates the name.
    let ok = queue::DeclareOk { queue: short("amq.gen-1"), ..Default::default() };
    let info = QueueInfo { name: "amq.gen-1".into(), messages: 0, consumers: 0 };
    transcript(peer, channel.declare(&Queue::new("")), queue::Declare::default(), ok, info).await;

    let purge = queue::Purge { queue: short("jobs"), ..Default::default() };
    transcript(peer, channel.purge(&queue), purge, queue::PurgeOk { message_count: 3 }, 3).await;
    let delete = queue::Delete { queue: short("jobs"), ..Default::default() };
    let conditional = queue::Delete { if_unused: true, if_empty: true, ..delete.clone() };
    transcript(
        peer,
        channel.delete_queue(&queue, DeleteOptions::new()),
        delete,
        queue::DeleteOk { message_count: 4 },
        4,
    )
    .await;
    let options = DeleteOptions::new().if_unused(true).if_empty(true);
    let call = channel.delete_queue(&queue, options);
    transcript(peer, call, conditional, queue::DeleteOk { message_count: 0 }, 0).await;
}

/// RabbitMQ accepts an integer of any width. The widths are fixed here, because a repeated
/// declaration compares them.
#[tokio::test(start_paused = true)]
async fn arguments_of_queues() {
    let (mut peer, _connection, channel) = session().await;
    let quorum = Queue::quorum("q")
        .message_ttl(Duration::from_secs(30))
        .expires(Duration::from_secs(60))
        .max_length(10)
        .max_length_bytes(1 << 40)
        .overflow(Overflow::RejectPublishDeadLetter)
        .dead_letter("dead")
        .dead_letter_routing_key("q.dead")
        .single_active_consumer(true)
        .delivery_limit(5);
    let arguments = table([
        ("x-queue-type", text("quorum")),
        ("x-message-ttl", Value::I64(30_000)),
        ("x-expires", Value::I64(60_000)),
        ("x-max-length", Value::I64(10)),
        ("x-max-length-bytes", Value::I64(1 << 40)),
        ("x-overflow", text("reject-publish-dlx")),
        ("x-dead-letter-exchange", text("dead")),
        ("x-dead-letter-routing-key", text("q.dead")),
        ("x-single-active-consumer", Value::Bool(true)),
        ("x-delivery-limit", Value::I64(5)),
    ]);
    let stream = Queue::stream("q").max_age(Duration::from_secs(90)).max_length_bytes(1);
    let of_stream = table([
        ("x-queue-type", text("stream")),
        ("x-max-age", text("90s")),
        ("x-max-length-bytes", Value::I64(1)),
    ]);
    let priority = Queue::durable("q").max_priority(10).overflow(Overflow::RejectPublish);
    let of_priority = table([("x-max-priority", Value::I32(10)), ("x-overflow", text("reject-publish"))]);
    let drop_head = Queue::durable("q").overflow(Overflow::DropHead);
    let of_drop_head = table([("x-overflow", text("drop-head"))]);
    for (queue, arguments) in
        [(quorum, arguments), (stream, of_stream), (priority, of_priority), (drop_head, of_drop_head)]
    {
        let declare = queue::Declare { queue: short("q"), durable: true, arguments, ..Default::default() };
        let ok = queue::DeclareOk { queue: short("q"), ..Default::default() };
        let info = QueueInfo { name: "q".into(), messages: 0, consumers: 0 };
        transcript(&mut peer, channel.declare(&queue), declare, ok, info).await;
    }
}

#[tokio::test(start_paused = true)]
async fn bindings() {
    let (mut peer, _connection, channel) = session().await;
    let peer = &mut peer;
    let to = |destination: Destination| {
        Binding::new(destination, "from").routing_key("job.#").arg("x-match", "any").unwrap()
    };
    let (binding, between) = (to("to".into()), to(Destination::Exchange("to".into())));
    let arguments = table([("x-match", text("any"))]);
    let (queue, exchange, routing_key) = (short("to"), short("from"), short("job.#"));

    let bind = queue::Bind { queue, exchange, routing_key, arguments, ..Default::default() };
    let unbind = queue::Unbind {
        queue: bind.queue.clone(),
        exchange: bind.exchange.clone(),
        routing_key: bind.routing_key.clone(),
        arguments: bind.arguments.clone(),
        ..Default::default()
    };
    let exchanges = exchange::Bind {
        destination: bind.queue.clone(),
        source: bind.exchange.clone(),
        routing_key: bind.routing_key.clone(),
        arguments: bind.arguments.clone(),
        ..Default::default()
    };
    let apart = exchange::Unbind {
        destination: bind.queue.clone(),
        source: bind.exchange.clone(),
        routing_key: bind.routing_key.clone(),
        arguments: bind.arguments.clone(),
        ..Default::default()
    };
    let plain = queue::Bind { arguments: Table::new(), ..bind.clone() };
    let plain_apart = queue::Unbind { arguments: Table::new(), ..unbind.clone() };
    transcript(peer, channel.bind(&binding), bind, queue::BindOk {}, ()).await;
    transcript(peer, channel.unbind(&binding), unbind, queue::UnbindOk {}, ()).await;
    transcript(peer, channel.bind(&between), exchanges, exchange::BindOk {}, ()).await;
    transcript(peer, channel.unbind(&between), apart, exchange::UnbindOk {}, ()).await;
    let binding = Binding::new("to", "from").routing_key("job.#");
    transcript(peer, channel.bind(&binding), plain, queue::BindOk {}, ()).await;
    transcript(peer, channel.unbind(&binding), plain_apart, queue::UnbindOk {}, ()).await;
}

#[tokio::test(start_paused = true)]
async fn transactions_flow_and_limits() {
    let (mut peer, _connection, channel) = session().await;
    let peer = &mut peer;
    transcript(peer, channel.tx_select(), tx::Select {}, tx::SelectOk {}, ()).await;
    transcript(peer, channel.tx_commit(), tx::Commit {}, tx::CommitOk {}, ()).await;
    transcript(peer, channel.tx_rollback(), tx::Rollback {}, tx::RollbackOk {}, ()).await;
    let qos = basic::Qos { prefetch_size: 0, prefetch_count: 20, global: true };
    transcript(peer, channel.qos(20), qos, basic::QosOk {}, ()).await;
    let flow = |active| (channel::Flow { active }, channel::FlowOk { active });
    for active in [false, true] {
        let (ask, ok) = flow(active);
        transcript(peer, channel.flow(active), ask, ok, active).await;
    }
    let recover = basic::Recover { requeue: true };
    transcript(peer, channel.recover(), recover, basic::RecoverOk {}, ()).await;
    let close = channel::Close { reply_code: 200, ..Default::default() };
    transcript(peer, channel.close(), close, channel::CloseOk {}, ()).await;
}

#[tokio::test(start_paused = true)]
async fn consumers() {
    let (mut peer, _connection, channel) = session().await;
    let options = ConsumeOptions::new()
        .tag("mine")
        .prefetch(20)
        .no_ack(true)
        .exclusive(true)
        .priority(5)
        .stream_offset(StreamOffset::Offset(42))
        .arg("x-custom", true)
        .unwrap();
    let consume = basic::Consume {
        queue: short("jobs"),
        consumer_tag: short("mine"),
        no_ack: true,
        exclusive: true,
        arguments: table([
            ("x-priority", Value::I32(5)),
            ("x-stream-offset", Value::I64(42)),
            ("x-custom", Value::Bool(true)),
        ]),
        ..Default::default()
    };
    let (consumer, ()) = join!(ends(channel.consume("jobs", options)), async {
        peer.expect(1, basic::Qos { prefetch_size: 0, prefetch_count: 20, global: false }).await;
        peer.expect(1, consume).await;
        peer.send(1, basic::QosOk {}).await;
        peer.send(1, basic::ConsumeOk { consumer_tag: short("mine") }).await;
    });
    let mut consumer = consumer.unwrap();
    assert_eq!(consumer.tag(), "mine");
    let cancel = basic::Cancel { consumer_tag: short("mine"), no_wait: false };
    transcript(&mut peer, consumer.cancel(), cancel, basic::CancelOk { consumer_tag: short("mine") }, ())
        .await;
    assert!(ends(consumer.recv()).await.is_none());
    drop(consumer);

    // These are the defaults, and every start in a stream.
    for (options, arguments) in [
        (ConsumeOptions::new(), Table::new()),
        (offset(StreamOffset::First), table([("x-stream-offset", text("first"))])),
        (offset(StreamOffset::Last), table([("x-stream-offset", text("last"))])),
        (offset(StreamOffset::Next), table([("x-stream-offset", text("next"))])),
        (offset(StreamOffset::Timestamp(9)), table([("x-stream-offset", Value::Timestamp(9))])),
        (offset(StreamOffset::Ago(Duration::from_secs(60))), table([("x-stream-offset", text("60s"))])),
    ] {
        let (consumer, ()) = join!(ends(channel.consume("jobs", options)), async {
            peer.expect(1, basic::Qos { prefetch_count: 256, ..Default::default() }).await;
            let sent: basic::Consume = peer.expect_any(1).await;
            let consumer_tag = sent.consumer_tag.clone();
            assert!(!consumer_tag.is_empty());
            let expected = basic::Consume { queue: short("jobs"), arguments, ..Default::default() };
            assert_eq!(basic::Consume { consumer_tag: short(""), ..sent }, expected);
            peer.send(1, basic::QosOk {}).await;
            peer.send(1, basic::ConsumeOk { consumer_tag: consumer_tag.clone() }).await;
        });
        drop(consumer.unwrap());
        peer.expect_any::<basic::Cancel>(1).await;
    }
}

fn offset(offset: StreamOffset) -> ConsumeOptions {
    ConsumeOptions::new().stream_offset(offset)
}

#[tokio::test(start_paused = true)]
async fn gets() {
    let (mut peer, _connection, channel) = session().await;
    let get = basic::Get { queue: short("jobs"), ..Default::default() };
    let get_no_ack = basic::Get { no_ack: true, ..get.clone() };
    let ok = basic::GetOk {
        delivery_tag: 1,
        redelivered: true,
        exchange: short("events"),
        routing_key: short("job.run"),
        message_count: 9,
    };
    let properties = properties();
    let (got, ()) = join!(ends(channel.get("jobs", GetOptions::new())), async {
        peer.expect(1, get.clone()).await;
        peer.send_content(1, ok.clone(), &properties, "body").await;
    });
    let got = got.unwrap().unwrap();
    assert_eq!((got.delivery_tag(), got.redelivered(), got.remaining()), (1, true, Some(9)));
    assert_eq!((got.exchange().as_ref(), got.routing_key().as_ref()), ("events", "job.run"));
    assert_eq!((got.body().as_ref(), got.properties().unwrap()), (&b"body"[..], properties));

    let (empty, ()) = join!(ends(channel.get("jobs", GetOptions::new())), async {
        peer.expect(1, get).await;
        peer.send(1, basic::GetEmpty::default()).await;
    });
    assert!(empty.unwrap().is_none());

    // Without acknowledgements nothing is acknowledged, whatever the user does.
    let (got, ()) = join!(ends(channel.get("jobs", GetOptions::new().no_ack(true))), async {
        peer.expect(1, get_no_ack).await;
        peer.send_content(1, basic::GetOk { delivery_tag: 2, ..ok }, &Properties::default(), "").await;
    });
    got.unwrap().unwrap().ack().await.unwrap();
    peer.expect_silence(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn settling() {
    let (mut peer, _connection, channel) = session().await;
    let mut consumer = consumer(&mut peer, &channel, "c").await;
    send_deliveries(&mut peer, "c", 1..=6).await;
    let mut deliveries = Vec::new();
    for _ in 0..6 {
        deliveries.push(ends(consumer.recv()).await.unwrap().unwrap());
    }
    let mut deliveries = deliveries.into_iter();
    let mut next = || deliveries.next().unwrap();
    next().nack(true).await.unwrap();
    peer.expect(1, basic::Nack { delivery_tag: 1, multiple: false, requeue: true }).await;
    next().nack(false).await.unwrap();
    peer.expect(1, basic::Nack { delivery_tag: 2, multiple: false, requeue: false }).await;
    next().reject(true).await.unwrap();
    peer.expect(1, basic::Reject { delivery_tag: 3, requeue: true }).await;
    next().split().1.reject(false).await.unwrap();
    peer.expect(1, basic::Reject { delivery_tag: 4, requeue: false }).await;
    next().ack().await.unwrap();
    peer.expect(1, basic::Ack { delivery_tag: 5, multiple: false }).await;
    next().split().1.ack().await.unwrap();
    peer.expect(1, basic::Ack { delivery_tag: 6, multiple: false }).await;
}

#[tokio::test(start_paused = true)]
async fn publishing() {
    let (mut peer, connection, channel) = session().await;
    let message = Message::with_properties("body", properties());
    let publish =
        basic::Publish { exchange: short("events"), routing_key: short("job.run"), ..Default::default() };
    channel.publish(("events", "job.run"), &message).await.unwrap();
    peer.expect(1, publish.clone()).await;
    assert_eq!(peer.expect_header(1, 4).await, properties());
    peer.expect_body(1, "body").await;

    let channel = opened(&mut peer, &connection, 2).await;
    let publisher = publisher(&mut peer, &channel).await;
    let confirm = publisher.publish(Route::new("events", "job.run").mandatory(true), &message).await.unwrap();
    peer.expect(2, basic::Publish { mandatory: true, ..publish }).await;
    assert_eq!(peer.expect_header(2, 4).await, properties());
    peer.expect_body(2, "body").await;
    assert_eq!(confirm.tag(), 1);

    // An empty body has no frame; a further select changes nothing.
    drop(publisher.publish(("", ""), Message::default()).await.unwrap());
    peer.expect(2, basic::Publish::default()).await;
    assert_eq!(peer.expect_header(2, 0).await, Properties::default());
    let (again, ()) = join!(ends(channel.publisher()), async {
        peer.expect(2, confirm::Select { no_wait: false }).await;
        peer.send(2, confirm::SelectOk {}).await;
    });
    assert_eq!(again.unwrap().publish(("", ""), Message::default()).await.unwrap().tag(), 3);
}

#[tokio::test(start_paused = true)]
async fn connections() {
    let (mut peer, connection, _channel) = session().await;
    let (updated, ()) = join!(ends(connection.update_secret("token", "it expired")), async {
        let update = connection::UpdateSecret { new_secret: "token".into(), reason: short("it expired") };
        peer.expect(0, update).await;
        peer.send(0, connection::UpdateSecretOk {}).await;
    });
    updated.unwrap();
    let (closed, ()) = join!(ends(connection.close()), async {
        peer.expect(0, connection::Close { reply_code: 200, ..Default::default() }).await;
        peer.send(0, connection::CloseOk {}).await;
        peer.expect_end().await;
    });
    closed.unwrap();
}

fn properties() -> Properties {
    Properties {
        content_type: Some(short("text/plain")),
        content_encoding: Some(short("gzip")),
        headers: Some(table([("h", Value::I32(1))])),
        delivery_mode: Some(2),
        priority: Some(9),
        correlation_id: Some(short("c")),
        reply_to: Some(short("r")),
        expiration: Some(short("1000")),
        message_id: Some(short("m")),
        timestamp: Some(1_700_000_000),
        kind: Some(short("job")),
        user_id: Some(short("guest")),
        app_id: Some(short("a")),
        cluster_id: Some(short("")),
    }
}
