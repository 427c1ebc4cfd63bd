//! Definitions, out of one broker and into another.

use amqp_broker::RabbitMq as Version;
use serde_json::{Value as Json, json};
use tests::RabbitMq;

use super::{Api, Managed, on_both, within};

/// A virtual host with something of everything that definitions have.
async fn furnish(broker: &Managed, vhost: &str) {
    let (api, vhost) = (&broker.api, broker.vhost(vhost).await);
    for (path, body) in [
        (
            "queues/VHOST/q",
            json!({ "durable": true, "arguments": { "x-max-length": 9, "x-queue-type": "classic" } }),
        ),
        ("queues/VHOST/quorum", json!({ "durable": true, "arguments": { "x-queue-type": "quorum" } })),
        (
            "exchanges/VHOST/e",
            json!({ "type": "headers", "durable": true, "arguments": { "alternate-exchange": "amq.fanout" } }),
        ),
        (
            "policies/VHOST/p",
            json!({ "pattern": "^q$", "definition": { "max-length": 5 }, "priority": 3, "apply-to": "queues" }),
        ),
        ("operator-policies/VHOST/o", json!({ "pattern": "^q$", "definition": { "max-length": 7 } })),
    ] {
        api.put(&format!("/api/{}", path.replace("VHOST", &vhost)), body).await.is(201);
    }
    let headers = json!({ "routing_key": "k", "arguments": { "x-match": "all", "h": 1 } });
    api.post(&format!("/api/bindings/{vhost}/e/e/q/q"), headers).await.is(201);
    api.post(&format!("/api/bindings/{vhost}/e/e/e/amq.topic"), json!({})).await.is(201);
    api.put(&format!("/api/vhost-limits/{vhost}/max-queues"), json!({ "value": 100 })).await.is(204);
    broker.user(&format!("{vhost}-user"), "monitoring").await;
    broker.permit(&format!("{vhost}-user"), &vhost, ["^c", "^w", "^r"]).await;
    let topics = json!({ "exchange": "amq.topic", "write": "^a", "read": "^b" });
    api.put(&format!("/api/topic-permissions/{vhost}/{vhost}-user"), topics).await.is(201);
}

/// The entries of definitions, in an order of their own: RabbitMQ has none.
fn sorted(definitions: &Json) -> Json {
    let mut definitions = definitions.clone();
    for (_, entries) in definitions.as_object_mut().unwrap() {
        if let Json::Array(entries) = entries {
            entries.sort_by_key(Json::to_string);
        }
    }
    definitions
}

/// The entries of a kind that concern a virtual host, without its name.
fn of(definitions: &Json, kind: &str, vhost: &str) -> Vec<Json> {
    let entries = definitions[kind].as_array().unwrap_or_else(|| panic!("no {kind} in {definitions}"));
    let is_here = |entry: &&Json| {
        entry["vhost"] == vhost || entry["name"] == vhost || entry["name"] == format!("{vhost}-user")
    };
    let mut entries: Vec<_> = entries.iter().filter(is_here).cloned().collect();
    entries.sort_by_key(Json::to_string);
    entries
}

