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
pub(super) mod vhosts;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};

use percent_encoding::percent_decode_str;

use super::{answer::api_error::ApiError, service::Service};

/// The routes of the API, and these further ones of it.
pub(super) fn routes(service: &Service, further: Router<Service>) -> Router<Service> {
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
        .layer(middleware::from_fn_with_state(service.clone(), keep))
        .layer(middleware::from_fn(tell_methods))
        .layer(middleware::from_fn(refuse_foreign))
        .layer(middleware::from_fn(refuse_unreadable));
    Router::new().nest("/api", api)
}

/// Refuses a path whose names are no text.
async fn refuse_unreadable(request: Request, next: Next) -> Response {
    match is_readable(request.uri().path()) {
        true => next.run(request).await,
        false => ApiError::bad("a name in the path is not encoded UTF-8").into_response(),
    }
}

/// Tells whether each percent sign begins an octet (RFC 3986, 2.1), and all of them are UTF-8.
fn is_readable(path: &str) -> bool {
    let mut parts = path.split('%').skip(1);
    let is_octet =
        |part: &str| part.len() >= 2 && part.bytes().take(2).all(|digit| digit.is_ascii_hexdigit());
    parts.all(is_octet) && percent_decode_str(path).decode_utf8().is_ok()
}

/// Answers a change when the broker's folder has it too. Whatever a request that fails has changed
/// is kept as well.
async fn keep(State(service): State<Service>, request: Request, next: Next) -> Response {
    let may_change = !is_safe(request.method());
    let response = next.run(request).await;
    if !may_change {
        return response;
    }
    match service.broker.keep_administration().await {
        Ok(()) => response,
        Err(why) => {
            ApiError::Unavailable(format!("the change is in force, and is not kept: {why}")).into_response()
        }
    }
}

/// Tells whether a method changes nothing (RFC 9110, 9.2.1).
fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Answers OPTIONS with the methods of a path, which another answer tells as a refusal.
async fn tell_methods(request: Request, next: Next) -> Response {
    let is_asked = request.method() == Method::OPTIONS;
    let mut response = next.run(request).await;
    if is_asked && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        *response.status_mut() = StatusCode::OK;
    }
    response
}

/// Refuses changes that a page of another origin asks for: a browser sends the login that it
/// remembers with whatever any page makes it send.
async fn refuse_foreign(request: Request, next: Next) -> Response {
    match is_safe(request.method()) || is_own(request.headers()) {
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
    fn a_path_is_encoded_text() {
        for path in ["/queues/%2F/a b", "/queues/%c3%A4", "/"] {
            assert!(is_readable(path), "{path}");
        }
        for path in ["/queues/%zz", "/queues/%", "/queues/%2", "/queues/%FF"] {
            assert!(!is_readable(path), "{path}");
        }
    }

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
