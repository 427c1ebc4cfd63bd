//! Mistakes of other clients, and the test that guards against each here. Tests that have no other
//! place are in this file.
//!
//! | mistake | tested by |
//! |---|---|
//! | a confirm is resolved for the wrong message of a shared channel | `scripted::marked::every_outcome_reaches_its_own_message`, `client::publish::returns_and_acks_are_told_apart_among_many_tasks` |
//! | a return is attributed to another message | `scripted::confirms::a_return_belongs_to_the_publish_it_equals`, `scripted::confirms::a_return_for_a_dropped_confirm_does_not_reach_the_next_one` |
//! | a declare overtakes publishes of its channel | `scripted::mistakes::frames_of_a_channel_leave_in_the_order_of_the_calls` |
//! | a dropped get or call leaves the channel out of step, or a message stranded | `scripted::dropped::every_future_can_be_dropped_after_any_poll`, `client::dropped::a_future_dropped_after_any_poll_leaves_its_channel_in_step` |
//! | concurrent calls of a channel mix up their answers | `scripted::calls::many_tasks_on_one_channel_each_get_their_own_answer`, `scripted::calls::answers_about_consumers_may_be_overtaken` |
//! | a channel's number is not reused after the broker closed it | `client::channel::channel_numbers_are_used_again` |
//! | a heartbeat of 0 or 1 s is misinterpreted | `scripted::heartbeats::signs_of_life_are_sent_well_within_the_interval`, `scripted::heartbeats::without_heartbeats_silence_means_nothing` |
//! | a frame_max of 0 or below 4096 is accepted, or allocated | `scripted::handshake::zero_in_the_offer_is_no_limit`, `scripted::handshake::a_frame_max_too_small_to_work_with_is_refused` |
//! | a frame's size is checked after it was buffered | `scripted::mistakes::a_frame_over_the_limit_is_refused_by_its_first_seven_bytes` |
//! | a body buffer is as large as a header claims | `codec::body::an_announced_size_reserves_nothing`, `scripted::oversize::a_body_that_is_announced_too_large_is_refused_before_any_of_it_comes` |
//! | nested tables overflow the stack | `codec::limits::a_hundred_thousand_levels_do_not_reach_the_end_of_the_stack` |
//! | a short string over 255 bytes is wrapped or cut, or causes a panic | `codec::limits::a_short_string_holds_255_bytes_and_not_one_more`, `scripted::calls::a_name_that_does_not_fit_is_refused_and_the_channel_goes_on` |
//! | a header frame over frame_max is sent | `scripted::confirms::properties_that_do_not_fit_into_a_frame_are_refused_and_take_no_tag` |
//! | IPv6, percent-encoding or an empty virtual host in a URI is misread | `client::connect::an_ipv6_literal_is_connected_to`, `scripted::mistakes::a_uri_is_read_as_it_is_written` |
//! | a connect deadline does not cover the handshake | `scripted::handshake::a_peer_that_falls_silent_is_given_up_at_the_deadline`, `client::connect::the_deadline_covers_the_handshake_of_tls` |
//! | a reconnect forgets what a closed channel declared, declares a name that the broker generated, or acks old tags again | `recovery::topology::exchanges_queues_and_bindings_come_back_in_this_order_though_their_channel_was_closed`, `recovery::topology::a_queue_that_the_broker_named_gets_a_new_name_which_its_bindings_and_consumers_follow`, `recovery::channels::modes_come_back_in_order_and_the_consumers_stream_goes_on` |
//! | futures never end after the connection is lost | `scripted::ends::a_stream_that_ends_tells_everyone_so`, `client::bad_input::a_cut_connection_ends_every_waiter_with_the_reason`, `scripted::mistakes::waits_end_when_the_runtime_of_their_connection_has_gone` |
//! | nothing works while the broker blocks, not even close | `scripted::flow::a_blocked_connection_holds_publishes_and_nothing_else`, `scripted::flow::a_blocked_connection_can_be_closed` |
//! | a listener for events has to be read, or the reader stops | `scripted::mistakes::a_listener_that_hears_nothing_holds_nothing_up` |
//! | the reason of a close is lost | `scripted::ends::a_channel_the_broker_closes_tells_everyone_why_and_others_go_on`, `scripted::ends::the_brokers_reason_is_heard_though_writing_fails_first` |
//! | queues of deliveries are unbounded | `scripted::flow::a_slow_consumer_without_prefetch_stops_the_reading_until_it_takes_some`, `scripted::transcripts::consumers` |
//! | a drop spawns a task | `scripted::mistakes::handles_can_be_dropped_where_there_is_no_runtime`, `scripted::mistakes::handles_outlive_their_runtime` |

