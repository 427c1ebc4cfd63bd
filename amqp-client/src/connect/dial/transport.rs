//! Transports: byte streams to the host of a URI.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::{
    connect::uri::Uri,
    error::{Error, Result},
};

/// A byte stream in both directions: TCP, TLS, or any other.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(crate) type BoxedStream = Box<dyn Stream>;

/// Connects by TCP to the first address that accepts, in the resolver's order. Each address gets an
/// equal share of what remains of `share`.
///
/// # Errors
/// [`Error::Resolve`] or [`Error::Connect`], the latter with the error of the last address.
pub(crate) async fn tcp(uri: &Uri, share: Duration) -> Result<TcpStream> {
    let begun = Instant::now();
    let resolve = |source| Error::Resolve { host: uri.host.clone(), source: Arc::new(source) };
    let connect = |source| Error::Connect { address: uri.address(), source: Arc::new(source) };
    let found = tokio::net::lookup_host((uri.host.as_str(), uri.port)).await.map_err(resolve)?;
    let addresses: Vec<_> = found.collect();
    let mut last = None;
    for (address, to_try) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let connecting = TcpStream::connect(address);
        // The last address gets all that is left, which the caller limits.
        let connected = if to_try == 1 {
            connecting.await
        } else {
            let left = share.saturating_sub(begun.elapsed());
            let part = left / u32::try_from(to_try).unwrap_or(u32::MAX);
            let late = |_| {
                Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("the host did not answer within {part:?}"),
                ))
            };
            timeout(part, connecting).await.unwrap_or_else(late)
        };
        match connected {
            Ok(stream) => {
                // Batches are gathered here, so the system does not have to wait for more.
                stream.set_nodelay(true).map_err(connect)?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(match last {
        Some(error) => connect(error),
        None => resolve(io::Error::new(io::ErrorKind::NotFound, "the host name has no address")),
    })
}
