//! Users and permissions that change while the broker runs.

use amqp_codec::{
    Frame, Method,
    frame::PROTOCOL_HEADER,
    method::{channel, connection, queue},
};

use crate::{
    broker::Broker,
    core::rabbitmq::access::Permissions,
    tests::peer::{Peer, short, start_ok},
};

fn only(names: &str) -> Permissions {
    Permissions::new(names, names, names).unwrap()
}

async fn open(broker: &Broker, password: &str) -> Peer {
    let mut peer = Peer::silent(broker);
    peer.log_in_as(start_ok("sal", password), "/", 131_072).await;
    peer.call(1, channel::Open::default()).await;
    peer
}

/// Tells whether a login succeeds up to the broker's offer of limits.
async fn may_log_in(broker: &Broker, password: &str) -> bool {
    let mut peer = Peer::silent(broker);
    peer.raw(&PROTOCOL_HEADER).await;
    peer.expect::<connection::Start>(0).await;
    peer.send(0, start_ok("sal", password)).await;
    matches!(peer.next().await, Some(Frame::Method(0, Method::Connection(connection::Method::Tune(_)))))
}

/// The refusal of a queue declaration, after which channel 1 is opened again; `None` if it
/// succeeds.
async fn declaring(peer: &mut Peer, name: &str) -> Option<String> {
    peer.send(1, queue::Declare { queue: short(name), no_wait: true, ..Default::default() }).await;
    peer.send(2, channel::Open::default()).await;
    let refused = match peer.next().await {
        Some(Frame::Method(2, _)) => None,
        Some(Frame::Method(1, method)) => {
            let close = channel::Close::try_from(method).unwrap();
            peer.expect::<channel::OpenOk>(2).await;
            peer.send(1, channel::CloseOk {}).await;
            peer.call(1, channel::Open::default()).await;
            Some(close.reply_text.to_string())
        }
        other => panic!("neither: {other:?}"),
    };
    peer.call(2, channel::Close::default()).await;
    refused
}

#[tokio::test]
async fn a_user_is_added_has_another_password_and_is_deleted() {
    let broker = Broker::builder().build();
    assert!(!may_log_in(&broker, "x").await);
    broker.add_user("sal", "x");
    let mut peer = open(&broker, "x").await;
    broker.add_user("sal", "y");
    assert!(!may_log_in(&broker, "x").await && may_log_in(&broker, "y").await);
    assert_eq!(declaring(&mut peer, "q").await, None);

    broker.add_user_without_password("sal");
    assert!(!may_log_in(&broker, "y").await && !may_log_in(&broker, "").await);
    assert_eq!(declaring(&mut peer, "q").await, None);

    assert!(broker.delete_user("sal"));
    assert_eq!(peer.refusal().await, "connection 320 CONNECTION_FORCED - user 'sal' is deleted");
    assert!(!may_log_in(&broker, "y").await);
    assert!(!broker.delete_user("sal"));
    let mut guest = Peer::open(&broker).await;
    guest.declare("others go on").await;
}

#[tokio::test]
async fn permissions_hold_for_connections_that_are_open() {
    let broker = Broker::builder().build();
    broker.add_user("sal", "x");
    let mut peer = open(&broker, "x").await;
    let refused = |name: &str| {
        Some(format!("ACCESS_REFUSED - access to queue '{name}' in vhost '/' refused for user 'sal'"))
    };
    assert_eq!(declaring(&mut peer, "a").await, None);
    broker.set_permissions("sal", "/", only("^b"));
    assert_eq!(declaring(&mut peer, "a").await, refused("a"));
    assert_eq!(declaring(&mut peer, "b").await, None);

    assert!(broker.clear_permissions("sal", "/"));
    assert_eq!(declaring(&mut peer, "b").await, refused("b"));
    assert!(!broker.clear_permissions("sal", "/") && !broker.clear_permissions("nobody", "/"));
    let mut late = Peer::silent(&broker);
    late.raw(&PROTOCOL_HEADER).await;
    late.expect::<connection::Start>(0).await;
    late.send(0, start_ok("sal", "x")).await;
    let tune = late.expect::<connection::Tune>(0).await;
    let connection::Tune { channel_max, frame_max, .. } = tune;
    late.send(0, connection::TuneOk { channel_max, frame_max, heartbeat: 0 }).await;
    late.send(0, connection::Open { virtual_host: short("/"), ..Default::default() }).await;
    assert_eq!(
        late.refusal().await,
        "connection 530 NOT_ALLOWED - access to vhost '/' refused for user 'sal'"
    );
}

#[tokio::test]
async fn a_publisher_may_no_longer_do_what_it_did() {
    let broker = Broker::builder().build();
    let mut peer = Peer::open(&broker).await;
    peer.declare("q").await;
    peer.publish("", "q", "one").await;
    peer.settle_down().await;
    broker.set_permissions("guest", "/", only("^nothing$"));
    peer.publish("", "q", "two").await;
    let refused =
        "channel 403 ACCESS_REFUSED - access to exchange 'amq.default' in vhost '/' refused for user 'guest'";
    assert_eq!(peer.refusal().await, refused);
}
