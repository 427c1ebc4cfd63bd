//! The work of a turn under the lock stays bounded, whatever a client asks for.

use amqp_codec::{
    Properties, ShortString, Table, Value,
    method::{basic, channel, confirm, exchange, queue, tx},
};

use crate::{
    broker::Broker,
    core::budget::BUDGET,
    tests::{
        peer::{Peer, short},
        steps::table,
    },
};

/// The most work of a turn: its budget, and indivisible work, of which headers as large as a frame
/// are the most.
const MOST: u64 = 2 * BUDGET;

/// The most work that any turn did, in any virtual host.
fn most(broker: &Broker) -> u64 {
    broker.inner.hosts().iter().map(|host| host.with(|_, shared| shared.vhost.budget.most())).max().unwrap()
}

#[track_caller]
fn all_turns_were_short(broker: &Broker) {
    let most = most(broker);
    assert!(most <= MOST, "a turn took {most}");
    assert!(most >= BUDGET, "it was never interrupted: {most}");
}

async fn declare(peer: &mut Peer, name: &str, arguments: Table) {
    peer.send(1, queue::Declare { queue: short(name), arguments, no_wait: true, ..Default::default() }).await;
}

/// How many messages a queue has.
async fn count(peer: &mut Peer, name: &str) -> u32 {
    peer.call(1, queue::Declare { queue: short(name), passive: true, ..Default::default() })
        .await
        .message_count
}

async fn declare_exchange(peer: &mut Peer, name: &str, kind: &'static str) {
    let (exchange, kind) = (short(name), ShortString::from_static(kind));
    peer.call(1, exchange::Declare { exchange, kind, ..Default::default() }).await;
}

async fn bind(peer: &mut Peer, queue: &str, exchange: &str, key: &str, arguments: Table) {
    let (queue, exchange, routing_key) = (short(queue), short(exchange), short(key));
    peer.send(
        1,
        queue::Bind { queue, exchange, routing_key, arguments, no_wait: true, ..Default::default() },
    )
    .await;
}

#[tokio::test]
async fn a_fanout_to_many_queues() {
    let broker = Broker::builder().build();
    let mut peer = Peer::open(&broker).await;
    for number in 0..3 * BUDGET {
        let name = number.to_string();
        declare(&mut peer, &name, Table::new()).await;
        bind(&mut peer, &name, "amq.fanout", "", Table::new()).await;
        if number % 500 == 0 {
            peer.settle_down().await;
        }
    }
    peer.call(1, confirm::Select::default()).await;
    peer.publish_with("amq.fanout", "", Properties::default(), false, b"x").await;
    peer.expect::<basic::Ack>(1).await;
    // The confirm comes after the last step.
    for name in ["0", "12000", "24575"] {
        assert_eq!(count(&mut peer, name).await, 1);
    }
    all_turns_were_short(&broker);
}

#[tokio::test]
async fn a_storm_of_dead_letters_comes_to_its_limit() {
    let broker = Broker::builder().max_dead_letters(20_000).build();
    let mut peer = Peer::open(&broker).await;
    for number in 0..25 {
        let name = number.to_string();
        declare(
            &mut peer,
            &name,
            table([("x-max-length", 0.into()), ("x-dead-letter-exchange", "amq.fanout".into())]),
        )
        .await;
        bind(&mut peer, &name, "amq.fanout", "", Table::new()).await;
    }
    declare(&mut peer, "counts", Table::new()).await;
    bind(&mut peer, "counts", "amq.fanout", "", Table::new()).await;
    peer.publish_with("amq.fanout", "", Properties::default(), false, b"x").await;
    let mut letters = 0;
    while letters < 20_001 {
        let now = count(&mut peer, "counts").await;
        assert!(now >= letters && now <= 20_001, "{now} after {letters}");
        letters = now;
    }
    assert_eq!(count(&mut peer, "0").await, 0);
    all_turns_were_short(&broker);
    // The drop has been logged, and no work is left.
    let is_idle = || {
        broker.inner.hosts().iter().all(|host| host.with(|now, shared| shared.next_deadline() > now + 1000))
    };
    let idle = async {
        while !is_idle() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), idle).await.expect("it goes on for ever");
}

