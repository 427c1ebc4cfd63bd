//! Permissions of users on names and on routing keys.

use axum::{Router, extract::State, routing::get};
use serde_json::{Map, Value};

use super::extract::{Answer, Names, Object, deleted, put_answer};
use crate::{
    core::rabbitmq::access::{Permissions, topics::TopicPermissions},
    management::{
        answer::{
            api_error::ApiError,
            listing::{list, one},
            query::{Query, demand, text},
        },
        login::caller::Caller,
        service::Service,
        shape::user as shape,
    },
    users::User,
};

pub(in crate::management) fn routes() -> Router<Service> {
    Router::new()
        .route("/permissions", get(all))
        .route("/permissions/{vhost}/{user}", get(single).put(put).delete(delete))
        .route("/topic-permissions", get(all_topics))
        .route("/topic-permissions/{vhost}/{user}", get(topics).put(put_topics).delete(delete_topics))
        .route("/users/{user}/permissions", get(of_user))
        .route("/users/{user}/topic-permissions", get(topics_of_user))
        .route("/vhosts/{vhost}/permissions", get(of_vhost))
        .route("/vhosts/{vhost}/topic-permissions", get(topics_of_vhost))
}

/// A way to show what a user may do in some virtual hosts.
type Show = fn(&str, &User, &[String]) -> Vec<Value>;

/// Returns the permissions of all users in these virtual hosts.
pub(in crate::management) fn shown(service: &Service, show: Show, vhosts: &[String]) -> Vec<Value> {
    let users = service.broker.inner.config.users.list();
    users.iter().flat_map(|(name, user)| show(name, user, vhosts)).collect()
}

fn listed(service: &Service, caller: &Caller, show: Show, query: &Query) -> Answer {
    caller.must_administrate()?;
    let vhosts = service.broker.inner.config.vhosts.all();
    list(shown(service, show, &vhosts), query, service.options.max_page_size)
}

async fn all(State(service): State<Service>, caller: Caller, query: Query) -> Answer {
    listed(&service, &caller, shape::permissions, &query)
}

async fn all_topics(State(service): State<Service>, caller: Caller, query: Query) -> Answer {
    listed(&service, &caller, shape::topic_permissions, &query)
}

fn listed_of_vhost(service: &Service, caller: &Caller, show: Show, vhost: String, query: &Query) -> Answer {
    caller.must_administrate()?;
    caller.must_see(service, &vhost)?;
    list(shown(service, show, &[vhost]), query, service.options.max_page_size)
}

async fn of_vhost(
    State(service): State<Service>,
    caller: Caller,
    Names(vhost): Names<String>,
    query: Query,
) -> Answer {
    listed_of_vhost(&service, &caller, shape::permissions, vhost, &query)
}

async fn topics_of_vhost(
    State(service): State<Service>,
    caller: Caller,
    Names(vhost): Names<String>,
    query: Query,
) -> Answer {
    listed_of_vhost(&service, &caller, shape::topic_permissions, vhost, &query)
}

fn listed_of_user(service: &Service, caller: &Caller, show: Show, name: &str, query: &Query) -> Answer {
    caller.must_administrate()?;
    let user = service.broker.inner.config.users.get(name).ok_or(ApiError::NotFound)?;
    let vhosts = service.broker.inner.config.vhosts.all();
    list(show(name, &user, &vhosts), query, service.options.max_page_size)
}

async fn of_user(
    State(service): State<Service>,
    caller: Caller,
    Names(name): Names<String>,
    query: Query,
) -> Answer {
    listed_of_user(&service, &caller, shape::permissions, &name, &query)
}

async fn topics_of_user(
    State(service): State<Service>,
    caller: Caller,
    Names(name): Names<String>,
    query: Query,
) -> Answer {
    listed_of_user(&service, &caller, shape::topic_permissions, &name, &query)
}

