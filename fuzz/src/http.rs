use amqp_broker::{Broker, HttpOptions, Permissions, UserTag, fuzzing::serve_http};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use crate::script::{must_end, runtime};

/// In the first octet: the rest is what a client sends, as it is.
const RAW: u8 = 0x80;

/// The end of a request.
const END: u8 = 0;

const METHODS: [&str; 8] = ["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH", "GET"];

/// No input contains it, so no answer may.
const PASSWORD: &str = "hJ8-xQ2_vN5.bT7~kR4";

/// The users: nobody, an administrator, one who monitors and may do little, and one who is wrong.
const USERS: [Option<(&str, &str)>; 4] =
    [None, Some(("admin", PASSWORD)), Some(("limited", PASSWORD)), Some(("admin", "wrong"))];

/// The most requests of an input.
const MOST_REQUESTS: usize = 16;

/// Sends anything to a broker's HTTP listener: octets as they are, or requests with any path and
/// any body, one after the other, to the same broker. Nothing panics; every request has an answer,
/// none of them is an internal error or contains a password, and the broker serves the next client.
///
/// A request is an octet for method and user, a path to the end of its line, and a body to an octet
/// of zero.
pub fn http(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    runtime().block_on(async {
        let broker = furnished();
        if first & RAW == 0 {
            for request in data.split(|octet| *octet == END).take(MOST_REQUESTS) {
                let Some((&head, request)) = request.split_first() else { continue };
                let answer = answer(&broker, &whole(head, request)).await;
                check(&answer);
            }
        } else {
            answer(&broker, rest).await;
        }
        let alive =
            answer(&broker, b"GET /health/live HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n").await;
        assert!(alive.starts_with(b"HTTP/1.1 200 "), "{:?}", String::from_utf8_lossy(&alive));
        must_end("shutdown()", broker.shutdown()).await;
    });
}

/// A broker with users of several rights.
fn furnished() -> Broker {
    Broker::builder()
        .user("admin", PASSWORD)
        .user_tags("admin", [UserTag::Administrator])
        .user("limited", PASSWORD)
        .user_tags("limited", [UserTag::Monitoring])
        .permissions("limited", "/", Permissions::new("^a", "^a", "^a").expect("patterns"))
        .memory_limit(8 << 20)
        .build()
}

/// A request with what HTTP demands besides its method, path and body.
fn whole(head: u8, request: &[u8]) -> Vec<u8> {
    let end = request.iter().position(|octet| *octet == b'\n').unwrap_or(request.len());
    let (path, body) = request.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    let method = METHODS[usize::from(head & 7)];
    let login = USERS[usize::from(head >> 3 & 3)].map_or_else(String::new, |(user, password)| {
        format!("authorization: Basic {}\r\n", BASE64_STANDARD.encode(format!("{user}:{password}")))
    });
    let length = body.len();
    let fixed = "host: broker\r\nconnection: close\r\ncontent-type: application/json\r\n";
    let rest = format!(" HTTP/1.1\r\n{fixed}{login}content-length: {length}\r\n\r\n");
    [method.as_bytes(), b" ", path, rest.as_bytes(), body].concat()
}

/// Sends octets on a connection, and reads until the broker ends it.
async fn answer(broker: &Broker, octets: &[u8]) -> Vec<u8> {
    let (client, server) = duplex(64 << 10);
    let options = HttpOptions::new();
    let serving = serve_http(broker, server, &options);
    let talking = async {
        let (mut read, mut write) = tokio::io::split(client);
        // Whoever has answered may read no further. The client does not end its side first: who
        // does that wants no answer any more. The broker ends what asks for nothing in time.
        let writing = write.write_all(octets);
        let mut answer = Vec::new();
        let reading = read.read_to_end(&mut answer);
        let _ = tokio::join!(writing, reading);
        answer
    };
    must_end("an HTTP connection", async { tokio::join!(serving, talking).1 }).await
}

/// # Panics
/// When an answer is none, or tells what it must not.
fn check(answer: &[u8]) {
    let text = String::from_utf8_lossy(answer);
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse::<u16>().ok());
    let status = status.unwrap_or_else(|| panic!("this is no answer: {text:?}"));
    assert!((200..500).contains(&status) || status == 503, "{text}");
    assert!(!text.contains(PASSWORD), "an answer contains a password: {text}");
}

