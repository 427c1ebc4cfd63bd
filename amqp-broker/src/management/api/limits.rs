//! Limits of virtual hosts and users.

use std::collections::BTreeMap;

use axum::{
    Router,
    extract::State,
    routing::{get, put},
};
use serde_json::{Map, Value, json};

use super::extract::{Answer, Names, StrictObject, deleted};
use crate::{
    config::vhosts::VHOST_LIMITS,
    management::{
        answer::{
            api_error::{ApiError, json_of},
            query::demand,
        },
        login::caller::Caller,
        service::Service,
    },
    users::USER_LIMITS,
};

pub(in crate::management) fn routes() -> Router<Service> {
    Router::new()
        .route("/vhost-limits", get(of_vhosts))
        .route("/vhost-limits/{vhost}", get(of_vhost))
        .route("/vhost-limits/{vhost}/{name}", put(put_vhost).delete(clear_vhost))
        .route("/user-limits", get(of_users))
        .route("/user-limits/{user}", get(of_user))
        .route("/user-limits/{user}/{name}", put(put_user).delete(clear_user))
}

/// The limits of a virtual host or a user, unless it has none.
fn shown(kind: &str, name: &str, limits: &BTreeMap<String, i64>) -> Option<Value> {
    (!limits.is_empty()).then(|| json!({ kind: name, "value": limits }))
}

/// The limits of a virtual host by name.
pub(in crate::management) fn vhost_limits(service: &Service, vhost: &str) -> BTreeMap<String, i64> {
    let settings = service.broker.inner.config.vhosts.settings(vhost);
    settings.map(|settings| settings.limits).unwrap_or_default()
}

async fn of_vhosts(State(service): State<Service>, caller: Caller) -> Answer {
    let vhosts = caller.visible_vhosts(&service);
    let all = vhosts.iter().filter_map(|vhost| shown("vhost", vhost, &vhost_limits(&service, vhost)));
    Ok(json_of(&all.collect()))
}

async fn of_vhost(State(service): State<Service>, caller: Caller, Names(vhost): Names<String>) -> Answer {
    caller.must_see(&service, &vhost)?;
    Ok(json_of(&shown("vhost", &vhost, &vhost_limits(&service, &vhost)).into_iter().collect()))
}

async fn of_users(State(service): State<Service>, _: Caller) -> Answer {
    let users = service.broker.inner.config.users.list();
    let all = users.iter().filter_map(|(name, user)| shown("user", name, &user.limits));
    Ok(json_of(&all.collect()))
}

async fn of_user(State(service): State<Service>, _: Caller, Names(name): Names<String>) -> Answer {
    let user = service.broker.inner.config.users.get(&name).ok_or(ApiError::NotFound)?;
    Ok(json_of(&shown("user", &name, &user.limits).into_iter().collect()))
}

/// Checks a limit: its name and its number.
///
/// # Errors
/// When there is no limit of this name, or it is no number, in RabbitMQ's words.
pub(in crate::management) fn checked(
    names: &[&str],
    name: &str,
    value: &Value,
    kind: &str,
) -> Result<i64, String> {
    let term = match value {
        Value::String(text) => format!("<<\"{text}\">>"),
        value => value.to_string(),
    };
    if !names.contains(&name) {
        return Err(format!("Unrecognised terms [{{<<\"{name}\">>,{term}}}] in {kind}"));
    }
    value.as_i64().ok_or_else(|| format!("{name} should be a number, actually was {term}"))
}

/// The limits that an object describes.
///
/// # Errors
/// When one of them is none.
pub(in crate::management) fn limits(
    names: &[&str],
    object: &Map<String, Value>,
    kind: &str,
) -> Result<BTreeMap<String, i64>, String> {
    object.iter().map(|(name, value)| Ok((name.clone(), checked(names, name, value, kind)?))).collect()
}

/// The number that a body contains.
fn number(names: &[&str], name: &str, body: &Map<String, Value>, kind: &str) -> Result<i64, String> {
    checked(names, name, body.get("value").unwrap_or(&Value::Null), kind)
}

async fn put_vhost(
    State(service): State<Service>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    StrictObject(body): StrictObject,
) -> Answer {
    caller.must_administrate()?;
    if !service.broker.inner.config.vhosts.has(&vhost) {
        return Err(ApiError::Missing("vhost_not_found".to_owned()));
    }
    demand(&body, &["value"])?;
    let most = number(&VHOST_LIMITS, &name, &body, "limits")
        .map_err(|why| ApiError::bad(format!("Validation failed\n\n{why}\n")))?;
    let mut limits = vhost_limits(&service, &vhost);
    limits.insert(name, most);
    service.broker.limit_vhost(&vhost, limits);
    deleted(true)
}

async fn clear_vhost(
    State(service): State<Service>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
) -> Answer {
    caller.must_administrate()?;
    if !service.broker.inner.config.vhosts.has(&vhost) {
        return Err(ApiError::NotFound);
    }
    let mut limits = vhost_limits(&service, &vhost);
    limits.remove(&name);
    service.broker.limit_vhost(&vhost, limits);
    deleted(true)
}

async fn put_user(
    State(service): State<Service>,
    caller: Caller,
    Names((user, name)): Names<(String, String)>,
    StrictObject(body): StrictObject,
) -> Answer {
    caller.must_administrate()?;
    demand(&body, &["value"])?;
    let most = number(&USER_LIMITS, &name, &body, "user-limits").map_err(ApiError::bad)?;
    let users = &service.broker.inner.config.users;
    if users.get(&user).is_none() {
        return Err(ApiError::unfit("no_such_user", user));
    }
    users.limit(&user, &name, Some(most));
    deleted(true)
}

async fn clear_user(
    State(service): State<Service>,
    caller: Caller,
    Names((user, name)): Names<(String, String)>,
) -> Answer {
    caller.must_administrate()?;
    let users = &service.broker.inner.config.users;
    users.get(&user).ok_or(ApiError::NotFound)?;
    users.limit(&user, &name, None);
    deleted(true)
}