#[tokio::test]
async fn many_bindings_by_headers_and_headers_as_many() {
    let broker = Broker::builder().build();
    let mut peer = Peer::open(&broker).await;
    let mut headers = Table::new();
    for number in 0..10_000 {
        headers.push(&format!("{number:04}"), Value::Void).unwrap();
    }
    for number in 0..20 {
        let name = number.to_string();
        declare(&mut peer, &name, Table::new()).await;
        bind(&mut peer, &name, "amq.headers", "", headers.clone()).await;
    }
    let properties = Properties { headers: Some(headers), ..Default::default() };
    peer.publish_with("amq.headers", "", properties, false, b"x").await;
    for number in 0..20 {
        assert_eq!(count(&mut peer, &number.to_string()).await, 1);
    }
    all_turns_were_short(&broker);
}

#[tokio::test]
async fn patterns_of_many_words_and_keys_as_many() {
    let broker = Broker::builder().build();
    let mut peer = Peer::open(&broker).await;
    declare(&mut peer, "q", Table::new()).await;
    // The sequence is the same each time, and has no repetitions.
    let mut state = 1_u32;
    let mut word = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ["#", "*", "a"][(state >> 16) as usize % 3]
    };
    for _ in 0..300 {
        let pattern: Vec<_> = (0..60).map(|_| word()).collect();
        bind(&mut peer, "q", "amq.topic", &pattern.join("."), Table::new()).await;
    }
    let keys = (0..100).map(|number| Value::from(vec!["a"; 28 + number].join(".")));
    let mut copies = amqp_codec::Array::new();
    keys.for_each(|key| copies.push(key).unwrap());
    let headers = Some(table([("CC", Value::Array(copies))]));
    peer.publish_with("amq.topic", "b", Properties { headers, ..Default::default() }, false, b"x").await;
    assert_eq!(count(&mut peer, "q").await, 1);
    all_turns_were_short(&broker);
}

#[tokio::test]
async fn what_has_many_bindings_is_deleted() {
    let broker = Broker::builder().build();
    let mut peer = Peer::open(&broker).await;
    declare_exchange(&mut peer, "e", "topic").await;
    declare_exchange(&mut peer, "h", "headers").await;
    for name in ["one", "other"] {
        declare(&mut peer, name, Table::new()).await;
    }
    for number in 0..3 * BUDGET {
        bind(&mut peer, "one", "e", &number.to_string(), Table::new()).await;
        bind(&mut peer, "other", "h", "", table([("n", Value::I64(number as i64))])).await;
        if number % 500 == 0 {
            peer.settle_down().await;
        }
    }
    peer.call(1, exchange::Delete { exchange: short("e"), ..Default::default() }).await;
    peer.call(1, queue::Delete { queue: short("other"), ..Default::default() }).await;
    peer.call(1, exchange::Delete { exchange: short("h"), if_unused: true, ..Default::default() }).await;
    assert!(broker.bindings("/").is_empty());
    all_turns_were_short(&broker);
}

async fn publish_many(peer: &mut Peer, queue: &str, count: u64) {
    for number in 0..count {
        peer.publish_with("", queue, Properties::default(), false, b"x").await;
        if number % 1000 == 0 {
            peer.settle_down().await;
        }
    }
}

