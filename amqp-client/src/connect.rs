//! From options and URIs to an open connection: one host after the other, all within one deadline.

use std::{borrow::Cow, future::poll_fn, sync::Arc, time::Duration};

use amqp_codec::ReplyCode;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout},
};
use tracing::{Instrument as _, debug};

use crate::{
    connection::Connection,
    credentials::Credentials,
    driver::Driver,
    error::{Error, Result},
    options::ConnectOptions,
    proto::{connection::Engine, handshake::Login},
    secret::Refresh,
    shared::{ConnectionHandle, Shared, now},
    tls_error::TlsError,
    trace::Trace,
    transport,
    uri::Uri,
};

/// Connects with default options; see [`ConnectOptions::connect`].
///
/// # Errors
/// As [`ConnectOptions::connect`].
pub async fn connect(uri: &str) -> Result<Connection> {
    ConnectOptions::new().connect(uri).await
}

impl ConnectOptions {
    /// Connects to the broker at `uri` (`amqp://user:password@host:port/vhost`), within the connect deadline. With several
    /// hosts (`amqps://a.example,b.example:5673/vhost`), to the first that takes the connection, as
    /// [`connect_any`](Self::connect_any) does.
    ///
    /// # Errors
    /// An invalid URI, an unknown host, a refused connection, a failure of TLS, a peer that is no AMQP broker, a refused
    /// login or virtual host, the deadline; of several hosts [`Error::NoHost`].
    ///
    /// # Cancel safety
    /// Dropping the future gives the connection up; its task ends.
    pub async fn connect(&self, uri: &str) -> Result<Connection> {
        self.connect_any(&Uri::parse_list(uri)?).await
    }

    /// Connects to a broker whose URI has been read already, or was never written.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), but for an invalid URI.
    ///
    /// # Cancel safety
    /// Dropping the future gives the connection up; its task ends.
    pub async fn connect_to(&self, uri: &Uri) -> Result<Connection> {
        self.connect_any(std::slice::from_ref(uri)).await
    }

    /// Connects to the first of several brokers that takes the connection, in their order or shuffled.
    ///
    /// One deadline holds for all: the options', or that of the first URI that gives one. Each host has an equal part of
    /// what is left of it, so that one that is silent leaves time for the others; so has each address of a name. A refused
    /// login or virtual host ends the search: the brokers of one cluster say the same, and a wrong password tried on each
    /// would lock the user out sooner. So does what lies on this side, such as a certificate file that cannot be read.
    ///
    /// # Errors
    /// That of the only host; [`Error::NoHost`] with that of each of several; [`Error::InvalidUri`] without any.
    ///
    /// # Cancel safety
    /// Dropping the future gives the connection up; its task ends.
    pub async fn connect_any(&self, uris: &[Uri]) -> Result<Connection> {
        let begun = Instant::now();
        let after = uris.iter().find_map(|uri| uri.connection_timeout).unwrap_or(self.connect_timeout);
        let mut left = after;
        let mut failures = Vec::new();
        for (uri, to_try) in self.in_order(uris).iter().zip((1..=uris.len()).rev()) {
            let share = left / u32::try_from(to_try).unwrap_or(u32::MAX);
            let error = match within(share, uri, self.connect_host(uri, share)).await {
                Ok(connection) => return Ok(connection),
                Err(error) => error,
            };
            if uris.len() == 1 || is_final(&error) {
                return Err(error);
            }
            debug!(host = %uri.address(), %error, "cannot connect");
            failures.push((uri.address(), error));
            left = after.saturating_sub(begun.elapsed());
        }
        if failures.is_empty() {
            return Err(Error::InvalidUri("there is no host".into()));
        }
        Err(Error::NoHost(failures.into()))
    }

