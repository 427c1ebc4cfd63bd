//! Messages over the size limit. From the broker they are refused by their header, which closes
//! their channel and no other; to the broker they are refused before anything of them is queued.

use amqp_client::{Channel, Connection, ConsumeOptions, Error, GetOptions, Message, Route};
use amqp_codec::{
    Error as CodecError, Frame, Properties, ReplyCode, Table,
    method::{basic, channel, connection},
};
use bytes::{Bytes, BytesMut};
use tests::{
    Peer,
    peer::{content, content_header},
};
use tokio::join;

use super::{
    QUIET, all_idle, connected_with, consumer, consumer_with, deliver, ends, error, opened, publisher, quiet,
    send_deliveries, short,
};

const LIMIT: u64 = 1000;

async fn limited() -> (Peer, Connection, Channel) {
    let (mut peer, connection) = connected_with(&quiet().max_message_size(LIMIT), QUIET).await;
    let channel = opened(&mut peer, &connection, 1).await;
    (peer, connection, channel)
}

/// Checks the refusal on the broker's side, and answers it.
async fn expect_refusal(peer: &mut Peer) {
    let close: channel::Close = peer.expect_any(1).await;
    assert_eq!(close.reply_code, ReplyCode::CONTENT_TOO_LARGE.0);
    assert!(close.reply_text.to_string().contains("1000"), "{}", close.reply_text);
}

fn is_too_large(error: &Error, of: u64) -> bool {
    matches!(error, Error::MessageTooLarge { channel: 1, size, limit: LIMIT } if *size == of)
}

#[tokio::test(start_paused = true)]
async fn a_message_of_the_limit_is_taken_and_one_byte_more_ends_the_channel_alone() {
    let (mut peer, connection, channel) = limited().await;
    let other = opened(&mut peer, &connection, 2).await;
    let mut consumer = consumer(&mut peer, &channel, "c").await;
    let body = Bytes::from(vec![7; 1001]);
    peer.send_content(1, deliver("c", 1), &Properties::default(), body.slice(1..)).await;
    peer.send_content(1, deliver("c", 2), &Properties::default(), body).await;

    let delivery = ends(consumer.recv()).await.unwrap().unwrap();
    assert_eq!(delivery.body().len(), 1000);
    assert!(is_too_large(&error(ends(consumer.recv()).await.unwrap()), 1001));
    assert!(is_too_large(&ends(channel.closed()).await, 1001));
    assert!(!channel.is_open());
    expect_refusal(&mut peer).await;
    // This was on its way before the broker read the close.
    send_deliveries(&mut peer, "c", [3, 4]).await;
    peer.send(1, channel::CloseOk {}).await;
    all_idle().await;

    assert!(other.is_open() && connection.is_open());
    // The number is free again, and nothing that came for the old channel reaches the new one.
    let again = opened(&mut peer, &connection, 1).await;
    assert!(again.is_open());
}

/// The header announces 16 EiB; nothing is reserved for them, and what arrives is dropped.
#[tokio::test(start_paused = true)]
async fn a_body_that_is_announced_too_large_is_refused_before_any_of_it_comes() {
    let (mut peer, connection, channel) = limited().await;
    let mut consumer = consumer(&mut peer, &channel, "c").await;
    let header = content_header(1, u64::MAX, Properties::default().encode().unwrap());
    peer.send_frames(vec![Frame::Method(1, deliver("c", 1).into()), header]).await;
    assert!(is_too_large(&error(ends(consumer.recv()).await.unwrap()), u64::MAX));
    expect_refusal(&mut peer).await;
    for _ in 0..100 {
        peer.send_frames(vec![Frame::Body(1, Bytes::from(vec![0; 100_000]))]).await;
    }
    // A close of the broker that crosses ours is answered, and ours is answered too.
    let close = channel::Close { reply_code: 541, reply_text: short("INTERNAL_ERROR"), ..Default::default() };
    peer.send(1, close).await;
    peer.expect(1, channel::CloseOk {}).await;
    peer.send(1, channel::CloseOk {}).await;
    all_idle().await;
    opened(&mut peer, &connection, 1).await;
}

