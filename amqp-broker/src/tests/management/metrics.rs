//! Metrics.

use super::client::Served;
use crate::tests::peer::Peer;

/// The value of a line.
fn value<'a>(page: &'a str, name: &str) -> &'a str {
    let line = page.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    line.and_then(|line| line.rsplit(' ').next()).unwrap_or_else(|| panic!("no {name} in {page}"))
}

async fn page(served: &Served, path: &str, accept: &str) -> String {
    let answer = served.send("GET", path, &format!("accept: {accept}\r\n"), "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

#[tokio::test]
async fn what_clients_did_is_counted_together_and_by_object() {
    let served = Served::start().await;
    let mut peer = Peer::open(&served.broker).await;
    peer.declare("q\"\\").await;
    peer.publish("", "q\"\\", "one").await;
    peer.publish("", "q\"\\", "three").await;
    peer.consume("q\"\\", "tag").await;
    peer.delivery().await;
    peer.delivery().await;
    let all = page(&served, "/metrics", "*/*").await;
    for (name, expected) in [
        ("rabbitmq_queue_messages_unacked", "2"),
        ("rabbitmq_queue_messages_bytes", "8"),
        ("rabbitmq_queues", "1"),
        ("rabbitmq_channel_messages_published_total", "2"),
        ("rabbitmq_global_messages_received_total{protocol=\"amqp091\"}", "2"),
        ("rabbitmq_connections_opened_total", "1"),
    ] {
        assert_eq!(value(&all, name), expected, "{name}");
    }
    let delivered = "rabbitmq_global_messages_delivered_consume_manual_ack_total{protocol=\"amqp091\",queue_type=\"rabbit_classic_queue\"}";
    assert_eq!(value(&all, delivered), "2");
    let each = page(&served, "/metrics/per-object", "*/*").await;
    let labels = r#"{vhost="/",queue="q\"\\"}"#;
    assert_eq!(value(&each, &format!("rabbitmq_queue_messages{labels}")), "2");
    let chosen = page(&served, "/metrics/detailed?family=queue_coarse_metrics", "*/*").await;
    assert_eq!(value(&chosen, &format!("rabbitmq_detailed_queue_messages{labels}")), "2");
    assert!(!chosen.contains("channel"), "{chosen}");
    let elsewhere = page(&served, "/metrics/detailed?family=queue_coarse_metrics&vhost=x", "*/*").await;
    assert!(!elsewhere.contains("queue_messages{"), "{elsewhere}");
}

#[tokio::test]
async fn counters_do_not_go_down_when_what_they_counted_is_gone() {
    let served = Served::start().await;
    let mut peer = Peer::open(&served.broker).await;
    peer.declare("q").await;
    peer.publish("", "q", "x").await;
    peer.settle_down().await;
    drop(peer);
    served.call("DELETE", "/api/queues/%2F/q", "").await;
    let all = page(&served, "/metrics", "*/*").await;
    assert_eq!(value(&all, "rabbitmq_channel_messages_published_total"), "1");
    assert_eq!(value(&all, "rabbitmq_global_messages_routed_total{protocol=\"amqp091\"}"), "1");
    assert_eq!(value(&all, "rabbitmq_queues_deleted_total"), "1");
}

#[tokio::test]
async fn openmetrics_ends_as_it_has_to() {
    let served = Served::start().await;
    let text = page(&served, "/metrics", "application/openmetrics-text; version=1.0.0").await;
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert!(text.contains("# TYPE rabbitmq_queues_created counter\n"), "{text}");
}
