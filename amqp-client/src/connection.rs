//! A connection to a broker.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use amqp_codec::ShortString;

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
/// When the last handle is dropped, channels, consumers and deliveries among them, the connection
/// is closed in the background.
#[derive(Clone)]
pub struct Connection {
    handle: Arc<ConnectionHandle>,
}

/// A connection as seen by who does not keep it open; see [`Connection::downgrade`].
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
    /// [`Error::NoFreeChannel`], or why the connection has ended.
    ///
    /// # Cancel safety
    /// Dropping the future closes the channel that may have been opened.
    pub async fn open_channel(&self) -> Result<Channel> {
        let channel = self.handle.open_channel().await?;
        Ok(Channel::new(Arc::new(channel)))
    }

    /// Gives the broker a new password or token before the present one expires
    /// (`connection.update-secret`, of RabbitMQ). `reason` is for the broker's log.
    /// [`ConnectOptions::credentials_from`](crate::ConnectOptions::credentials_from) does this by
    /// itself.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a reason over 255 bytes or a secret over a frame; no answer within
    /// the call timeout; or why the connection has ended, as it does when the broker refuses the
    /// secret.
    ///
    /// # Cancel safety
    /// Dropped while pending, the broker may or may not have taken the secret.
    pub async fn update_secret(&self, secret: impl Into<Password>, reason: &str) -> Result<()> {
        let reason = ShortString::new("reason", reason).map_err(Error::Invalid)?;
        secret::update(&self.handle.shared, &secret.into(), reason, self.handle.call_timeout).await
    }

    /// Closes the connection and waits until the broker has agreed, 10 s at the most. What was
    /// published before is sent before; confirms that have not come by now will not come.
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

    /// Ends the connection in good order: [`Channel::drain`] for all its channels at once, then
    /// [`close`](Self::close).
    ///
    /// # Errors
    /// [`Error::DrainTimeout`] when the deadline came first: the connection is closed all the same.
    ///
    /// # Cancel safety
    /// Dropped while pending, all consumers are cancelled and the connection stays open.
    pub async fn drain(&self, deadline: Duration) -> Result<()> {
        let channels = self.handle.shared.with(|engine| engine.open_channels());
        let drained = drain(&self.handle.shared, &channels, deadline).await;
        self.close().await.and(drained)
    }

    /// Waits for the connection's end and tells its reason.
    ///
    /// # Cancel safety
    /// Can be dropped and called again.
    pub async fn closed(&self) -> Error {
        self.handle.shared.ended().await
    }

    /// What happens to the connection from now on; the first who asks is told that it was
    /// connected, too.
    pub fn events(&self) -> Events {
        let receiver = self.handle.shared.listen();
        let ended = match self.state() {
            State::Closed(reason) => Some(reason),
            _ => None,
        };
        Events::new(receiver, ended)
    }

    /// How the connection is doing.
    pub fn state(&self) -> State {
        self.handle.shared.with(|engine| engine.state())
    }

    /// What it has done so far. Cheap: one look under the lock.
    pub fn metrics(&self) -> Metrics {
        self.handle.shared.with(|engine| engine.metrics())
    }

    /// A handle that does not keep it open: the connection is closed when the last of the others is
    /// dropped.
    pub fn downgrade(&self) -> WeakConnection {
        WeakConnection { handle: Arc::downgrade(&self.handle), shared: self.handle.shared.clone() }
    }

    /// Tells whether the connection can be used at this moment. Not while it is
    /// [recovered](crate::Recovery): calls and publishes wait then; see
    /// [`is_closed`](Self::is_closed).
    pub fn is_open(&self) -> bool {
        self.handle.shared.with(|engine| engine.is_open())
    }

    /// Tells whether the connection has ended for good, or is being closed by this side. One that
    /// is recovered is neither this nor [open](Self::is_open).
    pub fn is_closed(&self) -> bool {
        self.handle.shared.with(|engine| engine.reason().is_some())
    }
}

impl WeakConnection {
    /// The connection; `None` when all other handles were dropped, so that it is closed.
    pub fn upgrade(&self) -> Option<Connection> {
        self.handle.upgrade().map(Connection::new)
    }

    /// As [`Connection::metrics`], also when it has ended.
    pub fn metrics(&self) -> Metrics {
        self.shared.with(|engine| engine.metrics())
    }

    /// As [`Connection::is_closed`].
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
