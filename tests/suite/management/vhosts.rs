//! Virtual hosts, made and deleted while the broker runs.

use serde_json::json;

use super::{Managed, on_both, within};

async fn they_are_made_changed_and_deleted(broker: Managed) {
    let api = &broker.api;
    let path = "/api/vhosts/management%2Fmade";
    api.delete(path).await;
    api.get(path).await.not_found();
    api.put(path, json!({ "description": "first", "tags": "a,b" })).await.is(201);
    api.put(path, json!({ "description": "second", "tags": "a,b" })).await.is(204);
    let told =
        json!({ "name": "management/made", "description": "second", "tags": ["a", "b"], "tracing": false });
    api.get(path).await.has(&told);
    let names = api.get("/api/vhosts").await.is(200).column("name");
    assert!(["/", "management/made"].iter().all(|name| names.contains(&(*name).to_owned())), "{names:?}");
    // Who made it may use it.
    let permissions = json!([{ "user": "guest", "vhost": "management/made", "configure": ".*", "write": ".*", "read": ".*" }]);
    api.get(&format!("{path}/permissions")).await.has(&permissions);
    api.get(&format!("{path}/topic-permissions")).await.has(&json!([]));
    let connection = broker.connect("management/made").await;
    within(connection.open_channel()).await.unwrap();
    api.delete(path).await.is(204);
    let closed = within(connection.closed()).await;
    assert!(
        closed.to_string().contains("320") || closed.to_string().contains("CONNECTION_FORCED"),
        "{closed}"
    );
    api.delete(path).await.not_found();
    api.get(path).await.not_found();
    api.get("/api/queues/management%2Fmade").await.not_found();
}

async fn what_is_in_them_goes_with_them(broker: Managed) {
    let api = &broker.api;
    let vhost = broker.vhost("management-emptied").await;
    api.put(&format!("/api/queues/{vhost}/q"), json!({ "durable": true })).await.is(201);
    api.put(&format!("/api/exchanges/{vhost}/e"), json!({ "type": "fanout" })).await.is(201);
    let policy = json!({ "pattern": "q", "definition": { "max-length": 5 } });
    api.put(&format!("/api/policies/{vhost}/p"), policy).await.is(201);
    let vhost = broker.vhost(&vhost).await;
    api.get(&format!("/api/queues/{vhost}")).await.has(&json!([]));
    api.get(&format!("/api/exchanges/{vhost}/e")).await.not_found();
    api.get(&format!("/api/policies/{vhost}")).await.has(&json!([]));
}

async fn wrong_requests_are_refused(broker: Managed) {
    let api = &broker.api;
    let path = "/api/vhosts/management-wrong";
    api.delete(path).await;
    api.call("PUT", path, Some("no json".into())).await.refuses(400, "bad_request", "not_json");
    api.get(path).await.not_found();
    api.call("PUT", path, None).await.is(201);
    api.post(path, json!({})).await.allows_only("PUT");
    api.delete(path).await.is(204);
    api.get("/api/vhosts/management-wrong/permissions").await.not_found();
}

on_both!(they_are_made_changed_and_deleted, what_is_in_them_goes_with_them, wrong_requests_are_refused,);
