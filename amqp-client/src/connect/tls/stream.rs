//! TLS over a stream.

use std::sync::Arc;

use tokio::{
    io::{AsyncRead, AsyncWrite, BufReader},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, pki_types::ServerName},
};

use crate::{connect::tls::TlsOptions, error::tls_error::TlsError};

/// The size of reads of ciphertext: by default rustls asks for only 4 KiB at a time, with a system
/// call each.
const TLS_READ_BUFFER: usize = 16 * 1024;

/// How much ciphertext rustls may hold: as much as the driver offers in one write, so that it needs
/// few system calls.
const TLS_WRITE_BUFFER: usize = 256 * 1024;

impl TlsOptions {
    /// Does the TLS handshake with the server at `host` over a stream: as `amqps` does, for another
    /// protocol beside it, such as the HTTPS of RabbitMQ's management API. It has no deadline.
    ///
    /// # Errors
    /// A file that does not contain what it should; why the handshake failed. With TLS 1.3 the
    /// server may refuse the client's certificate only later: see [`TlsError::refusal`].
    ///
    /// # Cancel safety
    /// Dropping the future closes the stream.
    pub async fn handshake(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>, TlsError> {
        connect(stream, client_config(self).await?, self.name_for(host)?).await
    }
}

/// Reads the certificates on a thread that may block.
pub(crate) async fn client_config(options: &TlsOptions) -> Result<Arc<ClientConfig>, TlsError> {
    let options = options.clone();
    match tokio::task::spawn_blocking(move || options.client_config()).await {
        Ok(config) => config.map(Arc::new),
        Err(error) => Err(TlsError::Handshake(Arc::new(error.into()))),
    }
}

/// Does the TLS handshake over the stream.
pub(crate) async fn connect(
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
