//! Logins by each mechanism, and several hosts within one deadline.

use std::time::{Duration, Instant};

use amqp_broker::Listener;
use amqp_client::{ConnectOptions, Connection, Credentials, Error, Mechanism, TlsOptions, Uri, connect};
use tokio::net::TcpListener;

use super::{
    fixture::{Broker, within},
    on_every_broker,
};

on_every_broker! {
    amqplain_logs_in,
    amqplain_with_a_wrong_password_is_refused,
    a_provider_gives_the_login,
    a_secret_is_updated,
}

async fn amqplain_logs_in(broker: Broker) {
    let options = ConnectOptions::new().mechanisms([Mechanism::AmqPlain]);
    works(&broker.connect_with(options).await.unwrap()).await;
}

async fn amqplain_with_a_wrong_password_is_refused(broker: Broker) {
    let options = ConnectOptions::new().mechanisms([Mechanism::AmqPlain]);
    let error = broker.connect_as(options, |uri| uri.password = "hunter2".into()).await.unwrap_err();
    assert!(matches!(error, Error::LoginRefused { .. }), "{error}");
    assert!(error.to_string().contains("AMQPLAIN") && !error.to_string().contains("hunter2"), "{error}");
}

async fn a_provider_gives_the_login(broker: Broker) {
    let options = ConnectOptions::new().credentials_from(|| async { Ok(Credentials::new("guest", "guest")) });
    let connection = broker.connect_as(options, |uri| uri.password = "of nobody".into()).await;
    works(&connection.unwrap()).await;
}

async fn a_secret_is_updated(broker: Broker) {
    let connection = broker.connect().await;
    within(connection.update_secret("guest", "a test")).await.unwrap();
    works(&connection).await;
}

async fn works(connection: &Connection) {
    within(connection.open_channel()).await.unwrap();
}

async fn embedded() -> Listener {
    amqp_broker::Broker::builder().build().listen("127.0.0.1:0").await.unwrap()
}

/// A port on which nobody listens.
async fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn a_host_that_is_down_is_passed_over() {
    let (listener, closed) = (embedded().await, closed_port().await);
    let live = listener.local_addr();
    works(
        &within(connect(&format!("amqp://127.0.0.1:{closed},no-such-host.invalid,{live}/"))).await.unwrap(),
    )
    .await;
    for _ in 0..8 {
        let shuffled = ConnectOptions::new().shuffle_hosts(true);
        works(&within(shuffled.connect(&format!("amqp://{live},127.0.0.1:{closed}"))).await.unwrap()).await;
    }
}

#[tokio::test]
async fn shuffled_hosts_are_tried_in_more_than_one_order() {
    let (one, other) = (closed_port().await, closed_port().await);
    let uri = format!("amqp://127.0.0.1:{one},127.0.0.1:{other}");
    let mut first_tried = std::collections::BTreeSet::new();
    for _ in 0..64 {
        let Error::NoHost(failures) =
            within(ConnectOptions::new().shuffle_hosts(true).connect(&uri)).await.unwrap_err()
        else {
            panic!("nobody listens")
        };
        assert_eq!(failures.len(), 2);
        first_tried.insert(failures[0].0.clone());
    }
    assert_eq!(first_tried.len(), 2, "one order in 64 tries has a chance of 2^-63");
}

#[tokio::test]
async fn when_no_host_takes_the_connection_each_is_named_with_its_reason() {
    let (one, other) = (closed_port().await, closed_port().await);
    let error = within(connect(&format!("amqp://127.0.0.1:{one},127.0.0.1:{other}"))).await.unwrap_err();
    let Error::NoHost(failures) = &error else { panic!("{error}") };
    assert!(failures.iter().all(|(_, error)| matches!(error, Error::Connect { .. })), "{error}");
    for port in [one, other] {
        assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
    }
    assert!(matches!(ConnectOptions::new().connect(&[]).await, Err(Error::InvalidUri(_))));
}

