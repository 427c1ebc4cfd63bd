//! One GET over HTTP.

use std::{error::Error as Cause, io};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, client::conn::http1::handshake, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{net::TcpStream, task::JoinSet};

/// The largest answer that is read, in bytes.
const LARGEST: usize = 64 * 1024 * 1024;

type Failure = Box<dyn Cause + Send + Sync>;

/// Where to ask, and as whom.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: String,
}

impl Endpoint {
    /// Asks for JSON at a path.
    ///
    /// # Errors
    /// When nobody answers, or the answer is not what was asked for.
    ///
    /// # Cancel safety
    /// The connection is closed when the future is dropped.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        // It ends with the set, when this function does.
        let mut driving = JoinSet::new();
        driving.spawn(connection);
        let login = BASE64_STANDARD.encode(format!("{}:{}", self.user, self.password));
        let request = Request::get(path)
            .header(header::HOST, format!("{}:{}", self.host, self.port))
            .header(header::AUTHORIZATION, format!("Basic {login}"))
            .body(Empty::<Bytes>::new())?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        if !status.is_success() {
            return Err(io::Error::other(format!("{path}: {status}")).into());
        }
        let (mut body, mut whole) = (answer.into_body(), BytesMut::new());
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                if whole.len() + data.len() > LARGEST {
                    return Err(
                        io::Error::other(format!("{path}: the answer is over {LARGEST} bytes")).into()
                    );
                }
                whole.extend_from_slice(&data);
            }
        }
        Ok(serde_json::from_slice(&whole)?)
    }
}
