//! Declared entities that still exist are declared again.

use amqp_client::{
    Binding, Connection, ConsumeOptions, DeleteOptions, Error, Exchange, Queue, Recovered, ReplyCode,
};
use amqp_codec::{
    Arguments as _, Frame, Method,
    method::{basic, channel, exchange, queue},
};
use std::{
    sync::Arc,
    sync::atomic::{AtomicU32, Ordering},
};
use tests::Peer;
use tokio::join;

use super::script::{Broker, connected, consume, consumer, ends, open, opened, recovered, recovery, short};

/// Answers declarations and bindings like a broker that accepts everything, until another frame
/// comes, which is returned.
async fn take_declarations(peer: &mut Peer, seen: &mut Vec<String>) -> Frame {
    loop {
        let frame = peer.receive().await;
        let Frame::Method(id, method) = &frame else { return frame };
        let answer: Method = match method {
            Method::Exchange(exchange::Method::Declare(declare)) => {
                seen.push(format!("exchange {} {}", declare.exchange, declare.kind));
                exchange::DeclareOk {}.into()
            }
            Method::Exchange(exchange::Method::Bind(bind)) => {
                seen.push(format!("bind exchange {} {}", bind.destination, bind.source));
                exchange::BindOk {}.into()
            }
            Method::Queue(queue::Method::Declare(declare)) => {
                seen.push(format!("queue {}", declare.queue));
                let name = if declare.queue.is_empty() { short("amq.gen-2") } else { declare.queue.clone() };
                queue::DeclareOk { queue: name, ..Default::default() }.into()
            }
            Method::Queue(queue::Method::Bind(bind)) => {
                seen.push(format!("bind queue {} {} {}", bind.queue, bind.exchange, bind.routing_key));
                queue::BindOk {}.into()
            }
            _ => return frame,
        };
        peer.send(*id, answer).await;
    }
}

/// Answers `count` declarations of the session before the loss.
async fn take(peer: &mut Peer, count: usize) {
    for _ in 0..count {
        let Frame::Method(id, method) = peer.receive().await else { panic!("a method was due") };
        let answer: Method = match method {
            Method::Exchange(exchange::Method::Declare(_)) => exchange::DeclareOk {}.into(),
            Method::Exchange(exchange::Method::Bind(_)) => exchange::BindOk {}.into(),
            Method::Exchange(exchange::Method::Delete(_)) => exchange::DeleteOk {}.into(),
            Method::Queue(queue::Method::Declare(declare)) => {
                let name = if declare.queue.is_empty() { short("amq.gen-1") } else { declare.queue };
                queue::DeclareOk { queue: name, ..Default::default() }.into()
            }
            Method::Queue(queue::Method::Bind(_)) => queue::BindOk {}.into(),
            Method::Queue(queue::Method::Unbind(_)) => queue::UnbindOk {}.into(),
            Method::Queue(queue::Method::Delete(_)) => queue::DeleteOk::default().into(),
            Method::Channel(channel::Method::Close(_)) => channel::CloseOk {}.into(),
            other => panic!("{other:?}"),
        };
        peer.send(id, answer).await;
    }
}

/// Loses the connection and leads the recovery up to the channel that is opened again; returns the
/// declarations.
async fn redeclared(broker: &mut Broker, peer: Peer, setup_channel: u16) -> (Peer, Vec<String>) {
    drop(peer);
    let mut peer = broker.accept().await;
    open(&mut peer, setup_channel).await;
    let mut seen = Vec::new();
    let next = take_declarations(&mut peer, &mut seen).await;
    assert_eq!(next, Frame::Method(setup_channel, closed()), "its channel is closed when it is done");
    peer.send(setup_channel, channel::CloseOk {}).await;
    (peer, seen)
}

fn closed() -> Method {
    channel::Close { reply_code: 200, ..Default::default() }.into()
}

async fn report(connection: &Connection, peer: impl Future<Output = Peer>) -> (Arc<Recovered>, Peer) {
    let mut events = connection.events();
    ends(async { join!(recovered(&mut events), peer) }).await
}

