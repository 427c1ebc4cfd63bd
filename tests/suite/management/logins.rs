//! Rights of callers: logins, tags and permissions.

use serde_json::{Value as Json, json};

use super::{Api, Managed, on_both};

const VHOST: &str = "User not authorised to access virtual host";
const OBJECT: &str = "User not authorised to access object";
const MANAGEMENT: &str = "Not management user";
const MONITOR: &str = "Not monitor user";
const ADMINISTRATOR: &str = "Not administrator user";

/// A virtual host that each of the users may do anything in, apart from the last two; a queue in
/// it; and users by their tags.
struct Users {
    vhost: String,
    management: Api,
    policymaker: Api,
    monitoring: Api,
    tagless: Api,
}

impl Users {
    /// Makes them; their names begin with `name`.
    async fn new(broker: &Managed, name: &str) -> Self {
        let vhost = broker.vhost(name).await;
        broker.api.put(&format!("/api/queues/{vhost}/q"), json!({})).await.is(201);
        for permitted in ["management", "policymaker"] {
            broker.user(&format!("{name}-{permitted}"), permitted).await;
            broker.permit(&format!("{name}-{permitted}"), &vhost, [".*"; 3]).await;
        }
        Users {
            management: broker.api.login(&format!("{name}-management"), "secret"),
            policymaker: broker.api.login(&format!("{name}-policymaker"), "secret"),
            monitoring: broker.user(&format!("{name}-monitoring"), "monitoring").await,
            tagless: broker.user(&format!("{name}-tagless"), "").await,
            vhost,
        }
    }

    async fn delete(self, broker: &Managed) {
        for kind in ["management", "policymaker", "monitoring", "tagless"] {
            broker.api.delete(&format!("/api/users/{}-{kind}", self.vhost)).await.is(204);
        }
    }
}

/// The paths that are read, with `VHOST` for the users' own.
const READ: [&str; 27] = [
    "overview",
    "whoami",
    "nodes",
    "vhosts",
    "vhosts/VHOST",
    "queues",
    "queues/VHOST",
    "queues/VHOST/q",
    "queues/%2F",
    "exchanges/VHOST",
    "bindings/VHOST",
    "connections",
    "channels",
    "consumers",
    "users",
    "users/guest",
    "permissions",
    "permissions/VHOST/guest",
    "topic-permissions",
    "policies",
    "policies/%2F",
    "operator-policies",
    "vhost-limits",
    "user-limits",
    "definitions",
    "definitions/VHOST",
    "cluster-name",
];

/// Why a user with the tag may not read it, if that is so.
fn refusal(tag: &str, path: &str) -> Option<&'static str> {
    match path {
        "nodes" if tag != "monitoring" => Some(MONITOR),
        "vhosts/VHOST"
        | "users"
        | "users/guest"
        | "permissions"
        | "permissions/VHOST/guest"
        | "topic-permissions"
        | "definitions"
        | "definitions/VHOST" => Some(ADMINISTRATOR),
        "queues/%2F" | "policies/%2F" => Some(VHOST),
        _ if path.contains("VHOST") && tag == "monitoring" => Some(VHOST),
        _ => None,
    }
}

async fn tags_tell_what_may_be_read(broker: Managed) {
    let users = Users::new(&broker, "management-read").await;
    for path in READ {
        let at = format!("/api/{}", path.replace("VHOST", &users.vhost));
        broker.api.get(&at).await.is(200);
        let anonymous = broker.api.without_login().get(&at).await.is(401);
        assert!(anonymous.header("www-authenticate").starts_with("Basic realm="), "{anonymous}");
        for (api, tag) in [
            (&users.management, "management"),
            (&users.policymaker, "policymaker"),
            (&users.monitoring, "monitoring"),
        ] {
            match refusal(tag, path) {
                Some(reason) => drop(api.get(&at).await.refuses(401, "not_authorised", reason)),
                None => drop(api.get(&at).await.is(200)),
            }
        }
        let refused = users.tagless.get(&at).await.refuses(401, "not_authorised", MANAGEMENT);
        // A browser would ask again and again.
        assert_eq!(refused.header("www-authenticate"), "", "{refused}");
    }
    users.delete(&broker).await;
}

async fn what_is_read_is_what_may_be_seen(broker: Managed) {
    let users = Users::new(&broker, "management-seen").await;
    let hidden = broker.vhost("management-hidden").await;
    broker.api.put(&format!("/api/queues/{hidden}/hidden"), json!({})).await.is(201);
    for api in [&users.management, &users.policymaker] {
        api.get("/api/queues?columns=name,vhost").await.has(&json!([{ "name": "q", "vhost": users.vhost }]));
        api.get("/api/vhosts?columns=name").await.has(&json!([{ "name": users.vhost }]));
        let exchanges = api.get("/api/exchanges").await.is(200).column("vhost");
        assert!(exchanges.iter().all(|vhost| *vhost == users.vhost), "{exchanges:?}");
        let bindings = api.get("/api/bindings").await.is(200).column("vhost");
        assert!(bindings.iter().all(|vhost| *vhost == users.vhost), "{bindings:?}");
        let overview = api.get("/api/overview").await.is(200).json();
        assert!(overview.get("listeners").is_none() && overview.get("node").is_none(), "{overview}");
        assert_eq!(overview["object_totals"]["queues"], 1, "{overview}");
    }
    users.monitoring.get("/api/queues").await.has(&json!([]));
    let vhosts = users.monitoring.get("/api/vhosts").await.is(200).column("name");
    assert!([&users.vhost, &hidden].iter().all(|name| vhosts.contains(name)), "{vhosts:?}");
    users.delete(&broker).await;
}

