//! Queues: declared, listed in pages, deleted.

use serde_json::{Value as Json, json};

use super::{Managed, on_both, segment, within};

async fn they_are_declared_told_and_deleted(broker: Managed) {
    let (api, vhost) = (&broker.api, broker.vhost("management-queues").await);
    let path = format!("/api/queues/{vhost}/q");
    let declared =
        json!({ "durable": true, "arguments": { "x-max-length": 100, "x-queue-type": "classic" } });
    api.put(&path, declared.clone()).await.is(201);
    api.put(&path, declared.clone()).await.is(204);
    api.put(&path, json!({ "durable": true })).await.refuses(
        400,
        "bad_request",
        "inequivalent arg 'x-max-length' for queue 'q' in vhost 'management-queues'",
    );
    let told = json!({
        "name": "q", "vhost": vhost, "type": "classic", "durable": true, "auto_delete": false, "exclusive": false,
        "arguments": declared["arguments"],
    });
    api.get(&path).await.has(&told);
    let counted =
        |queue: &Json| queue["messages"] == 0 && queue["messages_ready"] == 0 && queue["consumers"] == 0;
    let counted = broker.eventually(&path, counted).await;
    counted.has(&json!({
        "messages_unacknowledged": 0, "state": "running", "policy": null, "operator_policy": null,
        "effective_policy_definition": {}, "exclusive_consumer_tag": null, "message_bytes": 0,
        "messages_details": { "rate": 0.0 }, "consumer_details": [], "incoming": [], "deliveries": [],
    }));
    api.get(&format!("/api/queues/{vhost}")).await.has(&json!([{ "name": "q", "durable": true }]));
    // The binding that every queue has.
    let binding = json!([{
        "source": "", "vhost": vhost, "destination": "q", "destination_type": "queue", "routing_key": "q",
        "arguments": {}, "properties_key": "q",
    }]);
    api.get(&format!("{path}/bindings")).await.has(&binding);
    api.delete(&path).await.is(204);
    api.delete(&path).await.not_found();
    api.get(&path).await.not_found();
    // A slash at the end changes nothing.
    api.get(&format!("/api/queues/{vhost}/")).await.has(&json!([]));
    let vhosts = api.get("/api/queues/").await.is(200).column("vhost");
    assert!(!vhosts.contains(&vhost), "{vhosts:?}");
}

async fn a_declaration_has_defaults_and_kinds(broker: Managed) {
    let (api, vhost) = (&broker.api, broker.vhost("management-kinds").await);
    let at = |name: &str| format!("/api/queues/{vhost}/{name}");
    api.call("PUT", &at("empty"), None).await.is(201);
    api.get(&at("empty"))
        .await
        .has(&json!({ "durable": false, "auto_delete": false, "arguments": {}, "type": "classic" }));
    api.put(&at("auto"), json!({ "auto_delete": "true", "durable": "false", "unknown": 1 })).await.is(201);
    api.get(&at("auto")).await.has(&json!({ "durable": false, "auto_delete": true }));
    for kind in ["quorum", "stream"] {
        api.put(&at(kind), json!({ "durable": true, "arguments": { "x-queue-type": kind } })).await.is(201);
        api.get(&at(kind)).await.has(&json!({ "type": kind, "durable": true }));
    }
    let arguments = json!({ "text": "ä", "number": 1.5, "flag": true, "list": [1, "x"], "table": { "k": 1 }, "long": 5_000_000_000_u64 });
    api.put(&at("arguments"), json!({ "durable": true, "arguments": arguments })).await.is(201);
    api.get(&at("arguments")).await.has(&json!({ "arguments": arguments }));
    let listed = api.get(&format!("/api/queues/{vhost}?columns=name,type")).await.is(200).json();
    assert_eq!(
        listed,
        json!([
            { "name": "arguments", "type": "classic" },
            { "name": "auto", "type": "classic" },
            { "name": "empty", "type": "classic" },
            { "name": "quorum", "type": "quorum" },
            { "name": "stream", "type": "stream" },
        ])
    );
}