/// A message in one frame, in many, and over the connection's limit: each time the next one arrives
/// whole.
#[tokio::test(start_paused = true)]
async fn a_consumer_that_wants_no_large_bodies_gets_all_else_of_the_message_and_settles_it() {
    let (mut peer, connection, channel) = limited().await;
    let options = ConsumeOptions::new().withhold_bodies_over(10);
    let mut consumer = consumer_with(&mut peer, &channel, "c", options).await;
    let properties = Properties { message_id: Some(short("the id")), ..Properties::default() };
    let sizes = [10, 11, 0, 1001, 5, 1_000_000, 1];
    for (tag, size) in (1..).zip(sizes) {
        peer.send_content(1, deliver("c", tag), &properties, vec![7; size]).await;
    }
    for (tag, size) in (1..).zip(sizes) {
        let delivery = ends(consumer.recv()).await.unwrap().unwrap();
        assert_eq!((delivery.delivery_tag(), delivery.routing_key().as_ref()), (tag, "jobs"));
        assert_eq!(delivery.properties().unwrap(), properties);
        let withheld = (size > 10).then_some(size as u64);
        assert_eq!(
            (delivery.withheld(), delivery.body().len()),
            (withheld, if size > 10 { 0 } else { size })
        );
        let (received, acker) = delivery.split();
        assert_eq!(received.withheld(), withheld);
        if withheld.is_some() {
            acker.reject(false).await.unwrap();
            peer.expect(1, basic::Reject { delivery_tag: tag, requeue: false }).await;
        }
    }
    assert!(channel.is_open() && connection.is_open());
}

/// The header announces 16 EiB, and what arrives is dropped; the channel stays open.
#[tokio::test(start_paused = true)]
async fn what_comes_of_a_body_that_is_not_wanted_is_not_kept() {
    let (mut peer, connection, channel) = limited().await;
    let options = ConsumeOptions::new().withhold_bodies_over(1_000_000);
    let mut large = consumer_with(&mut peer, &channel, "c", options).await;
    let other = opened(&mut peer, &connection, 2).await;
    // A consumer's own limit may be higher than the connection's.
    peer.send_content(1, deliver("c", 1), &Properties::default(), vec![7; 1_000_000]).await;
    assert_eq!(ends(large.recv()).await.unwrap().unwrap().body().len(), 1_000_000);
    let header = content_header(1, u64::MAX, Properties::default().encode().unwrap());
    peer.send_frames(vec![Frame::Method(1, deliver("c", 2).into()), header]).await;
    for _ in 0..100 {
        peer.send_frames(vec![Frame::Body(1, Bytes::from(vec![0; 100_000]))]).await;
    }
    all_idle().await;
    assert!(other.is_open() && channel.is_open());
}

/// Encodes frames of any size.
fn encoded(frames: &[Frame]) -> Bytes {
    let mut bytes = BytesMut::new();
    frames.iter().for_each(|frame| frame.encode(usize::MAX, &mut bytes).unwrap());
    bytes.freeze()
}

