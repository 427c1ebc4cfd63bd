//! Queues, exchanges, bindings and messages.

use serde_json::{Value, json};

use super::client::{Served, login};
use crate::{
    HttpOptions, RabbitMq,
    broker::Broker,
    management::samples::sampler::INTERVAL,
    tests::peer::{Peer, short},
};

#[tokio::test]
async fn queues_are_declared_listed_purged_and_deleted() {
    let served = Served::start().await;
    let put = r#"{"durable":true,"arguments":{"x-max-length":5}}"#;
    assert_eq!(served.call("PUT", "/api/queues/%2F/a%2Fb", put).await.status, 201);
    assert_eq!(served.call("PUT", "/api/queues/%2F/a%2Fb", put).await.status, 204);
    let answer = served.call("PUT", "/api/queues/%2F/a%2Fb", "{}").await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("inequivalent arg"), "{answer:?}");
    let queue = served.get("/api/queues/%2F/a%2Fb").await;
    assert_eq!((&queue["name"], &queue["durable"]), (&json!("a/b"), &json!(true)));
    assert_eq!(queue["arguments"], json!({"x-max-length": 5}));
    let answer = served.call("PUT", "/api/queues/%2F/amq.x", "{}").await;
    assert_eq!(answer.refusal(), (401, json!("Access refused.")));
    assert_eq!(served.call("DELETE", "/api/queues/%2F/none", "").await.status, 404);
    assert_eq!(served.call("DELETE", "/api/queues/%2F/a%2Fb", "").await.status, 204);
    assert_eq!(served.get("/api/queues").await, json!([]));
}

