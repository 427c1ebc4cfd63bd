//! A client of HTTP that sends one request on a connection.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    HttpOptions,
    broker::{Broker, Listener},
};

/// A broker that serves HTTP.
pub(super) struct Served {
    pub(super) broker: Broker,
    listener: Listener,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The headers, as they came.
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The status, and the reason of an error.
    pub(super) fn refusal(&self) -> (u16, Value) {
        (self.status, self.json()["reason"].clone())
    }
}

impl Served {
    pub(super) async fn start() -> Self {
        Self::on(Broker::builder().build(), HttpOptions::new()).await
    }

    pub(super) async fn on(broker: Broker, options: HttpOptions) -> Self {
        let listener = broker.listen_http("127.0.0.1:0", options).await.unwrap();
        Served { broker, listener }
    }

    /// Sends octets, and reads until the broker closes the connection.
    pub(super) async fn raw(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.listener.local_addr()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut octets = Vec::new();
        stream.read_to_end(&mut octets).await.unwrap();
        let text = String::from_utf8(octets).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        let body = if is_chunked { unchunked(body) } else { body.to_owned() };
        Answer { status, head: head.to_owned(), body }
    }

    /// Sends a request with these headers, each with its line end.
    pub(super) async fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        let fixed = format!("host: broker\r\nconnection: close\r\ncontent-length: {length}\r\n");
        self.raw(&format!("{method} {path} HTTP/1.1\r\n{fixed}{headers}\r\n{body}")).await
    }

    /// Sends a request as this user, whose password is its name.
    pub(super) async fn as_user(&self, user: &str, method: &str, path: &str, body: &str) -> Answer {
        self.send(method, path, &login(user, user), body).await
    }

    /// Sends a request as the default user.
    pub(super) async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        self.as_user("guest", method, path, body).await
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        let answer = self.call("GET", path, "").await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    }
}

/// The header of a login.
pub(super) fn login(user: &str, password: &str) -> String {
    format!("authorization: Basic {}\r\n", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

/// A body that came in chunks.
fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    loop {
        let (length, rest) = body.split_once("\r\n").unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            return whole;
        }
        whole.push_str(&rest[..length]);
        body = &rest[length + 2..];
    }
}
