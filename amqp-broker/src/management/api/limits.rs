//! Limits of virtual hosts and users, and parameters, of which there are none.

use axum::{
    Router,
    extract::State,
    routing::{get, put},
};
use serde_json::json;

use super::extract::{Answer, Names, Object, deleted};
use crate::management::{
    answer::{
        api_error::{ApiError, json_of},
        query::demand,
    },
    login::caller::Caller,
    service::Service,
};

pub(super) fn routes() -> Router<Service> {
    Router::new()
        .route("/vhost-limits", get(async |_: Caller| json_of(&json!([]))))
        .route("/vhost-limits/{vhost}", get(of_vhost))
        .route("/vhost-limits/{vhost}/{name}", put(refuse).delete(clear))
        .route("/user-limits", get(async |_: Caller| json_of(&json!([]))))
        .route("/user-limits/{user}", get(of_user))
        .route("/user-limits/{user}/{name}", put(refuse).delete(clear))
        .route("/parameters", get(async |_: Caller| json_of(&json!([]))))
        .route("/parameters/{component}", get(async |_: Caller| json_of(&json!([]))))
        .route("/global-parameters", get(async |_: Caller| json_of(&json!([]))))
}

async fn of_vhost(State(service): State<Service>, caller: Caller, Names(vhost): Names<String>) -> Answer {
    caller.must_see(&service, &vhost)?;
    Ok(json_of(&json!([])))
}

async fn of_user(State(service): State<Service>, _: Caller, Names(user): Names<String>) -> Answer {
    match service.broker.inner.config.users.has(&user) {
        true => Ok(json_of(&json!([]))),
        false => Err(ApiError::NotFound),
    }
}

/// Limits are set where the broker is configured.
async fn refuse(caller: Caller, _: Names<(String, String)>, Object(body): Object) -> Answer {
    caller.must_administrate()?;
    demand(&body, &["value"])?;
    Err(ApiError::bad("limits of virtual hosts and users are not set at run time here"))
}

/// There is none, which is what the request asks for.
async fn clear(caller: Caller, _: Names<(String, String)>) -> Answer {
    caller.must_administrate()?;
    deleted(true)
}
