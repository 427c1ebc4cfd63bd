//! The broker to use, and connecting to it.

use std::{env, time::Duration};

use amqp_client::{Channel, ConnectOptions, Connection};
use messaging::{Transport, TransportOptions};

use crate::{
    connection::arguments::ConnectionArguments,
    contexts::{file::Contexts, secret::SecretSource, url::ConnectionUrl},
    error::Error,
};

const DEFAULT: &str = "amqp://localhost";

/// The broker to use.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    url: ConnectionUrl,
    name: String,
    timeout: Duration,
}

impl Target {
    /// Finds the broker: --url, --context, AMQP_URL, AMQP_CONTEXT, the context in use, localhost.
    ///
    /// # Errors
    /// When a context does not exist, or the password cannot be had.
    pub(crate) fn of(arguments: &ConnectionArguments) -> Result<Self, Error> {
        let (url, secret) = match &arguments.url {
            Some(url) => (ConnectionUrl::new(url), None),
            None => from_elsewhere(arguments.context.as_deref())?,
        };
        let asked = match (&arguments.password_file, arguments.ask_password) {
            (Some(file), _) => Some(SecretSource::File(file.clone())),
            (None, true) => Some(SecretSource::Prompt),
            (None, false) => secret,
        };
        let url = match asked {
            Some(source) => url.with_password(&source.read()?),
            None => url,
        };
        let timeout = Duration::from_secs(arguments.connect_timeout.max(1).into());
        Ok(Target { url, name: arguments.connection_name.clone(), timeout })
    }

    /// The URL, whose password is not shown.
    pub(crate) fn url(&self) -> &ConnectionUrl {
        &self.url
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// [`Error::Connect`].
    pub(crate) async fn connect(&self) -> Result<Connection, Error> {
        self.connect_with(|options| options).await
    }

    /// Opens a connection with further options.
    ///
    /// # Errors
    /// [`Error::Connect`].
    pub(crate) async fn connect_with(
        &self,
        more: impl FnOnce(ConnectOptions) -> ConnectOptions,
    ) -> Result<Connection, Error> {
        let options = more(ConnectOptions::new().name(&self.name).connect_timeout(self.timeout));
        Transport::open_connection(self.url.expose(), &options).await.map_err(Error::messaging("connect"))
    }

    /// Opens a connection and a channel on it. The connection ends when both are dropped; closing
    /// it says goodbye to the broker first.
    ///
    /// # Errors
    /// [`Error::Connect`], [`Error::Broker`].
    pub(crate) async fn open_channel(&self) -> Result<(Connection, Channel), Error> {
        let connection = self.connect().await?;
        let channel = connection.open_channel().await.map_err(Error::broker("open a channel"))?;
        Ok((connection, channel))
    }

    /// Opens a transport, for RPC, notifications and Celery.
    ///
    /// # Errors
    /// [`Error::Connect`].
    pub(crate) async fn transport(&self) -> Result<Transport, Error> {
        let options = TransportOptions::new().name(&self.name).connect_timeout(self.timeout);
        options.connect(self.url.expose()).await.map_err(Error::messaging("connect"))
    }
}

fn from_elsewhere(context: Option<&str>) -> Result<(ConnectionUrl, Option<SecretSource>), Error> {
    if let Some(name) = context {
        return named(name);
    }
    let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(url) = variable("AMQP_URL") {
        return Ok((ConnectionUrl::new(url), None));
    }
    if let Some(name) = variable("AMQP_CONTEXT") {
        return named(&name);
    }
    // Without a home there is no file, and the broker is the one on this machine.
    let Ok(path) = Contexts::path() else { return Ok((ConnectionUrl::new(DEFAULT), None)) };
    match Contexts::read(&path)?.current {
        Some(name) => named(&name),
        None => Ok((ConnectionUrl::new(DEFAULT), None)),
    }
}

fn named(name: &str) -> Result<(ConnectionUrl, Option<SecretSource>), Error> {
    let contexts = Contexts::read(&Contexts::path()?)?;
    let named = contexts.contexts.get(name).ok_or_else(|| {
        Error::Usage(format!("there is no context {name}; `amqp context add {name} URL` makes it"))
    })?;
    Ok((named.shown(), named.secret()))
}

/// Closes a connection. What was to be done is done, so that a broker that does not answer any
/// more is no failure.
pub(crate) async fn close(connection: &Connection) {
    let _ = connection.close().await;
}
