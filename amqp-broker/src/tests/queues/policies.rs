//! Policies, set while queues and exchanges are in use. What they make of declarations is compared
//! with RabbitMQ in the repository's suite.

use std::time::Duration;

use amqp_codec::{Table, Value, method::basic};
use tokio::time::timeout;

use crate::{
    InvalidPolicy, Policy, PolicyTarget, RabbitMq,
    broker::Broker,
    tests::{both::table, peer::Peer},
};

fn text(text: &str) -> Value {
    Value::LongString(text.to_owned().into())
}

fn policy<const N: usize>(name: &str, pattern: &str, definition: [(&str, Value); N]) -> Policy {
    Policy::new(name, pattern, table(definition)).unwrap()
}

/// Waits until a queue has so many ready messages: policies are applied in turns.
async fn has(broker: &Broker, queue: &str, ready: usize) {
    let has = async {
        while broker.queue("/", queue).is_none_or(|queue| queue.ready != ready) {
            tokio::task::yield_now().await;
        }
    };
    let found = || broker.queue("/", queue).map(|queue| queue.ready);
    timeout(Duration::from_secs(30), has).await.unwrap_or_else(|_| panic!("{:?}, not {ready}", found()));
}

#[tokio::test]
async fn the_highest_that_matches_and_that_the_queues_type_takes_applies_alone() {
    let broker = Broker::builder().build();
    let mut peer = Peer::open(&broker).await;
    peer.fresh("jobs", []).await;
    peer.fresh("jobs quorum", [("x-queue-type", text("quorum"))]).await;
    peer.fresh("jobs stream", [("x-queue-type", text("stream"))]).await;
    for policy in [
        policy("low", "^jobs", [("message-ttl", 60_000.into())]).priority(-1),
        policy("ages", "^jobs", [("max-age", text("1h"))]).priority(9),
        policy("limits", "^jobs", [("delivery-limit", 3.into())]).priority(8),
        policy("others", "^other", [("max-length", 1.into())]).priority(7),
        policy("exchanges", "^jobs", [("max-length", 1.into())])
            .priority(10)
            .apply_to(PolicyTarget::Exchanges),
        policy("classic", "^jobs", [("max-length", 2.into())])
            .priority(11)
            .apply_to(PolicyTarget::QuorumQueues),
    ] {
        broker.set_policy("/", policy).unwrap();
    }
    let bounded = Policy::for_operators("bounded", "stream$", table([("max-length-bytes", 9.into())]));
    broker.set_policy("/", bounded.unwrap()).unwrap();
    let applied = |queue| {
        let info = broker.queue("/", queue).unwrap();
        (info.policy, info.operator_policy)
    };
    assert_eq!(applied("jobs"), (Some("low".into()), None));
    assert_eq!(applied("jobs quorum"), (Some("classic".into()), None));
    assert_eq!(applied("jobs stream"), (Some("ages".into()), Some("bounded".into())));
    assert!(broker.clear_policy("/", "classic") && !broker.clear_policy("/", "classic"));
    assert_eq!(applied("jobs quorum"), (Some("limits".into()), None));
    assert!(!broker.clear_policy("/", "bounded") && broker.clear_operator_policy("/", "bounded"));
    assert_eq!(applied("jobs stream"), (Some("ages".into()), None));
    let names: Vec<_> = broker.policies("/").into_iter().map(|policy| policy.name).collect();
    assert_eq!(names, ["ages", "exchanges", "limits", "low", "others"]);
}

