//! Logins, rights, limits, and where requests come from.

use serde_json::json;

use super::client::{Served, login};
use crate::{HttpOptions, UserTag, broker::Broker};

#[tokio::test]
async fn health_tells_the_state_alone_and_needs_no_login() {
    let served = Served::start().await;
    for path in ["/health/live", "/health/ready"] {
        let answer = served.send("GET", path, "", "").await;
        assert_eq!((answer.status, answer.json()), (200, json!({"status": "ok"})), "{path}");
    }
}

#[tokio::test]
async fn what_a_user_may_do_depends_on_its_tags() {
    let broker = Broker::builder().user("none", "none").user("man", "man").user("mon", "mon");
    let broker = broker.user("adm", "adm").user_tags("man", [UserTag::Management]);
    let broker = broker.user_tags("mon", [UserTag::Monitoring]).user_tags("adm", [UserTag::Administrator]);
    let served = Served::on(broker.build(), HttpOptions::new()).await;
    let answer = served.send("GET", "/api/overview", "", "").await;
    assert_eq!(answer.status, 401);
    assert!(answer.head.contains("Basic realm=\"RabbitMQ Management\""), "{}", answer.head);
    let answer = served.send("GET", "/api/overview", &login("adm", "wrong"), "").await;
    assert_eq!(answer.refusal(), (401, json!("Login failed")));
    for (user, path, status) in [
        ("none", "/api/whoami", 401),
        ("man", "/api/whoami", 200),
        ("man", "/api/nodes", 401),
        ("mon", "/api/nodes", 200),
        ("mon", "/api/users", 401),
        ("adm", "/api/users", 200),
        ("man", "/api/definitions", 401),
        ("man", "/api/policies", 200),
        ("man", "/api/vhosts/%2F", 401),
    ] {
        let answer = served.as_user(user, "GET", path, "").await;
        assert_eq!(answer.status, status, "{user} {path}: {answer:?}");
    }
    let answer = served.as_user("none", "GET", "/api/whoami", "").await;
    assert_eq!(answer.refusal(), (401, json!("Not management user")));
}

#[tokio::test]
async fn a_virtual_host_is_closed_to_those_without_permissions_monitors_included() {
    let served = Served::start().await;
    let put = r#"{"password":"mon","tags":"monitoring"}"#;
    assert_eq!(served.call("PUT", "/api/users/mon", put).await.status, 201);
    for (method, path) in [("GET", "/api/queues/%2F"), ("PUT", "/api/queues/%2F/q")] {
        let answer = served.as_user("mon", method, path, "{}").await;
        assert_eq!(answer.refusal(), (401, json!("User not authorised to access virtual host")));
    }
    let put = r#"{"configure":"^a","write":"","read":""}"#;
    assert_eq!(served.call("PUT", "/api/permissions/%2F/mon", put).await.status, 201);
    assert_eq!(served.as_user("mon", "PUT", "/api/queues/%2F/a", "{}").await.status, 201);
    let answer = served.as_user("mon", "PUT", "/api/queues/%2F/b", "{}").await;
    assert_eq!(answer.refusal(), (401, json!("Access refused.")));
}

#[tokio::test]
async fn pages_of_other_origins_change_nothing() {
    let served = Served::start().await;
    let foreign = format!("{}origin: http://evil\r\n", login("guest", "guest"));
    let answer = served.send("PUT", "/api/queues/%2F/q", &foreign, "{}").await;
    assert_eq!((answer.status, served.broker.queues("/").len()), (403, 0));
    let own = format!("{}origin: http://broker\r\n", login("guest", "guest"));
    assert_eq!(served.send("PUT", "/api/queues/%2F/q", &own, "{}").await.status, 201);
}

#[tokio::test]
async fn bodies_have_a_limit_and_have_to_be_json() {
    let served = Served::on(Broker::builder().build(), HttpOptions::new().max_body(100)).await;
    let long = format!("{{\"x\":\"{}\"}}", "x".repeat(100));
    let answer = served.call("PUT", "/api/queues/%2F/q", &long).await;
    assert_eq!(answer.refusal().0, 400);
    let answer = served.call("PUT", "/api/queues/%2F/q", "{\"dur").await;
    assert_eq!(answer.refusal(), (400, json!("not_json")));
    assert_eq!(served.broker.queues("/").len(), 0);
}

#[tokio::test]
async fn metrics_are_open_or_need_a_login_and_alone_where_nothing_else_is_served() {
    let broker = Broker::builder().build();
    let open = Served::on(broker.clone(), HttpOptions::metrics()).await;
    assert_eq!(open.send("GET", "/metrics", "", "").await.status, 200);
    assert_eq!(open.call("GET", "/api/overview", "").await.status, 404);
    let closed = Served::on(broker, HttpOptions::metrics().metrics_need_login(true)).await;
    assert_eq!(closed.send("GET", "/metrics", "", "").await.status, 401);
    assert_eq!(closed.call("GET", "/metrics", "").await.status, 200);
}

#[tokio::test]
async fn no_password_is_in_any_answer() {
    let broker = Broker::builder().user("guest", "guest").user("ada", "open sesame").build();
    broker.set_user_tags("guest", [UserTag::Administrator]);
    let served = Served::on(broker, HttpOptions::new()).await;
    for path in ["/api/users", "/api/users/ada", "/api/definitions", "/api/permissions", "/metrics"] {
        let answer = served.call("GET", path, "").await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.body.contains("sesame"), "{path}");
    }
    let hash = served.get("/api/users/ada").await["password_hash"].as_str().unwrap().to_owned();
    let put = format!(
        r#"{{"password_hash":"{hash}","hashing_algorithm":"rabbit_password_hashing_sha256","tags":"management"}}"#
    );
    assert_eq!(served.call("PUT", "/api/users/eve", &put).await.status, 201);
    let answer = served.send("GET", "/api/whoami", &login("eve", "open sesame"), "").await;
    assert_eq!(answer.json()["name"], "eve");
}

#[tokio::test]
async fn the_page_has_a_policy_and_the_broker_ends_with_its_listeners() {
    let served = Served::start().await;
    let answer = served.send("GET", "/", "", "").await;
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-security-policy: default-src 'none'"), "{}", answer.head);
    tokio::time::timeout(std::time::Duration::from_secs(30), served.broker.shutdown()).await.unwrap();
}