async fn wrong_declarations_are_refused(broker: Managed) {
    let (api, vhost) = (&broker.api, broker.vhost("management-refused").await);
    let path = format!("/api/queues/{vhost}/q");
    for (body, reason) in [
        (json!({ "durable": "maybe" }), "not_boolean"),
        (json!({ "durable": 1 }), "not_boolean"),
        (json!({ "arguments": { "x-max-length": "no" } }), "invalid arg 'x-max-length' for queue 'q'"),
        (json!({ "arguments": { "x-message-ttl": -1 } }), "invalid arg 'x-message-ttl' for queue 'q'"),
        (json!({ "arguments": { "nothing": null } }), "null_not_allowed"),
        (json!([1]), "not_json"),
    ] {
        api.put(&path, body).await.refuses(400, "bad_request", reason);
    }
    api.call("PUT", &path, Some("not json".into())).await.refuses(400, "bad_request", "not_json");
    api.get(&path).await.not_found();
    api.put(&format!("/api/queues/{vhost}/amq.own"), json!({})).await.refuses(
        401,
        "not_authorised",
        "Access refused",
    );
    api.put("/api/queues/management-nowhere/q", json!({})).await.refuses(404, "not_found", "vhost_not_found");
    api.delete("/api/queues/management-nowhere/q").await.not_found();
    api.get("/api/queues/management-nowhere").await.not_found();
    let long = |length: usize| format!("/api/queues/{vhost}/{}", "n".repeat(length));
    api.put(&long(255), json!({})).await.is(201);
    api.put(&long(256), json!({})).await.is(400);
    api.post(&path, json!({})).await.allows_only("PUT");
    api.delete(&format!("/api/queues/{vhost}")).await.allows_only("GET");
}

async fn strange_names_are_names(broker: Managed) {
    let (api, vhost) = (&broker.api, broker.vhost("a/b <i>%2F").await);
    for name in [
        "<img src=x onerror=alert(1)>",
        "../../etc/passwd",
        "/",
        "%2F",
        "a b+c",
        "ä€😀",
        "\"'\\",
        "q?x=y&z#f",
    ] {
        let path = format!("/api/queues/{}/{}", segment(&vhost), segment(name));
        api.put(&path, json!({})).await.is(201);
        api.get(&path).await.has(&json!({ "name": name, "vhost": vhost }));
        let bindings = json!([{ "destination": name, "routing_key": name }]);
        api.get(&format!("{path}/bindings")).await.has(&bindings);
        let message =
            json!({ "properties": {}, "routing_key": name, "payload": name, "payload_encoding": "string" });
        let publish = format!("/api/exchanges/{}/amq.default/publish", segment(&vhost));
        api.post(&publish, message).await.has(&json!({ "routed": true }));
        let get = json!({ "count": 1, "ackmode": "ack_requeue_false", "encoding": "auto" });
        api.post(&format!("{path}/get"), get).await.has(&json!([{ "payload": name, "routing_key": name }]));
        api.delete(&path).await.is(204);
    }
    api.get(&format!("/api/queues/{}", segment(&vhost))).await.has(&json!([]));
    api.delete(&format!("/api/vhosts/{}", segment(&vhost))).await.is(204);
    api.get("/api/queues/%zz/q").await.is(400);
}

async fn one_in_use_is_kept(broker: Managed) {
    let (api, vhost) = (&broker.api, broker.vhost("management-in-use").await);
    let connection = broker.connect(&vhost).await;
    let channel = within(connection.open_channel()).await.unwrap();
    let own = amqp_client::Queue::new("own").exclusive(true);
    within(channel.declare(own)).await.unwrap();
    within(channel.declare(amqp_client::Queue::new("used"))).await.unwrap();
    let used = format!("/api/queues/{vhost}/used");
    let message =
        json!({ "properties": {}, "routing_key": "used", "payload": "x", "payload_encoding": "string" });
    api.post(&format!("/api/exchanges/{vhost}/amq.default/publish"), message)
        .await
        .has(&json!({ "routed": true }));
    api.delete(&format!("{used}?if-empty=true")).await.refuses(
        400,
        "bad_request",
        "queue 'used' in vhost 'management-in-use' not empty",
    );
    let consumer = within(channel.consume("used", Default::default())).await.unwrap();
    api.delete(&format!("{used}?if-unused=true")).await.refuses(
        400,
        "bad_request",
        "queue 'used' in vhost 'management-in-use' in use",
    );
    drop(consumer);
    let own = format!("/api/queues/{vhost}/own");
    let locked = "cannot obtain exclusive access to locked queue 'own'";
    api.get(&own).await.has(&json!({ "exclusive": true }));
    api.delete(&own).await.refuses(400, "bad_request", locked);
    api.delete(&format!("{own}/contents")).await.refuses(400, "bad_request", locked);
    let get = json!({ "count": 1, "ackmode": "ack_requeue_true", "encoding": "auto" });
    api.post(&format!("{own}/get"), get).await.refuses(400, "bad_request", locked);
    api.delete(&used).await.is(204);
    within(connection.close()).await.unwrap();
}