#[tokio::test]
async fn what_exceeds_a_new_limit_is_dropped_and_dead_lettered_at_once_and_whoever_waits_gets_the_rest() {
    let broker = Broker::builder().build();
    let mut peer = Peer::open(&broker).await;
    peer.fresh("q", []).await;
    peer.fresh("dead", []).await;
    for body in ["0", "1", "2", "3", "4"] {
        peer.put("q", Default::default(), body).await;
    }
    has(&broker, "q", 5).await;
    let limit = [
        ("max-length", 2.into()),
        ("dead-letter-exchange", text("")),
        ("dead-letter-routing-key", text("dead")),
    ];
    broker.set_policy("/", policy("short", "^q$", limit)).unwrap();
    has(&broker, "dead", 3).await;
    assert_eq!(peer.bodies("dead").await, ["0", "1", "2"]);
    peer.put("q", Default::default(), "5").await;
    has(&broker, "dead", 1).await;
    assert!(broker.clear_policy("/", "short"));
    peer.put("q", Default::default(), "6").await;
    has(&broker, "q", 3).await;
    assert_eq!(peer.bodies("q").await, ["4", "5", "6"]);
}

/// Much more than a turn allows is dropped, in turns.
#[tokio::test]
async fn thousands_of_messages_over_a_new_limit_go_in_turns() {
    let broker = Broker::builder().build();
    let mut peer = Peer::open(&broker).await;
    peer.fresh("q", []).await;
    for _ in 0..20_000 {
        peer.put("q", Default::default(), "m").await;
    }
    has(&broker, "q", 20_000).await;
    broker.set_policy("/", policy("short", "", [("max-length", 7.into())])).unwrap();
    has(&broker, "q", 7).await;
}

#[tokio::test]
async fn a_message_keeps_the_time_to_live_that_it_came_with() {
    let broker = Broker::builder().build();
    let mut peer = Peer::open(&broker).await;
    for queue in ["before", "under"] {
        peer.fresh(queue, []).await;
    }
    peer.put("before", Default::default(), "m").await;
    has(&broker, "before", 1).await;
    broker.set_policy("/", policy("ttl", ".", [("message-ttl", 1_000_000.into())])).unwrap();
    peer.put("under", Default::default(), "m").await;
    has(&broker, "under", 1).await;
    assert!(broker.clear_policy("/", "ttl"));
    let host = broker.inner.host("/").unwrap();
    host.with(|now, shared| shared.catch_up(now + 2_000_000));
    has(&broker, "under", 0).await;
    has(&broker, "before", 1).await;
}

#[tokio::test]
async fn a_queue_without_use_expires_counted_from_when_it_has_a_limit() {
    let broker = Broker::builder().build();
    let mut peer = Peer::open(&broker).await;
    peer.fresh("q", []).await;
    let host = broker.inner.host("/").unwrap();
    broker.set_policy("/", policy("idle", "q", [("expires", 1_000_000.into())])).unwrap();
    has(&broker, "q", 0).await;
    host.with(|now, shared| shared.catch_up(now + 900_000));
    assert!(broker.queue("/", "q").is_some());
    host.with(|now, shared| shared.catch_up(now + 2_000_000));
    let gone = async {
        while broker.queue("/", "q").is_some() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), gone).await.unwrap();
}

#[tokio::test]
async fn an_alternate_exchange_comes_and_goes_also_for_predeclared_exchanges() {
    let broker = Broker::builder().build();
    let mut peer = Peer::open(&broker).await;
    peer.fresh("rest", []).await;
    peer.bind("rest", "amq.fanout", "").await;
    peer.fresh_exchange("e", "topic").await;
    let alternate = policy("rest", "^(e|amq\\.direct)$", [("alternate-exchange", text("amq.fanout"))]);
    for (ready, exchange) in [(1, "e"), (2, "amq.direct")] {
        broker.set_policy("/", alternate.clone()).unwrap();
        peer.publish(exchange, "nobody", "routed").await;
        has(&broker, "rest", ready).await;
        assert!(broker.clear_policy("/", "rest"));
        peer.publish(exchange, "nobody", "lost").await;
        peer.expect_content::<basic::Return>().await;
    }
    // It applies to what is declared later, too.
    broker.set_policy("/", alternate).unwrap();
    peer.fresh_exchange("e", "direct").await;
    peer.publish("e", "nobody", "routed").await;
    has(&broker, "rest", 3).await;
    assert_eq!(peer.bodies("rest").await, ["routed"; 3]);
}

