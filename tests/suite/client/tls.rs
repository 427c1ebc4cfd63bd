//! TLS: against the embedded broker behind a terminator, and against RabbitMQ's own.

use std::io;

use amqp_broker::Broker;
use amqp_client::{
    ConnectOptions, Connection, Error, Mechanism, Message, Queue, Report, Result, TlsError, TlsOptions,
};
use tests::{Authority, Identity, RabbitMq, TlsTerminator};
use tokio::net::TcpListener;

use super::fixture::within;

/// By `openssl pkcs8 -topk8`.
const ENCRYPTED_PKCS8: &str = "\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAhISsOgyahxmgICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEJNNDBxDZ/H3yxENgGmupvQEgZBy
67zhy1FpTIXX5SXhg1mAxGwYGQlIXzeogveXPPO8JAMEffcZ5hSx34uJUMOEgYJ/
7ESiBsPm0nreMF9TKdaCdf8M1dKflTZX0Y6JIB6LxgtuG1/Cm9lAVW1O+6QE9hdS
P1AtKqMNiPphjeRhwlgYmXY5680xO2M4p5JhJ934K5Ell1xx5cKz11h3KtKcHP4=
-----END ENCRYPTED PRIVATE KEY-----
";
/// By `openssl ec -aes128`.
const ENCRYPTED_SEC1: &str = "\
-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-128-CBC,2F7631ACBBB487F1F4BAEAF178A9AB58

WUDlwsI9M0gJ4oiT6fEkO2hwW/YyiQ5lfMWGN98dc8RBQX7oVQjyqXKwyZZJpJTR
XM8F5aA1Hk9YUYUI8wU4eGUylm8O68banHQL1szUy4p5kksyVG9bJwGFjg/VoPyz
HvhrWK4EVgbV38FggWY3yJges80NXb7FBuBElc0YfSk=
-----END EC PRIVATE KEY-----
";
/// By `openssl rsa -traditional -aes128`.
const ENCRYPTED_PKCS1: &str = "\
-----BEGIN RSA PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-128-CBC,5440F2A9CDEF2DE5047DF52637F53C4D

/MHtGYBjJIxtW1yu41Uw821Un3HGUdb8kTcMXe/Vi6IVZWwWCf4OkCiJjXSt0H0/
ox1PFwzweoWV0zRf7ogjP+vkYSWQU9CPxu5KVrKrgvf+rKCZs49YzZmX9G+W4RG4
kFB9udZGENjgdPCVyxfoLr06TYcpuBCLwowGwo+ab1m3ALASUMO6CcAlUIVVpk1a
290pw7mTkC9F04ga9MT2RtVhIY2yTOLssE6tb0DiM4cDhxd2B0QR9vOZcFlINBse
YkSYfUUEQswSMhkfPhsPV4OZm+iCCWQUZtD16kcrQldIFbQvTOnCUrziKcNP2twm
yllXgy9KZlB5m28KFWf/wUbhBJFHnWAgw4AwHgHtoD6DAKnVJp0axiyvamO0/iz+
JbIkWeDgNexQ3+HIM0Aur44Y127rXgZcHDhJFJcirGk=
-----END RSA PRIVATE KEY-----
";

/// The embedded broker with a certificate for these names; with `clients`, for clients of theirs
/// only.
async fn broker(authority: &Authority, names: &[&str], clients: Option<&Authority>) -> TlsTerminator {
    let config = authority.server(names).server_config(clients);
    TlsTerminator::start(config, Broker::builder().build()).await.unwrap()
}

fn trusting(authority: &Authority) -> TlsOptions {
    TlsOptions::new().ca_pem(authority.pem())
}

async fn connect(tls: TlsOptions, host: &str, port: u16) -> Result<Connection> {
    within(ConnectOptions::new().tls(tls).connect(&format!("amqps://{host}:{port}"))).await
}

fn tls_error(result: Result<Connection>) -> TlsError {
    match result {
        Err(Error::Tls { source, .. }) => source,
        other => panic!("an error of TLS was due: {other:?}"),
    }
}