/// The requests for changes, their bodies, and why a user with the tag management, who may do
/// anything in the virtual host, may not do it.
fn changes() -> Vec<(&'static str, &'static str, Json, Option<&'static str>)> {
    let permissions = json!({ "configure": "", "write": "", "read": "" });
    let get = json!({ "count": 1, "ackmode": "ack_requeue_true", "encoding": "auto" });
    let message =
        json!({ "properties": {}, "routing_key": "q", "payload": "x", "payload_encoding": "string" });
    vec![
        ("PUT", "queues/VHOST/made", json!({}), None),
        ("PUT", "exchanges/VHOST/made", json!({ "type": "fanout" }), None),
        ("POST", "bindings/VHOST/e/made/q/made", json!({}), None),
        ("POST", "exchanges/VHOST/amq.default/publish", message, None),
        ("POST", "queues/VHOST/q/get", get, None),
        ("DELETE", "queues/VHOST/q/contents", Json::Null, None),
        ("DELETE", "exchanges/VHOST/made", Json::Null, None),
        ("DELETE", "queues/VHOST/made", Json::Null, None),
        ("PUT", "queues/%2F/made", json!({}), Some(VHOST)),
        ("PUT", "vhosts/management-made", json!({}), Some(ADMINISTRATOR)),
        ("DELETE", "vhosts/VHOST", Json::Null, Some(ADMINISTRATOR)),
        (
            "PUT",
            "users/VHOST-management",
            json!({ "password": "x", "tags": "administrator" }),
            Some(ADMINISTRATOR),
        ),
        ("DELETE", "users/guest", Json::Null, Some(ADMINISTRATOR)),
        ("POST", "users/bulk-delete", json!({ "users": ["guest"] }), Some(ADMINISTRATOR)),
        ("PUT", "permissions/VHOST/guest", permissions, Some(ADMINISTRATOR)),
        ("DELETE", "permissions/VHOST/guest", Json::Null, Some(ADMINISTRATOR)),
        (
            "PUT",
            "topic-permissions/VHOST/guest",
            json!({ "exchange": "e", "write": "", "read": "" }),
            Some(ADMINISTRATOR),
        ),
        (
            "PUT",
            "policies/VHOST/p",
            json!({ "pattern": "x", "definition": { "max-length": 1 } }),
            Some(OBJECT),
        ),
        (
            "PUT",
            "operator-policies/VHOST/p",
            json!({ "pattern": "x", "definition": { "max-length": 1 } }),
            Some(ADMINISTRATOR),
        ),
        ("PUT", "vhost-limits/VHOST/max-queues", json!({ "value": 1 }), Some(ADMINISTRATOR)),
        ("PUT", "user-limits/guest/max-channels", json!({ "value": 1 }), Some(ADMINISTRATOR)),
        ("POST", "definitions", json!({}), Some(ADMINISTRATOR)),
    ]
}

fn body(body: &Json) -> Option<String> {
    (!body.is_null()).then(|| body.to_string())
}

async fn tags_tell_what_may_be_changed(broker: Managed) {
    let users = Users::new(&broker, "management-changed").await;
    for (method, path, sent, reason) in changes() {
        let at = format!("/api/{}", path.replace("VHOST", &users.vhost));
        let send = |api: Api| {
            let (at, body) = (at.clone(), body(&sent));
            async move { api.call(method, &at, body).await }
        };
        send(broker.api.without_login()).await.is(401);
        send(broker.api.login("guest", "wrong")).await.is(401);
        send(users.tagless.clone()).await.refuses(401, "not_authorised", MANAGEMENT);
        let monitoring = send(users.monitoring.clone()).await;
        monitoring.refuses(401, "not_authorised", reason.unwrap_or(VHOST));
        let management = send(users.management.clone()).await;
        match reason {
            Some(reason) => drop(management.refuses(401, "not_authorised", reason)),
            None => assert!(management.status < 300, "{management}"),
        }
    }
    users.delete(&broker).await;
}