#[tokio::test]
async fn a_broker_is_given_as_text_or_as_one_uri_or_as_several() {
    let listener = embedded().await;
    let text = format!("amqp://{}", listener.local_addr());
    let uri = text.parse::<Uri>().unwrap();
    let options = ConnectOptions::new();
    works(&within(options.connect(text.as_str())).await.unwrap()).await;
    works(&within(options.connect(&text)).await.unwrap()).await;
    works(&within(options.connect(&uri)).await.unwrap()).await;
    let closed = Uri { port: closed_port().await, ..uri.clone() };
    works(&within(options.connect(&[closed.clone(), uri.clone()])).await.unwrap()).await;
    works(&within(options.connect(&vec![closed, uri])).await.unwrap()).await;
    let no_text = within(options.connect("http://a.example")).await;
    assert!(matches!(no_text, Err(Error::InvalidUri(_))));
}

/// A host that accepts and stays silent takes its part of the deadline, and no more.
#[tokio::test]
async fn a_mute_host_leaves_time_for_the_next_and_all_share_one_deadline() {
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mute = mute.local_addr().map(|address| (mute, address)).unwrap();
    let listener = embedded().await;
    let options = ConnectOptions::new().connect_timeout(Duration::from_secs(3));
    let uri = format!("amqp://{},{}", mute.1, listener.local_addr());
    works(&within(options.connect(&uri)).await.unwrap()).await;

    let begun = Instant::now();
    let options = ConnectOptions::new().connect_timeout(Duration::from_millis(600));
    let uri = format!("amqp://{0},{0},{0}", mute.1);
    let error = within(options.connect(&uri)).await.unwrap_err();
    let Error::NoHost(failures) = &error else { panic!("{error}") };
    // Each host gets its part of what the others left; timers may fire late.
    let parts: Duration = failures.iter().map(|(_, error)| part(error)).sum();
    assert!(parts <= Duration::from_millis(600) && begun.elapsed() >= parts, "{error}");
}

/// The part of the deadline that a host took.
fn part(error: &Error) -> Duration {
    match error {
        Error::ConnectTimeout { after, .. } => *after,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_deadline_covers_the_handshake_of_tls() {
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = mute.local_addr().unwrap().port();
    let options = ConnectOptions::new().tls(TlsOptions::new().danger_accept_any_certificate(true));
    let uri = format!("amqps://127.0.0.1:{port}?connection_timeout=200");
    let error = within(options.connect(&uri)).await.unwrap_err();
    assert!(matches!(error, Error::ConnectTimeout { after, .. } if after.as_millis() == 200), "{error}");
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_virtual_host_are_not_tried_elsewhere() {
    let (refusing, next) = (embedded().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let hosts = format!("{},{}", refusing.local_addr(), next.local_addr().unwrap());
    let error = within(connect(&format!("amqp://guest:wrong@{hosts}"))).await.unwrap_err();
    assert!(matches!(error, Error::LoginRefused { .. }), "{error}");
    let error = within(connect(&format!("amqp://{hosts}/nowhere"))).await.unwrap_err();
    assert!(matches!(error, Error::VhostRefused { .. }), "{error}");
    let error = within(connect(&format!("amqps://{hosts}?cacertfile=/nowhere/ca.pem"))).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error}");
    let nobody_came = tokio::time::timeout(Duration::ZERO, next.accept()).await;
    assert!(nobody_came.is_err(), "the next host was tried");
}

/// localhost may be ::1 and 127.0.0.1; the broker listens on one of them.
#[tokio::test]
async fn every_address_of_a_name_is_tried() {
    let listener = embedded().await;
    let uri = Uri { host: "localhost".into(), port: listener.local_addr().port(), ..Uri::default() };
    works(&within(ConnectOptions::new().connect(&uri)).await.unwrap()).await;
}

#[tokio::test]
async fn an_ipv6_literal_is_connected_to() {
    let Ok(listener) = amqp_broker::Broker::builder().build().listen("[::1]:0").await else {
        tests::leave_out("client::connect::an_ipv6_literal_is_connected_to", "no IPv6 on this machine");
        return;
    };
    let uri = format!("amqp://[::1]:{}/%2F", listener.local_addr().port());
    works(&within(connect(&uri)).await.unwrap()).await;
}
