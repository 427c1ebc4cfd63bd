//! The pages that Prometheus reads.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Api, Managed, on_both};

/// A page in Prometheus's text format: the type, help and samples of each family.
struct Page(BTreeMap<String, Family>);

#[derive(Default)]
struct Family {
    kind: String,
    help: String,
    /// Names with labels, and values.
    samples: Vec<(String, f64)>,
}

impl Page {
    async fn get(api: &Api, path: &str) -> Self {
        let answer = api.without_login().get(path).await.is(200);
        assert_eq!(answer.header("content-type").split(';').next(), Some("text/plain"), "{answer}");
        assert!(answer.header("content-type").contains("version=0.0.4"), "{answer}");
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        for line in answer.text.lines() {
            if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                families.entry(name.to_owned()).or_default().kind = kind.to_owned();
            } else if let Some((name, help)) =
                line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '))
            {
                families.entry(name.to_owned()).or_default().help = help.to_owned();
            } else if let Some((sample, value)) = line.rsplit_once(' ') {
                let name = sample.split('{').next().unwrap_or_default();
                let stem = ["_count", "_sum", "_bucket"].iter().find_map(|suffix| name.strip_suffix(suffix));
                let family = stem.filter(|stem| families.contains_key(*stem)).unwrap_or(name);
                let family = families.entry(family.to_owned()).or_default();
                family.samples.push((sample.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}"))));
            } else {
                assert!(line.is_empty(), "{line}");
            }
        }
        Page(families)
    }

    fn family(&self, name: &str) -> &Family {
        self.0.get(name).unwrap_or_else(|| panic!("no {name} among {:?}", self.0.keys()))
    }

    /// The sum of a family's samples that have all these labels.
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |sample: &str| {
            labels.iter().all(|(label, value)| sample.contains(&format!("{label}=\"{value}\"")))
        };
        let chosen = self.0.get(name)?.samples.iter().filter(|(sample, _)| has(sample));
        chosen.map(|(_, value)| *value).reduce(|sum, value| sum + value)
    }
}

/// Names that dashboards use, and their types.
const NAMES: [(&str, &str); 34] = [
    ("rabbitmq_connections_opened_total", "counter"),
    ("rabbitmq_connections_closed_total", "counter"),
    ("rabbitmq_channels_opened_total", "counter"),
    ("rabbitmq_channels_closed_total", "counter"),
    ("rabbitmq_queues_declared_total", "counter"),
    ("rabbitmq_queues_created_total", "counter"),
    ("rabbitmq_queues_deleted_total", "counter"),
    ("rabbitmq_process_open_fds", "gauge"),
    ("rabbitmq_process_resident_memory_bytes", "gauge"),
    ("rabbitmq_process_max_fds", "gauge"),
    ("rabbitmq_resident_memory_limit_bytes", "gauge"),
    ("rabbitmq_queue_messages_ready", "gauge"),
    ("rabbitmq_queue_messages_unacked", "gauge"),
    ("rabbitmq_queue_messages", "gauge"),
    ("rabbitmq_queue_consumers", "gauge"),
    ("rabbitmq_queue_messages_bytes", "gauge"),
    ("rabbitmq_queue_messages_published_total", "counter"),
    ("rabbitmq_connections", "gauge"),
    ("rabbitmq_channels", "gauge"),
    ("rabbitmq_consumers", "gauge"),
    ("rabbitmq_queues", "gauge"),
    ("rabbitmq_build_info", "untyped"),
    ("rabbitmq_identity_info", "untyped"),
    ("rabbitmq_global_consumers", "gauge"),
    ("rabbitmq_global_publishers", "gauge"),
    ("rabbitmq_global_messages_received_total", "counter"),
    ("rabbitmq_global_messages_received_confirm_total", "counter"),
    ("rabbitmq_global_messages_confirmed_total", "counter"),
    ("rabbitmq_global_messages_routed_total", "counter"),
    ("rabbitmq_global_messages_unroutable_dropped_total", "counter"),
    ("rabbitmq_global_messages_unroutable_returned_total", "counter"),
    ("rabbitmq_global_messages_acknowledged_total", "counter"),
    ("rabbitmq_global_messages_redelivered_total", "counter"),
    ("rabbitmq_global_messages_delivered_total", "counter"),
];

async fn names_and_types_are_those_of_dashboards(broker: Managed) {
    for path in ["/metrics", "/metrics/per-object"] {
        let page = Page::get(&broker.metrics, path).await;
        for (name, kind) in NAMES {
            let family = page.family(name);
            // Prometheus takes untyped for gauge.
            let kinds: &[&str] = if kind == "untyped" { &["untyped", "gauge"] } else { &[kind] };
            assert!(kinds.contains(&family.kind.as_str()), "{path}: {name} is {}", family.kind);
            assert!(!family.help.is_empty(), "{path}: {name}");
        }
        for (name, family) in &page.0 {
            let is_named = family.kind != "counter" || name.ends_with("_total") || broker.is_rabbitmq();
            assert!(is_named, "{path}: {name}");
        }
    }
}

