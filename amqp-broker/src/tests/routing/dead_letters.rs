//! Dead letters: where they go, and their headers.

use amqp_codec::{
    Array, Properties, Table, Value,
    method::{basic, confirm, queue},
};

use crate::{
    broker::Broker,
    tests::{
        both::{Tested, both, headers, table},
        peer::{Came, Peer, short},
    },
};

fn keys(texts: &[&str]) -> Value {
    let mut keys = Array::new();
    texts.iter().for_each(|text| keys.push(*text).unwrap());
    Value::Array(keys)
}

/// The entries of `x-death` without their times, which are checked to be there.
fn deaths(came: &Came<basic::Deliver>) -> Vec<Table> {
    let Some(Value::Array(deaths)) = came.headers().get("x-death") else { panic!("no x-death: {came:?}") };
    deaths
        .iter()
        .map(|death| {
            let Value::Table(mut death) = death else { panic!("not a table: {death:?}") };
            assert!(matches!(death.get("time"), Some(Value::Timestamp(1_600_000_000..))), "{death:?}");
            death.remove("time");
            death
        })
        .collect()
}

fn names(table: &Table) -> Vec<String> {
    table.iter().map(|(name, _)| name.to_string()).collect()
}

fn death(count: i64, reason: &str, queue: &str, exchange: &str, key: &str) -> Table {
    table([
        ("count", count.into()),
        ("reason", reason.into()),
        ("queue", queue.into()),
        ("exchange", exchange.into()),
        ("routing-keys", keys(&[key])),
    ])
}

/// As [`death`], with the fields in the order of an entry that is not the first; from 4.0 on that
/// is the same.
fn later(broker: &Tested, count: i64, reason: &str, queue: &str, exchange: &str, key: &str) -> Table {
    let mut death = death(count, reason, queue, exchange, key);
    if broker.is_before_4_0() {
        death.sort();
    }
    death
}

