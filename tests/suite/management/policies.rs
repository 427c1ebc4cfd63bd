//! Policies, operators' policies, and limits.

use serde_json::{Value as Json, json};

use super::{Managed, on_both};

async fn policies_are_set_told_and_cleared(broker: Managed) {
    let (api, vhost) = (&broker.api, broker.vhost("management-policies").await);
    let queue = format!("/api/queues/{vhost}/q");
    api.put(&queue, json!({ "durable": true })).await.is(201);
    for (kind, of_queue) in [("policies", "policy"), ("operator-policies", "operator_policy")] {
        let at = |name: &str| format!("/api/{kind}/{vhost}/{name}");
        let low = json!({ "pattern": "^q", "definition": { "message-ttl": 500_000 } });
        let high = json!({ "pattern": "^q", "definition": { "max-length": 50 }, "priority": 1, "apply-to": "queues" });
        api.put(&at("low"), low).await.is(201);
        api.put(&at("high"), high.clone()).await.is(201);
        api.put(&at("high"), high).await.is(204);
        let told = json!({ "vhost": vhost, "name": "high", "pattern": "^q", "apply-to": "queues", "definition": { "max-length": 50 }, "priority": 1 });
        api.get(&at("high")).await.has(&told);
        api.get(&at("low")).await.has(&json!({ "apply-to": "all", "priority": 0 }));
        let mut names = api.get(&format!("/api/{kind}/{vhost}")).await.is(200).column("name");
        names.sort();
        assert_eq!(names, ["high", "low"]);
        let vhosts = api.get(&format!("/api/{kind}")).await.is(200).column("vhost");
        assert!(vhosts.contains(&vhost), "{vhosts:?}");
        let acts = |queue: &Json| {
            queue[of_queue] == "high" && queue["effective_policy_definition"]["max-length"] == 50
        };
        broker.eventually(&queue, acts).await;
        for name in ["high", "low"] {
            api.delete(&at(name)).await.is(204);
            api.delete(&at(name)).await.not_found();
            api.get(&at(name)).await.not_found();
        }
        broker.eventually(&queue, |queue| queue[of_queue].is_null()).await;
        api.get(&format!("/api/{kind}/management-nowhere")).await.not_found();
    }
}

async fn wrong_policies_are_refused(broker: Managed) {
    let (api, vhost) = (&broker.api, broker.vhost("management-wrong-policies").await);
    for kind in ["policies", "operator-policies"] {
        let path = format!("/api/{kind}/{vhost}/p");
        for (policy, reason) in [
            (json!({ "pattern": "^q" }), "{key_missing,definition}"),
            (json!({ "definition": { "max-length": 1 } }), "{key_missing,pattern}"),
            (
                json!({ "pattern": "[", "definition": { "max-length": 1 } }),
                "pattern should be regular expression but is invalid",
            ),
            (json!({ "pattern": "x", "definition": {} }), "no policy provided"),
            (json!({ "pattern": "x", "definition": { "zzz": 1 } }), "not recognised policy settings"),
            (
                json!({ "pattern": "x", "definition": { "max-length": -1 } }),
                "-1 is not a valid maximum length",
            ),
            (
                json!({ "pattern": "x", "definition": { "max-length": 1 }, "apply-to": "zzz" }),
                "apply-to 'zzz' unrecognised",
            ),
            (
                json!({ "pattern": "x", "definition": { "max-length": 1 }, "priority": "1" }),
                "priority should be a number",
            ),
        ] {
            api.put(&path, policy).await.refuses(400, "bad_request", reason);
        }
        api.call("PUT", &path, Some("x".into())).await.refuses(400, "bad_request", "not_json");
        let answer = api.put(&path, json!({ "pattern": "x", "definition": "x" })).await;
        assert!(answer.status == 400 || (broker.is_rabbitmq() && answer.status == 500), "{answer}");
        api.get(&path).await.not_found();
    }
    let alternate = json!({ "pattern": "x", "definition": { "alternate-exchange": "e" } });
    api.put(&format!("/api/operator-policies/{vhost}/p"), alternate.clone()).await.refuses(
        400,
        "bad_request",
        "not recognised policy settings",
    );
    api.put(&format!("/api/policies/{vhost}/p"), alternate).await.is(201);
    let one = json!({ "pattern": "x", "definition": { "max-length": 1 } });
    api.put("/api/policies/management-nowhere/p", one).await.refuses(404, "not_found", "vhost_not_found");
}