/// A broker that is like 4.3 times the consumers of a quorum queue, and delays what returns.
#[tokio::test]
async fn quorum_queues_of_4_3_get_timeouts_and_delays() {
    let broker = Broker::builder().like(RabbitMq::V4_3).build();
    let mut peer = Peer::open(&broker).await;
    peer.fresh("q", [("x-queue-type", text("quorum"))]).await;
    let definition = [
        ("consumer-timeout", 600_000.into()),
        ("delayed-retry-type", text("all")),
        ("delayed-retry-min", 50_000.into()),
    ];
    broker.set_policy("/", policy("p", "", definition)).unwrap();
    peer.take("q").await;
    peer.put("q", Default::default(), "m").await;
    let came = peer.came().await;
    assert_eq!(came.text(), "m");
    let host = broker.inner.host("/").unwrap();
    host.with(|now, shared| shared.catch_up(now + 700_000));
    let cancelled = peer.expect::<basic::Cancel>(1).await;
    assert_eq!(cancelled.consumer_tag.as_bytes(), b"q");
    // It waits for its delay, from a time that the test has set ahead.
    assert!(peer.bodies("q").await.is_empty());
}

#[test]
fn a_definition_is_refused_in_rabbitmqs_words() {
    let refused = |definition: Table| Policy::new("p", "", definition).unwrap_err().to_string();
    for (key, value, expected) in [
        ("message-ttl", Value::from(-1), "-1 is not a valid message TTL"),
        ("message-ttl", text("1000"), "<<\"1000\">> is not a valid message TTL"),
        ("expires", 0.into(), "0 is not a valid queue expiry"),
        ("max-length", true.into(), "true is not a valid maximum length"),
        ("max-length-bytes", (-1).into(), "-1 is not a valid maximum length in bytes"),
        ("overflow", text("junk"), "<<\"junk\">> is not a valid overflow value"),
        ("delivery-limit", text("5"), "<<\"5\">> is not a valid delivery limit"),
        ("max-age", text("0s"), "<<\"0s\">> is not a valid max age"),
        ("alternate-exchange", 5.into(), "5 is not a valid alternate exchange name"),
        ("dead-letter-exchange", 5.into(), "5 is not a valid dead letter exchange name"),
        ("dead-letter-routing-key", 5.into(), "5 is not a valid dead letter routing key"),
        ("queue-version", 3.into(), "3 is not a valid queue-version value"),
        ("queue-mode", text("junk"), "<<\"junk\">> is not a valid queue-mode value"),
        ("max-priority", 5.into(), "max-priority are not recognised policy settings"),
    ] {
        assert_eq!(refused(table([(key, value)])), expected);
    }
    assert_eq!(refused(Table::new()), "no policy provided");
    let twice = table([("max-length", 1.into()), ("max-length", 2.into())]);
    assert_eq!(refused(twice), "max-length: duplicate keys not allowed");
    let bad = Policy::new("p", "(", table([("max-length", 1.into())])).unwrap_err().to_string();
    assert!(bad.starts_with("\"(\" is not a regular expression: "), "{bad}");
    // What is of an earlier version only is refused in its words, and all else in those of the
    // last.
    for (key, value, expected) in [
        ("consumer-timeout", Value::from(-1), "-1 is not a valid consumer timeout"),
        ("delayed-retry-type", text("junk"), "<<\"junk\">> is not a valid delayed retry type"),
    ] {
        assert_eq!(refused(table([(key, value)])), expected);
    }
    let mixed = table([("ha-mode", text("all")), ("consumer-timeout", 1.into())]);
    assert_eq!(refused(mixed), "consumer-timeout are not recognised policy settings");
    let both = table([("delivery-limit", (-1).into()), ("x", 1.into())]);
    assert_eq!(refused(both), "x are not recognised policy settings");
    let junk = Policy::for_operators("o", "", table([("overflow", text("junk"))])).unwrap_err();
    assert_eq!(junk.to_string(), "<<\"junk\">> is not a valid overflow value");
    let long = Policy::new("x".repeat(256), "", table([("max-length", 1.into())])).unwrap_err();
    assert_eq!(long.to_string(), "a policy's name has at most 255 bytes, and not 256");
}

