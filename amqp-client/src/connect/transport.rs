//! From a URI to a byte stream.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite, BufReader},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, pki_types::ServerName},
};

use crate::{
    connect::{tls::TlsOptions, uri::Uri},
    error::{Error, Result, tls_error::TlsError},
};

/// A byte stream in both directions: TCP, TLS, or any other.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(crate) type BoxedStream = Box<dyn Stream>;

/// Ciphertext that is read at once: rustls by itself asks for 4 KiB at a time, with a system call each.
const TLS_READ_BUFFER: usize = 16 * 1024;

/// Ciphertext that rustls may hold: as much as the driver offers in one write, so that it leaves with few system calls.
const TLS_WRITE_BUFFER: usize = 256 * 1024;

/// Connects by TCP: all addresses of the host in the resolver's order, the first that accepts. Each has an equal part of what
/// is left of `share`.
///
/// # Errors
/// [`Error::Resolve`] or [`Error::Connect`], the latter with what the last address said.
pub(crate) async fn tcp(uri: &Uri, share: Duration) -> Result<TcpStream> {
    let begun = Instant::now();
    let resolve = |source| Error::Resolve { host: uri.host.clone(), source: Arc::new(source) };
    let connect = |source| Error::Connect { address: uri.address(), source: Arc::new(source) };
    let found = tokio::net::lookup_host((uri.host.as_str(), uri.port)).await.map_err(resolve)?;
    let addresses: Vec<_> = found.collect();
    let mut last = None;
    for (address, to_try) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let connecting = TcpStream::connect(address);
        // The last one has what is left, which the caller watches over.
        let connected = if to_try == 1 {
            connecting.await
        } else {
            let left = share.saturating_sub(begun.elapsed());
            let part = left / u32::try_from(to_try).unwrap_or(u32::MAX);
            let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {part:?}")));
            timeout(part, connecting).await.unwrap_or_else(late)
        };
        match connected {
            Ok(stream) => {
                // Batches are gathered here, so the system need not wait for more.
                stream.set_nodelay(true).map_err(connect)?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(match last {
        Some(error) => connect(error),
        None => resolve(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
    })
}

/// Reads the certificates, where blocking holds nobody up.
pub(crate) async fn tls_config(options: &TlsOptions) -> Result<Arc<ClientConfig>, TlsError> {
    let options = options.clone();
    match tokio::task::spawn_blocking(move || options.client_config()).await {
        Ok(config) => config.map(Arc::new),
        Err(error) => Err(TlsError::Handshake(Arc::new(error.into()))),
    }
}

/// Lays TLS over the stream.
pub(crate) async fn tls(
    stream: TcpStream,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<TlsStream<BufReader<TcpStream>>, TlsError> {
    let stream = BufReader::with_capacity(TLS_READ_BUFFER, stream);
    let expected = name.to_str().into_owned();
    TlsConnector::from(config)
        .connect_with(name, stream, |session| session.set_buffer_limit(Some(TLS_WRITE_BUFFER)))
        .await
        .map_err(|error| TlsError::from_handshake(error, &expected))
}
