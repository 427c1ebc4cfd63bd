//! A connection to a broker.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use amqp_codec::{ShortString, Table};

use crate::{
    channel::Channel,
    error::{Error, Result},
    event::{Events, State},
    login::credentials::Password,
    metrics::Metrics,
    runtime::{
        handles::{ConnectionHandle, drain},
        secret,
        shared::{Shared, now},
    },
};

/// A connection to a broker. All handles share it; cloning is cheap.
///
/// # On drop
/// The connection is closed in the background when its last handle is dropped; channels, consumers
/// and deliveries count as handles.
#[derive(Clone)]
pub struct Connection {
    handle: Arc<ConnectionHandle>,
}

/// A handle that does not keep the connection open; see [`Connection::downgrade`].
#[derive(Clone)]
pub struct WeakConnection {
    handle: Weak<ConnectionHandle>,
    shared: Arc<Shared>,
}

impl Connection {
    pub(crate) fn new(handle: Arc<ConnectionHandle>) -> Self {
        Connection { handle }
    }

    /// Opens a channel.
    ///
    /// # Errors
    /// [`Error::NoFreeChannel`], or the reason why the connection has ended.
    ///
    /// # Cancel safety
    /// If the future is dropped, a channel that was opened meanwhile is closed.
    pub async fn open_channel(&self) -> Result<Channel> {
        let channel = self.handle.open_channel().await?;
        Ok(Channel::new(Arc::new(channel)))
    }

    /// Gives the broker a new password or token before the present one expires
    /// (`connection.update-secret`, an extension of RabbitMQ). `reason` is for the broker's log.
    /// [`ConnectOptions::credentials_from`](crate::ConnectOptions::credentials_from) does this
    /// automatically.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a reason over 255 bytes or a secret over a frame; no answer within
    /// the call timeout; or the reason why the connection has ended, which it also does when the
    /// broker refuses the secret.
    ///
    /// # Cancel safety
    /// If the future is dropped while pending, the broker may or may not have taken the secret.
    pub async fn update_secret(&self, secret: impl Into<Password>, reason: &str) -> Result<()> {
        let reason = ShortString::new("reason", reason).map_err(Error::Invalid)?;
        secret::update(&self.handle.shared, &secret.into(), reason, self.handle.call_timeout).await
    }

    /// Closes the connection and waits until the broker has agreed, 10 s at most. Earlier publishes
    /// are sent first; confirms that have not arrived by now will not arrive.
    ///
    /// # Errors
    /// The reason why the connection ended, unless this side closed it.
    ///
    /// # Cancel safety
    /// If the future is dropped, closing continues in the background.
    pub async fn close(&self) -> Result<()> {
        let now = now();
        self.handle.shared.with(|engine| engine.close(now));
        match self.closed().await {
            Error::ConnectionEnded => Ok(()),
            error => Err(error),
        }
    }

    /// Ends the connection gracefully: does what [`Channel::drain`] does for all its channels at
    /// once, then [closes](Self::close) the connection.
    ///
    /// # Errors
    /// [`Error::DrainTimeout`] when the deadline passes first: the connection is closed
    /// nevertheless.
    ///
    /// # Cancel safety
    /// If the future is dropped while pending, all consumers are cancelled and the connection stays
    /// open.
    pub async fn drain(&self, deadline: Duration) -> Result<()> {
        let channels = self.handle.shared.with(|engine| engine.open_channels());
        let drained = drain(&self.handle.shared, &channels, deadline).await;
        self.close().await.and(drained)
    }

    /// Waits for the connection's end and returns the reason.
    ///
    /// # Cancel safety
    /// The future can be dropped, and the method called again.
    pub async fn closed(&self) -> Error {
        self.handle.shared.ended().await
    }

    /// Returns the events of the connection from now on. The first listener also sees
    /// [`Event::Connected`](crate::Event::Connected).
    pub fn events(&self) -> Events {
        let receiver = self.handle.shared.listen();
        let ended = match self.state() {
            State::Closed(reason) => Some(reason),
            _ => None,
        };
        Events::new(receiver, ended)
    }

    /// Returns how the connection is doing.
    pub fn state(&self) -> State {
        self.handle.shared.with(|engine| engine.state())
    }

    /// Returns the counts of the connection so far. This is cheap: it takes the lock once.
    pub fn metrics(&self) -> Metrics {
        self.handle.shared.with(|engine| engine.metrics())
    }

    /// Returns what the broker has said of itself when the connection was opened or recovered: its
    /// `product`, `version`, `capabilities` and others (`server-properties`, spec section 1.4.2.1).
    /// It is empty while the broker has not been reached.
    pub fn server_properties(&self) -> Table {
        self.handle.shared.with(|engine| engine.server_properties())
    }

    /// Returns a handle that does not keep the connection open: it is closed when the last other
    /// handle is dropped.
    pub fn downgrade(&self) -> WeakConnection {
        WeakConnection { handle: Arc::downgrade(&self.handle), shared: self.handle.shared.clone() }
    }

    /// Tells whether the connection can be used at this moment. While it is being
    /// [recovered](crate::Recovery) it cannot, and calls and publishes wait; see
    /// [`is_closed`](Self::is_closed).
    pub fn is_open(&self) -> bool {
        self.handle.shared.with(|engine| engine.is_open())
    }

    /// Tells whether the connection has ended for good, or is being closed by this side. A
    /// connection that is being recovered is neither closed nor [open](Self::is_open).
    pub fn is_closed(&self) -> bool {
        self.handle.shared.with(|engine| engine.reason().is_some())
    }
}

impl WeakConnection {
    /// Returns the connection; `None` when all other handles were dropped, so that it is closed.
    pub fn upgrade(&self) -> Option<Connection> {
        self.handle.upgrade().map(Connection::new)
    }

    /// Returns the same as [`Connection::metrics`], also after the connection has ended.
    pub fn metrics(&self) -> Metrics {
        self.shared.with(|engine| engine.metrics())
    }

    /// Tells the same as [`Connection::is_closed`].
    pub fn is_closed(&self) -> bool {
        self.shared.with(|engine| engine.reason().is_some())
    }
}

impl std::fmt::Debug for WeakConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeakConnection").field("is_closed", &self.is_closed()).finish()
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("state", &self.state()).finish()
    }
}
