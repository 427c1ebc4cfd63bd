//! The parts of a request that handlers take, and their answers.

use axum::{
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{HeaderMap, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::management::{
    answer::{
        api_error::ApiError,
        query::{object, read_body},
    },
    service::Service,
};

/// The answer of a handler.
pub(in crate::management) type Answer = Result<Response, ApiError>;

/// The names in a path, decoded. One that is not UTF-8 names nothing.
pub(in crate::management) struct Names<T>(pub(in crate::management) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Service> for Names<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, ApiError> {
        let path = Path::<T>::from_request_parts(parts, service).await;
        path.map(|Path(names)| Names(names)).map_err(|_| ApiError::NotFound)
    }
}

/// A body that is an object in JSON, or empty.
pub(in crate::management) struct Object(pub(in crate::management) Map<String, Value>);

impl FromRequest<Service> for Object {
    type Rejection = ApiError;

    async fn from_request(request: Request, service: &Service) -> Result<Self, ApiError> {
        object(&body(request, service).await?).map(Object)
    }
}

/// A body that is an object in JSON, and that its header says is JSON: a page elsewhere cannot send
/// that without asking first.
pub(in crate::management) struct StrictObject(pub(in crate::management) Map<String, Value>);

impl FromRequest<Service> for StrictObject {
    type Rejection = ApiError;

    async fn from_request(request: Request, service: &Service) -> Result<Self, ApiError> {
        match media_type(request.headers()).as_str() {
            "application/json" => {
                Object::from_request(request, service).await.map(|body| StrictObject(body.0))
            }
            _ => Err(ApiError::MediaType),
        }
    }
}

/// The type of a body, without parameters.
pub(in crate::management) fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Reads a body, unless it is too long by its own account.
pub(in crate::management) async fn body(request: Request, service: &Service) -> Result<Vec<u8>, ApiError> {
    let options = &service.options;
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if length.and_then(|length| length.parse::<u64>().ok()).is_some_and(|most| most > options.max_body as u64)
    {
        return Err(ApiError::TooLarge);
    }
    read_body(request.into_body(), options.max_body, options.body_timeout).await
}

/// Answers a change: something new is there, or something is as it was asked for.
pub(in crate::management) fn put_answer(is_new: bool) -> Response {
    if is_new { StatusCode::CREATED.into_response() } else { StatusCode::NO_CONTENT.into_response() }
}

/// Answers a deletion.
pub(in crate::management) fn deleted(was_there: bool) -> Answer {
    if was_there { Ok(StatusCode::NO_CONTENT.into_response()) } else { Err(ApiError::NotFound) }
}