use std::time::Duration;

use amqp_client::{ConsumeOptions, Error, Message, Queue, ReplyCode, Uri};
use amqp_codec::{
    Frame,
    method::{basic, channel, connection, queue},
};
use futures_util::FutureExt as _;
use tests::Peer;
use tokio::{join, runtime::Runtime};

use super::{connected, consumer, ends, opened, publisher, send_deliveries, session, short};

#[tokio::test(start_paused = true)]
async fn frames_of_a_channel_leave_in_the_order_of_the_calls() {
    let (mut peer, _connection, channel) = session().await;
    let mut consumer = consumer(&mut peer, &channel, "c").await;
    send_deliveries(&mut peer, "c", [1]).await;
    let delivery = ends(consumer.recv()).await.unwrap().unwrap();
    // The frames include copied and shared bodies, an ack that could wait, and calls with and
    // without an answer.
    let (small, large) = (Message::new("small"), Message::new(vec![7; 100_000]));
    channel.publish(("", "first"), &large).await.unwrap();
    delivery.ack().await.unwrap();
    channel.publish(("", "second"), &small).await.unwrap();
    let jobs = Queue::new("jobs");
    channel.declare(jobs.clone().no_wait(true)).await.unwrap();
    let (declared, ()) = join!(
        async {
            join!(channel.declare(&jobs), async { channel.publish(("", "third"), &large).await.unwrap() }).0
        },
        async {
            let mut order = Vec::new();
            while order.len() < 6 {
                match peer.receive().await {
                    Frame::Method(1, method) => order.push(method.to_string()),
                    Frame::Header(1, _) | Frame::Body(1, _) => {}
                    other => panic!("{other:?}"),
                }
            }
            let expected = [
                "basic.publish routing_key=\"first\"",
                "basic.ack delivery_tag=1",
                "basic.publish routing_key=\"second\"",
                "queue.declare queue=\"jobs\" no_wait",
                "queue.declare queue=\"jobs\"",
                "basic.publish routing_key=\"third\"",
            ];
            assert_eq!(order, expected);
            peer.send(1, queue::DeclareOk { queue: short("jobs"), ..Default::default() }).await;
        }
    );
    declared.unwrap();
}

/// The rest of this frame would be 4 GiB.
#[tokio::test(start_paused = true)]
async fn a_frame_over_the_limit_is_refused_by_its_first_seven_bytes() {
    let (mut peer, connection, _channel) = session().await;
    peer.send_bytes(&[3, 0, 1, 0xff, 0xff, 0xff, 0xff][..]).await;
    let close: connection::Close = peer.expect_any(0).await;
    assert_eq!(ReplyCode(close.reply_code), ReplyCode::FRAME_ERROR);
    assert!(matches!(ends(connection.closed()).await, Error::Protocol { .. }));
}

