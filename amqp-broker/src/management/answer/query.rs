//! The contents of a request: the parameters of its query, and its body in JSON.

use std::{convert::Infallible, time::Duration};

use axum::{body::Body, extract::FromRequestParts, http::request::Parts};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::api_error::ApiError;

/// The parameters of a query, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query; what is not UTF-8 is replaced.
    pub(crate) fn parse(text: &str) -> Self {
        let decoded =
            |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Query(pairs.map(|(name, value)| (decoded(name), decoded(value))).collect())
    }

    /// The first value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// All values of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Tells whether a parameter is `true`.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Query::parse(parts.uri.query().unwrap_or_default()))
    }
}

/// Reads a body of at most so many bytes, in this time.
///
/// # Errors
/// When it is larger, or does not come in time.
pub(crate) async fn read_body(body: Body, most: usize, patience: Duration) -> Result<Vec<u8>, ApiError> {
    let read = timeout(patience, axum::body::to_bytes(body, most)).await.map_err(|_| ApiError::Timeout)?;
    // Whatever else may be wrong with a body, its client is not there to read about it.
    read.map(Vec::from).map_err(|_| ApiError::TooLarge)
}

/// The object that a body contains; an empty body is an empty one.
///
/// # Errors
/// When it is not JSON, or no object.
pub(crate) fn object(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(ApiError::bad("not_json")),
    }
}

/// The text of a key; `None` when the key is missing.
///
/// # Errors
/// When it is no text.
pub(crate) fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Result<Option<&'a str>, ApiError> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(ApiError::unfit("not_string", key)),
    }
}

/// The boolean of a key, which may be text as well; false when it is missing.
///
/// # Errors
/// When it is neither true nor false.
pub(crate) fn boolean(object: &Map<String, Value>, key: &str) -> Result<bool, ApiError> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(is_set)) => Ok(*is_set),
        Some(Value::String(text)) if text == "true" => Ok(true),
        Some(Value::String(text)) if text == "false" => Ok(false),
        Some(other) => Err(ApiError::unfit("not_boolean", other.clone())),
    }
}

/// Checks that these keys are there.
///
/// # Errors
/// When some are missing; it names all of them, as RabbitMQ does.
pub(crate) fn demand(object: &Map<String, Value>, keys: &[&str]) -> Result<(), ApiError> {
    let missing: Vec<_> = keys.iter().filter(|key| !object.contains_key(**key)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing: Vec<_> = missing.iter().map(|key| format!("{{key_missing,{key}}}")).collect();
    let between = if missing.iter().map(String::len).sum::<usize>() > 70 { ",\n " } else { "," };
    Err(ApiError::bad(format!("[{}]", missing.join(between))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_and_keeps_repetitions() {
        let query = Query::parse("family=a&family=b&name=a+b%2Fc&flag&x=true");
        assert_eq!(query.all("family").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(
            (query.get("name"), query.get("flag"), query.get("none")),
            (Some("a b/c"), Some(""), None)
        );
        assert!(query.is("x") && !query.is("flag"));
    }

    #[test]
    fn all_missing_keys_are_named() {
        let error = demand(&Map::new(), &["ackmode", "count"]).unwrap_err();
        assert_eq!(error, ApiError::bad("[{key_missing,ackmode},{key_missing,count}]"));
    }
}