/// Messages of sizes on both sides of what is copied, of a record and of a frame come back as they
/// were sent.
async fn carries_messages(connection: &Connection) {
    let channel = connection.open_channel().await.unwrap();
    let queue = channel.declare(&Queue::new("").exclusive(true)).await.unwrap();
    let publisher = channel.publisher().await.unwrap();
    let bodies: Vec<_> = [0, 1, 4096, 4097, 16_385, 131_072, 300_000, 2_000_000]
        .map(|size: u32| (0..size).map(|at| (at % 251) as u8).collect::<Vec<u8>>())
        .into();
    let mut confirms = Vec::new();
    for body in &bodies {
        confirms.push(within(publisher.publish("", &queue, Message::new(body.clone()))).await.unwrap());
    }
    for confirm in confirms {
        within(confirm).await.unwrap();
    }
    let mut consumer = channel.consume(&queue, Default::default()).await.unwrap();
    for body in &bodies {
        let delivery = within(consumer.recv()).await.unwrap().unwrap();
        assert!(delivery.body() == &body[..], "{} bytes", body.len());
        delivery.ack().await.unwrap();
    }
}

#[tokio::test]
async fn a_broker_whose_authority_is_trusted_is_talked_to() {
    let authority = Authority::new();
    let broker = broker(&authority, &["localhost", "127.0.0.1"], None).await;
    for host in ["localhost", "127.0.0.1"] {
        let connection = connect(trusting(&authority), host, broker.port()).await.unwrap();
        carries_messages(&connection).await;
        within(connection.close()).await.unwrap();
    }
}

#[tokio::test]
async fn a_uri_alone_says_whom_to_trust() {
    let authority = Authority::new();
    let broker = broker(&authority, &["localhost"], None).await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let uri = format!("amqps://localhost:{}?cacertfile={}", broker.port(), ca.display());
    carries_messages(&within(amqp_client::connect(&uri)).await.unwrap()).await;
}

