//! A broker that violates the protocol: the connection is closed with the right code, and every
//! caller is told.

use amqp_client::{Confirmation, Error, GetOptions, Message, ReplyCode, Report, Route};
use amqp_codec::{
    ContentHeader, EncodedProperties, Error as CodecError, Frame,
    method::{basic, channel, confirm, connection, exchange, queue, tx},
};
use bytes::{BufMut as _, Bytes, BytesMut};
use tests::peer::content_header;
use tokio::join;

use super::{consumer, deliver, ends, error, publisher, session, short};

/// Sends `bytes` on an open channel with a consumer. Returns the close of the connection, and what
/// every caller was told.
async fn breach(bytes: Bytes) -> (connection::Close, Error) {
    breach_answered(bytes, true).await
}

/// As [`breach`]; if the frames cannot be parsed any more, the close is not answered.
async fn breach_answered(bytes: Bytes, answer: bool) -> (connection::Close, Error) {
    let (mut peer, connection, channel) = session().await;
    let mut consumer = consumer(&mut peer, &channel, "c").await;
    let (got, delivery, reason, close) = ends(async {
        join!(channel.get("jobs", GetOptions::new()), consumer.recv(), connection.closed(), async {
            peer.expect_any::<basic::Get>(1).await;
            peer.send_bytes(bytes).await;
            let close: connection::Close = peer.expect_any(0).await;
            if answer {
                peer.send(0, connection::CloseOk {}).await;
            }
            peer.expect_end().await;
            close
        })
    })
    .await;
    for error in [error(got), error(delivery.unwrap()), channel.closed().await] {
        assert_eq!(error.to_string(), reason.to_string());
    }
    assert_eq!(close.reply_text.to_text(), Report(&reason).to_string());
    (close, reason)
}

fn frames(frames: &[Frame]) -> Bytes {
    let mut bytes = BytesMut::new();
    frames.iter().for_each(|frame| frame.encode(1 << 20, &mut bytes).unwrap());
    bytes.freeze()
}

/// A frame with any payload.
fn raw(kind: u8, channel: u16, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(kind);
    bytes.put_u16(channel);
    bytes.put_u32(payload.len() as u32);
    bytes.put_slice(payload);
    bytes.put_u8(0xce);
    bytes.freeze()
}

fn method(channel: u16, method: impl Into<amqp_codec::Method>) -> Frame {
    Frame::Method(channel, method.into())
}

fn header(body_size: u64) -> Frame {
    content_header(1, body_size, EncodedProperties::NONE)
}

fn header_on_connection() -> Frame {
    content_header(0, 0, EncodedProperties::NONE)
}

fn of_another_class(body_size: u64) -> Frame {
    Frame::Header(1, ContentHeader { class_id: 50, body_size, properties: EncodedProperties::NONE })
}

fn returned() -> basic::Return {
    basic::Return { reply_code: 312, ..Default::default() }
}

fn body(bytes: &'static str) -> Frame {
    Frame::Body(1, Bytes::from_static(bytes.as_bytes()))
}

fn purge_ok() -> Frame {
    method(1, queue::PurgeOk { message_count: 1 })
}