async fn objects_are_counted_together_and_each(broker: Managed) {
    let vhost = broker.vhost("management-metrics").await;
    for (name, count) in [("one", 1), ("three", 3)] {
        broker.api.put(&format!("/api/queues/{vhost}/{name}"), json!({ "durable": true })).await.is(201);
        for _ in 0..count {
            let message = json!({ "properties": {}, "routing_key": name, "payload": "12345", "payload_encoding": "string" });
            broker
                .api
                .post(&format!("/api/exchanges/{vhost}/amq.default/publish"), message)
                .await
                .has(&json!({ "routed": true }));
        }
    }
    let counted =
        |page: &Page, queue: &str, name: &str| page.value(name, &[("vhost", &vhost), ("queue", queue)]);
    let page = super::within(async {
        loop {
            let page = Page::get(&broker.metrics, "/metrics/per-object").await;
            if counted(&page, "three", "rabbitmq_queue_messages") == Some(3.0)
                && counted(&page, "one", "rabbitmq_queue_messages_ready") == Some(1.0)
            {
                break page;
            }
        }
    })
    .await;
    assert_eq!(counted(&page, "three", "rabbitmq_queue_messages_unacked"), Some(0.0));
    assert_eq!(counted(&page, "three", "rabbitmq_queue_messages_bytes"), Some(15.0));
    let together = Page::get(&broker.metrics, "/metrics").await;
    assert!(together.value("rabbitmq_queue_messages_ready", &[]) >= Some(4.0));
    assert!(
        together
            .family("rabbitmq_queue_messages_ready")
            .samples
            .iter()
            .all(|(sample, _)| !sample.contains("queue="))
    );
    assert!(together.value("rabbitmq_queues", &[]) >= Some(2.0));
    assert!(
        together.value("rabbitmq_global_messages_received_total", &[("protocol", "amqp091")]) >= Some(4.0)
    );
    let global = together.family("rabbitmq_global_messages_delivered_total");
    assert!(
        global.samples.iter().any(|(sample, _)| sample.contains("queue_type=\"rabbit_classic_queue\"")),
        "{:?}",
        global.samples
    );
    assert_eq!(together.value("rabbitmq_build_info", &[]), Some(1.0));
}

async fn families_and_virtual_hosts_are_chosen(broker: Managed) {
    let (vhost, other) =
        (broker.vhost("management-detailed").await, broker.vhost("management-detailed-2").await);
    for vhost in [&vhost, &other] {
        broker.api.put(&format!("/api/queues/{vhost}/q"), json!({})).await.is(201);
    }
    let name = "rabbitmq_detailed_queue_messages_ready";
    let asked = format!("/metrics/detailed?vhost={vhost}&family=queue_coarse_metrics");
    let chosen = super::within(async {
        loop {
            let page = Page::get(&broker.metrics, &asked).await;
            if page.value(name, &[("vhost", &vhost), ("queue", "q")]) == Some(0.0) {
                break page;
            }
        }
    })
    .await;
    assert_eq!(chosen.value(name, &[("vhost", &other)]), None);
    assert_eq!(chosen.family(name).samples.len(), 1);
    for name in ["rabbitmq_detailed_queue_messages_unacked", "rabbitmq_detailed_queue_messages"] {
        assert_eq!(chosen.value(name, &[("vhost", &vhost)]), Some(0.0));
    }
    assert!(!chosen.0.contains_key("rabbitmq_detailed_queue_consumers"));
    let both =
        Page::get(&broker.metrics, &format!("{asked}&vhost={other}&family=queue_consumer_count")).await;
    assert_eq!(both.value(name, &[("vhost", &other)]), Some(0.0));
    assert_eq!(both.value("rabbitmq_detailed_queue_consumers", &[("vhost", &vhost)]), Some(0.0));
    let none =
        Page::get(&broker.metrics, "/metrics/detailed?vhost=management-nowhere&family=queue_coarse_metrics")
            .await;
    assert_eq!(none.value(name, &[]), None);
    for path in ["/metrics/detailed", "/metrics/detailed?family=zzz"] {
        let page = Page::get(&broker.metrics, path).await;
        assert!(page.0.contains_key("rabbitmq_build_info") && !page.0.contains_key(name), "{path}");
    }
    broker.metrics.get("/metrics/zzz").await.is(404);
}

/// Names that would end a label. Ends of lines are not in names: the broker takes them away.
#[tokio::test]
async fn strange_names_are_escaped() {
    let broker = Managed::embedded().await;
    let path = format!("/api/queues/%2F/{}", super::segment("a\"b\\c{d}"));
    broker.api.put(&path, json!({})).await.is(201);
    let text = broker.metrics.without_login().get("/metrics/per-object").await.is(200).text;
    let shown = r#"queue="a\"b\\c{d}""#;
    let is_shown = |line: &str| line.starts_with("rabbitmq_queue_messages_ready{") && line.contains(shown);
    assert!(text.lines().any(is_shown), "{text}");
}

/// RabbitMQ 3.10 and 4.0 answer 406.
#[tokio::test]
async fn open_metrics_come_when_asked_for() {
    let broker = Managed::embedded().await;
    let api = broker.metrics.header("accept", "application/openmetrics-text; version=1.0.0");
    let answer = api.without_login().get("/metrics").await.is(200);
    assert!(answer.header("content-type").starts_with("application/openmetrics-text"), "{answer}");
    assert!(answer.text.ends_with("# EOF\n"), "{answer}");
    // A family's name has no suffix there.
    assert!(answer.text.contains("# TYPE rabbitmq_connections_opened counter\n"), "{answer}");
    assert!(answer.text.contains("\nrabbitmq_connections_opened_total "), "{answer}");
}

on_both!(
    names_and_types_are_those_of_dashboards,
    objects_are_counted_together_and_each,
    families_and_virtual_hosts_are_chosen,
);
