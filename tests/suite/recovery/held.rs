//! Entities that the broker still holds for the lost connection: the client retries with pauses,
//! and nothing else waits.

use std::time::Duration;

use amqp_client::{
    Binding, Channel, Connection, ConsumeOptions, Consumer, DeleteOptions, Error, Event, Events, Message,
    Queue, ReplyCode, Skipped,
};
use amqp_codec::{
    Arguments as _, MethodId,
    method::{basic, channel, queue},
};
use tests::Peer;
use tokio::{
    join,
    time::{Instant, timeout},
};

use super::script::{
    Broker, connected, consume, consumer, deliver, ends, expect_consume, expect_publish, open, opened,
    recovered, recovery, short,
};

const LOCKED: &str =
    "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'mine' in vhost '/'. It could be";
const IN_USE: &str = "ACCESS_REFUSED - queue 'jobs' in vhost '/' in exclusive use";
const NO_PERMISSION: &str = "ACCESS_REFUSED - access to queue 'jobs' in vhost '/' refused for user 'u'";

async fn refuse(peer: &mut Peer, id: u16, reply_code: u16, text: &'static str) {
    let method = if reply_code == 405 { queue::Declare::ID } else { basic::Consume::ID };
    refuse_of(peer, id, reply_code, method, text).await;
}

async fn refuse_of(peer: &mut Peer, id: u16, reply_code: u16, method: MethodId, text: &'static str) {
    let (class_id, method_id) = (method.class_id, method.method_id);
    let close = channel::Close { reply_code, reply_text: short(text), class_id, method_id };
    peer.send(id, close).await;
    peer.expect(id, channel::CloseOk {}).await;
}

/// The client declares its exclusive queue, on channel 2.
async fn declares(peer: &mut Peer) {
    open(peer, 2).await;
    let declare: queue::Declare = peer.expect_any(2).await;
    assert_eq!((declare.queue.as_str(), declare.exclusive), (Ok("mine"), true));
}

/// The client asks for the number of the queue's consumers, on channel 2.
async fn looks(peer: &mut Peer, consumers: u32) {
    open(peer, 2).await;
    let declare: queue::Declare = peer.expect_any(2).await;
    assert_eq!((declare.queue.as_str(), declare.passive), (Ok("jobs"), true));
    let ok = queue::DeclareOk { queue: short("jobs"), message_count: 0, consumer_count: consumers };
    peer.send(2, ok).await;
    leaves(peer).await;
}

async fn leaves(peer: &mut Peer) {
    peer.expect_any::<channel::Close>(2).await;
    peer.send(2, channel::CloseOk {}).await;
}

/// A channel 1 with a consumer of an exclusive, bound queue.
async fn with_queue(peer: &mut Peer, connection: &Connection) -> (Channel, Consumer) {
    let channel = opened(peer, connection, 1).await;
    let declaring = async {
        channel.declare(&Queue::new("mine").exclusive(true)).await?;
        channel.bind(Binding::new("mine", "events").routing_key("k")).await
    };
    let (declared, ()) = join!(declaring, async {
        peer.expect_any::<queue::Declare>(1).await;
        peer.send(1, queue::DeclareOk { queue: short("mine"), ..Default::default() }).await;
        peer.expect_any::<queue::Bind>(1).await;
        peer.send(1, queue::BindOk {}).await;
    });
    declared.unwrap();
    let consuming = channel.consume("mine", ConsumeOptions::new().tag("c").prefetch(7));
    let (consumer, ()) = join!(consuming, consume(peer, 1, "mine", "c"));
    (channel, consumer.unwrap())
}

async fn exclusive_consumer(peer: &mut Peer, connection: &Connection) -> (Channel, Consumer) {
    let channel = opened(peer, connection, 1).await;
    let consuming = channel.consume("jobs", ConsumeOptions::new().tag("c").prefetch(7).exclusive(true));
    let (consumer, ()) = join!(consuming, consumes(peer));
    (channel, consumer.unwrap())
}

/// The client starts the consumer, for the first time or again.
async fn consumes(peer: &mut Peer) {
    tries_to_consume(peer).await;
    peer.send(1, basic::QosOk {}).await;
    peer.send(1, basic::ConsumeOk { consumer_tag: short("c") }).await;
}