/// RabbitMQ does not apply frame_max to the headers that it sends.
#[tokio::test(start_paused = true)]
async fn headers_over_frame_max_are_read_up_to_a_bound_of_their_own() {
    let (mut peer, connection) = connected_with(&quiet().frame_max(8192), QUIET).await;
    let channel = opened(&mut peer, &connection, 1).await;
    let mut consumer = consumer(&mut peer, &channel, "c").await;
    let large = |size: usize| {
        let mut headers = Table::new();
        headers.insert("large", "x".repeat(size)).unwrap();
        Properties { headers: Some(headers), ..Properties::default() }
    };
    for (tag, size) in [(1, 10_000), (2, 10), (3, 1_000_000)] {
        peer.send_bytes(encoded(&content(1, deliver("c", tag), &large(size), "body", 8192))).await;
        let delivery = ends(consumer.recv()).await.unwrap().unwrap();
        assert_eq!(delivery.body(), "body");
        let headers = delivery.properties().unwrap().headers.unwrap();
        assert_eq!(headers.get("large").unwrap().as_str().unwrap().len(), size);
    }
    // A larger one is refused by its beginning.
    peer.send_bytes(encoded(&content(1, deliver("c", 4), &large(2_000_000), "body", 8192)).slice(..100))
        .await;
    let reason = ends(connection.closed()).await;
    assert!(matches!(&reason, Error::Protocol { source: CodecError::FrameTooLarge { .. }, .. }), "{reason}");
    let close: connection::Close = peer.expect_any(0).await;
    assert_eq!(close.reply_code, ReplyCode::FRAME_ERROR.0);
}

#[tokio::test(start_paused = true)]
async fn a_message_fetched_over_the_limit_ends_the_call() {
    let (mut peer, _connection, channel) = limited().await;
    let (got, ()) = join!(ends(channel.get("jobs", GetOptions::new())), async {
        peer.expect_any::<basic::Get>(1).await;
        let ok = basic::GetOk { delivery_tag: 1, ..Default::default() };
        peer.send_frames(content(1, ok, &Properties::default(), vec![0; 2000], 131_072)).await;
        expect_refusal(&mut peer).await;
        peer.send(1, channel::CloseOk {}).await;
    });
    assert!(is_too_large(&error(got), 2000));
}

#[tokio::test(start_paused = true)]
async fn a_message_over_the_limit_while_the_user_closes_the_channel_is_merely_dropped() {
    let (mut peer, connection, channel) = limited().await;
    let _consumer = consumer(&mut peer, &channel, "c").await;
    let (closed, ()) = join!(ends(channel.close()), async {
        peer.expect_any::<channel::Close>(1).await;
        peer.send_content(1, deliver("c", 1), &Properties::default(), vec![0; 500_000]).await;
        peer.send(1, channel::CloseOk {}).await;
    });
    closed.unwrap();
    assert!(connection.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_publish_over_the_limit_is_refused_before_a_byte_of_it_is_queued() {
    let (mut peer, connection, channel) = limited().await;
    let publisher = publisher(&mut peer, &channel).await;
    let too_large = Message::new(vec![7; 1001]);
    let before = connection.metrics();
    let refused = [
        error(ends(publisher.publish(("", "jobs"), &too_large)).await),
        error(ends(publisher.publish(Route::new("", "jobs").mandatory(true), &too_large)).await),
        error(ends(channel.publish(("", "jobs"), &too_large)).await),
    ];
    // It is refused even when it would have to wait for room.
    peer.send(0, connection::Blocked { reason: short("low on memory") }).await;
    all_idle().await;
    let while_blocked = error(ends(channel.publish(("", "jobs"), &too_large)).await);
    peer.send(0, connection::Unblocked {}).await;
    all_idle().await;
    for error in refused.iter().chain([&while_blocked]) {
        assert!(matches!(error, Error::PublishTooLarge { size: 1001, limit: LIMIT }), "{error}");
        assert!(!error.is_connection_error());
    }
    let after = connection.metrics();
    assert_eq!((after.frames_sent, after.messages_published), (before.frames_sent, 0));
    assert_eq!((after.bytes_sent, after.buffered), (before.bytes_sent, 0));

    // A message of exactly the limit is sent, and has the channel's first tag.
    let confirm = ends(publisher.publish(("", "jobs"), Message::new(vec![7; 1000]))).await.unwrap();
    assert_eq!(confirm.tag(), 1);
    peer.expect_any::<basic::Publish>(1).await;
    peer.expect_header(1, 1000).await;
    peer.expect_body(1, vec![7; 1000]).await;
    peer.send(1, basic::Ack { delivery_tag: 1, multiple: false }).await;
    ends(confirm).await.unwrap();
}