#[tokio::test]
async fn many_messages_are_purged_settled_returned_and_deleted() {
    let broker = Broker::builder().build();
    let mut peer = Peer::open(&broker).await;
    let count = 3 * BUDGET;
    declare(&mut peer, "q", Table::new()).await;
    publish_many(&mut peer, "q", count).await;
    assert_eq!(
        peer.call(1, queue::Purge { queue: short("q"), ..Default::default() }).await.message_count,
        count as u32
    );
    publish_many(&mut peer, "q", count).await;
    // All messages are delivered, requeued, delivered again, and requeued with the end of the
    // connection.
    let mut consumer = Peer::open(&broker).await;
    let get =
        |no_ack| basic::Consume { queue: short("q"), consumer_tag: short("t"), no_ack, ..Default::default() };
    consumer.call(1, get(false)).await;
    for _ in 0..count {
        consumer.delivery().await;
    }
    consumer.call(1, basic::Cancel { consumer_tag: short("t"), ..Default::default() }).await;
    consumer.send(1, basic::Nack { delivery_tag: 0, multiple: true, requeue: true }).await;
    consumer.settle_down().await;
    assert_eq!(self::count(&mut peer, "q").await, count as u32);
    consumer.call(1, get(false)).await;
    for _ in 0..count {
        consumer.delivery().await;
    }
    drop(consumer);
    while self::count(&mut peer, "q").await < count as u32 {}
    assert_eq!(
        peer.call(1, queue::Delete { queue: short("q"), ..Default::default() }).await.message_count,
        count as u32
    );
    all_turns_were_short(&broker);
}

#[tokio::test]
async fn a_transaction_of_many_publishes_and_acks() {
    let broker = Broker::builder().build();
    let mut peer = Peer::open(&broker).await;
    let count = 2 * BUDGET;
    declare(&mut peer, "q", Table::new()).await;
    declare(&mut peer, "other", Table::new()).await;
    publish_many(&mut peer, "q", count).await;
    peer.call(1, tx::Select {}).await;
    let consume = basic::Consume { queue: short("q"), consumer_tag: short("t"), ..Default::default() };
    peer.call(1, consume).await;
    for _ in 0..count {
        peer.delivery().await;
    }
    // After the rollback it is as if nothing had been sent.
    publish_many(&mut peer, "other", 10).await;
    peer.send(1, basic::Ack { delivery_tag: 0, multiple: true }).await;
    peer.call(1, tx::Rollback {}).await;
    assert_eq!(self::count(&mut peer, "other").await, 0);
    publish_many(&mut peer, "other", count).await;
    peer.send(1, basic::Ack { delivery_tag: 0, multiple: true }).await;
    peer.call(1, tx::Commit {}).await;
    assert_eq!(self::count(&mut peer, "other").await, count as u32);
    peer.call(1, channel::Close::default()).await;
    peer.call(1, channel::Open::default()).await;
    assert_eq!(self::count(&mut peer, "q").await, 0);
    all_turns_were_short(&broker);
}

/// Checks that publishes of an uncommitted transaction are freed in turns, however it ends.
async fn forgets_many_publishes(ends: impl AsyncFn(&Broker, Peer) -> Peer) {
    let broker = Broker::builder().build();
    let mut peer = Peer::open(&broker).await;
    declare(&mut peer, "q", Table::new()).await;
    peer.call(1, tx::Select {}).await;
    publish_many(&mut peer, "q", 3 * BUDGET).await;
    peer.settle_down().await;
    assert!(most(&broker) < BUDGET, "they are few a turn when they come");
    let mut peer = ends(&broker, peer).await;
    assert_eq!(count(&mut peer, "q").await, 0);
    while most(&broker) < BUDGET {
        count(&mut peer, "q").await;
    }
    all_turns_were_short(&broker);
}

#[tokio::test]
async fn a_rollback_of_many_publishes() {
    forgets_many_publishes(async |_, mut peer| {
        peer.call(1, tx::Rollback {}).await;
        peer
    })
    .await;
}