async fn tags_tell_who_may_set_them(broker: Managed) {
    let vhost = broker.vhost("management-policymakers").await;
    let policy = || json!({ "pattern": "x", "definition": { "max-length": 1 } });
    let paths = [format!("/api/policies/{vhost}/p"), format!("/api/operator-policies/{vhost}/p")];
    let policymaker = broker.user("management-policymaker", "policymaker").await;
    let management = broker.user("management-no-policymaker", "management").await;
    for name in ["management-policymaker", "management-no-policymaker"] {
        broker.permit(name, &vhost, [".*"; 3]).await;
    }
    policymaker.put(&paths[0], policy()).await.is(201);
    policymaker.get(&paths[0]).await.is(200);
    policymaker.put(&paths[1], policy()).await.refuses(401, "not_authorised", "Not administrator user");
    policymaker.delete(&paths[1]).await.refuses(401, "not_authorised", "Not administrator user");
    policymaker.get(&format!("/api/operator-policies/{vhost}")).await.has(&json!([]));
    management.put(&paths[0], policy()).await.refuses(
        401,
        "not_authorised",
        "User not authorised to access object",
    );
    management.get(&paths[0]).await.refuses(401, "not_authorised", "User not authorised to access object");
    management.delete(&paths[0]).await.refuses(401, "not_authorised", "User not authorised to access object");
    // The list is open to those who may use the virtual host.
    let names = management.get("/api/policies").await.is(200).column("vhost");
    assert!(names.contains(&vhost), "{names:?}");
    policymaker.delete(&paths[0]).await.is(204);
    for name in ["management-policymaker", "management-no-policymaker"] {
        broker.api.delete(&format!("/api/users/{name}")).await.is(204);
    }
}

async fn limits_of_virtual_hosts_act(broker: Managed) {
    let (api, vhost) = (&broker.api, broker.vhost("management-limits").await);
    let at = |name: &str| format!("/api/vhost-limits/{vhost}/{name}");
    api.get(&format!("/api/vhost-limits/{vhost}")).await.has(&json!([]));
    api.put(&at("max-queues"), json!({ "value": 1 })).await.is(204);
    api.put(&at("max-connections"), json!({ "value": 10 })).await.is(204);
    let told = json!([{ "vhost": vhost, "value": { "max-queues": 1, "max-connections": 10 } }]);
    api.get(&format!("/api/vhost-limits/{vhost}")).await.has(&told);
    let vhosts = api.get("/api/vhost-limits").await.is(200).column("vhost");
    assert!(vhosts.contains(&vhost), "{vhosts:?}");
    api.put(&format!("/api/queues/{vhost}/first"), json!({})).await.is(201);
    let second = format!("/api/queues/{vhost}/second");
    api.put(&second, json!({})).await.refuses(
        400,
        "bad_request",
        "queue limit in vhost 'management-limits' (1) is reached",
    );
    api.delete(&at("max-queues")).await.is(204);
    api.put(&second, json!({})).await.is(201);
    for (name, body, reason) in [
        ("zzz", json!({ "value": 10 }), "Unrecognised terms"),
        ("max-queues", json!({ "value": "x" }), "max-queues should be a number"),
        ("max-queues", json!({}), "{key_missing,value}"),
    ] {
        api.put(&at(name), body).await.refuses(400, "bad_request", reason);
    }
    api.get(&at("max-queues")).await.allows_only("PUT");
    api.put("/api/vhost-limits/management-nowhere/max-queues", json!({ "value": 1 })).await.refuses(
        404,
        "not_found",
        "vhost_not_found",
    );
    api.get("/api/vhost-limits/management-nowhere").await.not_found();
}

async fn limits_of_users_are_kept(broker: Managed) {
    let api = &broker.api;
    broker.user("management-limited", "").await;
    let at = |name: &str| format!("/api/user-limits/management-limited/{name}");
    api.get("/api/user-limits/management-limited").await.has(&json!([]));
    api.put(&at("max-connections"), json!({ "value": 5 })).await.is(204);
    api.put(&at("max-channels"), json!({ "value": 6 })).await.is(204);
    let limits = json!({ "max-connections": 5, "max-channels": 6 });
    api.get("/api/user-limits/management-limited")
        .await
        .has(&json!([{ "user": "management-limited", "value": limits }]));
    api.get("/api/users/management-limited").await.has(&json!({ "limits": limits }));
    api.delete(&at("max-channels")).await.is(204);
    api.put(&at("zzz"), json!({ "value": 5 })).await.refuses(400, "bad_request", "Unrecognised terms");
    api.put(&at("max-channels"), json!({ "value": "x" })).await.refuses(
        400,
        "bad_request",
        "max-channels should be a number",
    );
    api.put("/api/user-limits/management-nobody/max-channels", json!({ "value": 5 })).await.refuses(
        400,
        "bad_request",
        "no_such_user",
    );
    api.get("/api/user-limits/management-nobody").await.not_found();
    api.delete("/api/users/management-limited").await.is(204);
}

on_both!(
    policies_are_set_told_and_cleared,
    wrong_policies_are_refused,
    tags_tell_who_may_set_them,
    limits_of_virtual_hosts_act,
    limits_of_users_are_kept,
);
