//! Streams: many consumers read from any offset, and nothing is removed.

use amqp_codec::{
    Properties, Table, Value,
    method::{basic, confirm, queue},
};

use crate::tests::{
    both::{both, headers, table},
    peer::{Peer, short},
};

/// A stream with these messages, each in its own batch.
async fn filled(peer: &mut Peer, name: &str, bodies: &[&str]) {
    peer.fresh(name, [("x-queue-type", "stream".into())]).await;
    peer.call(1, confirm::Select::default()).await;
    for body in bodies {
        peer.put(name, Properties::default(), body).await;
        peer.expect::<basic::Ack>(1).await;
    }
    peer.call(1, basic::Qos { prefetch_count: 10, ..Default::default() }).await;
}

fn from(stream: &str, offset: impl Into<Value>) -> basic::Consume {
    let arguments = table([("x-stream-offset", offset.into())]);
    basic::Consume { queue: short(stream), consumer_tag: short(stream), arguments, ..Default::default() }
}

/// The next delivery: its offset and its body.
async fn record(peer: &mut Peer) -> (i64, String) {
    let came = peer.came().await;
    assert!(!came.method.redelivered);
    let offset = came.headers().get("x-stream-offset").and_then(|offset| offset.as_i64());
    (offset.expect("no offset"), came.text().to_owned())
}

async fn refused(broker: &crate::tests::both::Tested, frames: impl Into<amqp_codec::Method>) -> String {
    let mut peer = broker.open().await;
    peer.call(1, basic::Qos { prefetch_count: 10, ..Default::default() }).await;
    peer.send(1, frames).await;
    peer.refusal().await
}

