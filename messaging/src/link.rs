//! One connection of a transport: opened on first use, and again when it has ended.

use std::{sync::Arc, time::Duration};

use amqp_client::{Channel, ConnectOptions, Connection, Uri};
use parking_lot::Mutex;

use crate::{error::Error, url::TransportUrl};

/// A connection that is there when it is asked for.
#[derive(Clone)]
pub(crate) struct Link(Arc<Shared>);

struct Shared {
    url: TransportUrl,
    options: ConnectOptions,
    /// The largest body that consumers take.
    max_message_size: u64,
    state: Mutex<State>,
    /// Held while connecting: all who wait get the one connection.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
enum State {
    /// Never opened.
    #[default]
    Idle,
    /// Opened; it may have ended since.
    Opened(Connection),
    /// Closed for good.
    Closed,
}

impl Link {
    /// Bodies over `max_message_size` are neither published nor taken.
    pub(crate) fn new(url: TransportUrl, options: ConnectOptions, max_message_size: u64) -> Self {
        let options = options.max_message_size(max_message_size);
        let (state, connecting) = Default::default();
        Link(Arc::new(Shared { url, options, max_message_size, state, connecting }))
    }

    /// The connection, opened when it is not.
    ///
    /// # Cancel safety
    /// A connection that was about to open is dropped with the future, unless others wait for it too: they open it anew.
    pub(crate) async fn connection(&self) -> Result<Connection, Error> {
        if let Some(connection) = self.open_connection()? {
            return Ok(connection);
        }
        let _connecting = self.0.connecting.lock().await;
        if let Some(connection) = self.open_connection()? {
            return Ok(connection);
        }
        let connection = self.connect().await?;
        let mut state = self.0.state.lock();
        if matches!(*state, State::Closed) {
            // Dropping the last handle closes it.
            return Err(Error::Closed);
        }
        *state = State::Opened(connection.clone());
        Ok(connection)
    }

    pub(crate) fn max_message_size(&self) -> u64 {
        self.0.max_message_size
    }

    /// A new channel on the connection.
    pub(crate) async fn open_channel(&self) -> Result<Channel, Error> {
        let connection = self.connection().await?;
        connection.open_channel().await.map_err(Error::broker("open a channel"))
    }

    /// Whether there is a connection at this moment.
    pub(crate) fn is_connected(&self) -> bool {
        match &*self.0.state.lock() {
            State::Opened(connection) => {
                matches!(connection.state(), amqp_client::State::Open | amqp_client::State::Blocked(_))
            }
            State::Idle | State::Closed => false,
        }
    }

    /// Whether there is a connection, and its broker takes no publishes at this moment.
    pub(crate) fn is_blocked(&self) -> bool {
        match &*self.0.state.lock() {
            State::Opened(connection) => matches!(connection.state(), amqp_client::State::Blocked(_)),
            State::Idle | State::Closed => false,
        }
    }

    /// Closes the connection for good.
    pub(crate) async fn close(&self) -> Result<(), Error> {
        match self.take() {
            Some(connection) => connection.close().await.map_err(Error::broker("close the connection")),
            None => Ok(()),
        }
    }

    /// As [`close`](Self::close), once all that was published is confirmed, or the deadline has come.
    pub(crate) async fn drain(&self, deadline: Duration) -> Result<(), Error> {
        match self.take() {
            Some(connection) => {
                connection.drain(deadline).await.map_err(Error::broker("drain the connection"))
            }
            None => Ok(()),
        }
    }

    fn take(&self) -> Option<Connection> {
        match std::mem::replace(&mut *self.0.state.lock(), State::Closed) {
            State::Opened(connection) if connection.is_open() => Some(connection),
            _ => None,
        }
    }

    fn open_connection(&self) -> Result<Option<Connection>, Error> {
        match &*self.0.state.lock() {
            State::Opened(connection) if connection.is_open() => Ok(Some(connection.clone())),
            State::Closed => Err(Error::Closed),
            _ => Ok(None),
        }
    }

    async fn connect(&self) -> Result<Connection, Error> {
        match &self.0.url {
            TransportUrl::Memory(name) => {
                let name = name.clone();
                let host = format!("memory://{name}");
                let connector = move || {
                    let stream = amqp_broker::memory(&name).connect();
                    async move { Ok(stream) }
                };
                let (options, uri) = (&self.0.options, Uri::default());
                options.connect_by(connector, &uri).await.map_err(|source| Error::Connect { host, source })
            }
            TransportUrl::Amqp(uris) => {
                self.0.options.connect_any(uris).await.map_err(|source| connect_error(uris, source))
            }
        }
    }
}

/// Which host is to blame: the only one, or all of them.
fn connect_error(uris: &[Uri], source: amqp_client::Error) -> Error {
    let host = uris.iter().map(Uri::address).collect::<Vec<_>>().join(",");
    Error::Connect { host, source }
}
