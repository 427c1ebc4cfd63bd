//! Users, their passwords as hashes, and permissions.

use serde_json::{Value as Json, json};

use super::{Managed, on_both};

/// Hashes of `secret`, as RabbitMQ keeps them: four octets of salt, then the hash of salt and
/// password.
const SHA_256: &str = "AQIDBDB9kM21iEUzN1lZ+6VReCsdNqS0sERdAQTcY6Xs3PMz";
const SHA_512: &str =
    "AQIDBPhTH2L5HGYB1LWOrn+YpvuQmVOXKGqgsuiJRIZTILRoEvblSJo/WAsym3IZTfuaIaK5KR2o5KwFfTv6KsxfMIE=";

async fn they_are_made_changed_and_deleted(broker: Managed) {
    let api = &broker.api;
    let path = "/api/users/management-made";
    api.delete(path).await;
    api.put(path, json!({ "password": "one", "tags": "management" })).await.is(201);
    api.login("management-made", "one")
        .get("/api/whoami")
        .await
        .has(&json!({ "name": "management-made", "tags": ["management"] }));
    api.put(path, json!({ "password": "two", "tags": "monitoring, policymaker" })).await.is(204);
    api.login("management-made", "one").get("/api/whoami").await.is(401);
    let who = json!({ "name": "management-made", "tags": ["monitoring", "policymaker"] });
    api.login("management-made", "two").get("/api/whoami").await.has(&who);
    api.put(path, json!({ "password": "two", "tags": ["administrator"] })).await.is(204);
    let told = json!({ "name": "management-made", "tags": ["administrator"], "limits": {}, "hashing_algorithm": "rabbit_password_hashing_sha256" });
    api.get(path).await.has(&told);
    assert!(api.get("/api/users").await.is(200).column("name").contains(&"management-made".to_owned()));
    let without = api.get("/api/users/without-permissions").await.is(200).column("name");
    assert!(without.contains(&"management-made".to_owned()), "{without:?}");
    api.delete(path).await.is(204);
    api.delete(path).await.not_found();
    api.get(path).await.not_found();
    api.login("management-made", "two").get("/api/whoami").await.is(401);
}

async fn a_hash_logs_in_who_knows_its_password(broker: Managed) {
    let api = &broker.api;
    for (name, hash, algorithm) in [
        ("management-256", SHA_256, "rabbit_password_hashing_sha256"),
        ("management-512", SHA_512, "rabbit_password_hashing_sha512"),
    ] {
        let path = format!("/api/users/{name}");
        let user = json!({ "password_hash": hash, "hashing_algorithm": algorithm, "tags": "management" });
        let made = api.put(&path, user).await;
        assert!([201, 204].contains(&made.status), "{made}");
        api.get(&path).await.has(&json!({ "password_hash": hash, "hashing_algorithm": algorithm }));
        api.login(name, "secret").get("/api/whoami").await.is(200);
        api.login(name, "Secret").get("/api/whoami").await.is(401);
        api.delete(&path).await.is(204);
    }
}

async fn what_is_told_of_one_makes_another(broker: Managed) {
    let api = &broker.api;
    broker.user("management-told", "management").await;
    let told = api.get("/api/users/management-told").await.is(200).json();
    assert!(!told.to_string().contains("secret"), "{told}");
    api.delete("/api/users/management-copied").await;
    api.put("/api/users/management-copied", told).await.is(201);
    api.login("management-copied", "secret")
        .get("/api/whoami")
        .await
        .has(&json!({ "name": "management-copied" }));
    for name in ["management-told", "management-copied"] {
        api.delete(&format!("/api/users/{name}")).await.is(204);
    }
}

async fn one_without_a_password_cannot_log_in(broker: Managed) {
    let api = &broker.api;
    let path = "/api/users/management-passwordless";
    for user in [json!({ "tags": "administrator" }), json!({ "password_hash": "", "tags": "administrator" })]
    {
        api.delete(path).await;
        api.put(path, user).await.is(201);
        for password in ["", "management-passwordless", "guest"] {
            api.login("management-passwordless", password).get("/api/whoami").await.is(401);
        }
    }
    api.delete(path).await.is(204);
}

