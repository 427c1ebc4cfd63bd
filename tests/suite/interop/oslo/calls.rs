//! Calls between the two.

use std::time::Duration;

use messaging::{
    Compression, Context, Error, OsloError, Target, TransportOptions,
    rpc::{Client, RunningServer},
};
use serde_json::{Value, json, value::RawValue};

use super::{Meeting, counted, on_both_brokers, serve, server, within};

async fn ours(meeting: &Meeting, topic: &str) -> (Client, RunningServer) {
    let transport = meeting.transport(TransportOptions::new()).await;
    let server = serve(&transport, Target::topic(topic), "rust").await;
    (transport.rpc_client(Target::topic(topic).version(1, 5)), server)
}

async fn python_calls_our_server(meeting: Meeting) {
    let (topic, url) = (meeting.name("t"), meeting.python_url(""));
    let (_, server) = ours(&meeting, &topic).await;
    let call = async |method: &str, args: Value, more: Value| {
        meeting.python.call(&url, &topic, method, args, more).await
    };
    for value in
        [json!(null), json!({"a": [1, -2.5, "é😀\"\\\n"], "big": u64::MAX}), json!("x".repeat(5_000_000))]
    {
        assert!(call("echo", json!({"value": value}), json!({})).await.unwrap() == value);
    }
    let namespaced = json!({"namespace": "ns", "version": "2.1"});
    assert_eq!(call("echo", json!({"value": 1}), namespaced).await.unwrap(), json!({"ns": 1}));
    let context = json!({"context": {"user": "alice"}});
    assert_eq!(call("user", json!({}), context).await.unwrap(), "alice");
    assert_eq!(call("whoami", json!({}), json!({"server": "rust"})).await.unwrap(), "rust");
    assert_eq!(call("oslo_rpc_server_ping", json!({}), json!({})).await.unwrap(), "pong");

    let odd = call("echo", json!("odd"), json!({})).await.unwrap();
    // JSON has no such numbers and texts; integers of any size pass.
    assert_eq!((&odd["nan"], odd["big"].as_f64()), (&Value::Null, Some(2f64.powi(80))));
    assert_eq!((&odd["surrogate"], &odd["text"]), (&json!("\u{fffd}"), &json!("é😀")));

    let raised = call("fail", json!({"message": "no"}), json!({})).await.unwrap_err();
    assert_eq!((raised.class.as_str(), raised.text.starts_with("no")), ("ValueError", true), "{raised:?}");
    let raised = call("fail_app", json!({}), json!({})).await.unwrap_err();
    assert_eq!(
        (raised.class.as_str(), raised.remote.as_deref()),
        ("RemoteError", Some("ParseIntError")),
        "{raised:?}"
    );
    for (method, version, remote) in [("nope", "1.0", "NoSuchMethod"), ("echo", "1.6", "UnsupportedVersion")]
    {
        let raised = call(method, json!({"value": 1}), json!({"version": version})).await.unwrap_err();
        assert_eq!(raised.remote.as_deref(), Some(remote), "{raised:?}");
    }
    within(server.stop()).await.unwrap();
}