#[tokio::test(start_paused = true)]
async fn frames_out_of_turn_are_answered_with_505() {
    let out_of_turn = [
        vec![header(3)],
        vec![body("abc")],
        vec![method(1, deliver("c", 1)), method(1, deliver("c", 2))],
        vec![method(1, deliver("c", 1)), purge_ok()],
        vec![method(1, deliver("c", 1)), body("abc")],
        vec![method(1, deliver("c", 1)), header(3), header(3)],
        vec![method(1, deliver("c", 1)), of_another_class(3), body("abc")],
        vec![method(1, deliver("c", 1)), of_another_class(0)],
        vec![method(1, returned()), purge_ok()],
        vec![method(1, basic::GetOk::default()), method(1, basic::GetEmpty::default())],
        vec![method(1, basic::GetOk::default()), method(1, deliver("c", 1))],
        vec![method(1, deliver("c", 1)), header(3), body("ab"), purge_ok()],
    ];
    for sequence in out_of_turn {
        let (close, reason) = breach(frames(&sequence)).await;
        assert_eq!(ReplyCode(close.reply_code), ReplyCode::UNEXPECTED_FRAME, "{sequence:?}");
        let Error::Protocol { channel: 1, source } = &reason else { panic!("{reason}") };
        assert!(matches!(source, CodecError::UnexpectedFrame { .. }), "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_longer_than_announced_is_answered_with_505() {
    for parts in [vec!["abcd"], vec!["ab", "cd"]] {
        let mut sequence = vec![method(1, deliver("c", 1)), header(3)];
        sequence.extend(parts.into_iter().map(body));
        let (close, reason) = breach(frames(&sequence)).await;
        assert_eq!(ReplyCode(close.reply_code), ReplyCode::UNEXPECTED_FRAME);
        let Error::Protocol { channel: 1, source } = &reason else { panic!("{reason}") };
        assert_eq!(*source, CodecError::BodyTooLong { announced: 3, received: 4 });
    }
}

#[tokio::test(start_paused = true)]
async fn frames_of_a_channel_that_is_not_open_are_answered_with_504() {
    for frame in [method(9, queue::PurgeOk::default()), Frame::Body(9, Bytes::new())] {
        let (close, reason) = breach(frames(&[frame])).await;
        assert_eq!(ReplyCode(close.reply_code), ReplyCode::CHANNEL_ERROR);
        assert!(matches!(reason, Error::Protocol { channel: 9, .. }), "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_frame_are_answered_with_501() {
    let mut wrong_end = raw(1, 1, &[0, 60, 0, 11]).to_vec();
    *wrong_end.last_mut().unwrap() = 0xcd;
    let broken: [(Bytes, bool); 6] = [
        (wrong_end.into(), true),
        (raw(8, 0, b"alive"), true),
        (raw(8, 1, b""), true),
        (Bytes::from_static(b"HTTP/1.1 200 OK"), false),
        (Bytes::from_static(&[1, 0, 1, 0xff, 0xff, 0xff, 0xff]), false),
        (raw(3, 1, &vec![0; 131_072]), false),
    ];
    for (bytes, answer) in broken {
        let (close, reason) = breach_answered(bytes, answer).await;
        assert_eq!(ReplyCode(close.reply_code), ReplyCode::FRAME_ERROR, "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn frames_that_cannot_be_read_are_answered_with_502() {
    let truncated = raw(1, 1, &[0, 50, 0, 31, 0]);
    let trailing = raw(1, 1, &[0, 50, 0, 51, 0]);
    let short_header = raw(2, 1, &[0, 60]);
    for bytes in
        [truncated, trailing, [&frames(&[method(1, deliver("c", 1))]), &short_header[..]].concat().into()]
    {
        let (close, reason) = breach(bytes).await;
        assert_eq!(ReplyCode(close.reply_code), ReplyCode::SYNTAX_ERROR, "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_method_nobody_defined_is_answered_with_540() {
    let (close, reason) = breach(raw(1, 1, &[0, 60, 0, 99])).await;
    assert_eq!(ReplyCode(close.reply_code), ReplyCode::NOT_IMPLEMENTED);
    let Error::Protocol { channel: 1, source } = &reason else { panic!("{reason}") };
    assert_eq!(*source, CodecError::UnknownMethod { class_id: 60, method_id: 99 });
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_another_kind_is_answered_with_503() {
    // A get waits for its answer.
    let (close, reason) = breach(frames(&[method(1, queue::BindOk {})])).await;
    assert_eq!(ReplyCode(close.reply_code), ReplyCode::COMMAND_INVALID);
    assert!(matches!(reason, Error::UnexpectedMethod { channel: 1, got: "queue.bind-ok", .. }), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_asked_for_is_answered_with_503() {
    let empty = method(1, basic::GetEmpty::default());
    let (mut peer, connection, _channel) = session().await;
    let (reason, close) = join!(ends(connection.closed()), async {
        peer.send_frames(vec![empty]).await;
        let close: connection::Close = peer.expect_any(0).await;
        peer.send(0, connection::CloseOk {}).await;
        close
    });
    assert_eq!(ReplyCode(close.reply_code), ReplyCode::COMMAND_INVALID);
    assert!(matches!(reason, Error::UnexpectedMethod { channel: 1, .. }), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn methods_on_the_wrong_kind_of_channel_are_answered_with_503() {
    let misplaced = [
        method(0, queue::PurgeOk::default()),
        method(0, connection::OpenOk::default()),
        method(1, connection::Unblocked {}),
        method(1, channel::OpenOk::default()),
    ];
    for frame in misplaced {
        let (close, reason) = breach(frames(std::slice::from_ref(&frame))).await;
        assert_eq!(ReplyCode(close.reply_code), ReplyCode::COMMAND_INVALID, "{frame:?}");
        assert!(matches!(reason, Error::UnexpectedMethod { .. }), "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_to_nobody_is_the_brokers_breach() {
    let stray = [method(1, deliver("stranger", 1)), header(0)];
    let (close, reason) = breach(frames(&stray)).await;
    assert_eq!(ReplyCode(close.reply_code), ReplyCode::UNEXPECTED_FRAME);
    assert!(matches!(reason, Error::Protocol { channel: 1, .. }), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn content_on_the_connection_itself_is_answered_with_505() {
    for frame in [header_on_connection(), Frame::Body(0, Bytes::new())] {
        let (close, reason) = breach(frames(&[frame])).await;
        assert_eq!(ReplyCode(close.reply_code), ReplyCode::UNEXPECTED_FRAME);
        assert!(matches!(reason, Error::Protocol { channel: 0, .. }), "{reason}");
    }
}

/// Each of these answers something that was not asked.
#[tokio::test(start_paused = true)]
async fn every_answer_that_nobody_asked_for_is_answered_with_503() {
    let answers = [
        method(1, channel::OpenOk::default()),
        method(1, channel::FlowOk { active: true }),
        method(1, exchange::DeclareOk {}),
        method(1, exchange::DeleteOk {}),
        method(1, exchange::BindOk {}),
        method(1, exchange::UnbindOk {}),
        method(1, queue::DeclareOk::default()),
        method(1, queue::DeleteOk::default()),
        method(1, queue::UnbindOk {}),
        method(1, basic::QosOk {}),
        method(1, basic::ConsumeOk { consumer_tag: short("c") }),
        method(1, basic::CancelOk { consumer_tag: short("c") }),
        method(1, basic::RecoverOk {}),
        method(1, confirm::SelectOk {}),
        method(1, tx::SelectOk {}),
        method(1, tx::CommitOk {}),
        method(1, tx::RollbackOk {}),
        method(1, channel::CloseOk {}),
        method(0, connection::UpdateSecretOk {}),
    ];
    for frame in answers {
        let (close, reason) = breach(frames(std::slice::from_ref(&frame))).await;
        assert_eq!(ReplyCode(close.reply_code), ReplyCode::COMMAND_INVALID, "{frame:?}");
        assert!(matches!(reason, Error::UnexpectedMethod { .. }), "{reason}");
    }
}

/// Only a client may send these methods.
#[tokio::test(start_paused = true)]
async fn a_broker_that_speaks_as_a_client_is_answered_with_503() {
    let requests = [
        method(0, connection::Open::default()),
        method(1, channel::Open::default()),
        method(1, queue::Declare::default()),
        method(1, basic::Publish::default()),
        method(1, basic::Consume::default()),
        method(1, basic::Get::default()),
        method(1, basic::Reject::default()),
        method(1, basic::Recover::default()),
        method(1, confirm::Select::default()),
        method(1, tx::Commit {}),
    ];
    for frame in requests {
        let (close, reason) = breach(frames(std::slice::from_ref(&frame))).await;
        assert_eq!(ReplyCode(close.reply_code), ReplyCode::COMMAND_INVALID, "{frame:?}");
        assert!(matches!(reason, Error::UnexpectedMethod { .. }), "{reason}");
    }
}

/// The client accepts these: a broker may confirm late what was settled, and cancel a consumer that
/// is gone.
#[tokio::test(start_paused = true)]
async fn confirms_and_cancels_of_what_is_not_known_change_nothing() {
    let (mut peer, connection, channel) = session().await;
    let mut consumer = consumer(&mut peer, &channel, "c").await;
    let strange = [
        method(1, basic::Ack { delivery_tag: 7, multiple: false }),
        method(1, basic::Nack { delivery_tag: u64::MAX, multiple: true, requeue: false }),
        method(1, basic::Cancel { consumer_tag: short("stranger"), no_wait: true }),
    ];
    peer.send_frames(strange.to_vec()).await;
    super::send_deliveries(&mut peer, "c", [1]).await;
    assert_eq!(ends(consumer.recv()).await.unwrap().unwrap().body(), "1");
    assert!(connection.is_open() && channel.is_open());
}

#[tokio::test(start_paused = true)]
async fn what_came_before_the_breach_is_delivered() {
    let (mut peer, connection, channel) = session().await;
    let mut consumer = consumer(&mut peer, &channel, "c").await;
    let mut bytes = BytesMut::from(
        &frames(&tests::peer::content(1, deliver("c", 1), &Default::default(), "whole", 4096))[..],
    );
    bytes.put_slice(b"garbage");
    peer.send_bytes(bytes).await;
    assert_eq!(ends(consumer.recv()).await.unwrap().unwrap().body(), "whole");
    let reason = error(ends(consumer.recv()).await.unwrap());
    assert_eq!(reason.to_string(), connection.closed().await.to_string());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_does_not_agree_to_the_close_is_left() {
    let (mut peer, connection, _channel) = session().await;
    peer.send_frames(vec![body("out of turn")]).await;
    let reason = ends(connection.closed()).await;
    assert!(matches!(reason, Error::Protocol { .. }), "{reason}");
    peer.expect_any::<connection::Close>(0).await;
    peer.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn properties_that_cannot_be_read_are_the_users_to_judge() {
    let (mut peer, _connection, channel) = session().await;
    let mut consumer = consumer(&mut peer, &channel, "c").await;
    let unreadable = EncodedProperties::from_encoded(Bytes::from_static(&[0x80, 0, 9, b'x']));
    peer.send_frames(vec![method(1, deliver("c", 1)), content_header(1, 0, unreadable.clone())]).await;
    let delivery = ends(consumer.recv()).await.unwrap().unwrap();
    assert!(matches!(delivery.properties(), Err(Error::Protocol { channel: 1, .. })));
    let (received, acker) = delivery.split();
    assert!(matches!(received.properties(), Err(Error::Protocol { channel: 1, .. })));
    assert!(matches!(received.content_properties(), Err(Error::Protocol { channel: 1, .. })));
    acker.reject(false).await.unwrap();
    peer.expect(1, basic::Reject { delivery_tag: 1, requeue: false }).await;

    let publisher = publisher(&mut peer, &channel).await;
    let confirm = publisher.publish(Route::new("e", "k").mandatory(true), Message::new("")).await.unwrap();
    let (exchange, routing_key) = (short("e"), short("k"));
    let returned = basic::Return { exchange, routing_key, ..Default::default() };
    peer.send_frames(vec![method(1, returned), content_header(1, 0, unreadable)]).await;
    peer.send(1, basic::Ack { delivery_tag: 1, multiple: false }).await;
    let Confirmation::Returned(returned) = ends(confirm).await.unwrap() else { panic!("not returned") };
    assert!(matches!(returned.properties(), Err(Error::Protocol { channel: 1, .. })));
    assert!(channel.is_open());
}
