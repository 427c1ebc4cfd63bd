//! Closes of channels and connections that cross each other, or other frames.

use amqp_codec::{
    Frame, Method,
    frame::HEARTBEAT,
    method::{basic, channel, connection, queue},
};
use bytes::BytesMut;

use crate::{
    broker::Broker,
    tests::{
        both::{Tested, both},
        peer::{Peer, short},
    },
};

/// How much is written behind a close: more than all buffers on the way hold.
const BEHIND: usize = 16 << 20;

fn close() -> channel::Close {
    channel::Close { reply_code: 200, ..Default::default() }
}

/// A declaration for which the broker closes the channel.
fn error() -> queue::Declare {
    queue::Declare { queue: short("cross.none"), passive: true, ..Default::default() }
}

fn put(octets: &mut BytesMut, channel: u16, method: impl Into<Method>) {
    Frame::Method(channel, method.into()).encode(usize::MAX, octets).unwrap();
}

impl Peer {
    /// Makes the broker close channel 1, and then sends these methods as if the broker's close were
    /// still on its way.
    ///
    /// They are written only once that close has arrived: if RabbitMQ reads them before its channel
    /// has reported the error to its connection, they reach a channel that is gone, and are lost.
    async fn err_and<const N: usize>(&mut self, methods: [Method; N]) {
        let mut octets = BytesMut::new();
        put(&mut octets, 1, error());
        self.raw(&octets).await;
        assert_eq!(self.expect::<channel::Close>(1).await.reply_code, 404);
        octets.clear();
        for method in methods {
            put(&mut octets, 1, method);
        }
        self.raw(&octets).await;
    }
}

both! {
    async fn of_two_closes_that_cross_each_is_answered_and_then_the_number_is_free(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.err_and([close().into()]).await;
        peer.expect::<channel::CloseOk>(1).await;
        // The channel is still closing, so this is ignored.
        peer.send(1, channel::Flow { active: true }).await;
        peer.send(1, channel::CloseOk {}).await;
        peer.call(1, channel::Open::default()).await;
        peer.settle_down().await;
    }

    async fn a_close_its_answer_and_an_open_may_come_in_one_read(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.err_and([close().into(), channel::CloseOk {}.into(), channel::Open::default().into()]).await;
        let first = peer.next().await;
        // RabbitMQ's channels are processes of their own: a busy one answers too late, or never.
        let is_open = matches!(first, Some(Frame::Method(1, Method::Channel(channel::Method::OpenOk(_)))));
        if is_open && matches!(broker, Tested::RabbitMq(_)) {
            return;
        }
        let closed = channel::Method::CloseOk(channel::CloseOk {});
        assert_eq!(first, Some(Frame::Method(1, Method::Channel(closed))));
        peer.expect::<channel::OpenOk>(1).await;
        peer.settle_down().await;
    }

    async fn a_second_close_is_answered_again(broker: &Tested) {
        let mut peer = broker.open().await;
        peer.err_and([close().into(), close().into()]).await;
        peer.expect::<channel::CloseOk>(1).await;
        peer.expect::<channel::CloseOk>(1).await;
        peer.send(1, channel::CloseOk {}).await;
        peer.call(1, channel::Open::default()).await;
    }

    async fn a_channel_that_is_closing_cannot_be_opened(broker: &Tested) {
        for methods in [[close().into(), channel::Open::default().into()], [
            channel::Flow { active: true }.into(),
            channel::Open::default().into(),
        ]] {
            let mut peer = broker.open().await;
            let is_closed = matches!(methods.first(), Some(Method::Channel(channel::Method::Close(_))));
            peer.err_and(methods).await;
            // RabbitMQ's channels are processes of their own, and a busy one answers too late.
            let may_answer_late = matches!(broker, Tested::RabbitMq(_));
            match if is_closed { peer.next().await } else { None } {
                None | Some(Frame::Method(1, Method::Channel(channel::Method::CloseOk(_)))) => {
                    let refusal = peer.refusal().await;
                    assert_eq!(refusal, "connection 504 CHANNEL_ERROR - second 'channel.open' seen");
                }
                Some(Frame::Method(0, close)) if may_answer_late => {
                    let refusal = "reply_code=504 reply_text=\"CHANNEL_ERROR - second 'channel.open' seen\"";
                    assert!(format!("{close:?}").contains(refusal), "{close:?}");
                }
                other => panic!("neither close-ok nor a refusal: {other:?}"),
            }
        }
    }

    async fn what_is_written_behind_a_close_is_read_until_the_client_closes(broker: &Tested) {
        let mut peer = broker.open().await;
        let mut octets = BytesMut::new();
        put(&mut octets, 0, connection::Close { reply_code: 200, ..Default::default() });
        put(&mut octets, 1, basic::Publish::default());
        peer.raw(&octets).await;
        peer.expect::<connection::CloseOk>(0).await;
        let part = HEARTBEAT.repeat(1 << 13);
        for _ in 0..BEHIND / part.len() {
            peer.raw(&part).await;
        }
    }

    async fn a_second_close_of_the_connection_is_answered_again_until_the_client_ends_it(broker: &Tested) {
        let mut peer = broker.open().await;
        let mut octets = BytesMut::new();
        let close = || connection::Close { reply_code: 200, ..Default::default() };
        put(&mut octets, 0, close());
        put(&mut octets, 1, basic::Publish::default());
        put(&mut octets, 0, close());
        peer.raw(&octets).await;
        peer.expect::<connection::CloseOk>(0).await;
        peer.expect::<connection::CloseOk>(0).await;
        peer.call(0, close()).await;
        peer.send(0, connection::CloseOk {}).await;
        assert_eq!(peer.next().await, None);
    }

    async fn its_queues_and_consumers_go_at_once(broker: &Tested) {
        let (mut other, mut peer) = (broker.open().await, broker.open().await);
        other.fresh("cross.shared", []).await;
        peer.consume("cross.shared", "c").await;
        let own = queue::Declare { queue: short("cross.own"), exclusive: true, ..Default::default() };
        peer.call(1, own).await;
        peer.call(0, connection::Close { reply_code: 200, ..Default::default() }).await;
        let delete = queue::Delete { queue: short("cross.shared"), if_unused: true, ..Default::default() };
        other.call(1, delete).await;
        let passive = queue::Declare { queue: short("cross.own"), passive: true, ..Default::default() };
        other.send(1, passive).await;
        assert_eq!(other.refusal().await, "channel 404 NOT_FOUND - no queue 'cross.own' in vhost '/'");
    }
}