#[tokio::test(start_paused = true)]
async fn exchanges_queues_and_bindings_come_back_in_this_order_though_their_channel_was_closed() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let declaring = async {
        channel.declare(&Queue::durable("jobs")).await?;
        channel.declare(&Exchange::topic("events")).await?;
        channel.declare(&Exchange::fanout("all")).await?;
        channel.bind(Binding::new("jobs", "events").routing_key("job.#")).await?;
        channel.bind(Binding::new(&Exchange::topic("events"), "all")).await?;
        channel.close().await
    };
    join!(declaring, take(&mut peer, 6)).0.unwrap();
    let (report, _peer) = report(&connection, async {
        let (peer, seen) = redeclared(&mut broker, peer, 1).await;
        let expected = [
            "exchange all fanout",
            "exchange events topic",
            "queue jobs",
            "bind exchange events all",
            "bind queue jobs events job.#",
        ];
        assert_eq!(seen, expected);
        peer
    })
    .await;
    assert_eq!((report.exchanges, report.queues, report.bindings), (2, 1, 2));
    assert!(report.skipped.is_empty() && report.renamed.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_unbound_or_looked_at_only_does_not_come_back() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let declaring = async {
        channel.declare(&Exchange::topic("events")).await?;
        channel.declare(&Queue::durable("deleted")).await?;
        channel.bind(Binding::new("deleted", "events").routing_key("k")).await?;
        channel.delete_queue("deleted", DeleteOptions::new()).await?;
        channel.declare(Queue::durable("passive").passive(true)).await?;
        channel.declare(&Exchange::fanout("gone")).await?;
        channel.delete_exchange("gone", DeleteOptions::new()).await?;
        channel.declare(&Queue::durable("jobs")).await?;
        channel.bind(Binding::new("jobs", "events").routing_key("a")).await?;
        channel.bind(Binding::new("jobs", "events").routing_key("b")).await?;
        channel.unbind(Binding::new("jobs", "events").routing_key("a")).await
    };
    join!(declaring, take(&mut peer, 11)).0.unwrap();
    let (report, _peer) = report(&connection, async {
        drop(peer);
        let mut peer = broker.accept().await;
        // Channel 1 is reserved for the channel that is to be opened again.
        open(&mut peer, 2).await;
        let mut seen = Vec::new();
        let next = take_declarations(&mut peer, &mut seen).await;
        assert_eq!(seen, ["exchange events topic", "queue jobs", "bind queue jobs events b"]);
        assert_eq!(next, Frame::Method(2, closed()));
        open(&mut peer, 1).await;
        peer
    })
    .await;
    assert_eq!((report.exchanges, report.queues, report.bindings, report.channels), (1, 1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_the_broker_named_gets_a_new_name_which_its_bindings_and_consumers_follow() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let declaring = async {
        let queue = channel.declare(&Queue::new("").exclusive(true)).await?;
        assert_eq!(queue.name, "amq.gen-1");
        channel.bind(Binding::new(&queue, "events").routing_key("k")).await
    };
    join!(declaring, take(&mut peer, 2)).0.unwrap();
    let consumer = consumer(&mut peer, &channel, "amq.gen-1", "c").await;
    let (report, _peer) = report(&connection, async {
        drop(peer);
        let mut peer = broker.accept().await;
        open(&mut peer, 2).await;
        let mut seen = Vec::new();
        let next = take_declarations(&mut peer, &mut seen).await;
        assert_eq!(seen, ["queue ", "bind queue amq.gen-2 events k"]);
        assert_eq!(next, Frame::Method(2, closed()));
        open(&mut peer, 1).await;
        consume(&mut peer, 1, "amq.gen-2", "c").await;
        peer
    })
    .await;
    let [renamed] = &report.renamed[..] else { panic!("{report:?}") };
    assert_eq!((renamed.old.as_str(), renamed.new.as_str()), ("amq.gen-1", "amq.gen-2"));
    assert_eq!(consumer.queue().as_deref(), Some("amq.gen-2"));
    assert_eq!(report.consumers, 1);
}

#[tokio::test(start_paused = true)]
async fn an_empty_name_is_the_queue_declared_last_also_on_a_channel_that_was_opened_again() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let own = Queue::new("").exclusive(true);
    join!(channel.declare(&own), take(&mut peer, 1)).0.unwrap();
    let consuming = channel.consume("", ConsumeOptions::new().tag("c").prefetch(7));
    let (consumer, ()) = join!(consuming, consume(&mut peer, 1, "amq.gen-1", "c"));
    let consumer = consumer.unwrap();
    let (_, mut peer) = report(&connection, async {
        let (mut peer, seen) = redeclared(&mut broker, peer, 2).await;
        assert_eq!(seen, ["queue "]);
        open(&mut peer, 1).await;
        consume(&mut peer, 1, "amq.gen-2", "c").await;
        peer
    })
    .await;
    assert_eq!(consumer.queue().as_deref(), Some("amq.gen-2"));

    let (bound, ()) = join!(channel.bind(Binding::new("", "events")), async {
        let bind: queue::Bind = peer.expect_any(1).await;
        // Without a key either, the name is the key.
        assert_eq!((&bind.queue, &bind.routing_key), (&short("amq.gen-2"), &short("amq.gen-2")));
        peer.send(1, queue::BindOk {}).await;
    });
    bound.unwrap();
    let (deleted, ()) = join!(channel.delete_queue("", DeleteOptions::new()), async {
        let delete: queue::Delete = peer.expect_any(1).await;
        assert_eq!(delete.queue, "amq.gen-2");
        peer.send(1, basic::Cancel { consumer_tag: short("c"), no_wait: true }).await;
        peer.send(1, queue::DeleteOk::default()).await;
    });
    deleted.unwrap();
    let (report, _peer) = report(&connection, async {
        drop(peer);
        let mut peer = broker.accept().await;
        open(&mut peer, 1).await;
        peer
    })
    .await;
    assert_eq!((report.queues, report.bindings), (0, 0), "deleted by the empty name it is known to be");
}

#[tokio::test(start_paused = true)]
async fn an_empty_name_behind_a_declaration_under_way_is_left_to_the_broker_and_known_with_the_answers() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let before = Queue::durable("before");
    join!(channel.declare(&before), take(&mut peer, 1)).0.unwrap();
    let (own, key) = (Queue::new("").exclusive(true), "k");
    let (declared, bound, ()) =
        join!(channel.declare(&own), channel.bind(Binding::new("", "events").routing_key(key)), async {
            peer.expect_any::<queue::Declare>(1).await;
            let bind: queue::Bind = peer.expect_any(1).await;
            assert_eq!(bind.queue, "");
            peer.send(1, queue::DeclareOk { queue: short("amq.gen-1"), ..Default::default() }).await;
            peer.send(1, queue::BindOk {}).await;
        });
    declared.and(bound).unwrap();
    let (_, _peer) = report(&connection, async {
        let (mut peer, seen) = redeclared(&mut broker, peer, 2).await;
        assert_eq!(seen, ["queue ", "queue before", "bind queue amq.gen-2 events k"]);
        open(&mut peer, 1).await;
        peer
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_stops_no_other_and_is_told() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let declaring = async {
        for queue in ["a", "b", "c"] {
            channel.declare(&Queue::durable(queue)).await?;
        }
        channel.close().await
    };
    join!(declaring, take(&mut peer, 4)).0.unwrap();
    let (report, _peer) = report(&connection, async {
        drop(peer);
        let mut peer = broker.accept().await;
        open(&mut peer, 1).await;
        // All three come at once; the second is refused, and the third is lost unanswered with it.
        for name in ["a", "b", "c"] {
            let declare: queue::Declare = peer.expect_any(1).await;
            assert_eq!(declare.queue, name);
        }
        peer.send(1, queue::DeclareOk { queue: short("a"), ..Default::default() }).await;
        let id = queue::Declare::ID;
        let close = channel::Close {
            reply_code: 406,
            reply_text: short("PRECONDITION_FAILED - inequivalent arg"),
            class_id: id.class_id,
            method_id: id.method_id,
        };
        peer.send(1, close).await;
        peer.expect(1, channel::CloseOk {}).await;
        open(&mut peer, 1).await;
        let declare: queue::Declare = peer.expect_any(1).await;
        assert_eq!(declare.queue, "c");
        peer.send(1, queue::DeclareOk { queue: short("c"), ..Default::default() }).await;
        peer.expect_any::<channel::Close>(1).await;
        peer
    })
    .await;
    assert_eq!(report.queues, 2);
    let [skipped] = &report.skipped[..] else { panic!("{report:?}") };
    assert_eq!(skipped.what, r#"queue "b""#);
    assert_eq!(skipped.error.reply_code(), Some(ReplyCode::PRECONDITION_FAILED));
}

#[tokio::test(start_paused = true)]
async fn the_users_own_setup_takes_its_place_and_is_tried_again_when_it_fails() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = calls.clone();
    let recovery = recovery().setup(move |channel| {
        let number = counted.fetch_add(1, Ordering::Relaxed);
        async move {
            if number == 0 {
                return Err(Error::Recovering);
            }
            channel.declare(&Queue::durable("mine")).await.map(drop)
        }
    });
    let (mut broker, mut peer, connection) = connected(recovery).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let recorded = Queue::durable("recorded");
    join!(channel.declare(&recorded), take(&mut peer, 1)).0.unwrap();
    let (report, _peer) = report(&connection, async {
        drop(peer);
        let mut peer = broker.accept().await;
        open(&mut peer, 2).await;
        let mut peer = broker.accept().await;
        open(&mut peer, 2).await;
        let declare: queue::Declare = peer.expect_any(2).await;
        assert_eq!(declare.queue, "mine");
        peer.send(2, queue::DeclareOk { queue: short("mine"), ..Default::default() }).await;
        peer.expect_any::<channel::Close>(2).await;
        open(&mut peer, 1).await;
        peer
    })
    .await;
    assert_eq!((calls.load(Ordering::Relaxed), report.attempts), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn an_auto_delete_queue_whose_last_consumer_has_gone_does_not_come_back() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let queue = Queue::new("q").auto_delete(true);
    join!(channel.declare(&queue), take(&mut peer, 1)).0.unwrap();
    let mut consumer = consumer(&mut peer, &channel, "q", "c").await;
    let (cancelled, ()) = join!(consumer.cancel(), async {
        peer.expect_any::<basic::Cancel>(1).await;
        peer.send(1, basic::CancelOk { consumer_tag: short("c") }).await;
    });
    cancelled.unwrap();
    let (report, _peer) = report(&connection, async {
        drop(peer);
        let mut peer = broker.accept().await;
        // Without declarations no channel is opened for them.
        open(&mut peer, 1).await;
        peer
    })
    .await;
    assert_eq!((report.queues, report.consumers), (0, 0));
}