/// Returns a user's permissions in a virtual host; both have to be there.
fn find(service: &Service, show: Show, vhost: &str, name: &str) -> Result<Vec<Value>, ApiError> {
    let config = &service.broker.inner.config;
    let user = config.users.get(name).filter(|_| config.vhosts.has(vhost)).ok_or(ApiError::NotFound)?;
    let found = show(name, &user, &[vhost.to_owned()]);
    if found.is_empty() { Err(ApiError::NotFound) } else { Ok(found) }
}

async fn single(
    State(service): State<Service>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    query: Query,
) -> Answer {
    caller.must_administrate()?;
    let mut found = find(&service, shape::permissions, &vhost, &name)?;
    Ok(one(found.pop().unwrap_or_default(), &query))
}

async fn topics(
    State(service): State<Service>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    query: Query,
) -> Answer {
    caller.must_administrate()?;
    let found = find(&service, shape::topic_permissions, &vhost, &name)?;
    list(found, &query, service.options.max_page_size)
}

/// Checks that there are a user and a virtual host of these names.
pub(in crate::management) fn known(service: &Service, vhost: &str, name: &str) -> Result<(), ApiError> {
    let config = &service.broker.inner.config;
    match config.users.has(name) && config.vhosts.has(vhost) {
        true => Ok(()),
        false => Err(ApiError::bad("vhost_or_user_not_found")),
    }
}

/// The permissions that an object describes.
pub(in crate::management) fn permissions(object: &Map<String, Value>) -> Result<Permissions, ApiError> {
    demand(object, &["configure", "write", "read"])?;
    let part = |key| text(object, key).map(Option::unwrap_or_default);
    let permissions = Permissions::new(part("configure")?, part("write")?, part("read")?);
    permissions.map_err(|error| ApiError::unfit("invalid_regexp", error.to_string()))
}

/// The exchange and the permissions on its routing keys that an object describes.
pub(in crate::management) fn topic_permissions(
    object: &Map<String, Value>,
) -> Result<(String, TopicPermissions), ApiError> {
    demand(object, &["exchange", "write", "read"])?;
    let part = |key| text(object, key).map(Option::unwrap_or_default);
    let permissions = TopicPermissions::new(part("write")?, part("read")?);
    let permissions = permissions.map_err(|error| ApiError::unfit("invalid_regexp", error.to_string()))?;
    Ok((part("exchange")?.to_owned(), permissions))
}

async fn put(
    State(service): State<Service>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    Object(body): Object,
) -> Answer {
    caller.must_administrate()?;
    known(&service, &vhost, &name)?;
    let permissions = permissions(&body)?;
    let is_new = find(&service, shape::permissions, &vhost, &name).is_err();
    service.broker.permit_in(&name, &vhost, permissions);
    Ok(put_answer(is_new))
}

async fn put_topics(
    State(service): State<Service>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
    Object(body): Object,
) -> Answer {
    caller.must_administrate()?;
    known(&service, &vhost, &name)?;
    let (exchange, permissions) = topic_permissions(&body)?;
    let is_new = find(&service, shape::topic_permissions, &vhost, &name).is_err();
    service.broker.set_topic_permissions(name, vhost, exchange, permissions);
    Ok(put_answer(is_new))
}

async fn delete(
    State(service): State<Service>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
) -> Answer {
    caller.must_administrate()?;
    find(&service, shape::permissions, &vhost, &name)?;
    deleted(service.broker.clear_permissions(&name, &vhost))
}

async fn delete_topics(
    State(service): State<Service>,
    caller: Caller,
    Names((vhost, name)): Names<(String, String)>,
) -> Answer {
    caller.must_administrate()?;
    for topic in find(&service, shape::topic_permissions, &vhost, &name)? {
        let exchange = topic.get("exchange").and_then(Value::as_str).unwrap_or_default();
        service.broker.clear_topic_permissions(&name, &vhost, exchange);
    }
    deleted(true)
}
