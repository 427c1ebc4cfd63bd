//! Errors of the management API, with RabbitMQ's codes and texts.

use amqp_codec::ReplyCode;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ApiError {
    /// There is no login in the request.
    NoLogin,
    /// The login is wrong.
    BadLogin,
    /// The user may not do this; why.
    NotAuthorised(String),
    NotFound,
    /// The request is wrong; why.
    BadRequest(String),
    /// The error's own name, and why.
    Named(&'static str, String),
    MethodNotAllowed,
    Timeout,
    TooLarge,
    /// A page of another origin asks for a change.
    ForeignOrigin,
    /// The broker cannot answer now; why.
    Unavailable(String),
}

impl ApiError {
    /// The error of a method that the broker has refused: RabbitMQ repeats its text without the
    /// code's name.
    pub(crate) fn refused(code: ReplyCode, text: &str) -> Self {
        let reason = text.split_once(" - ").map_or(text, |(_, reason)| reason);
        match code {
            ReplyCode::NOT_FOUND => ApiError::NotFound,
            ReplyCode::ACCESS_REFUSED => ApiError::NotAuthorised("Access refused.".to_owned()),
            ReplyCode::CONNECTION_FORCED | ReplyCode::INTERNAL_ERROR => {
                ApiError::Unavailable(reason.to_owned())
            }
            _ => ApiError::BadRequest(reason.to_owned()),
        }
    }

    pub(crate) fn bad(reason: impl Into<String>) -> Self {
        ApiError::BadRequest(reason.into())
    }

    /// The error of a user who lacks a tag.
    pub(crate) fn not(kind: &str) -> Self {
        ApiError::NotAuthorised(format!("Not {kind} user"))
    }

    fn parts(&self) -> (StatusCode, &str, &str) {
        match self {
            ApiError::NoLogin => (StatusCode::UNAUTHORIZED, "", ""),
            ApiError::BadLogin => (StatusCode::UNAUTHORIZED, "not_authorized", "Login failed"),
            ApiError::NotAuthorised(why) => (StatusCode::UNAUTHORIZED, "not_authorised", why),
            ApiError::NotFound => (StatusCode::NOT_FOUND, "Object Not Found", "Not Found"),
            ApiError::BadRequest(why) => (StatusCode::BAD_REQUEST, "bad_request", why),
            ApiError::Named(name, why) => (StatusCode::BAD_REQUEST, name, why),
            ApiError::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method Not Allowed")
            }
            ApiError::Timeout => (StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not come in time"),
            ApiError::TooLarge => {
                (StatusCode::BAD_REQUEST, "bad_request", "the body exceeds the limit of this listener")
            }
            ApiError::ForeignOrigin => {
                (StatusCode::FORBIDDEN, "forbidden", "a page of another origin may change nothing")
            }
            ApiError::Unavailable(why) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", why),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, error, reason) = self.parts();
        let mut response = match error {
            "" => status.into_response(),
            error => (status, json_of(&json!({ "error": error, "reason": reason }))).into_response(),
        };
        if matches!(self, ApiError::NoLogin | ApiError::BadLogin) {
            let realm = HeaderValue::from_static("Basic realm=\"RabbitMQ Management\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
        }
        response
    }
}

/// A value as an answer in JSON.
pub(crate) fn json_of(value: &serde_json::Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}