/// Requests that an administrator sends: the method, the path, and the body.
const REQUESTS: [(&str, &str, &str); 44] = [
    ("GET", "/metrics", ""),
    ("GET", "/metrics/per-object", ""),
    ("GET", "/metrics/detailed?vhost=%2F&family=queue_coarse_metrics&family=connection_metrics", ""),
    ("GET", "/", ""),
    ("GET", "/api/overview?msg_rates_age=60&msg_rates_incr=5&lengths_age=60&lengths_incr=5", ""),
    ("GET", "/api/nodes?columns=name,mem_used", ""),
    ("GET", "/api/nodes/rabbit%40localhost", ""),
    ("GET", "/api/extensions", ""),
    ("GET", "/api/whoami", ""),
    ("PUT", "/api/vhosts/v", r#"{"description":"d","tags":"a,b"}"#),
    ("GET", "/api/vhosts", ""),
    ("PUT", "/api/users/u", r#"{"password":"p","tags":"management"}"#),
    (
        "PUT",
        "/api/users/h",
        r#"{"password_hash":"kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR","tags":["monitoring"]}"#,
    ),
    ("GET", "/api/users/u/permissions", ""),
    ("PUT", "/api/permissions/%2F/u", r#"{"configure":"^a","write":".*","read":""}"#),
    ("PUT", "/api/topic-permissions/%2F/u", r#"{"exchange":"amq.topic","write":"^{username}","read":""}"#),
    ("PUT", "/api/user-limits/u/max-channels", r#"{"value":3}"#),
    ("PUT", "/api/vhost-limits/v/max-queues", r#"{"value":-1}"#),
    (
        "PUT",
        "/api/queues/%2F/q",
        r#"{"durable":true,"arguments":{"x-max-length":5,"x-queue-type":"quorum"}}"#,
    ),
    ("GET", "/api/queues/%2F?page=1&page_size=10&name=q&use_regex=true&sort=name&sort_reverse=true", ""),
    ("GET", "/api/queues/%2F/q?disable_stats=true&enable_queue_totals=true", ""),
    ("PUT", "/api/exchanges/%2F/e", r#"{"type":"headers","arguments":{"alternate-exchange":"amq.fanout"}}"#),
    ("POST", "/api/bindings/%2F/e/e/q/q", r#"{"routing_key":"k","arguments":{"x-match":"all","h":1}}"#),
    ("GET", "/api/bindings/%2F/e/e/q/q", ""),
    ("GET", "/api/exchanges/%2F/e/bindings/source", ""),
    (
        "POST",
        "/api/exchanges/%2F/amq.default/publish",
        r#"{"properties":{"headers":{"h":[1,2.5,null,{"a":true}]},"delivery_mode":2,"expiration":"60000","timestamp":1},"routing_key":"q","payload":"aGVsbG8=","payload_encoding":"base64"}"#,
    ),
    (
        "POST",
        "/api/queues/%2F/q/get",
        r#"{"count":5,"ackmode":"ack_requeue_true","encoding":"auto","truncate":10}"#,
    ),
    ("DELETE", "/api/queues/%2F/q/contents", ""),
    ("DELETE", "/api/queues/%2F/q?if-empty=true&if-unused=true", ""),
    (
        "PUT",
        "/api/policies/%2F/p",
        r#"{"pattern":"^q","definition":{"max-length":5,"ha-mode":"all"},"priority":3,"apply-to":"queues"}"#,
    ),
    ("PUT", "/api/operator-policies/%2F/o", r#"{"pattern":"","definition":{"expires":60000}}"#),
    ("GET", "/api/parameters/vhost-limits/v", ""),
    ("PUT", "/api/global-parameters/g", r#"{"value":{"a":[1]}}"#),
    ("GET", "/api/definitions?download=x.json", ""),
    (
        "POST",
        "/api/definitions",
        r#"{"users":[{"name":"i","password_hash":"","tags":"","limits":{"max-connections":1}}],"vhosts":[{"name":"w"}],"permissions":[{"user":"i","vhost":"w","configure":"","write":"","read":""}],"queues":[{"name":"q","vhost":"w","durable":true,"auto_delete":false,"arguments":{}}],"exchanges":[{"name":"e","vhost":"w","type":"topic","durable":true,"auto_delete":false,"internal":false,"arguments":{}}],"bindings":[{"source":"e","vhost":"w","destination":"q","destination_type":"queue","routing_key":"a.*","arguments":{}}],"parameters":[{"component":"vhost-limits","vhost":"w","name":"limits","value":{"max-queues":9}}],"policies":[{"vhost":"w","name":"p","pattern":"","definition":{"max-length":1},"priority":0,"apply-to":"all"}]}"#,
    ),
    ("GET", "/api/connections?columns=name", ""),
    ("GET", "/api/channels/x%20(1)", ""),
    ("GET", "/api/consumers/%2F", ""),
    ("DELETE", "/api/connections/username/u", ""),
    ("GET", "/api/aliveness-test/%2F", ""),
    ("GET", "/api/health/checks/port-listener/5672", ""),
    ("GET", "/api/health/checks/certificate-expiration/1/months", ""),
    ("POST", "/api/users/bulk-delete", r#"{"users":["u"]}"#),
    ("DELETE", "/api/vhosts/v", ""),
];

/// Inputs to start from.
pub(crate) fn seeds() -> impl Iterator<Item = Vec<u8>> {
    let request = |user: u8, (method, path, body): (&str, &str, &str)| {
        let method = METHODS.iter().position(|known| *known == method).unwrap_or_default() as u8;
        [&[method | user << 3 | 0x20][..], path.as_bytes(), b"\n", body.as_bytes()].concat()
    };
    let alone = REQUESTS.into_iter().flat_map(move |own| [request(1, own), request(2, own)]);
    let together = REQUESTS.chunks(MOST_REQUESTS).map(move |several| {
        let each: Vec<_> = several.iter().map(|own| request(1, *own)).collect();
        each.join(&END)
    });
    let raw = [
        "GET /api/overview HTTP/1.1\r\nhost: b\r\nauthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        "POST /api/definitions HTTP/1.1\r\nhost: b\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nhost: b\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    alone.chain(together).chain(raw.map(|text| [&[RAW][..], text.as_bytes()].concat()))
}