async fn tries_to_consume(peer: &mut Peer) {
    peer.expect_any::<basic::Qos>(1).await;
    let consume: basic::Consume = peer.expect_any(1).await;
    assert!(consume.exclusive);
}

/// The next of these events: what is held, the attempt and the pause; or the event that ended it.
async fn told(events: &mut Events) -> Result<(String, u32, Duration), Event> {
    loop {
        match ends(events.recv()).await.expect("the connection ended") {
            Event::Held { what, attempt, delay, error } => {
                assert!(matches!(error, Error::QueueTaken { .. }), "{error}");
                return Ok((what, attempt, delay));
            }
            event @ (Event::Released { .. } | Event::NotRestored(_)) => return Err(event),
            _ => {}
        }
    }
}

fn milliseconds(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// The broker dies, and keeps the queue for the lost connection.
async fn lost_with_queue(broker: &mut Broker, peer: Peer) -> Peer {
    drop(peer);
    let mut peer = broker.accept().await;
    declares(&mut peer).await;
    refuse(&mut peer, 2, 405, LOCKED).await;
    open(&mut peer, 1).await;
    peer
}

#[tokio::test(start_paused = true)]
async fn an_exclusive_queue_is_had_back_with_bindings_and_consumers_and_all_else_goes_on_meanwhile() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let mut events = connection.events();
    let (channel, mut consumer) = with_queue(&mut peer, &connection).await;
    let mut peer = lost_with_queue(&mut broker, peer).await;
    let report = recovered(&mut events).await;
    assert_eq!((report.queues, report.bindings, report.consumers, report.skipped.len()), (0, 0, 0, 0));
    let [Skipped { what, error, .. }] = &report.held[..] else { panic!("{report:?}") };
    assert_eq!((what.as_str(), error.reply_code()), (r#"queue "mine""#, Some(ReplyCode::RESOURCE_LOCKED)));

    channel.publish(("", "jobs"), Message::new("x")).await.unwrap();
    expect_publish(&mut peer, 1, "x").await;
    let begun = Instant::now();
    for (attempt, pause) in [(1, 200), (2, 400), (3, 800)] {
        let held = told(&mut events).await.unwrap();
        assert_eq!(held, (r#"queue "mine""#.to_owned(), attempt, milliseconds(pause)));
        declares(&mut peer).await;
        if attempt < 3 {
            refuse(&mut peer, 2, 405, LOCKED).await;
        }
    }
    assert_eq!(begun.elapsed().as_millis() / 100, (200 + 400 + 800) / 100);
    peer.send(2, queue::DeclareOk { queue: short("mine"), ..Default::default() }).await;
    let bind: queue::Bind = peer.expect_any(2).await;
    assert_eq!((bind.queue, bind.exchange, bind.routing_key), (short("mine"), short("events"), short("k")));
    peer.send(2, queue::BindOk {}).await;
    leaves(&mut peer).await;
    consume(&mut peer, 1, "mine", "c").await;
    let Err(Event::Released { what }) = told(&mut events).await else { panic!("not had back") };
    assert_eq!(what, r#"queue "mine""#);
    deliver(&mut peer, 1, "c", 1, false).await;
    ends(consumer.recv()).await.unwrap().unwrap().ack().await.unwrap();
    peer.expect(1, basic::Ack { delivery_tag: 1, multiple: false }).await;
    peer.expect_silence(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn one_whose_channel_is_lost_when_its_queue_is_had_back_begins_with_the_channel() {
    let (mut broker, mut peer, connection) = connected(recovery().reopen_channels(true)).await;
    let mut events = connection.events();
    let (_channel, mut consumer) = with_queue(&mut peer, &connection).await;
    let mut peer = lost_with_queue(&mut broker, peer).await;
    recovered(&mut events).await;
    declares(&mut peer).await;
    let reply_text = short("PRECONDITION_FAILED - delivery acknowledgement timed out");
    peer.send(1, channel::Close { reply_code: 406, reply_text, ..Default::default() }).await;
    peer.expect(1, channel::CloseOk {}).await;
    peer.send(2, queue::DeclareOk { queue: short("mine"), ..Default::default() }).await;
    peer.expect_any::<queue::Bind>(2).await;
    peer.send(2, queue::BindOk {}).await;
    leaves(&mut peer).await;
    open(&mut peer, 1).await;
    consume(&mut peer, 1, "mine", "c").await;
    deliver(&mut peer, 1, "c", 1, false).await;
    assert_eq!(ends(consumer.recv()).await.unwrap().unwrap().body(), "1");
}

#[tokio::test(start_paused = true)]
async fn a_consumer_of_a_held_queue_that_its_user_deletes_ends() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let mut events = connection.events();
    let (channel, mut consumer) = with_queue(&mut peer, &connection).await;
    let mut peer = lost_with_queue(&mut broker, peer).await;
    recovered(&mut events).await;
    let (deleted, ()) = join!(channel.delete_queue("mine", DeleteOptions::new()), async {
        peer.expect_any::<queue::Delete>(1).await;
        peer.send(1, queue::DeleteOk { message_count: 0 }).await;
    });
    deleted.unwrap();
    let reason = ends(consumer.recv()).await.unwrap().unwrap_err();
    assert!(matches!(&reason, Error::ConsumerCancelled { tag } if tag == "c"), "{reason}");
    assert!(ends(consumer.recv()).await.is_none());
    assert!(channel.is_open());
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_a_consumer_ends_with_a_reason_that_tells_what_is_taken() {
    let recovery = recovery().wait_for_release(Duration::from_secs(1));
    let (mut broker, mut peer, connection) = connected(recovery).await;
    let mut events = connection.events();
    let (channel, mut consumer) = with_queue(&mut peer, &connection).await;
    let mut peer = lost_with_queue(&mut broker, peer).await;
    recovered(&mut events).await;
    for (attempt, pause) in [(1, 200), (2, 400), (3, 400)] {
        let (_, count, delay) = told(&mut events).await.unwrap();
        assert_eq!((count, delay), (attempt, milliseconds(pause)), "the last is at the deadline");
        declares(&mut peer).await;
        refuse(&mut peer, 2, 405, LOCKED).await;
    }
    let reason = ends(consumer.recv()).await.unwrap().unwrap_err();
    assert!(matches!(&reason, Error::QueueTaken { queue, .. } if queue == "mine"), "{reason}");
    for what in [r#"consumer "c" of queue "mine""#, r#"queue "mine""#] {
        let Err(Event::NotRestored(skipped)) = told(&mut events).await else { panic!("tried on") };
        assert_eq!(skipped.what, what);
    }
    peer.expect_silence(Duration::from_secs(60)).await;
    assert!(channel.is_open());
}

#[tokio::test(start_paused = true)]
async fn without_patience_nothing_is_waited_for() {
    let (mut broker, mut peer, connection) = connected(recovery().wait_for_release(Duration::ZERO)).await;
    let mut events = connection.events();
    let (_channel, mut consumer) = with_queue(&mut peer, &connection).await;
    drop(peer);
    let mut peer = broker.accept().await;
    declares(&mut peer).await;
    refuse(&mut peer, 2, 405, LOCKED).await;
    open(&mut peer, 1).await;
    expect_consume(&mut peer, 1, "mine", "c").await;
    refuse(&mut peer, 1, 405, LOCKED).await;
    open(&mut peer, 1).await;
    let report = recovered(&mut events).await;
    assert_eq!((report.held.len(), report.skipped.len()), (0, 2), "{report:?}");
    assert!(ends(consumer.recv()).await.unwrap().unwrap_err().is_taken());
}

#[tokio::test(start_paused = true)]
async fn an_exclusive_consumer_begins_again_when_the_lost_one_has_gone_and_no_channel_is_closed_for_it() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let mut events = connection.events();
    let (channel, mut consumer) = exclusive_consumer(&mut peer, &connection).await;
    drop(peer);
    let mut peer = broker.accept().await;
    open(&mut peer, 1).await;
    tries_to_consume(&mut peer).await;
    refuse(&mut peer, 1, 403, IN_USE).await;
    open(&mut peer, 1).await;
    let report = recovered(&mut events).await;
    assert_eq!((report.held.len(), report.skipped.len(), report.channels), (1, 0, 1));
    for (attempt, consumers) in [(1, 1), (2, 1), (3, 0)] {
        let (what, count, _) = told(&mut events).await.unwrap();
        assert_eq!((what.as_str(), count), (r#"consumer "c" of queue "jobs""#, attempt));
        looks(&mut peer, consumers).await;
    }
    consumes(&mut peer).await;
    assert!(matches!(told(&mut events).await, Err(Event::Released { .. })));
    deliver(&mut peer, 1, "c", 1, true).await;
    ends(consumer.recv()).await.unwrap().unwrap().ack().await.unwrap();
    assert!(channel.is_open());
}

/// Another consumer comes first: the channel is opened again, and waiting continues.
#[tokio::test(start_paused = true)]
async fn one_that_is_refused_in_the_end_waits_on_and_its_channel_is_opened_again() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let mut events = connection.events();
    let (channel, _consumer) = exclusive_consumer(&mut peer, &connection).await;
    drop(peer);
    let mut peer = broker.accept().await;
    open(&mut peer, 1).await;
    tries_to_consume(&mut peer).await;
    refuse(&mut peer, 1, 403, IN_USE).await;
    open(&mut peer, 1).await;
    recovered(&mut events).await;
    looks(&mut peer, 0).await;
    tries_to_consume(&mut peer).await;
    refuse(&mut peer, 1, 403, IN_USE).await;
    open(&mut peer, 1).await;
    looks(&mut peer, 0).await;
    consumes(&mut peer).await;
    while told(&mut events).await.is_ok() {}
    assert!(channel.is_open());
}

/// The user's own operations on the channel are not affected.
#[tokio::test(start_paused = true)]
async fn a_refusal_of_something_else_while_one_begins_again_is_not_its_own() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let mut events = connection.events();
    let (channel, mut consumer) = exclusive_consumer(&mut peer, &connection).await;
    drop(peer);
    let mut peer = broker.accept().await;
    open(&mut peer, 1).await;
    tries_to_consume(&mut peer).await;
    refuse(&mut peer, 1, 403, IN_USE).await;
    open(&mut peer, 1).await;
    recovered(&mut events).await;
    looks(&mut peer, 0).await;
    tries_to_consume(&mut peer).await;
    assert!(channel.is_open());
    let missing = Queue::new("missing");
    let (declared, ()) = join!(channel.declare(missing.clone().passive(true)), async {
        peer.expect_any::<queue::Declare>(1).await;
        refuse_of(&mut peer, 1, 404, queue::Declare::ID, "NOT_FOUND - no queue 'missing' in vhost '/'").await;
    });
    assert_eq!(declared.unwrap_err().reply_code(), Some(ReplyCode::NOT_FOUND));
    let ended = ends(consumer.recv()).await.unwrap().unwrap_err();
    assert_eq!(ended.reply_code(), Some(ReplyCode::NOT_FOUND));
    assert!(channel.is_closed());
    // It is not waited for any more.
    let other = opened(&mut peer, &connection, 1).await;
    peer.expect_silence(Duration::from_secs(60)).await;
    drop(other);
}

#[tokio::test(start_paused = true)]
async fn while_one_begins_again_the_drain_of_another_waits_for_what_is_not_settled() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let mut events = connection.events();
    let (channel, _consumer) = exclusive_consumer(&mut peer, &connection).await;
    let mut other = consumer(&mut peer, &channel, "other", "o").await;
    drop(peer);
    let mut peer = broker.accept().await;
    open(&mut peer, 1).await;
    consume(&mut peer, 1, "other", "o").await;
    tries_to_consume(&mut peer).await;
    refuse(&mut peer, 1, 403, IN_USE).await;
    open(&mut peer, 1).await;
    consume(&mut peer, 1, "other", "o").await;
    recovered(&mut events).await;
    deliver(&mut peer, 1, "o", 1, false).await;
    let delivery = ends(other.recv()).await.unwrap().unwrap();
    looks(&mut peer, 0).await;
    tries_to_consume(&mut peer).await;
    let mut drain = other.drain(Duration::from_secs(60));
    peer.expect_any::<basic::Cancel>(1).await;
    peer.send(1, basic::QosOk {}).await;
    peer.send(1, basic::ConsumeOk { consumer_tag: short("c") }).await;
    peer.send(1, basic::CancelOk { consumer_tag: short("o") }).await;
    assert!(timeout(Duration::from_secs(10), drain.recv()).await.is_err());
    delivery.ack().await.unwrap();
    assert!(ends(drain.recv()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_dropped_or_whose_connection_is_lost_again_is_not_waited_for_twice() {
    let (mut broker, mut peer, connection) = connected(recovery()).await;
    let mut events = connection.events();
    let (_channel, consumer) = exclusive_consumer(&mut peer, &connection).await;
    for _ in 0..2 {
        drop(peer);
        peer = broker.accept().await;
        open(&mut peer, 1).await;
        tries_to_consume(&mut peer).await;
        refuse(&mut peer, 1, 403, IN_USE).await;
        open(&mut peer, 1).await;
        assert_eq!(recovered(&mut events).await.held.len(), 1);
    }
    drop(consumer);
    peer.expect_silence(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn missing_permissions_are_not_waited_for_nor_what_was_never_held() {
    for (exclusive, text) in [(true, NO_PERMISSION), (false, IN_USE)] {
        let (mut broker, mut peer, connection) = connected(recovery()).await;
        let mut events = connection.events();
        let channel = opened(&mut peer, &connection, 1).await;
        let options = ConsumeOptions::new().tag("c").prefetch(7).exclusive(exclusive);
        let (consumer, ()) = join!(channel.consume("jobs", options), async {
            peer.expect_any::<basic::Qos>(1).await;
            peer.expect_any::<basic::Consume>(1).await;
            peer.send(1, basic::QosOk {}).await;
            peer.send(1, basic::ConsumeOk { consumer_tag: short("c") }).await;
        });
        let mut consumer = consumer.unwrap();
        drop(peer);
        let mut peer = broker.accept().await;
        open(&mut peer, 1).await;
        peer.expect_any::<basic::Qos>(1).await;
        peer.expect_any::<basic::Consume>(1).await;
        refuse(&mut peer, 1, 403, text).await;
        open(&mut peer, 1).await;
        let report = recovered(&mut events).await;
        assert_eq!((report.held.len(), report.skipped.len()), (0, 1), "{text}");
        let reason = ends(consumer.recv()).await.unwrap().unwrap_err();
        assert_eq!(reason.reply_code(), Some(ReplyCode::ACCESS_REFUSED));
        peer.expect_silence(Duration::from_secs(60)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_declaration_or_consumer_that_finds_it_taken_fails_at_once_with_an_error_of_its_own() {
    let (_broker, mut peer, connection) = connected(recovery()).await;
    let begun = Instant::now();
    let channel = opened(&mut peer, &connection, 1).await;
    let mine = Queue::new("mine").exclusive(true);
    let (declared, ()) = join!(channel.declare(&mine), async {
        peer.expect_any::<queue::Declare>(1).await;
        refuse(&mut peer, 1, 405, LOCKED).await;
    });
    let error = declared.unwrap_err();
    assert!(matches!(&error, Error::QueueTaken { queue, .. } if queue == "mine"), "{error}");
    for (text, is_typed) in [(IN_USE, true), (NO_PERMISSION, false)] {
        let channel = opened(&mut peer, &connection, 1).await;
        let options = ConsumeOptions::new().exclusive(true);
        let (consuming, ()) = join!(channel.consume("jobs", options), async {
            tries_to_consume(&mut peer).await;
            refuse(&mut peer, 1, 403, text).await;
        });
        let error = consuming.unwrap_err();
        assert_eq!(matches!(&error, Error::QueueTaken { queue, .. } if queue == "jobs"), is_typed, "{error}");
        assert_eq!(error.reply_code(), Some(ReplyCode::ACCESS_REFUSED));
    }
    assert!(begun.elapsed() < Duration::from_secs(1));
    peer.expect_silence(Duration::from_secs(60)).await;
}