#[tokio::test]
async fn an_error_and_all_that_follows_it_may_come_in_one_read() {
    let mut peer = Peer::open(&Broker::builder().build()).await;
    let mut octets = BytesMut::new();
    let methods: [Method; 4] =
        [error().into(), close().into(), channel::CloseOk {}.into(), channel::Open::default().into()];
    for method in methods {
        put(&mut octets, 1, method);
    }
    peer.raw(&octets).await;
    assert_eq!(peer.expect::<channel::Close>(1).await.reply_code, 404);
    peer.expect::<channel::CloseOk>(1).await;
    peer.expect::<channel::OpenOk>(1).await;
    peer.settle_down().await;
}

#[tokio::test]
async fn of_two_closes_of_the_connection_each_is_answered() {
    let mut peer = Peer::open(&Broker::builder().build()).await;
    let mut octets = BytesMut::new();
    put(&mut octets, 1, channel::Flow { active: false });
    put(&mut octets, 0, connection::Close { reply_code: 200, ..Default::default() });
    peer.raw(&octets).await;
    assert_eq!(peer.refusal().await, "connection 540 NOT_IMPLEMENTED - active=false");
    peer.expect::<connection::CloseOk>(0).await;
    peer.send(0, connection::CloseOk {}).await;
    assert_eq!(peer.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_closed_is_not_waited_for_without_end() {
    let broker = Broker::builder().max_connections(1).build();
    let mut peer = Peer::open(&broker).await;
    peer.call(0, connection::Close { reply_code: 200, ..Default::default() }).await;
    // Its slot is free already.
    let mut other = Peer::open(&broker).await;
    assert_eq!(peer.rest().await, b"");
    other.settle_down().await;
}

#[tokio::test]
async fn the_end_of_the_broker_does_not_wait_for_who_has_left() {
    let broker = Broker::builder().build();
    let mut peer = Peer::open(&broker).await;
    peer.call(0, connection::Close { reply_code: 200, ..Default::default() }).await;
    broker.shutdown().await;
    assert_eq!(peer.next().await, None);
}
