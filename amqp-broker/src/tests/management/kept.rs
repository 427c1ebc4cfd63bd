//! The folder keeps what administrators set.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::client::{Served, login};
use crate::{
    Definitions, DefinitionsError, HttpOptions,
    broker::{Broker, BrokerBuilder},
};

async fn start(builder: BrokerBuilder, folder: &Path) -> Served {
    Served::on(builder.data_dir(folder).build().unwrap(), HttpOptions::new()).await
}

/// Sends changes as `admin`, all of which are done.
async fn change(served: &Served, changes: &[(&str, &str, &str)]) {
    for (method, path, body) in changes {
        let headers = format!("{}content-type: application/json\r\n", login("admin", "admin"));
        let answer = served.send(method, path, &headers, body).await;
        assert!((200..300).contains(&answer.status), "{method} {path}: {answer:?}");
    }
}

/// The definitions as `admin` exports them.
async fn exported(served: &Served) -> Value {
    served.as_user("admin", "GET", "/api/definitions", "").await.json()
}

const ADMIN: (&str, &str, &str) =
    ("PUT", "/api/users/admin", r#"{"password":"admin","tags":"administrator"}"#);

#[tokio::test]
async fn users_permissions_limits_and_parameters_outlive_the_broker() {
    let folder = tempfile::tempdir().unwrap();
    let served = start(Broker::builder(), folder.path()).await;
    assert_eq!(served.call(ADMIN.0, ADMIN.1, ADMIN.2).await.status, 201);
    change(
        &served,
        &[
            ("PUT", "/api/vhosts/orders", r#"{"description":"of customers","tags":"a,b"}"#),
            ("PUT", "/api/vhost-limits/orders/max-queues", r#"{"value":1}"#),
            ("PUT", "/api/users/reader", r#"{"password":"secret","tags":"monitoring"}"#),
            ("PUT", "/api/permissions/orders/reader", r#"{"configure":"^r","write":"","read":".*"}"#),
            ("PUT", "/api/topic-permissions/orders/reader", r#"{"exchange":"e","write":"^w","read":"^k"}"#),
            ("PUT", "/api/user-limits/reader/max-channels", r#"{"value":3}"#),
            ("PUT", "/api/global-parameters/cluster_tags", r#"{"value":{"region":"north"}}"#),
            ("DELETE", "/api/users/guest", ""),
        ],
    )
    .await;
    let before = exported(&served).await;
    served.broker.shutdown().await;

    let served = start(Broker::builder(), folder.path()).await;
    assert_eq!(exported(&served).await, before);
    assert_eq!(served.call("GET", "/api/whoami", "").await.status, 401, "the default user was deleted");
    let vhost = served.as_user("admin", "GET", "/api/vhosts/orders", "").await.json();
    assert_eq!((&vhost["description"], &vhost["tags"]), (&json!("of customers"), &json!(["a", "b"])));
    change(&served, &[("PUT", "/api/queues/orders/first", "{}")]).await;
    let second = served.as_user("admin", "PUT", "/api/queues/orders/second", "{}").await;
    assert_eq!(second.status, 400, "the limit holds: {second:?}");
    change(&served, &[("DELETE", "/api/vhosts/orders", "")]).await;
    served.broker.shutdown().await;

    let after = exported(&start(Broker::builder(), folder.path()).await).await;
    assert!(!after.to_string().contains("orders"), "{after}");
}

#[tokio::test]
async fn settings_take_precedence_and_whoever_the_program_adds_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let settings = || Broker::builder().user("admin", "admin");
    let settings = || settings().user_tags("admin", [crate::UserTag::Administrator]);
    let served = start(settings(), folder.path()).await;
    served.broker.add_user("of-the-program", "x");
    change(
        &served,
        &[
            ("PUT", "/api/users/kept", r#"{"password":"kept","tags":""}"#),
            ("PUT", "/api/users/admin", r#"{"password":"admin","tags":"administrator,monitoring"}"#),
        ],
    )
    .await;
    served.broker.shutdown().await;
    let names = |broker: &Broker| -> Vec<_> {
        broker.inner.config.users.list().into_iter().map(|(name, _)| name).collect()
    };
    let served = start(settings(), folder.path()).await;
    assert_eq!(names(&served.broker), ["admin", "kept"]);
    let tags = served.as_user("admin", "GET", "/api/users/admin", "").await.json()["tags"].clone();
    assert_eq!(tags, json!(["administrator"]), "they are those of the settings");
    served.broker.shutdown().await;
    // Nobody has deleted the default user, but there was none either.
    assert_eq!(names(&start(Broker::builder(), folder.path()).await.broker), ["kept"]);
}

#[tokio::test]
async fn the_default_user_stays_deleted_and_goes_when_settings_name_users() {
    let served = Served::start().await;
    assert_eq!(served.call("DELETE", "/api/users/guest", "").await.status, 204);
    served.broker.reload_users(Broker::builder());
    assert!(!served.broker.inner.config.users.has("guest"));
    let served = Served::start().await;
    served.broker.reload_users(Broker::builder().user("ada", "x"));
    assert!(!served.broker.inner.config.users.has("guest"));
    served.broker.reload_users(Broker::builder());
    assert!(served.broker.inner.config.users.has("guest") && !served.broker.inner.config.users.has("ada"));

    let folder = tempfile::tempdir().unwrap();
    let served = start(Broker::builder(), folder.path()).await;
    assert_eq!(served.call("PUT", "/api/global-parameters/a", r#"{"value":1}"#).await.status, 201);
    served.broker.shutdown().await;
    let broker = start(Broker::builder().user("ada", "x"), folder.path()).await.broker;
    assert!(!broker.inner.config.users.has("guest"), "it was there for want of others");
    broker.shutdown().await;
    assert!(start(Broker::builder(), folder.path()).await.broker.inner.config.users.has("guest"));
}

#[tokio::test]
async fn what_cannot_be_written_is_told_and_what_cannot_be_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let served = start(Broker::builder(), folder.path()).await;
    // A folder in place of the file that is about to be written.
    let obstacle = folder.path().join("administration.json.new");
    fs::create_dir(&obstacle).unwrap();
    let answer = served.call(ADMIN.0, ADMIN.1, ADMIN.2).await;
    let reason = answer.json()["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("in force, and is not kept"), "{reason}");
    assert_eq!(answer.status, 503);
    let definitions = Definitions::parse(br#"{"global_parameters":[{"name":"a","value":1}]}"#).unwrap();
    let refused = served.broker.load_definitions(&definitions).await.unwrap_err();
    assert!(matches!(refused, DefinitionsError::NotKept(_)), "{refused}");
    fs::remove_dir(&obstacle).unwrap();
    served.broker.load_definitions(&definitions).await.unwrap();
    served.broker.shutdown().await;
    let served = start(Broker::builder(), folder.path()).await;
    let all = exported(&served).await;
    assert_eq!(all["global_parameters"], json!([{"name": "a", "value": 1}]));
    served.broker.shutdown().await;

    let file = folder.path().join("administration.json");
    let content = fs::read_to_string(&file).unwrap();
    for (damaged, why) in [
        (content[..content.len() / 2].to_owned(), "EOF"),
        (content.replace("\"format\": 1", "\"format\": 2"), "its format is 2"),
        (content.replace("rabbit_password_hashing_sha256", "md5"), "its password is no hash"),
        (content.replace("administrator", "emperor"), "`emperor` is no tag"),
    ] {
        fs::write(&file, &damaged).unwrap();
        let error = Broker::builder().data_dir(folder.path()).build().unwrap_err();
        let words = amqp_codec::Report(&error).to_string();
        assert!(words.contains("administration.json") && words.contains(why), "{words}");
        assert_eq!(fs::read_to_string(&file).unwrap(), damaged, "it is not changed");
    }
}