async fn permissions_hold_as_over_amqp(broker: Managed) {
    let (api, vhost) = (&broker.api, broker.vhost("management-held").await);
    let user = broker.user("management-held", "management").await;
    broker.permit("management-held", &vhost, ["^c", "^w", "^r"]).await;
    for (path, made) in [("queues", json!({})), ("exchanges", json!({ "type": "fanout" }))] {
        for name in ["c", "w", "r", "x"] {
            let at = format!("/api/{path}/{vhost}/{name}");
            if name == "c" {
                user.put(&at, made.clone()).await.is(201);
            } else {
                user.put(&at, made.clone()).await.refuses(401, "not_authorised", "Access refused");
                api.put(&at, made.clone()).await.is(201);
            }
        }
    }
    let get = || json!({ "count": 1, "ackmode": "ack_requeue_false", "encoding": "auto" });
    let at = |path: &str| format!("/api/{}", path.replace("VHOST", &vhost));
    for name in ["w", "c", "x"] {
        let refused = user.post(&at(&format!("queues/VHOST/{name}/get")), get()).await;
        refused.refuses(
            401,
            "not_authorised",
            &format!("access to queue '{name}' in vhost '{vhost}' refused for user 'management-held'"),
        );
        let refused = user.delete(&at(&format!("queues/VHOST/{name}/contents"))).await;
        refused.refuses(401, "not_authorised", "Access refused");
    }
    user.post(&at("queues/VHOST/r/get"), get()).await.has(&json!([]));
    user.delete(&at("queues/VHOST/r/contents")).await.is(204);
    let message =
        || json!({ "properties": {}, "routing_key": "q", "payload": "x", "payload_encoding": "string" });
    for name in ["c", "r", "x"] {
        let refused = user.post(&at(&format!("exchanges/VHOST/{name}/publish")), message()).await;
        refused.refuses(
            400,
            "bad_request",
            &format!("access to exchange '{name}' in vhost '{vhost}' refused for user 'management-held'"),
        );
    }
    user.post(&at("exchanges/VHOST/w/publish"), message()).await.has(&json!({ "routed": false }));
    // A binding writes its destination and reads its source.
    user.post(&at("bindings/VHOST/e/r/q/w"), json!({})).await.is(201);
    for path in ["bindings/VHOST/e/w/q/w", "bindings/VHOST/e/r/q/r"] {
        user.post(&at(path), json!({})).await.refuses(401, "not_authorised", "Access refused");
    }
    for path in ["queues/VHOST/x", "exchanges/VHOST/x"] {
        user.delete(&at(path)).await.refuses(401, "not_authorised", "Access refused");
        // To look at what is there takes no permission but one for the virtual host.
        user.get(&at(path)).await.is(200);
    }
    user.delete(&at("queues/VHOST/c")).await.is(204);
    api.delete("/api/users/management-held").await.is(204);
}

async fn wrong_logins_are_refused(broker: Managed) {
    let api = &broker.api;
    let reason = if broker.is_4 { "Not_Authorized" } else { "Login failed" };
    for wrong in
        [api.login("guest", "wrong"), api.login("guest", ""), api.login("nobody", "guest"), api.login("", "")]
    {
        let refused = wrong.get("/api/whoami").await.refuses(401, "not_authorized", reason);
        // 4.0 sends no such header to whoever gave a login.
        assert!(broker.is_4 || refused.header("www-authenticate").starts_with("Basic realm="), "{refused}");
    }
    // RabbitMQ takes some for malformed requests.
    for header in ["Bearer x", "Basic !!!", "Basic bm9jb2xvbg==", "Basic"] {
        let refused = api.without_login().header("authorization", header).get("/api/whoami").await;
        assert!(refused.status == 401 || (broker.is_rabbitmq() && refused.status == 400), "{refused}");
    }
    api.without_login().get("/api/nothing").await.not_found();
    api.get("/api/whoami").await.has(&json!({ "name": "guest", "tags": ["administrator"] }));
}

async fn methods_and_types_are_checked(broker: Managed) {
    let api = &broker.api;
    let head = api.call("HEAD", "/api/overview", None).await.is(200);
    assert_eq!((head.text.as_str(), head.header("content-type").as_str()), ("", "application/json"));
    let allow = api.call("OPTIONS", "/api/overview", None).await.is(200).header("allow");
    assert!(allow.contains("GET"), "{allow}");
    api.call("PATCH", "/api/overview", None).await.allows_only("GET");
    api.put("/api/whoami", json!({})).await.allows_only("GET");
    for path in ["/api/nothing", "/api/queues//q", "/api/overview/nothing"] {
        api.get(path).await.not_found();
    }
    api.header("accept", "*/*").get("/api/whoami").await.is(200);
    // A browser sends this to any host without asking it first.
    let plain = api
        .header("content-type", "text/plain")
        .put("/api/vhost-limits/%2F/max-queues", json!({ "value": 1 }))
        .await;
    plain.is(415);
}

on_both!(
    tags_tell_what_may_be_read,
    what_is_read_is_what_may_be_seen,
    tags_tell_what_may_be_changed,
    permissions_hold_as_over_amqp,
    wrong_logins_are_refused,
    methods_and_types_are_checked,
);