async fn wrong_requests_are_refused(broker: Managed) {
    let api = &broker.api;
    let path = "/api/users/management-wrong";
    api.delete(path).await;
    for (body, reason) in [
        (json!({ "password": "x" }), "tags_not_present"),
        (
            json!({ "password": "x", "password_hash": SHA_256, "tags": "" }),
            "both_password_and_password_hash_are_provided",
        ),
        (json!({ "password_hash": "***", "tags": "" }), "not_base64"),
    ] {
        api.put(path, body).await.refuses(400, "bad_request", reason);
    }
    api.call("PUT", path, Some("{".into())).await.refuses(400, "bad_request", "not_json");
    // RabbitMQ fails with 500 here.
    for body in [json!({ "password": 5, "tags": "" }), json!({ "password": "x", "tags": 5 })] {
        let answer = api.put(path, body).await;
        assert!(answer.status == 400 || (broker.is_rabbitmq() && answer.status == 500), "{answer}");
    }
    api.get(path).await.not_found();
    api.post(path, json!({})).await.allows_only("PUT");
}

async fn several_are_deleted_at_once(broker: Managed) {
    let names = ["management-bulk-1", "management-bulk-2"];
    for name in names {
        broker.user(name, "").await;
    }
    broker.api.post("/api/users/bulk-delete", json!({ "users": names })).await.is(204);
    for name in names {
        broker.api.get(&format!("/api/users/{name}")).await.not_found();
    }
}

async fn permissions_are_given_and_taken(broker: Managed) {
    let (api, vhost) = (&broker.api, broker.vhost("management-permissions").await);
    broker.user("management-permitted", "").await;
    let path = format!("/api/permissions/{vhost}/management-permitted");
    api.get(&path).await.not_found();
    api.put(&path, json!({ "configure": "^c", "write": "^w", "read": "^r" })).await.is(201);
    let told = json!({ "user": "management-permitted", "vhost": vhost, "configure": "^c", "write": "^w", "read": "^r" });
    api.get(&path).await.has(&told);
    api.get("/api/users/management-permitted/permissions").await.has(&json!([told]));
    api.put(&path, json!({ "configure": "", "write": "", "read": "" })).await.is(204);
    let is_told =
        |list: &Json| list.as_array().is_some_and(|list| list.iter().any(|entry| entry["vhost"] == vhost));
    assert!(is_told(&api.get("/api/permissions").await.is(200).json()));
    api.delete(&path).await.is(204);
    api.delete(&path).await.not_found();
    for (body, reason) in [
        (json!({ "configure": ".*", "write": ".*" }), "{key_missing,read}"),
        (json!({ "configure": "[", "write": ".*", "read": "" }), "invalid_regexp"),
    ] {
        api.put(&path, body).await.refuses(400, "bad_request", reason);
    }
    let all = || json!({ "configure": ".*", "write": ".*", "read": ".*" });
    for path in [
        format!("/api/permissions/{vhost}/management-nobody"),
        "/api/permissions/management-nowhere/guest".into(),
    ] {
        api.put(&path, all()).await.refuses(400, "bad_request", "vhost_or_user_not_found");
        api.get(&path).await.not_found();
        api.delete(&path).await.not_found();
    }
    api.delete("/api/users/management-permitted").await.is(204);
}

async fn topic_permissions_are_given_and_taken(broker: Managed) {
    let (api, vhost) = (&broker.api, broker.vhost("management-topics").await);
    broker.user("management-topic", "").await;
    let path = format!("/api/topic-permissions/{vhost}/management-topic");
    api.get(&path).await.not_found();
    let topics = json!({ "exchange": "amq.topic", "write": "^a", "read": "^b" });
    api.put(&path, topics.clone()).await.is(201);
    api.put(&path, topics).await.is(204);
    let told = json!([{ "user": "management-topic", "vhost": vhost, "exchange": "amq.topic", "write": "^a", "read": "^b" }]);
    api.get(&path).await.has(&told);
    api.get(&format!("/api/vhosts/{vhost}/topic-permissions")).await.has(&told);
    api.get("/api/users/management-topic/topic-permissions").await.has(&told);
    for (body, reason) in [
        (json!({ "write": "^a", "read": "^b" }), "{key_missing,exchange}"),
        (json!({ "exchange": "e", "write": "[", "read": "^b" }), "invalid_regexp"),
    ] {
        api.put(&path, body).await.refuses(400, "bad_request", reason);
    }
    api.delete(&path).await.is(204);
    api.delete(&path).await.not_found();
    api.delete("/api/users/management-topic").await.is(204);
}

on_both!(
    they_are_made_changed_and_deleted,
    a_hash_logs_in_who_knows_its_password,
    what_is_told_of_one_makes_another,
    one_without_a_password_cannot_log_in,
    wrong_requests_are_refused,
    several_are_deleted_at_once,
    permissions_are_given_and_taken,
    topic_permissions_are_given_and_taken,
);
