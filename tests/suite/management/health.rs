//! The overview, and whether the broker is well.

use amqp_client::Message;
use serde_json::{Value as Json, json};

use super::{Managed, on_both, within};

async fn the_overview_counts(broker: Managed) {
    let (api, vhost) = (&broker.api, broker.vhost("management-overview").await);
    api.put(&format!("/api/queues/{vhost}/q"), json!({})).await.is(201);
    let counts = |overview: &Json| {
        overview["object_totals"]["queues"].as_u64() >= Some(1)
            && overview["queue_totals"]["messages"].is_number()
    };
    let overview = broker.eventually("/api/overview", counts).await.json();
    for text in
        ["management_version", "rabbitmq_version", "product_name", "product_version", "cluster_name", "node"]
    {
        assert!(overview[text].as_str().is_some_and(|text| !text.is_empty()), "{text}: {overview}");
    }
    for total in ["connections", "channels", "consumers", "exchanges", "queues"] {
        assert!(overview["object_totals"][total].is_number(), "{total}: {overview}");
    }
    let types: Vec<_> =
        overview["exchange_types"].as_array().unwrap().iter().map(|kind| kind["name"].clone()).collect();
    assert!(
        ["direct", "fanout", "headers", "topic"].iter().all(|name| types.contains(&json!(name))),
        "{types:?}"
    );
    let listeners = overview["listeners"].as_array().unwrap();
    let amqp = listeners.iter().find(|listener| listener["protocol"] == "amqp").unwrap();
    assert_eq!(amqp["port"], broker.port());
    assert!(listeners.iter().any(|listener| listener["protocol"] == "http"), "{listeners:?}");
    let columns = api.get("/api/overview?columns=queue_totals.messages,node").await.is(200).json();
    assert_eq!(columns.as_object().unwrap().len(), 2, "{columns}");
    api.get("/api/cluster-name").await.has(&json!({ "name": overview["cluster_name"] }));
    let node = overview["node"].as_str().unwrap();
    let nodes =
        api.get("/api/nodes").await.has(&json!([{ "name": node, "running": true, "type": "disc" }])).json();
    for number in
        ["mem_used", "mem_limit", "disk_free", "disk_free_limit", "fd_total", "uptime", "processors"]
    {
        assert!(nodes[0][number].is_number(), "{number}: {nodes}");
    }
    assert_eq!((&nodes[0]["mem_alarm"], &nodes[0]["disk_free_alarm"]), (&json!(false), &json!(false)));
    api.get(&format!("/api/nodes/{}", super::segment(node)))
        .await
        .has(&json!({ "name": node, "running": true }));
}

async fn rates_and_samples_come_when_asked_for(broker: Managed) {
    let (api, vhost) = (&broker.api, broker.vhost("management-samples").await);
    let queue = format!("/api/queues/{vhost}/q");
    api.put(&queue, json!({ "durable": true })).await.is(201);
    // 4.0 does not count what is published over HTTP.
    let connection = broker.connect(&vhost).await;
    let channel = within(connection.open_channel()).await.unwrap();
    let publisher = within(channel.publisher()).await.unwrap();
    let confirm = within(publisher.publish(("", "q"), Message::new("x"))).await.unwrap();
    within(confirm).await.unwrap();
    let asked = format!("{queue}?lengths_age=60&lengths_incr=20&msg_rates_age=60&msg_rates_incr=20");
    let sampled = |queue: &Json| {
        let details = &queue["message_stats"]["publish_details"];
        details["samples"].as_array().is_some_and(|samples| {
            samples.iter().all(|sample| sample["sample"].is_number() && sample["timestamp"].is_number())
        }) && details["rate"].is_number()
            && details["avg_rate"].is_number()
            && details["avg"].is_number()
            && queue["messages_details"]["samples"].is_array()
    };
    broker.eventually(&asked, sampled).await;
    let plain = broker.eventually(&queue, |queue| queue["message_stats"]["publish"] == 1).await.json();
    assert!(plain["message_stats"]["publish_details"]["rate"].is_number(), "{plain}");
    assert!(plain["message_stats"]["publish_details"].get("samples").is_none(), "{plain}");
    let wrong = api.get(&format!("{queue}?lengths_age=x&lengths_incr=20")).await;
    assert!([200, 400].contains(&wrong.status), "{wrong}");
}

async fn a_broker_that_is_well_says_so(broker: Managed) {
    let api = &broker.api;
    for check in [
        "alarms",
        "local-alarms",
        "virtual-hosts",
        "node-is-quorum-critical",
        "certificate-expiration/1/months",
    ] {
        api.get(&format!("/api/health/checks/{check}")).await.has(&json!({ "status": "ok" }));
    }
    let port = broker.port();
    api.get(&format!("/api/health/checks/port-listener/{port}"))
        .await
        .has(&json!({ "status": "ok", "port": port }));
    for name in ["amqp", "http"] {
        api.get(&format!("/api/health/checks/protocol-listener/{name}"))
            .await
            .has(&json!({ "status": "ok", "protocol": name }));
    }
    let failed = api.get("/api/health/checks/port-listener/1").await.is(503).json();
    assert_eq!((&failed["status"], &failed["missing"]), (&json!("failed"), &json!(1)));
    assert!(failed["ports"].as_array().is_some_and(|ports| ports.contains(&json!(port))), "{failed}");
    let failed = api.get("/api/health/checks/protocol-listener/mqtt").await.is(503).json();
    assert_eq!((&failed["status"], &failed["reason"]), (&json!("failed"), &json!("No active listener")));
    api.get("/api/health/checks/port-listener/x").await.refuses(400, "bad_request", "Invalid port");
    api.get("/api/health/checks/certificate-expiration/1/zzz").await.refuses(
        400,
        "bad_request",
        "Time unit not recognised",
    );
    api.get("/api/health/checks/certificate-expiration/x/months").await.refuses(
        400,
        "bad_request",
        "Invalid expiration value",
    );
    api.get("/api/health/checks/zzz").await.not_found();
    api.post("/api/health/checks/alarms", json!({})).await.allows_only("GET");
}

async fn a_virtual_host_is_alive(broker: Managed) {
    let (api, vhost) = (&broker.api, broker.vhost("management-alive").await);
    for _ in 0..2 {
        api.get(&format!("/api/aliveness-test/{vhost}")).await.has(&json!({ "status": "ok" }));
    }
    api.get("/api/aliveness-test/management-nowhere").await.not_found();
    let user = broker.user("management-not-alive", "management").await;
    broker.permit("management-not-alive", &vhost, ["^$"; 3]).await;
    let refused = user.get(&format!("/api/aliveness-test/{vhost}")).await;
    refused.refuses(401, "not_authorised", "access to queue 'aliveness-test' in vhost 'management-alive' refused for user 'management-not-alive'");
    api.delete("/api/users/management-not-alive").await.is(204);
}

/// The probes of orchestrators, without a login, which RabbitMQ does not have.
#[tokio::test]
async fn anybody_may_ask_whether_the_broker_is_well() {
    let broker = Managed::embedded().await;
    for path in ["/health/live", "/health/ready"] {
        let answer = broker.api.without_login().get(path).await.is(200);
        assert!(answer.text.len() < 100 && !answer.text.contains("127.0.0.1"), "{answer}");
    }
}

on_both!(
    the_overview_counts,
    rates_and_samples_come_when_asked_for,
    a_broker_that_is_well_says_so,
    a_virtual_host_is_alive,
);