async fn we_call_a_python_server(meeting: Meeting) {
    let topic = meeting.name("t");
    meeting.python.serve(&meeting.python_url(""), &topic, "python").await.unwrap();
    let transport = meeting.transport(TransportOptions::new()).await;
    let client = transport.rpc_client(Target::topic(&topic).version(1, 5));
    let call =
        async |method: &str, args: Value| within(client.call::<Value>(method, &args).into_future()).await;
    for value in
        [json!(null), json!({"a": [1, -2.5, "é😀\"\\\n"], "big": u64::MAX}), json!("x".repeat(5_000_000))]
    {
        assert!(call("echo", json!({"value": value})).await.unwrap() == value);
    }
    assert_eq!(call("add", json!({"a": 1, "b": 2})).await.unwrap(), 3);
    let namespaced = client.prepare(|target| target.namespace("ns").version(2, 1));
    let echoed: Value = within(namespaced.call("echo", &json!({"value": 1})).into_future()).await.unwrap();
    assert_eq!(echoed, json!({"ns": 1}));
    let asked = client.call::<String>("user", &()).context(Context::new().with("user", "alice"));
    assert_eq!(within(asked.into_future()).await.unwrap(), "alice");
    // Python writes this although JSON does not have it.
    let odd: Box<RawValue> = within(client.call("odd", &()).into_future()).await.unwrap();
    assert!(odd.get().contains("1208925819614629174706176"), "{odd}");

    let Err(Error::Oslo(OsloError::Remote(remote))) = call("fail", json!({"message": "no"})).await else {
        panic!("no failure")
    };
    assert_eq!((remote.class.as_str(), remote.module.as_str()), ("ValueError", "builtins"));
    assert!(!remote.traceback.is_empty());
    let Err(Error::Oslo(OsloError::Remote(remote))) = call("fail_app", json!({"message": "no"})).await else {
        panic!("no failure")
    };
    assert_eq!((remote.class.as_str(), &remote.kwargs["code"]), ("AppError", &json!(500)));
    assert!(matches!(call("nope", json!({})).await, Err(Error::Oslo(OsloError::NoSuchMethod { .. }))));
    let later = client.prepare(|target| target.version(1, 6));
    let refused = within(later.call::<Value>("echo", &json!({"value": 1})).into_future()).await;
    assert!(matches!(refused, Err(Error::Oslo(OsloError::UnsupportedVersion { .. }))), "{refused:?}");
    meeting.python.stop(&topic, "python").await;
}

async fn servers_of_both_kinds_share_a_topic(meeting: Meeting) {
    let (topic, url) = (meeting.name("t"), meeting.python_url(""));
    meeting.python.serve(&url, &topic, "python").await.unwrap();
    let (client, server) = ours(&meeting, &topic).await;
    let mut by_us = Vec::new();
    let mut by_python = Vec::new();
    for _ in 0..4 {
        by_us.push(within(client.call::<String>("whoami", &()).into_future()).await.unwrap());
        by_python.push(meeting.python.call(&url, &topic, "whoami", json!({}), json!({})).await.unwrap());
    }
    for name in ["rust", "python"] {
        assert!(by_us.iter().any(|who| who == name) || by_python.iter().any(|who| who == name), "{name}");
        let target = json!({"server": name});
        assert_eq!(meeting.python.call(&url, &topic, "whoami", json!({}), target).await.unwrap(), name);
        let one = client.prepare(|target| target.server(name));
        assert_eq!(within(one.call::<String>("whoami", &()).into_future()).await.unwrap(), name);
    }
    // A fanout of either side reaches both.
    within(client.fanout("bump", &())).await.unwrap();
    meeting.python.send("fanout", &url, &topic, "bump", json!({}), json!({})).await.unwrap();
    for name in ["rust", "python"] {
        let one = client.prepare(|target| target.server(name));
        within(async { while counted(&one).await < 2 {} }).await;
    }
    within(server.stop()).await.unwrap();
    meeting.python.stop(&topic, "python").await;
}

async fn either_side_watches_over_long_calls(meeting: Meeting) {
    let (topic, url) = (meeting.name("t"), meeting.python_url(""));
    let python_topic = meeting.name("python");
    meeting.python.serve(&url, &python_topic, "python").await.unwrap();
    let (client, server) = ours(&meeting, &topic).await;
    let client = client.prepare(|_| Target::topic(&python_topic)).monitor(Duration::from_secs(2));
    // This is longer than either side waits for a silent server.
    let args = json!({"seconds": 3});
    let (by_us, by_python) = tokio::join!(
        within(client.call::<()>("sleep", &args).into_future()),
        meeting.python.call(&url, &topic, "sleep", args.clone(), json!({"monitor": 2})),
    );
    by_us.unwrap();
    by_python.unwrap();
    within(server.stop()).await.unwrap();
    meeting.python.stop(&python_topic, "python").await;
}

