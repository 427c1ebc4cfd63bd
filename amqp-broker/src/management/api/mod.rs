//! RabbitMQ's management API (<https://www.rabbitmq.com/docs/management#http-api>), under `/api`.

mod bindings;
mod clients;
mod exchanges;
pub(super) mod extract;
mod health;
pub(super) mod limits;
mod messages;
mod overview;
pub(super) mod permissions;
pub(super) mod policies;
mod queues;
pub(super) mod users;
mod vhosts;

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, Method, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};

use super::{answer::api_error::ApiError, service::Service};

/// The routes of the API, and these further ones of it.
pub(super) fn routes(further: Router<Service>) -> Router<Service> {
    let api = further
        .merge(overview::routes())
        .merge(vhosts::routes())
        .merge(queues::routes())
        .merge(messages::routes())
        .merge(exchanges::routes())
        .merge(bindings::routes())
        .merge(clients::routes())
        .merge(users::routes())
        .merge(permissions::routes())
        .merge(policies::routes())
        .merge(limits::routes())
        .merge(health::routes())
        .fallback(async || ApiError::NotFound)
        .layer(middleware::from_fn(refuse_foreign));
    Router::new().nest("/api", api)
}

/// Refuses changes that a page of another origin asks for: a browser sends the login that it
/// remembers with whatever any page makes it send.
async fn refuse_foreign(request: Request, next: Next) -> Response {
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    match is_safe || is_own(request.headers()) {
        true => next.run(request).await,
        false => ApiError::ForeignOrigin.into_response(),
    }
}

/// Tells whether a request comes from no page, or from one of this listener.
fn is_own(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value: &header::HeaderValue| value.to_str().unwrap_or("?"));
    let is_same_site = text(header::HeaderName::from_static("sec-fetch-site"))
        .is_none_or(|site| matches!(site, "same-origin" | "none"));
    let is_same_origin = text(header::ORIGIN).is_none_or(|origin| {
        let host = origin.split_once("://").map(|(_, host)| host);
        host.is_some() && host == text(header::HOST)
    });
    is_same_site && is_same_origin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_listener_and_no_pages_may_change_something() {
        let is_own_with = |pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, header::HeaderValue::from_static("broker:15672"));
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            is_own(&headers)
        };
        assert!(is_own_with(&[]));
        assert!(is_own_with(&[("origin", "http://broker:15672"), ("sec-fetch-site", "same-origin")]));
        for origin in
            ["http://evil", "null", "http://broker:15673", "http://broker:15672.evil", "broker:15672"]
        {
            assert!(!is_own_with(&[("origin", origin)]), "{origin}");
        }
        assert!(!is_own_with(&[("sec-fetch-site", "cross-site")]));
        assert!(!is_own_with(&[("sec-fetch-site", "same-site")]));
    }
}
