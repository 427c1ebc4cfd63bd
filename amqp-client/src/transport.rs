//! From a URI to a byte stream.

use std::{io, sync::Arc};

use tokio::net::TcpStream;

use crate::{
    error::{Error, Result},
    uri::Uri,
};

/// Connects by TCP: all addresses of the host in the resolver's order, the first that accepts.
///
/// # Errors
/// [`Error::Resolve`] or [`Error::Connect`], the latter with what the last address said.
pub(crate) async fn tcp(uri: &Uri) -> Result<TcpStream> {
    let resolve = |source| Error::Resolve { host: uri.host.clone(), source: Arc::new(source) };
    let connect = |source| Error::Connect { address: uri.address(), source: Arc::new(source) };
    let addresses = tokio::net::lookup_host((uri.host.as_str(), uri.port)).await.map_err(resolve)?;
    let mut last = None;
    for address in addresses {
        match TcpStream::connect(address).await {
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
