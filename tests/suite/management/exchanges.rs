//! Exchanges and bindings.

use serde_json::json;

use super::{Managed, on_both, segment};

async fn exchanges_are_declared_told_and_deleted(broker: Managed) {
    let (api, vhost) = (&broker.api, broker.vhost("management-exchanges").await);
    let path = format!("/api/exchanges/{vhost}/e");
    let declared =
        json!({ "type": "topic", "durable": true, "arguments": { "alternate-exchange": "amq.fanout" } });
    api.put(&path, declared.clone()).await.is(201);
    api.put(&path, declared).await.is(204);
    api.put(&path, json!({ "type": "direct" })).await.refuses(
        400,
        "bad_request",
        "inequivalent arg 'type' for exchange 'e' in vhost 'management-exchanges'",
    );
    api.get(&path).await.has(&json!({
        "name": "e", "vhost": vhost, "type": "topic", "durable": true, "auto_delete": false, "internal": false,
        "arguments": { "alternate-exchange": "amq.fanout" },
    }));
    let all = api.get(&format!("/api/exchanges/{vhost}?sort=name")).await.is(200);
    let expected =
        ["", "amq.direct", "amq.fanout", "amq.headers", "amq.match", "amq.rabbitmq.trace", "amq.topic", "e"];
    assert_eq!(all.column("name"), expected);
    api.get(&format!("/api/exchanges/{vhost}/amq.default"))
        .await
        .has(&json!({ "name": "", "type": "direct" }));
    api.delete(&path).await.is(204);
    api.delete(&path).await.not_found();
    api.get(&path).await.not_found();
}

async fn a_declaration_has_defaults(broker: Managed) {
    let (api, vhost) = (&broker.api, broker.vhost("management-defaults").await);
    let at = |name: &str| format!("/api/exchanges/{vhost}/{name}");
    api.call("PUT", &at("empty"), None).await.is(201);
    api.get(&at("empty"))
        .await
        .has(&json!({ "type": "direct", "durable": false, "auto_delete": false, "internal": false }));
    api.put(&at("other"), json!({ "type": "fanout", "internal": true, "auto_delete": true })).await.is(201);
    api.get(&at("other")).await.has(&json!({ "type": "fanout", "internal": true, "auto_delete": true }));
}

async fn wrong_exchanges_are_refused(broker: Managed) {
    let (api, vhost) = (&broker.api, broker.vhost("management-wrong-exchanges").await);
    let at = |name: &str| format!("/api/exchanges/{vhost}/{name}");
    api.put(&at("e"), json!({ "type": "zzz" })).await.refuses(
        400,
        "bad_request",
        "invalid exchange type 'zzz'",
    );
    api.put(&at("e"), json!({ "type": 5 })).await.is(400);
    api.put(&at("e"), json!({ "durable": "maybe" })).await.refuses(400, "bad_request", "not_boolean");
    api.get(&at("e")).await.not_found();
    for name in ["amq.own", "amq.default"] {
        api.put(&at(name), json!({ "type": "direct" })).await.refuses(
            401,
            "not_authorised",
            "Access refused",
        );
    }
    for name in ["amq.direct", "amq.default"] {
        api.delete(&at(name)).await.refuses(401, "not_authorised", "Access refused");
    }
    api.put("/api/exchanges/management-nowhere/e", json!({ "type": "direct" })).await.refuses(
        404,
        "not_found",
        "vhost_not_found",
    );
    api.get("/api/exchanges/management-nowhere").await.not_found();
}

async fn one_in_use_is_kept(broker: Managed) {
    let (api, vhost) = (&broker.api, broker.vhost("management-bound").await);
    api.put(&format!("/api/queues/{vhost}/q"), json!({})).await.is(201);
    let path = format!("/api/exchanges/{vhost}/e");
    api.put(&path, json!({ "type": "fanout" })).await.is(201);
    api.post(&format!("/api/bindings/{vhost}/e/e/q/q"), json!({})).await.is(201);
    api.delete(&format!("{path}?if-unused=true")).await.refuses(
        400,
        "bad_request",
        "exchange 'e' in vhost 'management-bound' in use",
    );
    api.delete(&format!("/api/bindings/{vhost}/e/e/q/q/~")).await.is(204);
    api.delete(&format!("{path}?if-unused=true")).await.is(204);
}