async fn a_reply_that_comes_late_disturbs_nobody(meeting: Meeting) {
    let (topic, url) = (meeting.name("t"), meeting.python_url(""));
    let python_topic = meeting.name("python");
    meeting.python.serve(&url, &python_topic, "python").await.unwrap();
    let (client, server) = ours(&meeting, &topic).await;
    let client = client.prepare(|_| Target::topic(&python_topic));
    let args = json!({"seconds": 1});
    let ours = client.call::<()>("sleep", &args).timeout(Duration::from_millis(200));
    let ours = within(ours.into_future()).await;
    assert!(matches!(ours, Err(Error::Timeout { .. })), "{ours:?}");
    let theirs = meeting.python.call(&url, &topic, "sleep", args.clone(), json!({"timeout": 0.3})).await;
    assert_eq!(theirs.unwrap_err().class, "MessagingTimeout");
    assert_eq!(client.metrics().in_flight, 0);
    within(async {
        while client.metrics().late_replies == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(within(client.call::<String>("whoami", &()).into_future()).await.unwrap(), "python");
    assert_eq!(meeting.python.call(&url, &topic, "whoami", json!({}), json!({})).await.unwrap(), "rust");
    within(server.stop()).await.unwrap();
    meeting.python.stop(&python_topic, "python").await;
}

async fn python_reads_what_we_compress(meeting: Meeting) {
    let url = meeting.python_url("");
    let value = json!({"text": "x".repeat(100_000)});
    let transport = meeting.transport(TransportOptions::new()).await;
    for compression in [Compression::Zlib, Compression::Bzip2, Compression::Xz] {
        let topic = meeting.name(compression.name());
        let server = server(&transport, Target::topic(&topic), "rust").compression(compression);
        let server = within(server.start()).await.unwrap();
        let echoed = meeting.python.call(&url, &topic, "echo", json!({"value": value}), json!({})).await;
        assert!(echoed.unwrap() == value, "{compression}");
        within(server.stop()).await.unwrap();

        meeting.python.serve(&url, &topic, "python").await.unwrap();
        let client = transport.rpc_client(Target::topic(&topic)).compression(compression);
        let echoed: Value =
            within(client.call("echo", &json!({"value": value})).into_future()).await.unwrap();
        assert!(echoed == value, "{compression}");
        meeting.python.stop(&topic, "python").await;
    }
}

async fn compressed_requests_and_replies_are_read(meeting: Meeting) {
    let topic = meeting.name("t");
    let (_, server) = ours(&meeting, &topic).await;
    let value = json!({"text": "x".repeat(100_000)});
    for algorithm in ["gzip", "bzip2"] {
        let url = meeting.python_url(&format!("kombu_compression={algorithm}"));
        let echoed =
            meeting.python.call(&url, &topic, "echo", json!({"value": value}), json!({})).await.unwrap();
        assert!(echoed == value, "{algorithm}");
        let python_topic = meeting.name(algorithm);
        meeting.python.serve(&url, &python_topic, "python").await.unwrap();
        let transport = meeting.transport(TransportOptions::new()).await;
        let client = transport.rpc_client(Target::topic(&python_topic));
        let echoed: Value =
            within(client.call("echo", &json!({"value": value})).into_future()).await.unwrap();
        assert!(echoed == value, "{algorithm}");
        meeting.python.stop(&python_topic, "python").await;
    }
    within(server.stop()).await.unwrap();
}

on_both_brokers! {
    python_calls_our_server,
    we_call_a_python_server,
    servers_of_both_kinds_share_a_topic,
    either_side_watches_over_long_calls,
    a_reply_that_comes_late_disturbs_nobody,
    python_reads_what_we_compress,
    compressed_requests_and_replies_are_read,
}
