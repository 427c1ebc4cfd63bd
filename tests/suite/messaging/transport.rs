//! Connecting, and the errors when that fails.

use std::time::{Duration, Instant};

use messaging::{Error, Exchange, Queue, Report, Transport, TransportOptions, UrlError};
use tests::{Authority, TlsTerminator};
use tokio::net::TcpListener;
use tracing::Level;

use super::{
    fixture::{Broker, within},
    on_every_broker_and_redis,
};
use crate::log::Log;

async fn refusal(url: &str) -> Error {
    within(Transport::connect(url)).await.expect_err(url)
}

/// All messages of the error.
async fn said_of(url: &str) -> String {
    Report(&refusal(url).await).to_string()
}

/// A port on which nobody listens.
async fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// The URL alone configures TLS; a broker with an untrusted certificate is refused, and named once.
#[tokio::test]
async fn amqps_is_tls_and_the_url_says_whom_to_trust() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let config = authority.server(&["localhost"]).server_config(None);
    let broker = TlsTerminator::start(config, amqp_broker::Broker::builder().build()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = |authority: &Authority, name: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, authority.pem()).unwrap();
        format!("amqps://localhost:{}/?cacertfile={}", broker.port(), file.display())
    };
    let transport = Transport::connect(&url(&authority, "ours.pem")).await.unwrap();
    transport.close().await.unwrap();
    let error = said_of(&url(&stranger, "theirs.pem")).await;
    assert!(error.contains("its issuer is not among"), "{error}");
    assert_eq!(error.matches("localhost").count(), 1, "{error}");
}

#[tokio::test]
async fn a_url_that_cannot_be_read_is_refused_before_anything_is_opened() {
    assert!(matches!(refusal("localhost").await, Error::Url(UrlError::NoScheme)));
    assert!(matches!(
        TransportOptions::new().lazy("rabbit://h:x/"),
        Err(Error::Url(UrlError::BadPort { .. }))
    ));
}

#[tokio::test]
async fn a_refused_connection_and_an_unknown_host_are_named() {
    let port = closed_port().await;
    let refused = said_of(&format!("amqp://127.0.0.1:{port}/")).await;
    assert!(refused.contains(&format!("127.0.0.1:{port}")), "{refused}");
    let unknown = said_of("rabbit://no-such-host.invalid/").await;
    assert!(unknown.contains("no-such-host.invalid"), "{unknown}");
}

#[tokio::test]
async fn a_wrong_password_is_named_and_not_shown() {
    let broker = Broker::embedded().await;
    let url = broker.url.replace("guest:guest", "guest:hunter2");
    let refused = said_of(&url).await;
    assert!(refused.contains("guest") && !refused.contains("hunter2"), "{refused}");
}

/// Nothing of such a password is taken for a host, so nothing of it is resolved either.
#[tokio::test]
async fn no_part_of_a_password_that_is_not_escaped_is_told_or_logged() {
    let (log, _guard) = Log::listen_from(Level::TRACE);
    let port = closed_port().await;
    tracing::trace!("begun");
    for password in
        ["hun@ter2", "hun/ter2", "x@hun/ter2", "x@hun/@ter2", "x@hun?ter2", "/hun@ter2", "hun:@/?#ter2"]
    {
        for scheme in ["amqp", "rabbit"] {
            let said = said_of(&format!("{scheme}://guest:{password}@127.0.0.1:{port}/")).await;
            assert!(!said.contains("hun") && !said.contains("ter2"), "{password}: {said}");
        }
    }
    tracing::trace!("ended");
    assert_eq!((log.lines("begun").len(), log.lines("ended").len()), (1, 1));
    assert_eq!([log.lines("hun"), log.lines("ter2")], [const { Vec::<String>::new() }; 2]);
}

#[tokio::test]
async fn an_unknown_virtual_host_is_named() {
    let broker = Broker::embedded().await;
    let refused = said_of(&format!("{}nowhere", broker.url)).await;
    assert!(refused.contains("\"nowhere\""), "{refused}");
}

#[tokio::test]
async fn a_mute_peer_ends_at_the_connect_deadline_and_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let options = TransportOptions::new().connect_timeout(Duration::from_millis(200));
    let refused = within(options.connect(&format!("amqp://{address}/"))).await.expect_err("a mute peer");
    assert!(Report(&refused).to_string().contains(&address.to_string()), "{refused:?}");
}

#[tokio::test]
async fn the_next_host_is_tried_when_one_is_down() {
    let broker = Broker::embedded().await;
    let address = broker.url.trim_start_matches("amqp://guest:guest@").trim_end_matches('/');
    let url = format!("rabbit://guest:guest@127.0.0.1:{},guest:guest@{address}/", closed_port().await);
    let transport = within(Transport::connect(&url)).await.unwrap();
    let queue = broker.name("q");
    let mut consumer = transport.consumer(Queue::new(&queue)).start::<u32>().await.unwrap();
    transport.producer(Exchange::default()).ensure_publish(&queue, &7).await.unwrap();
    assert_eq!(*within(consumer.recv()).await.unwrap().unwrap().body(), 7);
}

#[tokio::test]
async fn a_lazy_transport_needs_no_broker_until_it_is_used() {
    let url = format!("amqp://127.0.0.1:{}/", closed_port().await);
    let transport = TransportOptions::new().lazy(&url).unwrap();
    assert!(transport.consumer(Queue::new("q")).start::<u32>().await.is_err());
    transport.close().await.unwrap();
}

#[tokio::test]
async fn transports_of_one_memory_name_meet_and_of_another_do_not() {
    let broker = Broker::memory();
    let (one, two) = (broker.transport().await, broker.transport().await);
    let other = Broker::memory().transport().await;
    let mut consumer = one.consumer(Queue::new("q")).start::<u32>().await.unwrap();
    two.producer(Exchange::default()).mandatory(true).ensure_publish("q", &1).await.unwrap();
    assert!(within(consumer.recv()).await.is_some());
    assert!(other.producer(Exchange::default()).mandatory(true).ensure_publish("q", &1).await.is_err());
}

async fn everything_fails_once_the_transport_is_closed(broker: Broker) {
    let transport = broker.transport().await;
    let producer = transport.producer(Exchange::default());
    let mut consumer =
        transport.consumer(Queue::new(broker.name("q")).exclusive(true)).start::<u32>().await.unwrap();
    producer.clone().mandatory(false).ensure_publish("nowhere", &1).await.unwrap();
    within(transport.close()).await.unwrap();
    within(transport.close()).await.unwrap();

    let begun = Instant::now();
    let Err(Error::Undelivered(failure)) = producer.ensure_publish("nowhere", &1).await else {
        panic!("published")
    };
    assert!(matches!(failure.source.as_deref(), Some(Error::Closed)), "{failure}");
    assert!(begun.elapsed() < Duration::from_secs(10), "not tried again in vain");
    assert!(matches!(within(consumer.recv()).await, Some(Err(Error::ConsumerEnded { .. }))));
    assert!(within(consumer.recv()).await.is_none());
    assert!(matches!(transport.consumer(Queue::new("q")).start::<u32>().await, Err(Error::Closed)));
}

on_every_broker_and_redis! {
    everything_fails_once_the_transport_is_closed,
}