#[tokio::test]
async fn a_broker_of_another_authority_is_refused() {
    let broker = broker(&Authority::new(), &["localhost"], None).await;
    let stranger = connect(trusting(&Authority::new()), "localhost", broker.port()).await;
    let error = tls_error(stranger);
    assert!(matches!(error, TlsError::CertificateRefused(_)), "{error}");
    assert!(Report(&error).to_string().contains("name the issuer's certificate as the CA file"), "{error}");
    // The system's authorities did not sign it either, on a system that has any.
    let error = tls_error(connect(TlsOptions::new(), "localhost", broker.port()).await);
    assert!(matches!(error, TlsError::CertificateRefused(_) | TlsError::NoSystemRoots(_)), "{error}");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_and_both_names_told() {
    let authority = Authority::new();
    let broker = broker(&authority, &["other.example", "127.0.0.2"], None).await;
    let error = tls_error(connect(trusting(&authority), "localhost", broker.port()).await);
    let TlsError::HostnameMismatch { name, presented } = &error else { panic!("{error}") };
    assert_eq!(name, "localhost");
    assert_eq!(presented, &["other.example", "127.0.0.2"]);
    let told = "the broker's certificate is not for \"localhost\" but for other.example, 127.0.0.2";
    assert_eq!(error.to_string(), told);

    let renamed = trusting(&authority).server_name("other.example");
    carries_messages(&connect(renamed, "localhost", broker.port()).await.unwrap()).await;
}

/// As `openssl req -subj /CN=localhost` asks for one, and nothing else is said.
#[tokio::test]
async fn a_certificate_with_a_common_name_alone_is_refused_and_what_it_lacks_is_told() {
    let authority = Authority::new();
    let broker = broker(&authority, &[], None).await;
    let error = tls_error(connect(trusting(&authority), "localhost", broker.port()).await);
    assert!(
        matches!(&error, TlsError::HostnameMismatch { presented, .. } if presented.is_empty()),
        "{error}"
    );
    let told = error.to_string();
    assert!(told.contains("a common name is not looked at") && told.contains("subjectAltName"), "{told}");
}

#[tokio::test]
async fn a_self_signed_certificate_is_refused_with_what_to_do_until_that_is_done() {
    for is_authority in [false, true] {
        let own = Identity::self_signed(&["localhost"], is_authority);
        let broker = Broker::builder().build();
        let broker = TlsTerminator::start(own.server_config(None), broker).await.unwrap();
        let strangers = trusting(&Authority::new());
        let error = tls_error(connect(strangers, "localhost", broker.port()).await).to_string();
        let trusted = TlsOptions::new().ca_pem(own.certificate.clone());
        let trusted = connect(trusted, "localhost", broker.port()).await;
        if is_authority {
            assert!(error.contains("CA:FALSE"), "{error}");
            let error = tls_error(trusted).to_string();
            assert!(error.contains("CA:FALSE"), "{error}");
        } else {
            assert!(error.contains("which of a self-signed one is itself"), "{error}");
            carries_messages(&trusted.unwrap()).await;
        }
    }
}

#[tokio::test]
async fn an_encrypted_key_is_told_to_be_that() {
    let certificate = Authority::new().client("ada").certificate;
    for key in [ENCRYPTED_PKCS8, ENCRYPTED_PKCS1, ENCRYPTED_SEC1] {
        let tls = TlsOptions::new().identity_pem(certificate.clone(), key);
        let error = tls_error(connect(tls, "localhost", 1).await);
        assert!(matches!(error, TlsError::EncryptedKey { .. }), "{error}");
        assert!(
            error.to_string().contains("is encrypted") && error.to_string().contains("openssl pkey"),
            "{error}"
        );
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), ENCRYPTED_PKCS8).unwrap();
    let chain = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(chain.path(), certificate).unwrap();
    let uri =
        format!("amqps://localhost:1?certfile={}&keyfile={}", chain.path().display(), file.path().display());
    let error = tls_error(within(amqp_client::connect(&uri)).await).to_string();
    assert!(error.contains(file.path().to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn any_certificate_is_taken_only_when_that_is_asked_for() {
    let broker = broker(&Authority::new(), &["other.example"], None).await;
    let careless = TlsOptions::new().danger_accept_any_certificate(true);
    carries_messages(&connect(careless, "localhost", broker.port()).await.unwrap()).await;
    let uri = format!("amqps://localhost:{}?verify=verify_none", broker.port());
    within(amqp_client::connect(&uri)).await.unwrap();
}

#[tokio::test]
async fn a_client_certificate_is_shown_when_the_broker_requires_one() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let broker = broker(&authority, &["localhost"], Some(&clients)).await;
    let client = clients.client("ada");
    let known = trusting(&authority).identity_pem(client.certificate, client.key);
    carries_messages(&connect(known, "localhost", broker.port()).await.unwrap()).await;

    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = clients.client("eve").write(folder.path(), "eve").unwrap();
    let by_files = trusting(&authority).identity_files(certificate, key);
    within(connect(by_files, "localhost", broker.port())).await.unwrap();
}

#[tokio::test]
async fn a_missing_client_certificate_is_the_brokers_refusal() {
    let authority = Authority::new();
    let broker = broker(&authority, &["localhost"], Some(&authority)).await;
    let unknown = connect(trusting(&authority), "localhost", broker.port()).await;
    let error = tls_error(unknown);
    assert!(matches!(error, TlsError::RefusedByBroker(_)), "{error}");
    assert!(Report(&error).to_string().contains("it requires a client certificate"), "{error}");
}

#[tokio::test]
async fn a_key_of_another_certificate_is_told_before_anything_is_sent() {
    let authority = Authority::new();
    let (one, other) = (authority.client("one"), authority.client("other"));
    let mixed = trusting(&authority).identity_pem(one.certificate, other.key);
    // Nobody listens: the mistake is found before.
    let error = tls_error(connect(mixed, "localhost", 1).await);
    assert!(matches!(error, TlsError::BadIdentity(_)), "{error}");
}

#[tokio::test]
async fn tls_with_a_port_that_does_not_speak_it_is_told_apart_both_ways() {
    let listener = Broker::builder().build().listen("127.0.0.1:0").await.unwrap();
    let tls = TlsOptions::new().danger_accept_any_certificate(true);
    let error = tls_error(connect(tls, "127.0.0.1", listener.local_addr().port()).await);
    assert!(matches!(error, TlsError::NotTls(_)), "{error}");

    let broker = broker(&Authority::new(), &["localhost"], None).await;
    let plain = within(amqp_client::connect(&format!("amqp://localhost:{}", broker.port()))).await;
    assert!(matches!(plain, Err(Error::NotAmqp(_))), "{plain:?}");
}

#[tokio::test]
async fn a_peer_that_hangs_up_in_the_handshake_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let hangs_up = async {
        drop(listener.accept().await.unwrap());
    };
    let tls = TlsOptions::new().danger_accept_any_certificate(true);
    let (result, ()) = tokio::join!(connect(tls, "127.0.0.1", port), hangs_up);
    let error = tls_error(result);
    let TlsError::Handshake(source) = &error else { panic!("{error}") };
    assert!(
        matches!(source.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset),
        "{error}"
    );
}

/// Over TLS a login is refused, and a connection lost, with the same words as without.
#[tokio::test]
async fn what_the_broker_says_is_heard_over_tls_too() {
    let authority = Authority::new();
    let broker = broker(&authority, &["localhost"], None).await;
    let options = ConnectOptions::new().tls(trusting(&authority));
    let uri = format!("amqps://guest:hunter2@localhost:{}", broker.port());
    let error = within(options.connect(&uri)).await.unwrap_err();
    assert!(matches!(&error, Error::LoginRefused { user, .. } if user == "guest"), "{error}");

    let uri = format!("amqps://localhost:{}", broker.port());
    let connection = within(options.connect(&uri)).await.unwrap();
    drop(broker);
    let error = within(connection.closed()).await;
    assert!(matches!(error, Error::ConnectionLost(_)), "{error}");
}

/// One node for all of it: starting one takes seconds.
#[tokio::test]
async fn rabbitmq_speaks_tls_with_us_and_logs_in_by_certificate() {
    if !RabbitMq::require("client::tls::rabbitmq_speaks_tls_with_us_and_logs_in_by_certificate") {
        return;
    }
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let (certificate, key) = authority.server(&["localhost"]).write(folder.path(), "server").unwrap();
    let port = RabbitMq::free_port().unwrap();
    let configuration = format!(
        "listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.cacertfile = {}\nssl_options.certfile = {}\n\
         ssl_options.keyfile = {}\nssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n\
         ssl_cert_login_from = common_name\nauth_mechanisms.1 = PLAIN\nauth_mechanisms.2 = EXTERNAL\n",
        ca.display(),
        certificate.display(),
        key.display(),
    );
    let node = RabbitMq::start_with(&configuration, &["rabbitmq_auth_mechanism_ssl"]).await.unwrap();
    node.ctl(&["add_user", "ada", "unused"]).await.unwrap();
    node.ctl(&["set_permissions", "ada", ".*", ".*", ".*"]).await.unwrap();
    let ada = authority.client("ada");
    let known = || trusting(&authority).identity_pem(ada.certificate.clone(), ada.key.clone());

    let connection = connect(known(), "localhost", port).await.unwrap();
    carries_messages(&connection).await;
    within(connection.close()).await.unwrap();

    let (certificate, key) = ada.write(folder.path(), "ada").unwrap();
    let uri = format!(
        "amqps://localhost:{port}?auth_mechanism=external&cacertfile={}&certfile={}&keyfile={}",
        ca.display(),
        certificate.display(),
        key.display()
    );
    let connection = within(amqp_client::connect(&uri)).await.unwrap();
    let users = node.ctl(&["list_connections", "user", "auth_mechanism", "ssl"]).await.unwrap();
    assert!(users.contains("ada\tEXTERNAL\ttrue"), "{users}");
    within(connection.close()).await.unwrap();

    let nobody = authority.client("nobody");
    let tls = trusting(&authority).identity_pem(nobody.certificate, nobody.key);
    let options = ConnectOptions::new().tls(tls).mechanisms([Mechanism::External]);
    let refused = within(options.connect(&format!("amqps://localhost:{port}"))).await;
    assert!(matches!(refused, Err(Error::LoginRefused { .. })), "{refused:?}");

    let error = tls_error(connect(known().ca_pem(Authority::new().pem()), "localhost", port).await);
    assert!(matches!(error, TlsError::CertificateRefused(_)), "{error}");
    let error = tls_error(connect(known(), "127.0.0.1", port).await);
    assert!(matches!(error, TlsError::HostnameMismatch { .. }), "{error}");
    // Erlang may reset the connection before its alert has left.
    let error = connect(trusting(&authority), "localhost", port).await.unwrap_err();
    let refused = matches!(&error, Error::Tls { source: TlsError::RefusedByBroker(_), .. });
    assert!(refused || matches!(error, Error::ConnectionLost(_)), "{error}");
    let careless = known().ca_pem(Authority::new().pem()).danger_accept_any_certificate(true);
    carries_messages(&connect(careless, "127.0.0.1", port).await.unwrap()).await;
}
