//! TLS with a Redis and its sentinels whose authority is nobody else's.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::Path,
};

use messaging::{Exchange, Transport};
use tempfile::TempDir;
use tests::{Authority, Redis, SecureSentinel};

use super::super::fixture::within;

/// An authority, and files for clients that trust it and that it trusts.
struct Trust {
    authority: Authority,
    folder: TempDir,
    ca_certs: String,
    certfile: String,
    keyfile: String,
}

impl Trust {
    fn new() -> Self {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        let trusted = folder.path().join("authority.pem");
        fs::write(&trusted, authority.pem()).unwrap();
        let (certificate, key) = authority.client("a client").write(folder.path(), "client").unwrap();
        let [ca_certs, certfile, keyfile] = [trusted, certificate, key].map(|path| text(&path));
        Trust { authority, folder, ca_certs, certfile, keyfile }
    }

    /// A Redis with TLS, whose certificate has this name, and its TLS port.
    async fn redis(&self, name: &str) -> (Redis, u16) {
        let (certificate, key) = self.authority.server(&[name]).write(self.folder.path(), "server").unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let (certificate, key, number) = (text(&certificate), text(&key), port.to_string());
        let options = [
            ["--tls-port", &number],
            ["--tls-cert-file", &certificate],
            ["--tls-key-file", &key],
            ["--tls-ca-cert-file", &self.ca_certs],
            ["--tls-auth-clients", "no"],
            ["--save", ""],
        ];
        (Redis::start_with(options.as_flattened()).await.unwrap(), port)
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// A text as the value of an option.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Publishes a message to a queue that is named after the URL's place in the test.
async fn publish(url: &str, queue: &str) -> Result<(), messaging::Error> {
    let transport = within(Transport::connect(url)).await?;
    within(transport.producer(Exchange::default()).ensure_publish(queue, &1)).await.unwrap();
    within(transport.close()).await
}

#[tokio::test]
async fn sentinels_have_certificates_and_authorities_of_their_own() {
    if !Redis::require("messaging::redis::tls::sentinels_have_certificates_and_authorities_of_their_own") {
        return;
    }
    let (trust, redis) = (Trust::new(), Redis::start().await.unwrap());
    let sentinel = SecureSentinel::start(redis.port(), &trust.authority, "").await.unwrap();
    let url = |arguments: &str| format!("{}&sentinel_kwargs={}", sentinel.url(), encoded(arguments));
    let Trust { ca_certs, certfile, keyfile, .. } = &trust;
    let own = format!(r#""ssl_certfile": "{certfile}", "ssl_keyfile": "{keyfile}""#);
    publish(&url(&format!(r#"{{"ssl": true, "ssl_ca_certs": "{ca_certs}", {own}}}"#)), "all").await.unwrap();
    assert_eq!(redis.ask("LLEN all").await.unwrap(), ":1\r\n");
    let unverified = url(&format!(r#"{{"ssl_cert_reqs": "none", {own}}}"#));
    publish(&unverified, "unverified").await.unwrap();
    // The system's authorities know nothing of it; and it wants a certificate.
    for lacking in [format!("{{{own}}}"), format!(r#"{{"ssl_ca_certs": "{ca_certs}"}}"#)] {
        publish(&url(&lacking), "none").await.unwrap_err();
    }
    assert_eq!(redis.ask("EXISTS none").await.unwrap(), ":0\r\n");
}

#[tokio::test]
async fn sentinels_have_the_files_of_the_master_if_they_name_none() {
    if !Redis::require("messaging::redis::tls::sentinels_have_the_files_of_the_master_if_they_name_none") {
        return;
    }
    let trust = Trust::new();
    let (redis, port) = trust.redis("127.0.0.1").await;
    let sentinel = SecureSentinel::start(port, &trust.authority, "tls-replication yes").await.unwrap();
    let Trust { ca_certs, certfile, keyfile, .. } = &trust;
    let files = format!("&ssl_ca_certs={ca_certs}&ssl_certfile={certfile}&ssl_keyfile={keyfile}");
    let url = format!("{}{files}&sentinel_kwargs={}", sentinel.url(), encoded(r#"{"ssl": true}"#));
    publish(&url, "q").await.unwrap();
    assert_eq!(redis.ask("LLEN q").await.unwrap(), ":1\r\n");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_unless_names_are_not_checked() {
    let test =
        "messaging::redis::tls::a_certificate_for_another_name_is_refused_unless_names_are_not_checked";
    if !Redis::require(test) {
        return;
    }
    let trust = Trust::new();
    let (redis, port) = trust.redis("redis.example").await;
    let url = format!("rediss://127.0.0.1:{port}?ssl_ca_certs={}", trust.ca_certs);
    publish(&url, "q").await.unwrap_err();
    assert_eq!(redis.ask("EXISTS q").await.unwrap(), ":0\r\n");
    publish(&format!("{url}&ssl_check_hostname=false"), "q").await.unwrap();
    assert_eq!(redis.ask("LLEN q").await.unwrap(), ":1\r\n");
    let stranger = format!("rediss://127.0.0.1:{port}?ssl_check_hostname=false");
    publish(&stranger, "q").await.unwrap_err();
}

#[tokio::test]
async fn the_name_of_a_master_that_sentinels_tell_of_is_checked_unless_names_are_not() {
    let test =
        "messaging::redis::tls::the_name_of_a_master_that_sentinels_tell_of_is_checked_unless_names_are_not";
    if !Redis::require(test) {
        return;
    }
    let trust = Trust::new();
    let (redis, port) = trust.redis("redis.example").await;
    let sentinel = SecureSentinel::start(port, &trust.authority, "tls-replication yes").await.unwrap();
    let Trust { ca_certs, certfile, keyfile, .. } = &trust;
    let files = format!("&ssl_ca_certs={ca_certs}&ssl_certfile={certfile}&ssl_keyfile={keyfile}");
    let url = format!("{}{files}&sentinel_kwargs={}", sentinel.url(), encoded(r#"{"ssl": true}"#));
    publish(&url, "q").await.unwrap_err();
    assert_eq!(redis.ask("EXISTS q").await.unwrap(), ":0\r\n");
    publish(&format!("{url}&ssl_check_hostname=false"), "q").await.unwrap();
    assert_eq!(redis.ask("LLEN q").await.unwrap(), ":1\r\n");
}