async fn they_are_listed_in_pages(broker: Managed) {
    let (api, vhost) = (&broker.api, broker.vhost("management-pages").await);
    for name in ["a1", "a2", "a3", "b1", "B2"] {
        api.put(&format!("/api/queues/{vhost}/{name}"), json!({})).await.is(201);
    }
    let list = format!("/api/queues/{vhost}?columns=name");
    let page = |query: &str| format!("{list}&{query}");
    let names = |names: &[&str]| names.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>();
    api.get(&page("page=1&page_size=2&sort=name")).await.has(&json!({
        "page": 1, "page_size": 2, "page_count": 3, "item_count": 2, "filtered_count": 5, "total_count": 5,
        "items": names(&["B2", "a1"]),
    }));
    api.get(&page("page=3&page_size=2&sort=name&sort_reverse=true"))
        .await
        .has(&json!({ "item_count": 1, "items": names(&["B2"]) }));
    api.get(&page("page=1")).await.has(&json!({ "page_size": 100, "page_count": 1, "item_count": 5 }));
    // Whatever the case of letters.
    api.get(&page("page=1&page_size=10&sort=name&name=b"))
        .await
        .has(&json!({ "filtered_count": 2, "total_count": 5, "items": names(&["B2", "b1"]) }));
    api.get(&page("page=1&page_size=10&sort=name&use_regex=true&name=%5Ea%5B12%5D"))
        .await
        .has(&json!({ "items": names(&["a1", "a2"]) }));
    api.get(&page("page=1&page_size=10&name=zzz"))
        .await
        .has(&json!({ "item_count": 0, "page_count": 0, "items": [] }));
    // Without a page nothing is filtered.
    assert_eq!(api.get(&page("sort=name&name=b")).await.is(200).column("name").len(), 5);
    let reversed = api.get(&page("sort=name&sort_reverse=true")).await.is(200).column("name");
    assert_eq!(reversed, ["b1", "a3", "a2", "a1", "B2"]);
    for (query, error, reason) in [
        ("page=1&page_size=501", "invalid_pagination_parameters", "page number 1, page size 501"),
        ("page=1&page_size=0", "invalid_pagination_parameters", "page size 0"),
        ("page=0&page_size=10", "invalid_pagination_parameters", "page number 0"),
        ("page=-1&page_size=10", "invalid_pagination_parameters", "page number -1"),
        ("page=9&page_size=10", "page_out_of_range", "page: 9 page size: 10, len: 5"),
        ("page=x&page_size=10", "bad_request", "Pagination parameters are invalid"),
        ("page=1&page_size=x", "bad_request", "Pagination parameters are invalid"),
        ("page=1&page_size=10&use_regex=true&name=%5B", "bad_request", "Pagination parameters are invalid"),
    ] {
        api.get(&page(query)).await.refuses(400, error, reason);
    }
    api.get(&page("page=1&page_size=99999999999999999999999")).await.is(400);
    api.get(&page("page=1&page_size=500")).await.has(&json!({ "item_count": 5 }));
}

async fn columns_choose_members(broker: Managed) {
    let (api, vhost) = (&broker.api, broker.vhost("management-columns").await);
    api.put(
        &format!("/api/queues/{vhost}/q"),
        json!({ "durable": true, "arguments": { "x-max-length": 1, "x-expires": 100_000 } }),
    )
    .await
    .is(201);
    let get = |columns: &str| format!("/api/queues/{vhost}/q?columns={columns}");
    for (columns, expected) in [
        ("name,vhost", json!({ "name": "q", "vhost": vhost })),
        ("durable", json!({ "durable": true })),
        ("name,nothing", json!({ "name": "q" })),
    ] {
        assert_eq!(api.get(&get(columns)).await.is(200).json(), expected);
    }
}

on_both!(
    they_are_declared_told_and_deleted,
    a_declaration_has_defaults_and_kinds,
    wrong_declarations_are_refused,
    strange_names_are_names,
    one_in_use_is_kept,
    they_are_listed_in_pages,
    columns_choose_members,
);
