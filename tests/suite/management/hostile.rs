//! Attacks that somebody might try on the API of the broker.

use std::time::Duration;

use amqp_broker::{Broker, HttpOptions};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Api, Managed, within};

/// Sends octets as they are, and reads until the end.
async fn raw(authority: &str, request: &[u8]) -> String {
    let mut stream = within(TcpStream::connect(authority)).await.unwrap();
    // The broker may end the connection before it has read everything.
    let _ = within(stream.write_all(request)).await;
    let mut answer = Vec::new();
    let _ = within(stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

const LOGIN: &str = "Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n";

#[tokio::test]
async fn malformed_requests_get_an_error_and_an_end() {
    let broker = Managed::embedded().await;
    let long = "x".repeat(100_000);
    for request in [
        "nonsense\r\n\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        format!("GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n"),
        format!("GET /api/whoami HTTP/1.1\r\nHost: h\r\nX: {long}{long}{long}{long}{long}\r\n\r\n"),
        format!("GET /api/whoami HTTP/1.1\r\nHost: h\r\n{}\r\n", "a: b\r\n".repeat(10_000)),
        format!("PUT /api/queues/%2F/q HTTP/1.1\r\nHost: h\r\n{LOGIN}Content-Length: x\r\n\r\n"),
        format!(
            "PUT /api/queues/%2F/q HTTP/1.1\r\nHost: h\r\n{LOGIN}Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"
        ),
        format!(
            "PUT /api/queues/%2F/q HTTP/1.1\r\nHost: h\r\n{LOGIN}Transfer-Encoding: chunked\r\n\r\nzz\r\n"
        ),
        "\u{0}\u{1}\u{16}\u{3}".to_owned(),
    ] {
        let answer = raw(broker.api.authority(), request.as_bytes()).await;
        let shown: String = request.chars().take(60).collect();
        assert!(answer.is_empty() || (400..500).contains(&status(&answer)), "{shown:?}: {answer}");
    }
    broker.api.get("/api/queues").await.has(&json!([]));
}

#[tokio::test]
async fn paths_that_climb_or_are_no_text_find_nothing() {
    let broker = Managed::embedded().await;
    for path in [
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/api/../../etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/api/queues/%2F/..%2F..%2Fetc",
        "/api/queues/%2F/%00",
        "/api/queues/%2F/%FF",
        "/api/queues/%FF",
        "/api/queues/%",
        "/api/queues/%2F/q?columns=%FF",
        "//api/whoami",
        "/metrics/../api/users",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{LOGIN}\r\n");
        let answer = raw(broker.api.authority(), request.as_bytes()).await;
        assert!([400, 404].contains(&status(&answer)), "{path}: {answer}");
        assert!(!answer.contains("root:"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn bodies_are_bounded() {
    let broker = Managed::embedded().await;
    let publish = "/api/exchanges/%2F/amq.default/publish";
    broker.api.put("/api/queues/%2F/q", json!({})).await.is(201);
    let message = |length: usize| json!({ "properties": {}, "routing_key": "q", "payload": "x".repeat(length), "payload_encoding": "string" });
    broker.api.post(publish, message(1 << 20)).await.has(&json!({ "routed": true }));
    // What is announced is refused before it comes.
    let announced = format!(
        "POST {publish} HTTP/1.1\r\nHost: h\r\n{LOGIN}Content-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n"
    );
    let answer = raw(broker.api.authority(), announced.as_bytes()).await;
    assert!([400, 413].contains(&status(&answer)), "{answer}");
    // What is not announced is refused when it is too much.
    let mut chunked = format!("POST {publish} HTTP/1.1\r\nHost: h\r\n{LOGIN}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..600 {
        chunked.extend(format!("{:x}\r\n{}\r\n", 1 << 16, "[".repeat(1 << 16)).bytes());
    }
    let answer = raw(broker.api.authority(), &chunked).await;
    assert!(answer.is_empty() || [400, 413].contains(&status(&answer)), "{answer}");
    // Nesting is not recursion without an end.
    for body in
        ["[".repeat(1 << 20), format!("{}1{}", r#"{"arguments":"#.repeat(100_000), "}".repeat(100_000))]
    {
        broker.api.call("PUT", "/api/queues/%2F/nested", Some(body)).await.is(400);
    }
    let mut arguments = json!(1);
    for _ in 0..40 {
        arguments = json!({ "t": arguments });
    }
    broker.api.put("/api/queues/%2F/nested", json!({ "arguments": arguments })).await.is(400);
    broker.api.get("/api/queues/%2F/nested").await.not_found();
}

#[tokio::test(start_paused = true)]
async fn who_sends_slowly_is_cut_off() {
    let broker = Managed::embedded().await;
    for beginning in [
        "GET /api/whoami HTTP/1.1\r\nHost: h\r\n".to_owned(),
        format!(
            "PUT /api/queues/%2F/q HTTP/1.1\r\nHost: h\r\n{LOGIN}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"
        ),
    ] {
        let mut stream = TcpStream::connect(broker.api.authority()).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let reading = stream.read_to_end(&mut answer);
        let ended = tokio::time::timeout(Duration::from_secs(600), reading).await;
        assert!(ended.is_ok(), "{beginning}");
    }
}

/// A page elsewhere makes a browser send what its user may do, with the login that it knows.
#[tokio::test]
async fn pages_of_other_origins_change_nothing() {
    let broker = Managed::embedded().await;
    let own = format!("http://{}", broker.api.authority());
    for (name, value) in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let foreign = broker.api.header(name, value);
        let refused = foreign.put("/api/queues/%2F/foreign", json!({})).await.is(403);
        assert_eq!(refused.header("access-control-allow-origin"), "", "{refused}");
        foreign.delete("/api/vhosts/%2F").await.is(403);
        foreign.post("/api/definitions", json!({})).await.is(403);
        let preflight = foreign.header("access-control-request-method", "PUT");
        let preflight = preflight.call("OPTIONS", "/api/queues/%2F/foreign", None).await;
        assert_eq!(preflight.header("access-control-allow-origin"), "", "{preflight}");
        let read = foreign.get("/api/whoami").await;
        assert_eq!(read.header("access-control-allow-origin"), "", "{read}");
    }
    broker.api.get("/api/queues").await.has(&json!([]));
    broker.api.header("origin", &own).put("/api/queues/%2F/own", json!({})).await.is(201);
    broker.api.header("sec-fetch-site", "same-origin").put("/api/queues/%2F/own", json!({})).await.is(204);
}

#[tokio::test]
async fn passwords_are_in_no_answer() {
    let broker = Managed::embedded().await;
    let password = "an-unmistakable-password";
    broker
        .api
        .put("/api/users/secretive", json!({ "password": password, "tags": "administrator" }))
        .await
        .is(201);
    let api = broker.api.login("secretive", password);
    let encoded = "c2VjcmV0aXZlOmFuLXVubWlzdGFrYWJsZS1wYXNzd29yZA==";
    for path in [
        "/",
        "/metrics",
        "/metrics/per-object",
        "/health/ready",
        "/api/overview",
        "/api/nodes",
        "/api/whoami",
        "/api/users",
        "/api/users/secretive",
        "/api/definitions",
        "/api/connections",
        "/api/vhosts",
        "/api/nothing",
    ] {
        let answer = api.get(path).await;
        assert!(!answer.text.contains(password) && !answer.text.contains(encoded), "{answer}");
    }
    for body in [
        json!({ "password": password }),
        json!({ "password": password, "password_hash": "AAAA", "tags": "" }),
        json!({ "password": password, "tags": 5 }),
    ] {
        let answer = api.put("/api/users/other", body).await.is(400);
        assert!(!answer.text.contains(password), "{answer}");
    }
}

/// Answers say how a browser is to treat them.
#[tokio::test]
async fn answers_are_no_pages() {
    let broker = Managed::embedded().await;
    let name = super::segment("<script>alert(1)</script>");
    broker.api.put(&format!("/api/queues/%2F/{name}"), json!({})).await.is(201);
    for path in [
        "/api/queues",
        "/metrics/per-object",
        &format!("/api/queues/%2F/{name}"),
        &format!("/api/exchanges/%2F/{name}"),
        "/health/live",
    ] {
        let answer = broker.api.get(path).await;
        let kind = answer.header("content-type");
        assert!(!kind.contains("html"), "{kind}: {answer}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{answer}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{answer}");
    }
}

#[tokio::test]
async fn connections_are_bounded() {
    let broker = Managed::embedded().await;
    let mut idle = Vec::new();
    for _ in 0..1200 {
        match TcpStream::connect(broker.api.authority()).await {
            Ok(stream) => idle.push(stream),
            // This process has no more descriptors.
            Err(_) => break,
        }
    }
    drop(idle);
    broker.api.get("/api/whoami").await.is(200);
}

#[tokio::test]
async fn metrics_are_behind_a_login_by_setting() {
    let broker = Broker::builder().build();
    let open = broker.listen_http("127.0.0.1:0", HttpOptions::metrics()).await.unwrap();
    let closed =
        broker.listen_http("127.0.0.1:0", HttpOptions::new().metrics_need_login(true)).await.unwrap();
    let [open, closed] = [&open, &closed].map(|listener| Api::at(listener.local_addr().to_string()));
    for path in ["/metrics", "/metrics/per-object", "/metrics/detailed"] {
        open.get(path).await.is(200);
        closed.get(path).await.is(401);
        closed.login("guest", "wrong").get(path).await.is(401);
        closed.login("guest", "guest").get(path).await.is(200);
    }
    closed.get("/health/ready").await.is(200);
    // Nothing else is served where only metrics are.
    for path in ["/api/whoami", "/api/overview", "/"] {
        open.login("guest", "guest").get(path).await.is(404);
    }
}
