//! Errors of the management API, with RabbitMQ's codes and texts.

use amqp_codec::{ReplyCode, Scope};
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

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
    BadRequest(Value),
    /// Something that the request names is not there; what.
    Missing(String),
    /// The broker has refused a method; its code and text.
    Refused(ReplyCode, String),
    /// The error's own name, and why.
    Named(&'static str, String),
    Timeout,
    TooLarge,
    /// The body is not of a type that is read here.
    MediaType,
    /// A page of another origin asks for a change.
    ForeignOrigin,
    /// The broker cannot answer now; why.
    Unavailable(String),
}

impl ApiError {
    /// The error of a method that declares, binds or deletes: RabbitMQ repeats its text without the
    /// code's name.
    fn of_refusal(code: ReplyCode, text: &str) -> Self {
        let reason = text.split_once(" - ").map_or(text, |(_, reason)| reason);
        match code {
            ReplyCode::NOT_FOUND => ApiError::Missing(reason.to_owned()),
            ReplyCode::ACCESS_REFUSED => ApiError::NotAuthorised("Access refused.".to_owned()),
            ReplyCode::CONNECTION_FORCED | ReplyCode::INTERNAL_ERROR => {
                ApiError::Unavailable(reason.to_owned())
            }
            _ => ApiError::bad(reason),
        }
    }

    /// The error of a publish: RabbitMQ repeats the whole text with its code.
    pub(crate) fn of_publish(self) -> Self {
        match self {
            ApiError::Refused(code, text) if code.scope() == Some(Scope::Channel) => {
                ApiError::bad(format!("{} {text}", code.0))
            }
            error => error,
        }
    }

    /// The error of a fetch, with the whole text too.
    pub(crate) fn of_get(self) -> Self {
        match self {
            ApiError::Refused(ReplyCode::NOT_FOUND, text) => ApiError::Missing(text),
            ApiError::Refused(ReplyCode::ACCESS_REFUSED, text) => ApiError::NotAuthorised(text),
            ApiError::Refused(ReplyCode::CONNECTION_FORCED | ReplyCode::INTERNAL_ERROR, _) => self,
            ApiError::Refused(code, text) => ApiError::bad(format!("{} {text}", code.0)),
            error => error,
        }
    }

    pub(crate) fn bad(reason: impl Into<String>) -> Self {
        ApiError::BadRequest(Value::String(reason.into()))
    }

    /// The error of a value that is not what it has to be.
    pub(crate) fn unfit(what: &str, value: impl Into<Value>) -> Self {
        ApiError::BadRequest(json!([what, value.into()]))
    }

    /// The error of an operation that needs a virtual host or an entity that is not there.
    pub(crate) fn missing(self, what: &str) -> Self {
        match self {
            ApiError::NotFound => ApiError::Missing(what.to_owned()),
            error => error,
        }
    }

    /// The error of a user who lacks a tag.
    pub(crate) fn not(kind: &str) -> Self {
        ApiError::NotAuthorised(format!("Not {kind} user"))
    }

    /// The text of the error.
    pub(crate) fn reason(self) -> String {
        match self.parts() {
            (_, _, Value::String(text)) => text,
            (_, error, Value::Null) => error.to_owned(),
            (_, _, other) => other.to_string(),
        }
    }

    fn parts(self) -> (StatusCode, &'static str, Value) {
        match self {
            ApiError::NoLogin => (StatusCode::UNAUTHORIZED, "", Value::Null),
            ApiError::BadLogin => (StatusCode::UNAUTHORIZED, "not_authorized", "Login failed".into()),
            ApiError::NotAuthorised(why) => (StatusCode::UNAUTHORIZED, "not_authorised", why.into()),
            ApiError::NotFound => (StatusCode::NOT_FOUND, "Object Not Found", "Not Found".into()),
            ApiError::Refused(code, text) => ApiError::of_refusal(code, &text).parts(),
            ApiError::Missing(what) => (StatusCode::NOT_FOUND, "not_found", what.into()),
            ApiError::BadRequest(why) => (StatusCode::BAD_REQUEST, "bad_request", why),
            ApiError::Named(name, why) => (StatusCode::BAD_REQUEST, name, why.into()),
            ApiError::Timeout => {
                (StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not come in time".into())
            }
            ApiError::TooLarge => {
                let why = "the body exceeds the limit of this listener";
                (StatusCode::BAD_REQUEST, "bad_request", why.into())
            }
            ApiError::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "", Value::Null),
            ApiError::ForeignOrigin => {
                let why = "a page of another origin may change nothing";
                (StatusCode::FORBIDDEN, "forbidden", why.into())
            }
            ApiError::Unavailable(why) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", why.into()),
        }
    }
}

/// A request that cannot be said in AMQP is a bad one.
impl From<amqp_codec::Error> for ApiError {
    fn from(error: amqp_codec::Error) -> Self {
        ApiError::bad(error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let asks_for_login = matches!(self, ApiError::NoLogin | ApiError::BadLogin);
        let (status, error, reason) = self.parts();
        let mut response = match error {
            "" => status.into_response(),
            error => (status, json_of(&json!({ "error": error, "reason": reason }))).into_response(),
        };
        if asks_for_login {
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
