//! Errors of connecting: each names its cause, and none hangs.

use std::time::Duration;

use amqp_client::{ConnectOptions, Error, Message, ReplyCode, connect};
use tests::{Direction, Proxy};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{
    fixture::{Broker, within},
    on_every_broker,
};

on_every_broker! {
    a_wrong_password_is_refused_without_being_shown,
    an_unknown_virtual_host_is_named,
}

async fn a_wrong_password_is_refused_without_being_shown(broker: Broker) {
    let options = ConnectOptions::new();
    let result = broker.connect_as(options, |uri| uri.password = "hunter2".into()).await;
    let error = result.unwrap_err();
    assert!(matches!(&error, Error::LoginRefused { user, .. } if user == "guest"), "{error:?}");
    assert!(error.to_string().contains("ACCESS_REFUSED"), "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

async fn an_unknown_virtual_host_is_named(broker: Broker) {
    let result = broker.connect_as(ConnectOptions::new(), |uri| uri.vhost = "nowhere".into()).await;
    let error = result.unwrap_err();
    assert!(matches!(&error, Error::VhostRefused { vhost, .. } if vhost == "nowhere"), "{error:?}");
    assert_eq!(error.reply_code(), Some(ReplyCode::NOT_ALLOWED));
    assert!(error.to_string().contains("vhost nowhere not found"), "{error}");
}

#[tokio::test]
async fn an_unknown_host_is_named() {
    let error = within(connect("amqp://no-such-host.invalid/")).await.unwrap_err();
    assert!(matches!(&error, Error::Resolve { host, .. } if host == "no-such-host.invalid"), "{error:?}");
}

#[tokio::test]
async fn a_refused_connection_names_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = connect(&format!("amqp://{address}")).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[tokio::test]
async fn a_mute_peer_ends_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("amqp://{}", listener.local_addr().unwrap());
    let options = ConnectOptions::new().connect_timeout(Duration::from_millis(200));
    let error = within(options.connect(&uri)).await.unwrap_err();
    assert!(matches!(error, Error::ConnectTimeout { .. }), "{error:?}");
}

#[tokio::test]
async fn a_peer_that_is_no_broker_is_told_apart() {
    for greeting in
        ["HTTP/1.1 400 Bad Request\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "\u{1}\0\0\u{7f}\u{7f}\u{7f}\u{7f}"]
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("amqp://{}", listener.local_addr().unwrap());
        let peer = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            socket.write_all(greeting.as_bytes()).await.unwrap();
            let _ = socket.read_to_end(&mut Vec::new()).await;
        });
        let error = within(connect(&uri)).await.unwrap_err();
        assert!(matches!(error, Error::NotAmqp(_)), "{greeting:?}: {error:?}");
        peer.abort();
    }
}

#[tokio::test]
async fn a_broker_of_another_version_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("amqp://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(b"AMQP\0\x01\0\0").await.unwrap();
    });
    let error = within(connect(&uri)).await.unwrap_err();
    assert!(matches!(error, Error::VersionRefused(header) if header == *b"AMQP\0\x01\0\0"), "{error:?}");
}

#[tokio::test]
async fn an_invalid_uri_is_refused_before_anything_is_sent() {
    for uri in ["", "host", "http://host", "amqp://host:port"] {
        let error = connect(uri).await.unwrap_err();
        assert!(matches!(error, Error::InvalidUri(_)), "{uri}: {error:?}");
    }
}

#[tokio::test]
async fn a_cut_connection_ends_every_waiter_with_the_reason() {
    let broker = amqp_broker::Broker::builder().build();
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr()).await.unwrap();
    let connection = connect(&format!("amqp://{}", proxy.addr())).await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare(&amqp_client::Queue::new("").exclusive(true)).await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    let mut consumer = channel.consume("amq.rabbitmq.never", Default::default()).await.err();
    assert!(consumer.take().is_some_and(|error| error.reply_code() == Some(ReplyCode::NOT_FOUND)));
    let other = connection.open_channel().await.unwrap();
    let mut consumer = other.consume(&queue, Default::default()).await.unwrap();
    drop(publisher);

    let publisher = other.publisher().await.unwrap();
    proxy.cut_after(0, Direction::ToBroker);
    let confirm = publisher.publish(("", &queue), Message::new("x")).await.unwrap();
    assert!(within(confirm).await.unwrap_err().is_connection_error());
    assert!(within(consumer.recv()).await.unwrap().unwrap_err().is_connection_error());
    assert!(within(connection.closed()).await.is_connection_error());
    assert!(within(connection.open_channel()).await.unwrap_err().is_connection_error());
}