async fn bindings_are_made_told_and_taken_away(broker: Managed) {
    let (api, vhost) = (&broker.api, broker.vhost("management-bindings").await);
    api.put(&format!("/api/queues/{vhost}/q"), json!({})).await.is(201);
    for name in ["e", "other"] {
        api.put(&format!("/api/exchanges/{vhost}/{name}"), json!({ "type": "topic" })).await.is(201);
    }
    let path = format!("/api/bindings/{vhost}/e/e/q/q");
    api.get(&path).await.has(&json!([]));
    // The key of a binding without a key or arguments is a tilde.
    assert_eq!(api.call("POST", &path, None).await.is(201).header("location"), "q/~");
    for _ in 0..2 {
        let made = api.post(&path, json!({ "routing_key": "a.#", "arguments": {} })).await.is(201);
        assert_eq!(made.header("location"), "q/a.%2523");
    }
    let made = api.post(&path, json!({ "routing_key": "sp ace/~%", "arguments": {} })).await.is(201);
    assert_eq!(made.header("location"), "q/sp%2Bace%252F%257E%2525");
    let made = api.post(&path, json!({ "routing_key": "a.#", "arguments": { "x": 1 } })).await.is(201);
    assert!(made.header("location").starts_with("q/a.%2523~"), "{}", made.header("location"));
    api.post(&format!("/api/bindings/{vhost}/e/e/e/other"), json!({ "routing_key": "k" })).await.is(201);
    let bindings = api.get(&path).await.is(200).json();
    let bindings = bindings.as_array().unwrap();
    assert_eq!(bindings.len(), 4, "{bindings:?}");
    for binding in bindings {
        let key = segment(binding["properties_key"].as_str().unwrap());
        api.get(&format!("{path}/{key}")).await.has(binding);
    }
    let plain = json!({ "source": "e", "vhost": vhost, "destination": "q", "destination_type": "queue", "routing_key": "", "arguments": {}, "properties_key": "~" });
    api.get(&format!("{path}/~")).await.has(&plain);
    let to_other = json!([{ "source": "e", "destination": "other", "destination_type": "exchange", "routing_key": "k", "properties_key": "k" }]);
    api.get(&format!("/api/bindings/{vhost}/e/e/e/other")).await.has(&to_other);
    api.get(&format!("/api/exchanges/{vhost}/other/bindings/destination")).await.has(&to_other);
    assert_eq!(
        api.get(&format!("/api/exchanges/{vhost}/e/bindings/source")).await.is(200).column("source").len(),
        5
    );
    assert_eq!(api.get(&format!("/api/queues/{vhost}/q/bindings")).await.is(200).column("source").len(), 5);
    assert_eq!(api.get(&format!("/api/bindings/{vhost}")).await.is(200).column("source").len(), 6);
    for binding in bindings {
        let one = format!("{path}/{}", segment(binding["properties_key"].as_str().unwrap()));
        api.delete(&one).await.is(204);
        api.delete(&one).await.not_found();
    }
    api.get(&path).await.has(&json!([]));
}

async fn wrong_bindings_are_refused(broker: Managed) {
    let (api, vhost) = (&broker.api, broker.vhost("management-wrong-bindings").await);
    api.put(&format!("/api/queues/{vhost}/q"), json!({})).await.is(201);
    let at = |path: &str| format!("/api/bindings/{vhost}/{path}");
    let key = || json!({ "routing_key": "x" });
    api.post(&at("e/nowhere/q/q"), key()).await.refuses(404, "not_found", "no exchange 'nowhere' in vhost");
    api.post(&at("e/amq.topic/q/nowhere"), key()).await.refuses(
        404,
        "not_found",
        "no queue 'nowhere' in vhost",
    );
    api.post("/api/bindings/management-nowhere/e/e/q/q", key()).await.refuses(
        404,
        "not_found",
        "vhost_not_found",
    );
    api.post(&at("e/amq.default/q/q"), key()).await.refuses(401, "not_authorised", "Access refused");
    let answer = api.call("POST", &at("e/amq.topic/q/q"), Some("x".into())).await;
    assert!(answer.status == 400 || (broker.is_rabbitmq() && answer.status == 500), "{answer}");
    api.get(&at("e/amq.topic/q/nowhere")).await.has(&json!([]));
    api.get(&at("x/amq.topic/q/q")).await.not_found();
    api.get(&at("e/amq.topic/q/q/~")).await.not_found();
    api.delete(&at("e/amq.topic/q/q/~")).await.not_found();
    api.put(&at("e/amq.topic/q/q/~"), json!({})).await.allows_only("DELETE");
    api.get(&at("e/amq.default/q/q")).await.has(&json!([{ "routing_key": "q", "properties_key": "q" }]));
}

on_both!(
    exchanges_are_declared_told_and_deleted,
    a_declaration_has_defaults,
    wrong_exchanges_are_refused,
    one_in_use_is_kept,
    bindings_are_made_told_and_taken_away,
    wrong_bindings_are_refused,
);
