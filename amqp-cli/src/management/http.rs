//! GETs over HTTP.

use std::time::Duration;

use amqp_client::{TlsError, TlsOptions};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, StatusCode,
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    header,
};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};

use crate::{api_error::ApiError, management::endpoint::Endpoint};

/// The largest answer that is read, in bytes.
const LARGEST: usize = 64 * 1024 * 1024;

/// The longest reason for an error that is told, in characters.
const LONGEST_REASON: usize = 200;

/// A connection to a management API.
///
/// # On drop
/// It is closed.
pub(crate) struct Api {
    sender: SendRequest<Empty<Bytes>>,
    host: String,
    login: String,
    /// It ends with the set.
    _driving: JoinSet<Result<(), hyper::Error>>,
}

impl Endpoint {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there, or TLS fails.
    pub(crate) async fn open(&self) -> Result<Api, ApiError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(ApiError::Unreachable)?;
        match &self.tls {
            None => self.speak(stream).await,
            Some(parameters) => {
                let options = TlsOptions::new().with_parameters_of(parameters);
                let stream = options.handshake(&self.host, stream).await;
                self.speak(stream.map_err(ApiError::Tls)?).await
            }
        }
    }

    async fn speak(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Api, ApiError> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(lost)?;
        let mut driving = JoinSet::new();
        driving.spawn(connection);
        let login = BASE64_STANDARD.encode(format!("{}:{}", self.user, self.password));
        Ok(Api { sender, host: self.address(), login: format!("Basic {login}"), _driving: driving })
    }
}

impl Api {
    /// Asks for JSON at a path, which has to be encoded as in a URL.
    ///
    /// # Errors
    /// When the connection is lost, or the answer is not what was asked for.
    ///
    /// # Cancel safety
    /// No further request can be made when the future was dropped.
    pub(crate) async fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, ApiError> {
        let mut request = Request::new(Empty::new());
        let unfit = || ApiError::Missing { path: path.to_owned() };
        *request.uri_mut() = path.parse().map_err(|_| unfit())?;
        for (name, value) in [(header::HOST, &self.host), (header::AUTHORIZATION, &self.login)] {
            request.headers_mut().insert(name, value.parse().map_err(|_| unfit())?);
        }
        let answer = self.sender.send_request(request).await.map_err(lost)?;
        let status = answer.status();
        let body = read(answer.into_body(), path).await?;
        if status.is_success() {
            return serde_json::from_slice(&body)
                .map_err(|source| ApiError::Form { path: path.to_owned(), source });
        }
        let (path, reason) = (path.to_owned(), reason(&body));
        Err(match status {
            StatusCode::UNAUTHORIZED => ApiError::Refused { path, reason },
            StatusCode::NOT_FOUND => ApiError::Missing { path },
            status => ApiError::Status { path, status, reason },
        })
    }
}

fn lost(error: hyper::Error) -> ApiError {
    TlsError::refusal(&error).map_or(ApiError::NoHttp(error), ApiError::Tls)
}

async fn read(mut body: Incoming, path: &str) -> Result<BytesMut, ApiError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(lost)?.into_data() {
            if whole.len() + data.len() > LARGEST {
                return Err(ApiError::TooLarge { path: path.to_owned(), most: LARGEST });
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(whole)
}

/// The reason that RabbitMQ gives in an object, or nothing.
fn reason(body: &[u8]) -> String {
    let object: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let reason = object.get("reason").and_then(serde_json::Value::as_str).unwrap_or_default();
    reason.chars().take(LONGEST_REASON).collect()
}

/// Returns what the API answers, or that it takes longer than this.
///
/// # Errors
/// Those of the work, and [`ApiError::Late`].
pub(crate) async fn within<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    tokio::time::timeout(patience, work).await.unwrap_or(Err(ApiError::Late(patience)))
}