async fn everything_is_in_them(broker: Managed) {
    let vhost = "management-definitions";
    furnish(&broker, vhost).await;
    let all = broker.api.get("/api/definitions").await.is(200);
    let all = all.json();
    let version = all["rabbitmq_version"].as_str().unwrap();
    assert!(version.starts_with(if broker.is_4 { "4." } else { "3." }), "{version}");
    assert_eq!(all["rabbit_version"], all["rabbitmq_version"]);
    let queue = json!({ "name": "q", "vhost": vhost, "durable": true, "auto_delete": false, "arguments": { "x-max-length": 9, "x-queue-type": "classic" } });
    assert!(of(&all, "queues", vhost).contains(&queue), "{all}");
    let exchange = json!({ "name": "e", "vhost": vhost, "type": "headers", "durable": true, "auto_delete": false, "internal": false, "arguments": { "alternate-exchange": "amq.fanout" } });
    // None of those that every virtual host has.
    assert_eq!(of(&all, "exchanges", vhost), [exchange]);
    let bindings = [
        json!({ "source": "e", "vhost": vhost, "destination": "amq.topic", "destination_type": "exchange", "routing_key": "", "arguments": {} }),
        json!({ "source": "e", "vhost": vhost, "destination": "q", "destination_type": "queue", "routing_key": "k", "arguments": { "x-match": "all", "h": 1 } }),
    ];
    let mut expected = bindings.to_vec();
    expected.sort_by_key(Json::to_string);
    assert_eq!(of(&all, "bindings", vhost), expected);
    let policy = json!({ "name": "p", "vhost": vhost, "pattern": "^q$", "apply-to": "queues", "definition": { "max-length": 5 }, "priority": 3 });
    assert_eq!(of(&all, "policies", vhost), [policy]);
    let topics = json!({ "user": format!("{vhost}-user"), "vhost": vhost, "exchange": "amq.topic", "write": "^a", "read": "^b" });
    assert_eq!(of(&all, "topic_permissions", vhost), [topics]);
    let user = &of(&all, "users", vhost)[0];
    assert_eq!(
        (&user["tags"], &user["hashing_algorithm"]),
        (&json!(["monitoring"]), &json!("rabbit_password_hashing_sha256"))
    );
    assert!(
        user["password_hash"].as_str().is_some_and(|hash| hash.len() == 48) && user.get("password").is_none(),
        "{user}"
    );
    let parameters = of(&all, "parameters", vhost);
    let limits = json!({ "component": "vhost-limits", "name": "limits", "vhost": vhost, "value": { "max-queues": 100 } });
    let operators = json!({ "component": "operator_policy", "name": "o", "vhost": vhost, "value": { "pattern": "^q$", "definition": { "max-length": 7 }, "priority": 0, "apply-to": "all" } });
    assert!(parameters.contains(&limits) && parameters.contains(&operators), "{parameters:?}");
    let answer = broker.api.get("/api/definitions?download=x.json").await.is(200);
    assert!(answer.header("content-disposition").starts_with("attachment"), "{answer}");
}

async fn they_restore_a_virtual_host(broker: Managed) {
    let vhost = "management-restored";
    furnish(&broker, vhost).await;
    let before = broker.api.get("/api/definitions").await.is(200).json();
    broker.api.delete(&format!("/api/vhosts/{vhost}")).await.is(204);
    broker.api.delete(&format!("/api/users/{vhost}-user")).await.is(204);
    broker.api.post("/api/definitions", only(&before, vhost)).await.is(204);
    let after = broker.api.get("/api/definitions").await.is(200).json();
    for kind in KINDS {
        assert_eq!(of(&before, kind, vhost), of(&after, kind, vhost), "{kind}");
    }
    let who = broker.api.login(&format!("{vhost}-user"), "secret").get("/api/whoami").await;
    who.has(&json!({ "tags": ["monitoring"] }));
    // What is there already stays as it is.
    broker.api.post("/api/definitions", only(&before, vhost)).await.is(204);
    let other = json!({ "queues": [{ "name": "q", "vhost": vhost, "durable": false, "auto_delete": false, "arguments": {} }] });
    broker.api.post("/api/definitions", other).await.is(204);
    broker
        .api
        .get(&format!("/api/queues/{vhost}/q"))
        .await
        .has(&json!({ "durable": true, "arguments": { "x-max-length": 9 } }));
}

const KINDS: [&str; 9] = [
    "users",
    "vhosts",
    "permissions",
    "topic_permissions",
    "parameters",
    "policies",
    "queues",
    "exchanges",
    "bindings",
];

/// Definitions with what concerns a virtual host: tests beside this one have others.
fn only(definitions: &Json, vhost: &str) -> Json {
    KINDS.iter().map(|kind| ((*kind).to_owned(), json!(of(definitions, kind, vhost)))).collect()
}

async fn those_of_one_virtual_host_fit_another(broker: Managed) {
    furnish(&broker, "management-one").await;
    let one = broker.api.get("/api/definitions/management-one").await.is(200).json();
    for kind in ["queues", "exchanges", "bindings"] {
        let entries = one[kind].as_array().unwrap();
        let of_any = entries.iter().all(|entry| entry.get("vhost").is_none());
        assert!(!entries.is_empty() && of_any, "{kind}: {entries:?}");
    }
    assert!(one.get("users").is_none() && one.get("permissions").is_none(), "{one}");
    let other = broker.vhost("management-other").await;
    let kinds = ["queues", "exchanges", "bindings"];
    let chosen: Json = kinds.iter().map(|kind| ((*kind).to_owned(), one[*kind].clone())).collect();
    broker.api.post(&format!("/api/definitions/{other}"), chosen.clone()).await.is(204);
    let told = broker.api.get(&format!("/api/definitions/{other}")).await.is(200).json();
    let told: Json = kinds.iter().map(|kind| ((*kind).to_owned(), told[*kind].clone())).collect();
    assert_eq!(sorted(&told), sorted(&chosen));
}