/// The names of headers that a death adds, among these others.
fn marked(broker: &Tested, others: &[&'static str]) -> Vec<&'static str> {
    const FIRST: [&str; 4] =
        ["x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason"];
    const LAST: [&str; 3] = ["x-last-death-exchange", "x-last-death-queue", "x-last-death-reason"];
    let last = if broker.is_before_4_0() { &[][..] } else { &LAST };
    let mut names = [others, &FIRST, last].concat();
    names.sort_unstable();
    names
}

both! {
    async fn a_rejected_message_tells_where_it_was_first(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.fresh_exchange("rejected.x", "fanout").await;
        peer.fresh("rejected.end", []).await;
        peer.bind("rejected.end", "rejected.x", "").await;
        peer.fresh("rejected", [("x-dead-letter-exchange", "rejected.x".into())]).await;
        let properties = Properties {
            delivery_mode: Some(2),
            ..headers(table([("zoo", 1.into()), ("apple", "red".into())]))
        };
        peer.put("rejected", properties, "body").await;
        peer.take("rejected").await;
        let tag = peer.came().await.method.delivery_tag;
        peer.nack(tag, false).await;
        peer.take("rejected.end").await;
        let came = peer.came().await;
        assert_eq!((came.method.exchange.to_text().as_ref(), came.method.routing_key.to_text().as_ref()), ("rejected.x", "rejected"));
        assert_eq!((came.text(), came.method.redelivered), ("body", false));
        assert_eq!(names(&came.headers()), marked(broker, &["apple", "zoo"]));
        if !broker.is_before_4_0() {
            let last = ["exchange", "queue", "reason"].map(|what| came.headers().get(&format!("x-last-death-{what}")).unwrap());
            assert_eq!(last, ["", "rejected", "rejected"].map(Value::from));
        }
        assert_eq!(deaths(&came), [death(1, "rejected", "rejected", "", "rejected")]);
        let headers = came.headers();
        let first = ["exchange", "queue", "reason"].map(|what| headers.get(&format!("x-first-death-{what}")).unwrap());
        assert_eq!(first, ["", "rejected", "rejected"].map(Value::from));
        assert_eq!(came.properties().delivery_mode, Some(2));
    }

    async fn a_second_death_is_counted_in_the_first_place(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.fresh("again", [("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", "again".into())]).await;
        peer.put("again", Properties::default(), "x").await;
        peer.take("again").await;
        for count in 1..4 {
            let tag = peer.came().await.method.delivery_tag;
            peer.nack(tag, false).await;
            let came = peer.came().await;
            let expected = match count {
                1 => death(count, "rejected", "again", "", "again"),
                _ => later(broker, count, "rejected", "again", "", "again"),
            };
            assert_eq!(deaths(&came), [expected]);
            // Requeueing is not counted; rejections are.
            peer.nack(came.method.delivery_tag, true).await;
        }
    }

    async fn what_expires_goes_on_without_its_expiration(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.fresh("ttl.end", []).await;
        peer.fresh("ttl", [("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", "ttl.end".into())]).await;
        peer.take("ttl.end").await;
        let properties = Properties { expiration: Some(short("1")), priority: Some(3), ..Default::default() };
        peer.put("ttl", properties, "x").await;
        let came = peer.came().await;
        let mut expected = death(1, "expired", "ttl", "", "ttl");
        expected.push("original-expiration", "1").unwrap();
        if !broker.is_before_4_0() {
            // It is the first field there.
            let death = death(1, "expired", "ttl", "", "ttl");
            expected = table([("original-expiration", "1".into())]);
            death.iter().for_each(|(name, value)| expected.push(&name.to_text(), value).unwrap());
        }
        assert_eq!(deaths(&came), [expected]);
        assert_eq!((came.properties().expiration, came.properties().priority), (None, Some(3)));
    }

    async fn who_takes_the_head_lets_what_is_behind_it_expire_in_its_time(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.fresh("behind.end", []).await;
        let to_the_end = ("x-dead-letter-routing-key", "behind.end".into());
        peer.fresh("behind", [("x-dead-letter-exchange", "".into()), to_the_end]).await;
        peer.take("behind.end").await;
        let brief = Properties { expiration: Some(short("100")), ..Default::default() };
        let head_and_brief = async |peer: &mut Peer| {
            peer.put("behind", Properties::default(), "head").await;
            peer.put("behind", brief.clone(), "brief").await;
        };

        // No operation touches the queue after that.
        head_and_brief(&mut peer).await;
        peer.send(1, basic::Get { queue: short("behind"), no_ack: true, ..Default::default() }).await;
        assert_eq!(peer.expect_content::<basic::GetOk>().await.text(), "head");
        assert_eq!(peer.came().await.text(), "brief");

        let mut other = broker.open().await;
        other.call(1, basic::Qos { prefetch_count: 1, ..Default::default() }).await;
        head_and_brief(&mut peer).await;
        other.take("behind").await;
        assert_eq!(other.came().await.text(), "head");
        assert_eq!(peer.came().await.text(), "brief");
    }

    async fn a_full_queue_sends_its_oldest_away(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.fresh("full.end", []).await;
        let to_the_end = ("x-dead-letter-routing-key", "full.end".into());
        peer.fresh("full", [("x-max-length", 1.into()), ("x-dead-letter-exchange", "".into()), to_the_end]).await;
        peer.take("full.end").await;
        for body in ["1", "2", "3"] {
            peer.put("full", Properties::default(), body).await;
        }
        for body in ["1", "2"] {
            let came = peer.came().await;
            assert_eq!((came.text(), deaths(&came)), (body, vec![death(1, "maxlen", "full", "", "full")]));
        }
    }

    async fn a_full_queue_that_refuses_sends_the_newest_away(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.fresh("refusing.end", []).await;
        peer.fresh(
            "refusing",
            [
                ("x-max-length", 1.into()),
                ("x-overflow", "reject-publish-dlx".into()),
                ("x-dead-letter-exchange", "".into()),
                ("x-dead-letter-routing-key", "refusing.end".into()),
            ],
        )
        .await;
        peer.call(1, confirm::Select::default()).await;
        peer.put("refusing", Properties::default(), "1").await;
        assert_eq!(peer.expect::<basic::Ack>(1).await.delivery_tag, 1);
        peer.put("refusing", Properties::default(), "2").await;
        assert_eq!(peer.expect::<basic::Nack>(1).await.delivery_tag, 2);
        peer.take("refusing.end").await;
        let came = peer.came().await;
        assert_eq!((came.text(), deaths(&came)), ("2", vec![death(1, "maxlen", "refusing", "", "refusing")]));
    }

    async fn copies_go_again_by_all_keys_unless_there_is_another(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.fresh_exchange("copies.x", "direct").await;
        for end in ["copies.cc", "copies.bcc", "copies.key"] {
            peer.fresh(end, []).await;
            peer.bind(end, "copies.x", end).await;
        }
        peer.fresh("copies", [("x-dead-letter-exchange", "copies.x".into())]).await;
        let other = ("x-dead-letter-routing-key", "copies.key".into());
        peer.fresh("copies.other", [("x-dead-letter-exchange", "copies.x".into()), other]).await;
        let copied = || headers(table([("CC", keys(&["copies.cc"])), ("BCC", keys(&["copies.bcc"]))]));
        peer.fresh_exchange("copies.in", "fanout").await;
        for queue in ["copies", "copies.other"] {
            peer.bind(queue, "copies.in", "").await;
        }
        for (queue, ends) in [("copies", &["copies.cc", "copies.bcc"][..]), ("copies.other", &["copies.key"])] {
            peer.publish_with("copies.in", "k", copied(), false, b"x").await;
            peer.take(queue).await;
            let came = peer.came().await;
            assert!(!came.headers().contains_key("BCC"));
            peer.nack(came.method.delivery_tag, false).await;
            peer.leave(queue).await;
            for end in ends {
                peer.take(end).await;
                let came = peer.came().await;
                let key = if queue == "copies" { "k" } else { "copies.key" };
                assert_eq!(came.method.routing_key, short(key));
                assert_eq!(deaths(&came)[0].get("routing-keys"), Some(keys(&["k", "copies.cc"])));
                // From 4.0 on it stays even where it counts no more.
                let stays = queue == "copies" || !broker.is_before_4_0();
                assert_eq!(came.headers().contains_key("CC"), stays);
                peer.leave(end).await;
            }
            for queue in ["copies", "copies.other"] {
                peer.call(1, queue::Purge { queue: short(queue), ..Default::default() }).await;
            }
        }
    }

    async fn a_circle_without_a_rejection_is_left(broker: &Tested) {
        let mut peer = broker.open().await;
        let to = |key: &'static str| [("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", key.into()), ("x-message-ttl", Value::I32(1))];
        peer.fresh_exchange("circle.x", "fanout").await;
        peer.fresh("circle.end", []).await;
        peer.fresh("circle.a", to("circle.b")).await;
        let out = ("x-dead-letter-exchange", "circle.x".into());
        peer.fresh("circle.b", [out, ("x-message-ttl", Value::I32(1))]).await;
        // The second queue leads both around the circle and out of it.
        peer.bind("circle.a", "circle.x", "").await;
        peer.bind("circle.end", "circle.x", "").await;
        peer.take("circle.end").await;
        peer.put("circle.a", Properties::default(), "x").await;
        let came = peer.came().await;
        assert_eq!(
            deaths(&came),
            [later(broker, 1, "expired", "circle.b", "", "circle.b"), death(1, "expired", "circle.a", "", "circle.a")]
        );
        // Nothing else has come, and all queues are empty.
        for queue in ["circle.a", "circle.b", "circle.end"] {
            let declared = peer.call(1, queue::Declare { queue: short(queue), passive: true, ..Default::default() }).await;
            assert_eq!(declared.message_count, 0, "{queue}");
        }
    }

    async fn the_entries_of_a_chain_are_turned_round_at_each_end_but_the_last(broker: &Tested) {
        let mut peer = broker.open().await;
        for (queue, next) in [("chain.1", "chain.2"), ("chain.2", "chain.3"), ("chain.3", "chain.4"), ("chain.4", "chain.5")] {
            peer.fresh(queue, [("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", next.into()), ("x-message-ttl", Value::I32(1))]).await;
        }
        peer.fresh("chain.5", []).await;
        peer.take("chain.5").await;
        peer.put("chain.1", Properties::default(), "x").await;
        let came = peer.came().await;
        let queues: Vec<_> = deaths(&came).iter().map(|death| death.get("queue").unwrap()).collect();
        // From 4.0 on the newest is the first.
        let expected = match broker.is_before_4_0() {
            true => ["chain.4", "chain.2", "chain.1", "chain.3"],
            false => ["chain.4", "chain.3", "chain.2", "chain.1"],
        };
        assert_eq!(queues, expected.map(Value::from));
    }

    async fn an_x_death_that_is_none_is_begun_anew(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.fresh("odd.end", []).await;
        peer.fresh("odd", [("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", "odd.end".into()), ("x-message-ttl", Value::I32(1))]).await;
        peer.take("odd.end").await;
        peer.put("odd", headers(table([("x-death", "forged".into())])), "x").await;
        let came = peer.came().await;
        assert_eq!(deaths(&came), [death(1, "expired", "odd", "", "odd")]);
        // From 4.0 on a publisher's x-death counts for nothing, so this is the first death.
        let expected = if broker.is_before_4_0() { vec!["x-death"] } else { marked(broker, &[]) };
        assert_eq!(names(&came.headers()), expected);
    }

    async fn a_death_that_a_publisher_has_forged_counts_up_to_3_x(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.fresh("forged.end", []).await;
        peer.fresh("forged", [("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", "forged.end".into())]).await;
        let earlier = table([("count", Value::I64(5)), ("reason", "rejected".into()), ("queue", "forged".into())]);
        let mut deaths = Array::new();
        deaths.push(earlier).unwrap();
        peer.put("forged", headers(table([("x-death", Value::Array(deaths)), ("x-first-death-queue", "nope".into())])), "x").await;
        peer.take("forged").await;
        let tag = peer.came().await.method.delivery_tag;
        peer.nack(tag, false).await;
        peer.take("forged.end").await;
        let came = peer.came().await;
        let Some(Value::Array(deaths)) = came.headers().get("x-death") else { panic!("no x-death: {came:?}") };
        let counts: Vec<_> = deaths.iter().map(|death| death.as_table().unwrap().get("count")).collect();
        let (count, first) = if broker.is_before_4_0() { (6, "nope") } else { (1, "forged") };
        assert_eq!(counts, [Some(Value::I64(count))]);
        assert_eq!(came.headers().get("x-first-death-queue"), Some(first.into()));
    }

    async fn what_died_goes_on_by_one_key_when_its_queue_has_set_one(broker: &Tested) {
        let mut peer = broker.open().await;
        for queue in ["onekey.end", "onekey.cc"] {
            peer.fresh(queue, []).await;
        }
        peer.fresh("onekey.2", [("x-dead-letter-exchange", "onekey.x".into())]).await;
        peer.fresh("onekey.1", [("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", "onekey.2".into())]).await;
        peer.fresh_exchange("onekey.x", "direct").await;
        peer.bind("onekey.end", "onekey.x", "onekey.2").await;
        peer.bind("onekey.cc", "onekey.x", "onekey.cc.key").await;
        peer.put("onekey.1", headers(table([("CC", keys(&["onekey.cc.key"]))])), "x").await;
        for queue in ["onekey.1", "onekey.2"] {
            peer.take(queue).await;
            let tag = peer.came().await.method.delivery_tag;
            peer.nack(tag, false).await;
        }
        peer.take("onekey.end").await;
        let came = peer.came().await;
        let routed: Vec<_> = deaths(&came).iter().map(|death| death.get("routing-keys").unwrap()).collect();
        assert_eq!(routed, [keys(&["onekey.2"]), keys(&["onekey.1", "onekey.cc.key"])]);
        let declare = queue::Declare { queue: short("onekey.cc"), passive: true, ..Default::default() };
        assert_eq!(peer.call(1, declare).await.message_count, 0);
    }

    async fn without_the_exchange_dead_is_dead(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.fresh("dead-to-nowhere", [("x-dead-letter-exchange", "dead-to-nowhere.x".into())]).await;
        peer.put("dead-to-nowhere", Properties::default(), "x").await;
        peer.take("dead-to-nowhere").await;
        let tag = peer.came().await.method.delivery_tag;
        peer.nack(tag, false).await;
        peer.put("dead-to-nowhere", Properties::default(), "y").await;
        assert_eq!(peer.came().await.text(), "y");
    }

    async fn a_quorum_queue_counts_returns_to_its_limit(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.fresh("limit.end", []).await;
        let typed = ("x-queue-type", "quorum".into());
        let to_the_end = ("x-dead-letter-routing-key", "limit.end".into());
        peer.fresh("limit", [typed, ("x-delivery-limit", 2.into()), ("x-dead-letter-exchange", "".into()), to_the_end]).await;
        peer.put("limit", headers(table([("z", 1.into()), ("a", 1.into())])), "x").await;
        // From 4.0 on headers are always sorted.
        let first: &[&str] = if broker.is_before_4_0() { &["z", "a"] } else { &["a", "z"] };
        peer.take("limit").await;
        for returns in 0..3 {
            let came = peer.came().await;
            assert_eq!(came.method.redelivered, returns > 0);
            let count = came.headers().get("x-delivery-count");
            assert_eq!(count, (returns > 0).then_some(Value::I64(returns)));
            let expected: &[&str] = if returns > 0 { &["a", "x-delivery-count", "z"] } else { first };
            assert_eq!(names(&came.headers()), expected);
            peer.nack(came.method.delivery_tag, true).await;
        }
        peer.take("limit.end").await;
        let came = peer.came().await;
        assert_eq!(deaths(&came), [death(1, "delivery_limit", "limit", "", "limit")]);
        assert!(!came.headers().contains_key("x-delivery-count"));
    }

    async fn quorum_queues_order_what_returns_by_their_limit(broker: &Tested) {
        let mut peer = broker.open().await;
        let typed = || ("x-queue-type", Value::from("quorum"));
        for (queue, limit, expected) in [
            // With a delivery limit a returning message comes first, without it last, up to 3.x.
            ("order.first", Some(("x-delivery-limit", Value::from(5))), ["1", "2", "3"]),
            ("order.last", None, if broker.is_before_4_0() { ["3", "1", "2"] } else { ["1", "2", "3"] }),
        ] {
            match limit {
                Some(limit) => peer.fresh(queue, [typed(), limit]).await,
                None => peer.fresh(queue, [typed()]).await,
            }
            peer.call(1, basic::Qos { prefetch_count: 2, ..Default::default() }).await;
            peer.call(1, confirm::Select::default()).await;
            for body in ["1", "2", "3"] {
                peer.put(queue, Properties::default(), body).await;
                peer.expect::<basic::Ack>(1).await;
            }
            peer.take(queue).await;
            peer.came().await;
            let last = peer.came().await.method.delivery_tag;
            peer.leave(queue).await;
            peer.send(1, basic::Nack { delivery_tag: last, multiple: true, requeue: true }).await;
            peer.call(1, basic::Qos { prefetch_count: 0, ..Default::default() }).await;
            peer.take(queue).await;
            let mut bodies = Vec::new();
            for _ in 0..3 {
                bodies.push(peer.came().await.text().to_owned());
            }
            assert_eq!(bodies, expected);
            peer.leave(queue).await;
        }
    }

    async fn newer_queues_know_neither_a_shared_prefetch_nor_get_beside_one_active_consumer(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.fresh("newer", [("x-queue-type", "quorum".into()), ("x-single-active-consumer", true.into())]).await;
        peer.call(1, basic::Qos { prefetch_count: 2, global: true, ..Default::default() }).await;
        peer.send(1, basic::Consume { queue: short("newer"), ..Default::default() }).await;
        assert_eq!(
            peer.refusal().await,
            "connection 540 NOT_IMPLEMENTED - queue 'newer' in vhost '/' does not support global qos"
        );
        let mut peer = broker.open().await;
        peer.send(1, basic::Get { queue: short("newer"), ..Default::default() }).await;
        assert_eq!(
            peer.refusal().await,
            "channel 405 RESOURCE_LOCKED - cannot obtain access to locked queue 'newer' in vhost '/'. basic.get operations \
             are not supported by quorum queues with single active consumer"
        );
    }
}

/// Queues of which each sends its dead letters to the next; the last has a consumer.
async fn chain(peer: &mut Peer, length: usize, argument: (&str, Value)) {
    for number in 0..length {
        let next = if number + 1 == length { "end".to_owned() } else { (number + 1).to_string() };
        let arguments = table([
            ("x-dead-letter-exchange", "".into()),
            ("x-dead-letter-routing-key", next.into()),
            argument.clone(),
        ]);
        let queue = short(&number.to_string());
        peer.send(1, queue::Declare { queue, no_wait: true, arguments, ..Default::default() }).await;
        if number % 1000 == 0 {
            peer.settle_down().await;
        }
    }
    peer.declare("end").await;
    peer.consume("end", "end").await;
}

#[tokio::test]
async fn a_chain_of_full_queues_longer_than_is_done_at_once_is_gone_through() {
    let broker = Broker::builder().build();
    let mut peer = Peer::open(&broker).await;
    chain(&mut peer, 10_500, ("x-max-length", 1.into())).await;
    for number in 0..10_500 {
        let (key, body) = (number.to_string(), number.to_string());
        peer.publish_with("", &key, Properties::default(), false, body.as_bytes()).await;
        if number % 1000 == 0 {
            peer.settle_down().await;
        }
    }
    peer.publish_with("", "0", Properties::default(), false, b"one too many").await;
    assert_eq!(peer.came().await.text(), "10499");
}

#[tokio::test]
async fn a_letter_that_grows_with_each_queue_gets_to_the_end() {
    let broker = Broker::builder().build();
    let mut peer = Peer::open(&broker).await;
    chain(&mut peer, 600, ("x-message-ttl", 0.into())).await;
    peer.publish_with("", "0", Properties::default(), false, b"x").await;
    let came = peer.came().await;
    assert_eq!((came.text(), deaths(&came).len()), ("x", 600));
}