    /// Connects over a stream that is there already: an in-memory duplex to an embedded broker, a tunnel, a Unix socket.
    /// User, password, virtual host and parameters come from `uri`; its host is used in errors only, and the stream is used
    /// as it is: no TLS is laid over it.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), but for name look-up, TCP and TLS.
    ///
    /// # Cancel safety
    /// Dropping the future gives the connection up; its task ends.
    pub async fn connect_stream<S>(&self, stream: S, uri: &Uri) -> Result<Connection>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let after = uri.connection_timeout.unwrap_or(self.connect_timeout);
        within(after, uri, self.open(stream, uri)).await
    }

    fn in_order<'a>(&self, uris: &'a [Uri]) -> Cow<'a, [Uri]> {
        if !self.shuffle_hosts || uris.len() < 2 {
            return Cow::Borrowed(uris);
        }
        let mut shuffled = uris.to_vec();
        fastrand::shuffle(&mut shuffled);
        Cow::Owned(shuffled)
    }

    async fn connect_host(&self, uri: &Uri, share: Duration) -> Result<Connection> {
        if !uri.tls {
            return self.open(transport::tcp(uri, share).await?, uri).await;
        }
        let no_tls = |source| Error::Tls { address: uri.address(), source };
        let tls = self.tls.with_parameters_of(uri);
        let config = transport::tls_config(&tls).await.map_err(no_tls)?;
        let name = tls.name_for(&uri.host).map_err(no_tls)?;
        let stream = transport::tcp(uri, share).await?;
        let stream = transport::tls(stream, config, name).await.map_err(no_tls)?;
        self.open(stream, uri).await.map_err(|error| match &error {
            Error::ConnectionLost(lost) => TlsError::from_lost(lost).map_or(error.clone(), no_tls),
            _ => error,
        })
    }

    async fn open<S>(&self, stream: S, uri: &Uri) -> Result<Connection>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mechanisms = self.begin_login(uri)?;
        let credentials = match &self.credentials {
            Some(provider) => {
                provider.0.credentials().await.map_err(|error| Error::Credentials(Arc::from(error)))?
            }
            None => Credentials::new(uri.user.clone(), uri.password.clone()),
        };
        let valid_for = credentials.valid_for;
        let login = Login {
            credentials,
            mechanisms,
            vhost: uri.vhost.clone(),
            tune: self.tune(uri),
            client_properties: self.client_properties()?,
        };
        let trace = Trace::new(uri, self.name.as_deref());
        let shared = Arc::new(Shared::new(Engine::new(login, self.limits, now()), trace));
        let handle = ConnectionHandle::new(shared.clone(), self.call_timeout);
        tokio::spawn(Driver::new(shared.clone(), stream).run());
        let mut place = None;
        poll_fn(|cx| handle.shared.with(|engine| engine.poll_open(&mut place, cx.waker()))).await?;
        if let (Some(provider), Some(valid_for)) = (&self.credentials, valid_for) {
            let span = shared.trace.connection().clone();
            let refresh = Refresh::new(shared, provider.clone(), self.call_timeout);
            tokio::spawn(refresh.run(valid_for).instrument(span));
        }
        Ok(Connection::new(Arc::new(handle)))
    }
}

async fn within<T>(after: Duration, uri: &Uri, connecting: impl Future<Output = Result<T>>) -> Result<T> {
    match timeout(after, connecting).await {
        Ok(result) => result,
        Err(_) => Err(Error::ConnectTimeout { address: uri.address(), after }),
    }
}

/// Whether another host would not do better. A virtual host that is down on one node may be up on another: RabbitMQ closes
/// with other codes then.
fn is_final(error: &Error) -> bool {
    match error {
        Error::LoginRefused { .. } | Error::Credentials(_) | Error::InvalidUri(_) | Error::Invalid(_) => true,
        Error::VhostRefused { close, .. } => {
            matches!(close.code, ReplyCode::NOT_ALLOWED | ReplyCode::ACCESS_REFUSED | ReplyCode::INVALID_PATH)
        }
        Error::Tls { source, .. } => source.is_own(),
        _ => false,
    }
}
