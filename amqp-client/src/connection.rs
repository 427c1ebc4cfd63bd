//! A connection to a broker.

use std::{future::poll_fn, sync::Arc};

use amqp_codec::sasl;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use crate::{
    channel::Channel,
    driver::Driver,
    error::{Error, Result},
    options::ConnectOptions,
    proto::{connection::Engine, handshake::Login, waiters::Place},
    shared::{ChannelHandle, ConnectionHandle, Shared, now},
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
    /// Connects to the broker at `uri` (`amqp://user:password@host:port/vhost`), within the connect deadline.
    ///
    /// # Errors
    /// An invalid URI, an unknown host, a refused connection, a peer that is no AMQP broker, a refused login or virtual host,
    /// the deadline.
    ///
    /// # Cancel safety
    /// Dropping the future gives the connection up; its task ends.
    pub async fn connect(&self, uri: &str) -> Result<Connection> {
        self.connect_to(&Uri::parse(uri)?).await
    }

    /// Connects to a broker whose URI has been read already, or was never written.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), but for an invalid URI.
    ///
    /// # Cancel safety
    /// Dropping the future gives the connection up; its task ends.
    pub async fn connect_to(&self, uri: &Uri) -> Result<Connection> {
        if uri.tls {
            return Err(Error::InvalidUri("amqps is not supported by this version".into()));
        }
        self.within_deadline(uri, async {
            let stream = transport::tcp(uri).await?;
            self.open(stream, uri).await
        })
        .await
    }

    /// Connects over a stream that is there already: an in-memory duplex to an embedded broker, a tunnel, a Unix socket.
    /// User, password, virtual host and parameters come from `uri`; its host is used in errors only.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), but for name look-up and TCP.
    ///
    /// # Cancel safety
    /// Dropping the future gives the connection up; its task ends.
    pub async fn connect_stream<S>(&self, stream: S, uri: &Uri) -> Result<Connection>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.within_deadline(uri, self.open(stream, uri)).await
    }

    async fn within_deadline(
        &self,
        uri: &Uri,
        connecting: impl Future<Output = Result<Connection>>,
    ) -> Result<Connection> {
        let after = uri.connection_timeout.unwrap_or(self.connect_timeout);
        match tokio::time::timeout(after, connecting).await {
            Ok(result) => result,
            Err(_) => Err(Error::ConnectTimeout { address: uri.address(), after }),
        }
    }

    async fn open<S>(&self, stream: S, uri: &Uri) -> Result<Connection>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let login = Login {
            user: uri.user.clone(),
            response: sasl::plain(&uri.user, &uri.password),
            vhost: uri.vhost.clone(),
            tune: self.tune(uri),
            client_properties: self.client_properties()?,
        };
        let shared = Arc::new(Shared::new(Engine::new(login, self.limits, now())));
        let handle = ConnectionHandle::new(shared.clone(), self.call_timeout);
        tokio::spawn(Driver::new(shared, stream).run());
        let mut place = None;
        poll_fn(|cx| handle.shared.with(|engine| engine.poll_open(&mut place, cx.waker()))).await?;
        debug!(%uri, "connected");
        Ok(Connection { handle: Arc::new(handle) })
    }
}

/// A connection to a broker. All handles share it; cloning is cheap.
///
/// # On drop
/// When the last handle is dropped, channels, consumers and deliveries among them, the connection is closed in the background.
#[derive(Clone)]
pub struct Connection {
    handle: Arc<ConnectionHandle>,
}

impl Connection {
    /// Opens a channel.
    ///
    /// # Errors
    /// [`Error::NoFreeChannel`], or why the connection has ended.
    ///
    /// # Cancel safety
    /// Dropping the future closes the channel that may have been opened.
    pub async fn open_channel(&self) -> Result<Channel> {
        let (key, status, call) = self.handle.shared.with(Engine::open_channel)?;
        let channel = ChannelHandle { connection: self.handle.clone(), key, status };
        channel.wait("channel.open", call, self.handle.call_timeout).await?;
        Ok(Channel::new(Arc::new(channel)))
    }

    /// Closes the connection and waits until the broker has agreed, 10 s at the most. What was published before is sent
    /// before; confirms that have not come by now will not come.
    ///
    /// # Errors
    /// Why the connection ended, when it was not by this side.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the closing under way.
    pub async fn close(&self) -> Result<()> {
        let now = now();
        self.handle.shared.with(|engine| engine.close(now));
        match self.closed().await {
            Error::ConnectionEnded => Ok(()),
            error => Err(error),
        }
    }

    /// Waits for the connection's end and tells its reason.
    ///
    /// # Cancel safety
    /// Can be dropped and called again.
    pub async fn closed(&self) -> Error {
        let mut waiting = WaitingForEnd { shared: &self.handle.shared, place: None };
        poll_fn(|cx| waiting.shared.with(|engine| engine.poll_ended(&mut waiting.place, cx.waker()))).await
    }

    /// Whether the connection can be used.
    pub fn is_open(&self) -> bool {
        self.handle.shared.with(|engine| engine.reason().is_none())
    }
}

struct WaitingForEnd<'a> {
    shared: &'a Shared,
    place: Option<Place>,
}

impl Drop for WaitingForEnd<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.shared.with(|engine| engine.leave(place));
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("is_open", &self.is_open()).finish()
    }
}
