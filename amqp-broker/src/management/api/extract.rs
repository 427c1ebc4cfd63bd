//! What handlers take of a request, and what they answer.

use axum::{
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{StatusCode, header, request::Parts},
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

/// What a handler answers.
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
        let options = &service.options;
        let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        // What is too long by its own account is not read.
        if length.and_then(|length| length.parse::<usize>().ok()).is_some_and(|most| most > options.max_body)
        {
            return Err(ApiError::TooLarge);
        }
        let body = read_body(request.into_body(), options.max_body, options.body_timeout).await?;
        object(&body).map(Object)
    }
}

/// Answers a change: something new is there, or something is as it was asked for.
pub(in crate::management) fn put_answer(is_new: bool) -> Response {
    if is_new { StatusCode::CREATED.into_response() } else { StatusCode::NO_CONTENT.into_response() }
}

/// Answers a deletion.
pub(in crate::management) fn deleted(was_there: bool) -> Answer {
    if was_there { Ok(StatusCode::NO_CONTENT.into_response()) } else { Err(ApiError::NotFound) }
}