both! {
    async fn each_consumer_begins_where_it_wants(broker: &Tested) {
        let mut peer = broker.open().await;
        filled(&mut peer, "begin", &["0", "1", "2"]).await;
        for (offset, expected) in [
            (Value::from("first"), 0),
            (Value::from("last"), 2),
            (Value::I64(1), 1),
            (Value::Timestamp(1_600_000_000), 0),
            (Value::from("1h"), 0),
        ] {
            peer.call(1, from("begin", offset)).await;
            for number in expected..3 {
                assert_eq!(record(&mut peer).await, (number, number.to_string()));
            }
            peer.leave("begin").await;
        }
        for (number, offset) in [(3, Some("next")), (4, None)] {
            let mut consume = from("begin", offset.unwrap_or_default());
            if offset.is_none() {
                consume.arguments = Table::new();
            }
            peer.call(1, consume).await;
            peer.put("begin", Properties::default(), &number.to_string()).await;
            // The confirm and the delivery may come in either order.
            let mut other = broker.open().await;
            other.call(1, basic::Qos { prefetch_count: 10, ..Default::default() }).await;
            other.call(1, from("begin", number)).await;
            assert_eq!(record(&mut other).await, (number, number.to_string()));
            peer = broker.open().await;
            peer.call(1, basic::Qos { prefetch_count: 10, ..Default::default() }).await;
        }
    }

    async fn reading_takes_nothing_away_and_acks_make_room(broker: &Tested) {
        let mut peer = broker.open().await;
        filled(&mut peer, "room", &["0", "1", "2", "3"]).await;
        peer.call(1, basic::Qos { prefetch_count: 2, ..Default::default() }).await;
        for _ in 0..2 {
            peer.call(1, from("room", "first")).await;
            assert_eq!(record(&mut peer).await.0, 0);
            let came = peer.came().await;
            peer.settle_down().await;
            peer.send(1, basic::Ack { delivery_tag: came.method.delivery_tag, multiple: true }).await;
            assert_eq!((record(&mut peer).await.0, record(&mut peer).await.0), (2, 3));
            peer.leave("room").await;
        }
    }

    async fn the_offset_is_a_header_among_others(broker: &Tested) {
        let mut peer = broker.open().await;
        filled(&mut peer, "headed", &[]).await;
        let properties = Properties {
            content_type: Some(short("text/plain")),
            delivery_mode: Some(2),
            ..headers(table([("z", "last".into()), ("a", "first".into())]))
        };
        peer.put("headed", properties, "x").await;
        peer.expect::<basic::Ack>(1).await;
        peer.call(1, from("headed", "first")).await;
        let came = peer.came().await;
        let names: Vec<_> = came.headers().iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(names, ["a", "x-stream-offset", "z"]);
        assert_eq!(came.headers().get("x-stream-offset"), Some(Value::I64(0)));
        assert_eq!(came.properties().content_type, Some(short("text/plain")));
        assert_eq!((came.method.exchange, came.method.routing_key), (short(""), short("headed")));
    }

    async fn from_4_0_on_a_consumer_may_want_some_values_only(broker: &Tested) {
        if broker.is_before_4_0() {
            return;
        }
        let mut peer = broker.open().await;
        filled(&mut peer, "filtered.stream", &[]).await;
        // Each waits for its confirm, so RabbitMQ puts each into a chunk of its own.
        for (number, value) in ["a", "b", "", "a", "c"].into_iter().enumerate() {
            let properties = match value {
                "" => Properties::default(),
                value => headers(table([("x-stream-filter-value", value.into())])),
            };
            peer.put("filtered.stream", properties, &number.to_string()).await;
            peer.expect::<basic::Ack>(1).await;
        }
        let both = || {
            let mut both = amqp_codec::Array::new();
            both.push("a").unwrap();
            both.push("c").unwrap();
            Value::Array(both)
        };
        for (filter, unfiltered, expected) in [
            (Value::from("a"), None, &["0", "3"][..]),
            (both(), None, &["0", "3", "4"]),
            ("a".into(), Some(true.into()), &["0", "2", "3"]),
            ("a".into(), Some(Value::I32(5)), &["0", "3"]),
            (5.into(), None, &["0", "1", "2", "3", "4"]),
        ] {
            let mut consume = from("filtered.stream", "first");
            consume.arguments.push("x-stream-filter", filter).unwrap();
            if let Some(value) = unfiltered {
                let value: Value = value;
                consume.arguments.push("x-stream-match-unfiltered", value).unwrap();
            }
            peer.call(1, consume).await;
            for body in expected {
                assert_eq!(peer.came().await.text(), *body);
            }
            peer.leave("filtered.stream").await;
        }
        let classic = "channel 406 PRECONDITION_FAILED - invalid arg 'x-stream-filter' for queue 'filtered.not' in vhost '/' \
                       of queue type rabbit_classic_queue";
        peer.fresh("filtered.not", []).await;
        let arguments = table([("x-stream-filter", "a".into())]);
        peer.send(1, basic::Consume { queue: short("filtered.not"), arguments, ..Default::default() }).await;
        assert_eq!(peer.refusal().await, classic);
    }

    async fn from_4_0_on_what_has_no_delivery_mode_is_delivered_as_transient(broker: &Tested) {
        let mut peer = broker.open().await;
        filled(&mut peer, "modes.stream", &["none"]).await;
        for mode in [1, 2] {
            let properties = Properties { delivery_mode: Some(mode), ..Default::default() };
            peer.put("modes.stream", properties, "set").await;
            peer.expect::<basic::Ack>(1).await;
        }
        peer.call(1, from("modes.stream", "first")).await;
        let none = if broker.is_before_4_0() { None } else { Some(1) };
        for mode in [none, Some(1), Some(2)] {
            assert_eq!(peer.came().await.properties().delivery_mode, mode);
        }
    }

    async fn what_cannot_be_done_with_a_stream_is_refused(broker: &Tested) {
        let mut peer = broker.open().await;
        filled(&mut peer, "refusing.stream", &["x"]).await;
        let name = || short("refusing.stream");
        let whose = "queue 'refusing.stream' in vhost '/'";
        let streams = if broker.is_before_4_0() { "stream queues" } else { "stream" };
        let get = basic::Get { queue: name(), ..Default::default() };
        assert_eq!(
            refused(broker, get).await,
            format!("connection 540 NOT_IMPLEMENTED - basic.get not supported by stream queues {whose}")
        );
        assert_eq!(
            refused(broker, queue::Purge { queue: name(), ..Default::default() }).await,
            format!("connection 540 NOT_IMPLEMENTED - queue.purge not supported by stream queues {whose}")
        );
        let no_ack = basic::Consume { queue: name(), no_ack: true, ..Default::default() };
        assert_eq!(
            refused(broker, no_ack).await,
            format!("connection 540 NOT_IMPLEMENTED - automatic acknowledgement not supported by {streams} {whose}")
        );
        assert_eq!(
            refused(broker, from("refusing.stream", "5x")).await,
            format!(
                "channel 406 PRECONDITION_FAILED - invalid arg 'x-stream-offset' for {whose}: \
                 {{invalid_stream_offset_arg,{{longstr,<<\"5x\">>}}}}"
            )
        );
        assert_eq!(refused(broker, from("refusing.stream", "bogus")).await, "connection 541 INTERNAL_ERROR");
        let prioritised = basic::Consume {
            queue: name(),
            arguments: table([("x-priority", 5.into())]),
            ..Default::default()
        };
        assert_eq!(
            refused(broker, prioritised).await,
            format!("channel 406 PRECONDITION_FAILED - invalid arg 'x-priority' for {whose} of queue type rabbit_stream_queue")
        );
        let mut peer = broker.open().await;
        peer.send(1, basic::Consume { queue: name(), ..Default::default() }).await;
        assert_eq!(
            peer.refusal().await,
            format!(
                "channel 406 PRECONDITION_FAILED - consumer prefetch count is not set for {}",
                if broker.is_before_4_0() { format!("'{whose}'") } else { format!("stream {whose}") }
            )
        );
        for (multiple, requeue) in [(false, false), (true, true)] {
            let mut peer = broker.open().await;
            peer.call(1, basic::Qos { prefetch_count: 10, ..Default::default() }).await;
            peer.call(1, from("refusing.stream", "first")).await;
            let delivery_tag = peer.came().await.method.delivery_tag;
            peer.send(1, basic::Nack { delivery_tag, multiple, requeue }).await;
            if !broker.is_before_4_0() {
                // From 4.0 on it counts as an acknowledgement.
                peer.settle_down().await;
                peer.send(1, basic::Ack { delivery_tag, multiple: false }).await;
                let text = "channel 406 PRECONDITION_FAILED - unknown delivery tag 1";
                assert_eq!(peer.refusal().await, text);
                continue;
            }
            assert_eq!(
                peer.refusal().await,
                format!("connection 540 NOT_IMPLEMENTED - basic.nack and basic.reject not supported by stream queues {whose}")
            );
        }
    }

    async fn streams_are_deleted_whatever_is_in_them(broker: &Tested) {
        let mut peer = broker.open().await;
        filled(&mut peer, "deleted.stream", &["x"]).await;
        let delete = queue::Delete { queue: short("deleted.stream"), if_empty: true, if_unused: true, ..Default::default() };
        assert_eq!(peer.call(1, delete).await.message_count, 0);
        let passive = queue::Declare { queue: short("deleted.stream"), passive: true, ..Default::default() };
        peer.send(1, passive).await;
        assert!(peer.refusal().await.starts_with("channel 404"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_or_too_much_goes() {
    let broker = crate::broker::Broker::builder().build();
    let mut peer = Peer::open(&broker).await;
    peer.fresh("old", [("x-queue-type", "stream".into()), ("x-max-age", "10s".into())]).await;
    peer.fresh("large", [("x-queue-type", "stream".into()), ("x-max-length-bytes", 2.into())]).await;
    for _ in 0..3 {
        peer.put("large", Properties::default(), "x").await;
        peer.put("old", Properties::default(), "x").await;
        peer.settle_down().await;
        tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    }
    let ready = |queue| broker.queue("/", queue).unwrap().ready;
    assert_eq!((ready("old"), ready("large")), (2, 2));
    tokio::time::sleep(std::time::Duration::from_secs(20)).await;
    assert_eq!((ready("old"), ready("large")), (0, 2));
}
