//! TLS listeners, and clients that authenticate by certificate.

use std::time::Duration;

use amqp_broker::{Broker, ConnectionState, Listener, Permissions, Tls};
use amqp_client::{ConnectOptions, Connection, Mechanism, Message, Queue, Result, TlsOptions};
use tests::{Authority, Identity, Proxy};

use super::within;

async fn listen(broker: &Broker, identity: &Identity, clients: Option<&Authority>) -> Listener {
    let tls = Tls::from_pem(identity.certificate.as_bytes(), identity.key.as_bytes()).unwrap();
    let tls = match clients {
        Some(authority) => tls.client_authorities(authority.pem().as_bytes()).unwrap(),
        None => tls,
    };
    broker.listen_tls("127.0.0.1:0", &tls).await.unwrap()
}

async fn connect(listener: &Listener, tls: TlsOptions, mechanism: Mechanism) -> Result<Connection> {
    let uri = format!("amqps://localhost:{}", listener.local_addr().port());
    within(ConnectOptions::new().tls(tls).mechanisms([mechanism]).connect(&uri)).await
}

fn with_certificate(authority: &Authority, name: &str) -> TlsOptions {
    let Identity { certificate, key } = authority.client(name);
    TlsOptions::new().ca_pem(authority.pem()).identity_pem(certificate, key)
}

#[tokio::test]
async fn messages_pass_through_the_brokers_own_tls() {
    let authority = Authority::new();
    let broker = Broker::builder().build();
    let listener = listen(&broker, &authority.server(&["localhost"]), None).await;
    let trusting = TlsOptions::new().ca_pem(authority.pem());
    let connection = connect(&listener, trusting, Mechanism::Plain).await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    let body = vec![7; 1_000_000];
    publisher.publish(("", &queue), Message::new(body.clone())).await.unwrap().await.unwrap();
    let mut consumer = channel.consume(&queue, Default::default()).await.unwrap();
    let delivery = within(consumer.recv()).await.unwrap().unwrap();
    assert!(delivery.body() == &body[..]);
    within(connection.close()).await.unwrap();
    broker.shutdown().await;
}

#[tokio::test]
async fn a_client_is_the_user_its_certificate_names_and_nobody_else() {
    let authority = Authority::new();
    let permissions = Permissions::new("^ada-", "", "").unwrap();
    let broker = Broker::builder().permissions("ada", "/", permissions).build();
    let listener = listen(&broker, &authority.server(&["localhost"]), Some(&authority)).await;

    let ada = connect(&listener, with_certificate(&authority, "ada"), Mechanism::External).await.unwrap();
    assert_eq!(broker.connections()[0].user, "ada");
    let channel = ada.open_channel().await.unwrap();
    channel.declare(&Queue::new("ada-1")).await.unwrap();
    let error = channel.declare(&Queue::new("other")).await.unwrap_err();
    assert!(
        error.to_string().contains("access to queue 'other' in vhost '/' refused for user 'ada'"),
        "{error}"
    );

    let eve = connect(&listener, with_certificate(&authority, "eve"), Mechanism::External).await;
    let error = eve.unwrap_err().to_string();
    assert!(error.contains("Login was refused using authentication mechanism EXTERNAL"), "{error}");

    let nobody = TlsOptions::new().ca_pem(authority.pem());
    assert!(connect(&listener, nobody, Mechanism::Plain).await.is_err());
    let stranger = with_certificate(&Authority::new(), "ada").ca_pem(authority.pem());
    assert!(connect(&listener, stranger, Mechanism::External).await.is_err());
}

#[tokio::test]
async fn a_user_without_a_password_logs_in_by_certificate_alone() {
    let authority = Authority::new();
    let broker = Broker::builder().user_without_password("ada").build();
    let listener = listen(&broker, &authority.server(&["localhost"]), Some(&authority)).await;
    let ada = connect(&listener, with_certificate(&authority, "ada"), Mechanism::External).await.unwrap();
    assert_eq!(broker.connections()[0].user, "ada");
    within(ada.close()).await.unwrap();
    // The client's default user, guest, does not exist here.
    let error = connect(&listener, with_certificate(&authority, "ada"), Mechanism::Plain).await.unwrap_err();
    assert!(error.to_string().contains("authentication mechanism PLAIN"), "{error}");
    let late = connect(&listener, with_certificate(&authority, "eve"), Mechanism::External);
    assert!(late.await.is_err());
    broker.add_user_without_password("eve");
    connect(&listener, with_certificate(&authority, "eve"), Mechanism::External).await.unwrap();
}

#[tokio::test]
async fn external_is_not_offered_to_who_showed_no_certificate() {
    let authority = Authority::new();
    let broker = Broker::builder().build();
    let listener = listen(&broker, &authority.server(&["localhost"]), None).await;
    let trusting = TlsOptions::new().ca_pem(authority.pem());
    assert!(connect(&listener, trusting, Mechanism::External).await.is_err());
}

#[tokio::test]
async fn the_end_of_a_client_is_seen_while_nothing_is_read_of_it() {
    let authority = Authority::new();
    let broker = Broker::builder().stall_timeout(Duration::from_millis(100)).build();
    let listener = listen(&broker, &authority.server(&["localhost"]), None).await;
    let proxy = Proxy::start(listener.local_addr()).await.unwrap();
    let uri = format!("amqps://localhost:{}", proxy.addr().port());
    let trusting = TlsOptions::new().ca_pem(authority.pem());
    let connection = within(ConnectOptions::new().tls(trusting).connect(&uri)).await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    broker.faults().block("a test ordered it");
    let confirm = publisher.publish(("", "nowhere"), Message::new("")).await.unwrap();
    let state = || broker.connections().first().map(|connection| connection.state);
    let becomes = async |expected: Option<ConnectionState>| {
        while state() != expected {
            tokio::task::yield_now().await;
        }
    };
    within(becomes(Some(ConnectionState::Blocked))).await;
    proxy.cut();
    within(becomes(None)).await;
    assert!(confirm.await.is_err());
}