#[tokio::test]
async fn messages_are_published_fetched_and_counted() {
    let served = Served::start().await;
    served.call("PUT", "/api/queues/%2F/q", "{}").await;
    let publish = |key: &str| {
        json!({
            "payload": "aGVsbG8=", "payload_encoding": "base64", "routing_key": key,
            "properties": {"delivery_mode": 2, "headers": {"n": 1}},
        })
        .to_string()
    };
    let path = "/api/exchanges/%2F/amq.default/publish";
    assert_eq!(served.call("POST", path, &publish("q")).await.json(), json!({"routed": true}));
    assert_eq!(served.call("POST", path, &publish("other")).await.json(), json!({"routed": false}));
    let get = |mode: &str| format!(r#"{{"count":9,"ackmode":"{mode}","encoding":"auto"}}"#);
    for redelivered in [false, true] {
        let got = served.call("POST", "/api/queues/%2F/q/get", &get("ack_requeue_true")).await.json();
        let message = json!([{
            "exchange": "", "message_count": 0, "payload": "hello", "payload_bytes": 5,
            "payload_encoding": "string", "properties": {"delivery_mode": 2, "headers": {"n": 1}},
            "redelivered": redelivered, "routing_key": "q",
        }]);
        assert_eq!(got, message);
    }
    let got = served.call("POST", "/api/queues/%2F/q/get", &get("ack_requeue_false")).await.json();
    assert_eq!(got.as_array().map(Vec::len), Some(1));
    let stats = &served.get("/api/queues/%2F/q").await["message_stats"];
    assert_eq!((&stats["publish"], &stats["get"], &stats["get_no_ack"]), (&json!(1), &json!(2), &json!(1)));
    assert_eq!((&stats["redeliver"], &stats["deliver_get"]), (&json!(2), &json!(3)));
    let stats = &served.get("/api/overview").await["message_stats"];
    assert_eq!((&stats["publish"], &stats["return_unroutable"]), (&json!(2), &json!(1)));
}

#[tokio::test]
async fn bindings_are_made_found_by_their_key_and_removed() {
    let served = Served::start().await;
    served.call("PUT", "/api/queues/%2F/q", "{}").await;
    let exchange = r#"{"type":"topic","durable":true}"#;
    assert_eq!(served.call("PUT", "/api/exchanges/%2F/e", exchange).await.status, 201);
    let path = "/api/bindings/%2F/e/e/q/q";
    let answer = served.call("POST", path, r#"{"routing_key":"a.#","arguments":{}}"#).await;
    assert_eq!(answer.status, 201);
    assert!(answer.head.contains("location: q/a.%2523"), "{}", answer.head);
    let all = served.get(path).await;
    assert_eq!((&all[0]["routing_key"], &all[0]["properties_key"]), (&json!("a.#"), &json!("a.%23")));
    assert_eq!(served.get("/api/queues/%2F/q/bindings").await.as_array().map(Vec::len), Some(2));
    assert_eq!(served.get("/api/exchanges/%2F/e/bindings/source").await, all);
    assert_eq!(served.call("DELETE", &format!("{path}/a.%2523"), "").await.status, 204);
    assert_eq!(served.get(path).await, json!([]));
    let answer = served.call("POST", "/api/bindings/%2F/e/none/q/q", "{}").await;
    assert_eq!(answer.refusal(), (404, json!("no exchange 'none' in vhost '/'")));
}

#[tokio::test]
async fn clients_are_listed_and_closed() {
    let served = Served::start().await;
    let mut peer = Peer::open(&served.broker).await;
    peer.declare("q").await;
    peer.consume("q", "tag").await;
    let all = served.get("/api/connections").await;
    let name = all[0]["name"].as_str().unwrap().to_owned();
    assert_eq!((&all[0]["user"], &all[0]["channels"]), (&json!("guest"), &json!(1)));
    let channels = served.get("/api/channels").await;
    assert_eq!((&channels[0]["number"], &channels[0]["consumer_count"]), (&json!(1), &json!(1)));
    let consumers = served.get("/api/consumers").await;
    assert_eq!((&consumers[0]["consumer_tag"], &consumers[0]["queue"]["name"]), (&json!("tag"), &json!("q")));
    let answer = served.call("DELETE", &format!("/api/connections/{name}"), "").await;
    assert_eq!(answer.status, 204);
    let close = peer.expect::<amqp_codec::method::connection::Close>(0).await;
    assert_eq!(close.reply_text.to_string(), "CONNECTION_FORCED - Closed via management plugin");
}

#[tokio::test]
async fn definitions_go_out_and_come_in_again() {
    let served = Served::start().await;
    served.call("PUT", "/api/vhosts/other", "").await;
    served
        .call("PUT", "/api/queues/other/q", r#"{"durable":true,"arguments":{"x-queue-type":"quorum"}}"#)
        .await;
    served.call("PUT", "/api/exchanges/other/e", r#"{"type":"fanout","durable":true}"#).await;
    served.call("POST", "/api/bindings/other/e/e/q/q", r#"{"routing_key":"k"}"#).await;
    served.call("PUT", "/api/users/ada", r#"{"password":"x","tags":"monitoring"}"#).await;
    served.call("PUT", "/api/permissions/other/ada", r#"{"configure":"a","write":"","read":".*"}"#).await;
    let policy = r#"{"pattern":"^q","definition":{"max-length":5},"priority":2,"apply-to":"queues"}"#;
    assert_eq!(served.call("PUT", "/api/policies/other/p", policy).await.status, 201);
    assert_eq!(served.call("PUT", "/api/operator-policies/other/o", policy).await.status, 201);
    let definitions = served.get("/api/definitions").await;
    let again = Served::start().await;
    let head = format!("{}content-type: application/json\r\n", login("guest", "guest"));
    let answer = again.send("POST", "/api/definitions", &head, &definitions.to_string()).await;
    assert_eq!(answer.status, 204);
    let mut imported = again.get("/api/definitions").await;
    assert_eq!(imported["users"], definitions["users"]);
    for list in ["bindings", "exchanges", "parameters", "permissions", "policies", "queues", "vhosts"] {
        assert_eq!(imported[list].take(), definitions[list], "{list}");
    }
    let of_vhost = served.get("/api/definitions/other").await;
    assert_eq!(of_vhost["queues"][0].get("vhost"), None::<&Value>);
}

/// The answers are those of RabbitMQ 3.10.8 and 4.0.5.
#[tokio::test]
async fn imported_bindings_of_what_is_not_there_are_passed_over_or_refused_by_version() {
    for (version, status) in [(RabbitMq::V3_10, 204), (RabbitMq::V4_0, 400)] {
        let served = Served::on(Broker::builder().like(version).build(), HttpOptions::new()).await;
        served.call("PUT", "/api/queues/%2F/q", "{}").await;
        for (source, destination, kind, missing) in [
            ("amq.topic", "nope", "queue", "queue"),
            ("nope", "q", "queue", "exchange"),
            ("amq.topic", "nope", "exchange", "exchange"),
        ] {
            let lost = json!({
                "source": source, "vhost": "/", "destination": destination, "destination_type": kind,
                "routing_key": "k", "arguments": {},
            });
            let found = json!({
                "source": "amq.topic", "vhost": "/", "destination": "q", "destination_type": "queue",
                "routing_key": source, "arguments": {},
            });
            let definitions = json!({ "bindings": [lost, found] }).to_string();
            let headers = format!("{}content-type: application/json\r\n", login("guest", "guest"));
            let answer = served.send("POST", "/api/definitions", &headers, &definitions).await;
            assert_eq!(answer.status, status, "{answer:?}");
            if status == 400 {
                let reason = format!(
                    "{{resources_missing,[{{not_found,{{resource,<<\"/\">>,{missing},<<\"nope\">>}}}}]}}"
                );
                assert_eq!(answer.refusal(), (400, json!(reason)));
            }
        }
        let bound = served.broker.bindings("/").len();
        assert_eq!(bound, if status == 204 { 2 } else { 0 }, "those after a lost one");
    }
}

#[tokio::test(start_paused = true)]
async fn exchanges_have_rates_and_what_stands_still_says_since_when() {
    let served = Served::start().await;
    let mut peer = Peer::greet(&served.broker, "/", 131_072).await;
    peer.call(1, amqp_codec::method::channel::Open::default()).await;
    peer.declare("q").await;
    served.call("POST", "/api/bindings/%2F/e/amq.fanout/q/q", "{}").await;
    for _ in 0..10 {
        peer.publish("amq.fanout", "", "x").await;
        peer.publish("", "q", "x").await;
    }
    peer.publish("amq.fanout", "", "x").await;
    peer.call(1, amqp_codec::method::queue::Declare { queue: short("q"), ..Default::default() }).await;
    let exchange = served.get("/api/exchanges/%2F/amq.fanout").await;
    let stats = &exchange["message_stats"];
    assert_eq!((&stats["publish_in"], &stats["publish_out"]), (&json!(11), &json!(11)));
    let default = served.get("/api/exchanges/%2F/amq.default").await;
    assert_eq!(default["message_stats"]["publish_in"], json!(10));
    let unused = served.get("/api/exchanges/%2F/amq.direct").await;
    assert!(unused.get("message_stats").is_none(), "{unused}");

    // Two samples later nothing has changed between them.
    tokio::time::sleep(3 * INTERVAL).await;
    let queue = served.get("/api/queues/%2F/q").await;
    assert!(queue["idle_since"].as_str().is_some_and(|time| time.ends_with("+00:00")), "{queue}");
    let channel = served.get("/api/channels").await[0].clone();
    assert_eq!(channel["idle_since"].as_str().map(str::len), Some(29), "{channel}");
    peer.publish("", "q", "x").await;
    peer.call(1, amqp_codec::method::queue::Declare { queue: short("q"), ..Default::default() }).await;
    let queue = served.get("/api/queues/%2F/q").await;
    assert!(queue.get("idle_since").is_none(), "{queue}");

    let connection = served.get("/api/connections").await[0].clone();
    let (reads, octets) =
        (connection["recv_cnt"].as_u64().unwrap(), connection["recv_oct"].as_u64().unwrap());
    assert!(0 < reads && reads < octets && connection["send_cnt"].as_u64() > Some(0), "{connection}");
    let node = served.get("/api/nodes").await[0].clone();
    assert!(node["mem_used_details"]["rate"].is_number(), "{node}");
}

#[tokio::test]
async fn exchanges_name_the_policies_that_apply_to_them() {
    let served = Served::start().await;
    let policy = r#"{"pattern":"^amq.direct$","definition":{"alternate-exchange":"amq.fanout"}}"#;
    assert_eq!(served.call("PUT", "/api/policies/%2F/unrouted", policy).await.status, 201);
    assert_eq!(served.get("/api/exchanges/%2F/amq.direct").await["policy"], json!("unrouted"));
    assert!(served.get("/api/exchanges/%2F/amq.topic").await.get("policy").is_none());
    let exchanges = served.broker.exchanges("/");
    let named: Vec<_> = exchanges.iter().filter_map(|exchange| exchange.policy.as_deref()).collect();
    assert_eq!(named, ["unrouted"]);
}