#[test]
fn a_uri_is_read_as_it_is_written() {
    let uri = Uri::parse("amqp://us%40er:p%3Aw@[::1]:1234/a%2Fb").unwrap();
    assert_eq!((uri.user.as_str(), uri.password.expose()), ("us@er", "p:w"));
    assert_eq!((uri.host.as_str(), uri.port, uri.vhost.as_str()), ("::1", 1234, "a/b"));
    for (text, vhost) in [("amqp://h", "/"), ("amqp://h/", "/"), ("amqp://h/%2F", "/"), ("amqp://h/v", "v")] {
        assert_eq!(Uri::parse(text).unwrap().vhost, vhost, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_hears_nothing_holds_nothing_up() {
    let (mut peer, connection) = connected().await;
    let _deaf = connection.events();
    let _deaf_too = connection.events();
    for _ in 0..1000 {
        peer.send(0, connection::Blocked { reason: short("low on memory") }).await;
        peer.send(0, connection::Unblocked {}).await;
    }
    opened(&mut peer, &connection, 1).await;
}

/// A connection with a handle of each kind, and the broker's side of it.
fn handles(runtime: &Runtime) -> (Peer, Vec<Box<dyn Send>>) {
    runtime.block_on(async {
        let (mut peer, connection, channel) = session().await;
        let publisher = publisher(&mut peer, &channel).await;
        let mut consumer = consumer(&mut peer, &channel, "c").await;
        send_deliveries(&mut peer, "c", [1, 2]).await;
        let delivery = consumer.recv().await.unwrap().unwrap();
        let confirm = publisher.publish(("", "jobs"), Message::new("m")).await.unwrap();
        peer.expect_any::<basic::Publish>(1).await;
        peer.expect_header(1, 1).await;
        peer.expect_body(1, "m").await;
        let events = connection.events();
        let drain = channel.consume("jobs", ConsumeOptions::new().tag("d"));
        let (drain, ()) = join!(drain, async {
            peer.expect_any::<basic::Qos>(1).await;
            peer.expect_any::<basic::Consume>(1).await;
            peer.send(1, basic::QosOk {}).await;
            peer.send(1, basic::ConsumeOk { consumer_tag: short("d") }).await;
        });
        let drain = drain.unwrap().drain(Duration::from_secs(10));
        peer.expect_any::<basic::Cancel>(1).await;
        // It is polled once and waits for an answer.
        let purging = {
            let channel = channel.clone();
            let mut purging = Box::pin(async move { drop(channel.purge("jobs").await) });
            assert!((&mut purging).now_or_never().is_none());
            purging
        };
        peer.expect_any::<queue::Purge>(1).await;
        let handles: Vec<Box<dyn Send>> = vec![
            Box::new(purging),
            Box::new(drain),
            Box::new(events),
            Box::new(confirm),
            Box::new(consumer),
            Box::new(delivery),
            Box::new(publisher),
            Box::new(channel),
            Box::new(connection),
        ];
        (peer, handles)
    })
}

#[test]
fn handles_can_be_dropped_where_there_is_no_runtime() {
    let runtime = Runtime::new().unwrap();
    let (mut peer, handles) = handles(&runtime);
    drop(handles);
    runtime.block_on(async {
        // Deliveries that were not handed out are requeued, and the consumer, the channel and the
        // connection end.
        peer.expect(1, basic::Nack { delivery_tag: 2, multiple: false, requeue: true }).await;
        peer.expect(1, basic::Cancel { consumer_tag: short("c"), no_wait: false }).await;
        peer.expect_any::<channel::Close>(1).await;
        peer.expect_any::<connection::Close>(0).await;
        peer.send(0, connection::CloseOk {}).await;
        peer.expect_end().await;
    });
}

#[test]
fn handles_outlive_their_runtime() {
    let runtime = Runtime::new().unwrap();
    let (_peer, handles) = handles(&runtime);
    drop(runtime);
    drop(handles);
}

/// Callers that wait on another runtime are told, because nobody drives the connection any more.
#[test]
fn waits_end_when_the_runtime_of_their_connection_has_gone() {
    let (theirs, own) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let (_peer, connection, channel) = theirs.block_on(session());
    own.block_on(async {
        let waits = async { join!(connection.closed(), channel.closed(), channel.purge("jobs")) };
        let waiting = async {
            tokio::select! {
                biased;
                waits = waits => waits,
                () = async {
                    theirs.shutdown_background();
                    std::future::pending::<()>().await;
                } => unreachable!(),
            }
        };
        // The real clock is used here.
        let (closed, ended, purged) = tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap();
        for error in [closed, ended, purged.unwrap_err()] {
            assert!(matches!(&error, Error::ConnectionLost(_)), "{error}");
        }
    });
}

/// Checks that the tests in the table exist, so that a renamed or removed one does not leave its
/// row behind.
#[test]
fn every_test_of_the_table_exists() {
    let found = tests::find_named_tests(include_str!("mistakes.rs"));
    assert!(found > 30);
}
