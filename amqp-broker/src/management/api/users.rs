//! Users.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    Router,
    extract::State,
    routing::{get, post},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};

use super::extract::{Answer, Names, Object, deleted, put_answer};
use crate::{
    core::rabbitmq::access::tags::UserTag,
    management::{
        answer::{
            api_error::ApiError,
            listing::{list, one},
            query::{Query, text},
        },
        login::caller::Caller,
        service::Service,
        shape::user as shape,
    },
    users::password::{HashAlgorithm, Password},
};

pub(in crate::management) fn routes() -> Router<Service> {
    Router::new()
        .route("/users", get(all))
        .route("/users/without-permissions", get(without_permissions))
        .route("/users/bulk-delete", post(delete_many))
        .route("/users/{user}", get(single).put(put).delete(delete))
}

async fn all(State(service): State<Service>, caller: Caller, query: Query) -> Answer {
    caller.must_administrate()?;
    let users = service.broker.inner.config.users.list();
    let shown = users.iter().map(|(name, user)| shape::user(name, user)).collect();
    list(shown, &query, service.options.max_page_size)
}

async fn without_permissions(State(service): State<Service>, caller: Caller, query: Query) -> Answer {
    caller.must_administrate()?;
    let mut users = service.broker.inner.config.users.list();
    users.retain(|(_, user)| user.permissions.as_ref().is_some_and(BTreeMap::is_empty));
    let shown = users.iter().map(|(name, user)| shape::user(name, user)).collect();
    list(shown, &query, service.options.max_page_size)
}

async fn single(
    State(service): State<Service>,
    caller: Caller,
    Names(name): Names<String>,
    query: Query,
) -> Answer {
    caller.must_administrate()?;
    let user = service.broker.inner.config.users.get(&name).ok_or(ApiError::NotFound)?;
    Ok(one(shape::user(&name, &user), &query))
}

/// The tags that an object names, as text with commas or as a list. Tags that RabbitMQ has no
/// meaning for are passed over: they would allow nothing.
///
/// # Errors
/// When there are none, or they are no text.
pub(in crate::management) fn tags(object: &Map<String, Value>) -> Result<BTreeSet<UserTag>, ApiError> {
    let unfit = || ApiError::unfit("not_tags", object.get("tags").cloned().unwrap_or_default());
    let names: Vec<&str> = match object.get("tags") {
        None => return Err(ApiError::bad("tags_not_present")),
        Some(Value::String(text)) => text.split(',').map(str::trim).collect(),
        Some(Value::Array(names)) => {
            names.iter().map(|name| name.as_str().ok_or_else(unfit)).collect::<Result<_, _>>()?
        }
        Some(_) => return Err(unfit()),
    };
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

/// The password or its hash in an object; `None` for a user who logs in otherwise.
///
/// # Errors
/// When there are both, or the hash is none of an algorithm that exists here.
pub(in crate::management) fn password(object: &Map<String, Value>) -> Result<Option<Password>, ApiError> {
    let (password, hash) = (text(object, "password")?, text(object, "password_hash")?);
    match (password, hash) {
        (Some(_), Some(_)) => Err(ApiError::bad("both_password_and_password_hash_are_provided")),
        (Some(password), None) => Ok(Some(Password::new(password.to_owned()))),
        (None, None | Some("")) => Ok(None),
        (None, Some(hash)) => {
            let name = text(object, "hashing_algorithm")?.unwrap_or(HashAlgorithm::Sha256.name());
            let algorithm =
                HashAlgorithm::named(name).ok_or(ApiError::unfit("unknown_hashing_algorithm", name))?;
            if BASE64_STANDARD.decode(hash).is_err() {
                return Err(ApiError::unfit("not_base64", "password_hash"));
            }
            // The hash is not repeated: an answer may be logged.
            let password = Password::from_hash(algorithm, hash);
            password.map(Some).ok_or(ApiError::bad(format!("password_hash is none of {name}")))
        }
    }
}

async fn put(
    State(service): State<Service>,
    caller: Caller,
    Names(name): Names<String>,
    Object(body): Object,
) -> Answer {
    caller.must_administrate()?;
    let (tags, password) = (tags(&body)?, password(&body)?);
    if name.is_empty() || name.len() > 255 {
        return Err(ApiError::bad("a user's name has from 1 to 255 bytes"));
    }
    Ok(put_answer(service.broker.inner.config.users.put(name, password, tags)))
}

async fn delete(State(service): State<Service>, caller: Caller, Names(name): Names<String>) -> Answer {
    caller.must_administrate()?;
    deleted(service.broker.delete_user(&name))
}

async fn delete_many(State(service): State<Service>, caller: Caller, Object(body): Object) -> Answer {
    caller.must_administrate()?;
    let Some(Value::Array(names)) = body.get("users") else {
        return Err(ApiError::bad("[{key_missing,users}]"));
    };
    for name in names {
        let name = name.as_str().ok_or(ApiError::unfit("not_string", "users"))?;
        if !service.broker.delete_user(name) {
            return Err(ApiError::unfit("no_such_user", name));
        }
    }
    deleted(true)
}