#[tokio::test]
async fn each_version_has_its_own_settings() {
    let (mirrors, filter) = ([("ha-mode", text("all"))], [("stream-filter-size-bytes", 32.into())]);
    let delays = [("delayed-retry-type", text("all"))];
    let unlimited = [("delivery-limit", (-1).into())];
    let overflow = Policy::for_operators("o", "", table([("overflow", text("drop-head"))])).unwrap();
    for (version, allowed) in [
        (RabbitMq::V3_10, [true, false, false, false, false]),
        (RabbitMq::V4_0, [false, true, false, true, true]),
        (RabbitMq::V4_2, [false, true, false, true, true]),
        (RabbitMq::V4_3, [false, true, true, true, true]),
    ] {
        let broker = Broker::builder().like(version).build();
        let policies = [
            policy("p", "", mirrors.clone()),
            policy("p", "", filter.clone()),
            policy("p", "", delays.clone()),
            policy("p", "", unlimited.clone()),
            overflow.clone(),
        ];
        let set = policies.map(|policy| broker.set_policy("/", policy).is_ok());
        assert_eq!(set, allowed, "{version:?}");
    }
    let dlx = Policy::for_operators("o", "", table([("dead-letter-exchange", text("x"))])).unwrap_err();
    assert_eq!(dlx.to_string(), "dead-letter-exchange are not recognised policy settings");
    let broker = Broker::builder().build();
    let nowhere = broker.set_policy("other", policy("p", "", [("max-length", 1.into())])).unwrap_err();
    assert_eq!(nowhere.to_string(), "there is no virtual host 'other' that has policies");
}

#[tokio::test]
async fn policies_have_weight_and_a_limit() {
    let broker = Broker::builder().memory_limit(1 << 20).build();
    let before = broker.memory_in_use("/");
    let all: Vec<_> = (0..100).map(|n| policy(&format!("p{n}"), "^q", [("max-length", n.into())])).collect();
    let refused = all.into_iter().find_map(|policy| broker.set_policy("/", policy).err()).unwrap();
    assert_eq!(
        refused.to_string(),
        "the memory limit of virtual host '/', 1048576 bytes, leaves no room for another policy"
    );
    let set = broker.policies("/");
    assert!(set.len() > 10 && broker.memory_in_use("/") > before, "{} are set", set.len());
    broker.clear_policy("/", "p0");
    broker.set_policy("/", policy("p1", "", [("max-length", 7.into())])).unwrap();
    for info in set {
        broker.clear_policy("/", &info.name);
    }
    assert_eq!(broker.memory_in_use("/"), before);
    let large =
        Policy::new("large", "(((a{1,100}){1,100}){1,100}){1,100}", table([("max-length", 1.into())]));
    assert!(matches!(large, Err(InvalidPolicy::InvalidPattern(_))), "{large:?}");
}

#[tokio::test]
async fn many_policies_are_listed_in_turns_and_in_order() {
    let broker = Broker::builder().build();
    for n in 0..2_000 {
        broker.set_policy("/", policy(&format!("p{n:04}"), "^none$", [("max-length", n.into())])).unwrap();
    }
    let bounded = Policy::for_operators("a", "", table([("max-length", 1.into())])).unwrap();
    broker.set_policy("/", bounded).unwrap();
    let listed = broker.policies("/");
    let names: Vec<_> = listed.iter().map(|policy| policy.name.clone()).collect();
    let expected = (0..2_000).map(|n| format!("p{n:04}")).chain(["a".to_owned()]).collect::<Vec<_>>();
    assert_eq!(names, expected);
}