#[tokio::test]
async fn a_channel_that_ends_with_many_publishes_of_a_transaction() {
    forgets_many_publishes(async |_, mut peer| {
        peer.call(1, channel::Close::default()).await;
        peer.call(1, channel::Open::default()).await;
        peer
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_ends_with_many_publishes_of_a_transaction() {
    forgets_many_publishes(async |broker, peer| {
        drop(peer);
        Peer::open(broker).await
    })
    .await;
}

#[tokio::test]
async fn many_messages_that_expire_at_once_all_get_their_letter() {
    let broker = Broker::builder().max_dead_letters(10).build();
    let mut peer = Peer::open(&broker).await;
    let letters =
        table([("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", "dead".into())]);
    declare(&mut peer, "q", letters).await;
    declare(&mut peer, "dead", Table::new()).await;
    let count = 2 * BUDGET;
    for number in 0..count {
        let expiration = Some(short("300"));
        peer.publish_with("", "q", Properties { expiration, ..Default::default() }, false, b"x").await;
        if number % 1000 == 0 {
            peer.settle_down().await;
        }
    }
    while self::count(&mut peer, "dead").await < count as u32 {}
    assert_eq!(self::count(&mut peer, "q").await, 0);
    all_turns_were_short(&broker);
}

#[tokio::test]
async fn letters_that_come_where_much_expires_too_all_get_on() {
    let broker = Broker::builder().memory_limit(8 << 20).build();
    let mut peer = Peer::open(&broker).await;
    let to = |queue: &str| {
        table([("x-dead-letter-exchange", "".into()), ("x-dead-letter-routing-key", queue.to_owned().into())])
    };
    declare(&mut peer, "first", to("second")).await;
    declare(&mut peer, "second", to("dead")).await;
    declare(&mut peer, "dead", Table::new()).await;
    // All expire at the same time, so that later publishes find them expired.
    let began = std::time::Instant::now();
    for number in 0..BUDGET {
        let left = 2500_u128.saturating_sub(began.elapsed().as_millis());
        let properties = || Properties { expiration: Some(short(&left.to_string())), ..Default::default() };
        for queue in ["first", "second"] {
            peer.publish_with("", queue, properties(), false, b"x").await;
        }
        if number % 500 == 0 {
            peer.settle_down().await;
        }
    }
    let all_get_on = async {
        while count(&mut peer, "dead").await < BUDGET as u32
            || count(&mut peer, "second").await < BUDGET as u32
        {}
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), all_get_on).await.expect("some are lost");
    assert_eq!(count(&mut peer, "first").await, 0);
    all_turns_were_short(&broker);
}

#[tokio::test]
async fn who_has_gone_leaves_nothing_whatever_was_interrupted() {
    let broker = Broker::builder().build();
    let mut peer = Peer::open(&broker).await;
    for number in 0..2 * BUDGET {
        let name = number.to_string();
        let exclusive =
            queue::Declare { queue: short(&name), exclusive: true, no_wait: true, ..Default::default() };
        peer.send(1, exclusive).await;
        bind(&mut peer, &name, "amq.fanout", "", Table::new()).await;
        if number % 500 == 0 {
            peer.settle_down().await;
        }
    }
    peer.publish_with("amq.fanout", "", Properties::default(), false, b"x").await;
    drop(peer);
    let mut other = Peer::open(&broker).await;
    while !broker.queues("/").is_empty() {
        other.settle_down().await;
    }
    assert!(broker.bindings("/").is_empty());
    all_turns_were_short(&broker);
}

#[tokio::test]
async fn what_there_is_much_of_is_looked_at() {
    let broker = Broker::builder().build();
    let mut peer = Peer::open(&broker).await;
    let count = BUDGET as usize;
    for number in 0..count {
        let name = format!("{number:05}");
        declare(&mut peer, &name, Table::new()).await;
        bind(&mut peer, &name, "amq.fanout", &name, Table::new()).await;
        let (exchange, kind) = (short(&name), ShortString::from_static("fanout"));
        peer.send(1, exchange::Declare { exchange, kind, no_wait: true, ..Default::default() }).await;
        if number % 500 == 0 {
            peer.settle_down().await;
        }
    }
    peer.settle_down().await;
    let names = |names: Vec<String>| {
        assert!(names.iter().take(count).cloned().eq((0..count).map(|number| format!("{number:05}"))));
    };
    names(broker.queues("/").into_iter().map(|queue| queue.name).collect());
    names(broker.exchanges("/").into_iter().map(|exchange| exchange.name).collect());
    names(broker.bindings("/").into_iter().map(|binding| binding.destination).collect());
    all_turns_were_short(&broker);
}
