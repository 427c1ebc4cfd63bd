//! A broker's HTTP API, as its users call it.

use std::fmt::{self, Display};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Method, Request,
    client::conn::http1,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value as Json;
use tokio::net::TcpStream;

use super::within;

/// The API at an address, for one user.
#[derive(Clone, Debug)]
pub(super) struct Api {
    authority: String,
    login: Option<String>,
    headers: Vec<(&'static str, String)>,
}

/// An answer, with the request for messages of failures.
#[derive(Debug)]
pub(super) struct Answer {
    request: String,
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Api {
    /// The API at `host:port`, without a login.
    pub(super) fn at(authority: impl Into<String>) -> Self {
        Self { authority: authority.into(), login: None, headers: Vec::new() }
    }

    /// The same API for another user.
    pub(super) fn login(&self, user: &str, password: &str) -> Self {
        let login = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        Self { login: Some(login), ..self.clone() }
    }

    pub(super) fn without_login(&self) -> Self {
        Self { login: None, ..self.clone() }
    }

    /// The same API with a header in each request.
    pub(super) fn header(&self, name: &'static str, value: &str) -> Self {
        let mut headers = self.headers.clone();
        headers.push((name, value.to_owned()));
        Self { headers, ..self.clone() }
    }

    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, None).await
    }

    pub(super) async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, None).await
    }

    pub(super) async fn put(&self, path: &str, body: Json) -> Answer {
        self.call("PUT", path, Some(body.to_string())).await
    }

    pub(super) async fn post(&self, path: &str, body: Json) -> Answer {
        self.call("POST", path, Some(body.to_string())).await
    }

    /// Calls a method with a body that may be any text.
    pub(super) async fn call(&self, method: &str, path: &str, body: Option<String>) -> Answer {
        let shown: String = body.iter().flat_map(|body| body.chars().take(300)).collect();
        let request = format!("{method} {path} {shown}");
        match within(self.send(method, path, body)).await {
            Ok((status, headers, body)) => {
                let text = String::from_utf8_lossy(&body).into_owned();
                Answer { request, status, headers, text }
            }
            Err(error) => panic!("{request}: {error}"),
        }
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<String>,
    ) -> Result<(u16, HeaderMap, Bytes), Box<dyn std::error::Error>> {
        let stream = TcpStream::connect(&self.authority).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the sender.
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes())?)
            .uri(path)
            .header(HOST, &self.authority);
        if let Some(login) = &self.login {
            request = request.header(AUTHORIZATION, login);
        }
        let has_type = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if body.is_some() && !has_type {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(Bytes::from(body.unwrap_or_default())))?;
        let (head, body) = sender.send_request(request).await?.into_parts();
        Ok((head.status.as_u16(), head.headers, body.collect().await?.to_bytes()))
    }
}

impl Answer {
    /// Checks the status; returns the answer for more checks.
    #[track_caller]
    pub(super) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self}");
        self
    }

    /// Checks that the answer is 200, and has these members and elements, perhaps among others.
    #[track_caller]
    pub(super) fn has(self, expected: &Json) -> Self {
        let answer = self.is(200);
        let json = answer.json();
        assert!(contains(&json, expected), "{answer}\nwithout {expected}");
        answer
    }

    /// Checks a refusal: its status, the word for it, and a part of the reason.
    #[track_caller]
    pub(super) fn refuses(self, status: u16, error: &str, reason: &str) -> Self {
        let answer = self.is(status);
        let json = answer.json();
        assert_eq!(json["error"], error, "{answer}");
        assert!(json["reason"].to_string().contains(reason), "{answer}\nwithout {reason}");
        answer
    }

    #[track_caller]
    pub(super) fn not_found(self) -> Self {
        self.refuses(404, "Object Not Found", "Not Found")
    }

    /// Checks that another method must be used; `allowed` is among those.
    #[track_caller]
    pub(super) fn allows_only(self, allowed: &str) -> Self {
        let answer = self.is(405);
        let allow = answer.header("allow");
        assert!(allow.split(',').any(|method| method.trim() == allowed), "{answer}: {allow}");
        answer
    }

    #[track_caller]
    pub(super) fn json(&self) -> Json {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{self}: {error}"))
    }

    /// A header's value; an empty one when it is missing.
    pub(super) fn header(&self, name: &str) -> String {
        let value =
            self.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        value.unwrap_or_default()
    }

    /// The texts under `key` in a list of objects, in order.
    #[track_caller]
    pub(super) fn column(&self, key: &str) -> Vec<String> {
        let json = self.json();
        let list = json.as_array().unwrap_or_else(|| panic!("{self}: no list"));
        list.iter().map(|entry| entry[key].as_str().unwrap_or_default().to_owned()).collect()
    }
}

impl Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.text.chars().take(2000).collect();
        write!(formatter, "{} -> {} {text}", self.request, self.status)
    }
}

/// Tells whether `json` has all of `expected`: members of objects by name, elements of lists in
/// order and no others, anything else as it is.
fn contains(json: &Json, expected: &Json) -> bool {
    match (json, expected) {
        (Json::Object(members), Json::Object(expected)) => expected
            .iter()
            .all(|(name, expected)| members.get(name).is_some_and(|member| contains(member, expected))),
        (Json::Array(elements), Json::Array(expected)) => {
            elements.len() == expected.len()
                && elements.iter().zip(expected).all(|(element, expected)| contains(element, expected))
        }
        (Json::Number(number), Json::Number(expected)) => number.as_f64() == expected.as_f64(),
        _ => json == expected,
    }
}

/// A name as a segment of a path.
pub(super) fn segment(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

#[test]
fn an_answer_contains_members_by_name_and_elements_in_order() {
    use serde_json::json;
    let answer = json!({ "a": 1, "b": [{ "c": "d", "e": null }] });
    for expected in [json!({}), json!({ "a": 1.0 }), json!({ "b": [{ "c": "d" }] })] {
        assert!(contains(&answer, &expected), "{expected}");
    }
    for other in
        [json!({ "z": 1 }), json!({ "a": 2 }), json!({ "b": [] }), json!({ "b": [{ "c": "x" }] }), json!([])]
    {
        assert!(!contains(&answer, &other), "{other}");
    }
}
