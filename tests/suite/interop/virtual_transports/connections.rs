//! The ways to a Redis: TLS, a Unix domain socket, and logins.

use std::path::Path;

use messaging::{Error, Exchange, Queue, Transport};
use tests::{Authority, RabbitMq, Redis};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::within;

/// Sends a message to a queue and receives it.
async fn works(url: &str) {
    let transport = within(Transport::connect(url)).await.unwrap();
    within(transport.producer(Exchange::default()).ensure_publish("q", "hello")).await.unwrap();
    let mut consumer = within(transport.consumer(Queue::new("q")).start::<String>()).await.unwrap();
    let delivery = within(consumer.recv()).await.unwrap().unwrap();
    assert_eq!(delivery.body(), "hello");
    within(delivery.ack()).await.unwrap();
    within(transport.close()).await.unwrap();
}

/// Waits for messages of a queue and of a fanout exchange, and gets them.
async fn wakes(url: &str) {
    let transport = within(Transport::connect(url)).await.unwrap();
    let news = Exchange::fanout("news");
    let fanned = transport.consumer(Queue::new("fanned")).bind(&news, "");
    let mut fanned = within(fanned.start::<String>()).await.unwrap();
    let mut waiting = within(transport.consumer(Queue::new("waiting")).start::<String>()).await.unwrap();
    within(transport.producer(news).ensure_publish("", "all")).await.unwrap();
    within(transport.producer(Exchange::default()).ensure_publish("waiting", "one")).await.unwrap();
    for (consumer, body) in [(&mut fanned, "all"), (&mut waiting, "one")] {
        let delivery = within(consumer.recv()).await.unwrap().unwrap();
        assert_eq!(delivery.body(), body);
        within(delivery.ack()).await.unwrap();
    }
    within(transport.close()).await.unwrap();
}

/// The error of a transport, in one line with its causes; it shows no password.
async fn refused(url: &str) -> String {
    let error = within(Transport::connect(url)).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    let told = messaging::Report(&error).to_string();
    assert!(!format!("{told} {error:?}").contains("hunter2"), "{told}");
    told
}

/// A Redis with TLS beside the plain port; returns it with its port for TLS.
async fn with_tls(folder: &Path, authority: &Authority, clients: &str) -> (Redis, u16) {
    let identity = authority.server(&["localhost", "127.0.0.1"]);
    let (certificate, key) = identity.write(folder, "server").unwrap();
    let ca = folder.join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let port = RabbitMq::free_port().unwrap();
    let [certificate, key, ca] = [&certificate, &key, &ca].map(|path| path.to_str().unwrap());
    let number = port.to_string();
    let arguments = [
        ["--save", ""],
        ["--tls-port", &number],
        ["--tls-cert-file", certificate],
        ["--tls-key-file", key],
        ["--tls-ca-cert-file", ca],
        ["--tls-auth-clients", clients],
    ];
    (Redis::start_with(arguments.as_flattened()).await.unwrap(), port)
}

#[tokio::test]
async fn certificates_are_verified() {
    if !Redis::require("connections::certificates_are_verified") {
        return;
    }
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let (redis, port) = with_tls(folder.path(), &authority, "no").await;
    let others = folder.path().join("others.pem");
    std::fs::write(&others, Authority::new().pem()).unwrap();
    let folder = folder.path().display();
    let ca = format!("ssl_ca_certs={folder}/ca.pem");
    works(&format!("rediss://localhost:{port}/0?{ca}")).await;
    works(&format!("rediss://127.0.0.1:{port}/0?ssl_cert_reqs=none")).await;
    works(&format!("redis://localhost:{port}/0?ssl=true&{ca}")).await;
    let data = std::fs::read_to_string(format!("{folder}/ca.pem")).unwrap();
    let data = data.replace('+', "%2B").replace('\n', "%0A").replace('=', "%3D");
    works(&format!("rediss://localhost:{port}/0?ssl_ca_data={data}")).await;
    // The second version of the protocol listens and waits on connections of their own.
    for more in ["protocol=3", "protocol=2", "protocol=2&client_name=me"] {
        wakes(&format!("rediss://localhost:{port}/0?{ca}&{more}")).await;
    }
    for (url, told) in [
        (format!("rediss://:hunter2@localhost:{port}/0?ssl_ca_certs={folder}/others.pem"), "UnknownIssuer"),
        (format!("rediss://:hunter2@localhost:{port}/0"), "UnknownIssuer"),
        (format!("rediss://:hunter2@127.0.0.2:{port}/0?{ca}"), "127.0.0.2"),
        (format!("rediss://:hunter2@localhost:{port}/0?ssl_ca_certs={folder}/none.pem"), "none.pem"),
        (format!("rediss://:hunter2@localhost:{}/0?{ca}", redis.port()), "Redis"),
    ] {
        let text = refused(&url).await;
        assert!(text.contains(told), "{url}: {text}");
    }
}

#[tokio::test]
async fn a_client_shows_its_certificate() {
    if !Redis::require("connections::a_client_shows_its_certificate") {
        return;
    }
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let (_redis, port) = with_tls(folder.path(), &authority, "yes").await;
    authority.client("worker").write(folder.path(), "client").unwrap();
    let folder = folder.path().display();
    let url = format!("rediss://localhost:{port}/0?ssl_ca_certs={folder}/ca.pem");
    works(&format!("{url}&ssl_certfile={folder}/client.pem&ssl_keyfile={folder}/client.key")).await;
    refused(&url).await;
}

#[tokio::test]
async fn a_socket_is_as_good_as_a_port() {
    if !Redis::require("connections::a_socket_is_as_good_as_a_port") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("redis.sock");
    let arguments = ["--save", "", "--unixsocket", socket.to_str().unwrap()];
    let redis = Redis::start_with(&arguments).await.unwrap();
    let url = format!("redis+socket://{}?virtual_host=3", socket.display());
    works(&url).await;
    wakes(&format!("{url}&protocol=2&client_name=me")).await;
    let transport = within(Transport::connect(&url)).await.unwrap();
    within(transport.producer(Exchange::default()).ensure_publish("stays", "hello")).await.unwrap();
    for (database, length) in [(3, 1), (0, 0)] {
        let answer = redis.ask(&format!("SELECT {database}\r\nLLEN stays")).await.unwrap();
        assert_eq!(answer, format!("+OK\r\n:{length}\r\n"), "database {database}");
    }
    within(transport.close()).await.unwrap();
    let text = refused(&format!("redis+socket://{}.none", socket.display())).await;
    assert!(text.contains("No such file"), "{text}");
}

#[tokio::test]
async fn a_user_of_the_access_list_logs_in() {
    const COMMANDS: &[u8] = b"ACL SETUSER ada on >hunter2/%? ~* &* +@all\r\n\
        ACL SETUSER default resetpass >other\r\nQUIT\r\n";
    if !Redis::require("connections::a_user_of_the_access_list_logs_in") {
        return;
    }
    let redis = Redis::start().await.unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", redis.port())).await.unwrap();
    stream.write_all(COMMANDS).await.unwrap();
    let mut said = String::new();
    within(tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut said)).await.unwrap();
    assert_eq!(said, "+OK\r\n+OK\r\n+OK\r\n");
    let url = |login: &str| format!("redis://{login}@127.0.0.1:{}/0", redis.port());
    works(&url("ada:hunter2%2F%25%3F")).await;
    for login in ["ada:hunter2", "eve:hunter2%2F%25%3F", ":hunter2"] {
        let text = refused(&url(login)).await;
        assert!(text.contains("invalid username-password pair or user is disabled"), "{login}: {text}");
    }
}