async fn wrong_ones_are_refused(broker: Managed) {
    let (api, vhost) = (&broker.api, broker.vhost("management-wrong-definitions").await);
    for body in ["x", "[]"] {
        let answer = api.call("POST", "/api/definitions", Some(body.into())).await;
        answer.refuses(400, "bad_request", "failed_to_parse_json");
    }
    for body in [
        json!({ "queues": [{ "name": "q", "vhost": "management-nowhere", "durable": true, "auto_delete": false, "arguments": {} }] }),
        json!({ "permissions": [{ "user": "management-nobody", "vhost": vhost, "configure": "", "write": "", "read": "" }] }),
        json!({ "exchanges": [{ "name": "e", "vhost": vhost, "type": "zzz", "durable": true, "auto_delete": false, "internal": false, "arguments": {} }] }),
        json!({ "policies": [{ "name": "p", "vhost": vhost, "pattern": "[", "definition": { "max-length": 1 }, "priority": 0, "apply-to": "all" }] }),
        json!({ "parameters": [{ "component": "zzz", "vhost": vhost, "name": "limits", "value": {} }] }),
        json!({ "queues": [{ "vhost": vhost }] }),
    ] {
        // 4.0 declares a queue that has no name as `undefined`.
        if broker.is_4 && body["queues"][0]["name"].is_null() {
            continue;
        }
        let answer = api.post("/api/definitions", body).await;
        assert!(answer.status == 400 || (broker.is_4 && answer.status == 500), "{answer}");
    }
    for body in [json!({}), json!({ "zzz": [1] })] {
        api.post("/api/definitions", body).await.is(204);
    }
    api.get(&format!("/api/queues/{vhost}")).await.has(&json!([]));
    api.post("/api/definitions/management-nowhere", json!({})).await.refuses(
        404,
        "not_found",
        "vhost_not_found",
    );
    api.get("/api/definitions/management-nowhere").await.refuses(400, "bad_request", "vhost_not_found");
    api.put("/api/definitions", json!({})).await.allows_only("POST");
    let management = broker.user("management-no-definitions", "management").await;
    broker.permit("management-no-definitions", &vhost, [".*"; 3]).await;
    for path in ["/api/definitions".to_owned(), format!("/api/definitions/{vhost}")] {
        management.get(&path).await.refuses(401, "not_authorised", "Not administrator user");
        management.post(&path, json!({})).await.refuses(401, "not_authorised", "Not administrator user");
    }
    api.delete("/api/users/management-no-definitions").await.is(204);
}

/// RabbitMQ's definitions are imported and exported by the broker, and imported by RabbitMQ again.
#[tokio::test]
async fn those_of_a_rabbitmq_go_through_the_broker_and_back() {
    let test = concat!(module_path!(), "::those_of_a_rabbitmq_go_through_the_broker_and_back");
    let Some(shared) = Managed::rabbitmq(test).await else { return };
    let node = within_minutes(RabbitMq::start_managed("")).await;
    let at = Api::at(format!("127.0.0.1:{}", node.http().unwrap().management)).login("guest", "guest");
    let rabbitmq = Managed { api: at, ..shared };
    furnish(&rabbitmq, "round-trip").await;
    let exported = rabbitmq.api.get("/api/definitions").await.is(200).json();
    let version = if rabbitmq.is_4 { Version::V4_0 } else { Version::V3_10 };
    let broker = Managed::embedded_like(version).await;
    broker.api.post("/api/definitions", exported.clone()).await.is(204);
    let told = broker.api.get("/api/definitions").await.is(200).json();
    for kind in KINDS {
        assert_eq!(sorted(&told)[kind], sorted(&exported)[kind], "{kind}");
    }
    rabbitmq.api.delete("/api/vhosts/round-trip").await.is(204);
    rabbitmq.api.delete("/api/users/round-trip-user").await.is(204);
    rabbitmq.api.post("/api/definitions", told).await.is(204);
    let again = rabbitmq.api.get("/api/definitions").await.is(200).json();
    assert_eq!(sorted(&again), sorted(&exported));
    for api in [&rabbitmq.api, &broker.api] {
        api.login("round-trip-user", "secret").get("/api/whoami").await.is(200);
    }
    within(node.stop()).await.unwrap();
}

async fn within_minutes(starting: impl Future<Output = std::io::Result<RabbitMq>>) -> RabbitMq {
    tokio::time::timeout(std::time::Duration::from_secs(300), starting).await.unwrap().unwrap()
}

on_both!(
    everything_is_in_them,
    they_restore_a_virtual_host,
    those_of_one_virtual_host_fit_another,
    wrong_ones_are_refused,
);
