//! From options to connections.

use std::{sync::Arc, time::Duration};

use redis::{AsyncConnectionConfig, Client, ConnectionAddr, RedisResult, aio::MultiplexedConnection};
use tokio::{sync::watch, time};

use super::{
    client::{client, logged_in},
    failure::{backend_error, unavailable},
    listen::listen,
    sentinels::by_sentinel,
    tls::address,
};
use crate::{
    backend::BackendError,
    redis::options::{RedisLogin, RedisOptions, Server},
};

/// How long Redis may take for an answer if the options do not say it.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// How long connecting may take if the options do not say it.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Connections of one kind to one server: with Sentinel, to the one that was the master.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    client: Client,
    login: Arc<watch::Sender<RedisLogin>>,
    name: Option<String>,
    answer_time: Duration,
    connect_time: Duration,
    resp3: bool,
}

impl Dialer {
    /// Finds the server, which takes connections only when there are sentinels to ask.
    ///
    /// # Errors
    /// When no sentinel knows the master, or nobody says which one, or a file with certificates
    /// cannot be read.
    pub(crate) async fn find(options: &RedisOptions) -> Result<Self, BackendError> {
        options.check().map_err(|error| unavailable(error.to_string()))?;
        let connect_time = options.socket_connect_timeout.unwrap_or(CONNECT_TIME);
        let login = options.current_login();
        let client = match &options.server {
            Server::Tcp(host, port) => client(options, &login, address(options.tls.as_ref(), host, *port)?)?,
            Server::Socket(path) => client(options, &login, ConnectionAddr::Unix(path.clone()))?,
            Server::Sentinels(sentinels) => {
                // The sentinel is connected to, and then the master.
                let most = options.sentinel_timeout.unwrap_or(connect_time.saturating_mul(2));
                by_sentinel(options, &login, sentinels, most).await?
            }
        };
        let answer_time = options.socket_timeout.unwrap_or(ANSWER_TIME);
        Ok(Dialer {
            client,
            login: Arc::new(watch::Sender::new(login)),
            name: options.client_name.clone(),
            answer_time,
            connect_time,
            resp3: options.resp3,
        })
    }

    /// Who logs in.
    pub(crate) fn login(&self) -> RedisLogin {
        self.login.borrow().clone()
    }

    /// Sets who logs in from now on.
    pub(crate) fn renew_login(&self, login: RedisLogin) {
        self.login.send_replace(login);
    }

    /// Waits until another logs in than when this was called. It is cancel-safe.
    pub(crate) async fn login_renewed(&self) {
        // This keeps the sender, so that it does not end.
        _ = self.login.subscribe().changed().await;
    }

    /// Returns the client to connect with, as whoever logs in now.
    fn client(&self) -> RedisResult<Client> {
        let info = self.client.get_connection_info();
        Client::open(
            info.clone().set_redis_settings(logged_in(info.redis_settings().clone(), &self.login.borrow())),
        )
    }

    /// Whether Redis tells of changes on the connections themselves.
    pub(crate) fn resp3(&self) -> bool {
        self.resp3
    }

    /// How long a command may take.
    pub(crate) fn answer_time(&self) -> Duration {
        self.answer_time
    }

    /// How connections behave. Each command has a time limit.
    pub(crate) fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_response_timeout(Some(self.answer_time))
            .set_connection_timeout(Some(self.connect_time))
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// When Redis cannot be reached, refuses the login, or is still loading.
    pub(crate) async fn open(
        &self,
        config: &AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, BackendError> {
        let client = self.client().map_err(|error| backend_error(&error))?;
        let opened = client.get_multiplexed_async_connection_with_config(config).await;
        let mut connection = opened.map_err(|error| backend_error(&error))?;
        let mut greeting = redis::pipe();
        if let Some(name) = &self.name {
            greeting.cmd("CLIENT").arg("SETNAME").arg(name).ignore();
        }
        // A server that is still loading accepts connections, and refuses this.
        greeting.cmd("PING").ignore();
        greeting.exec_async(&mut connection).await.map_err(|error| backend_error(&error))?;
        Ok(connection)
    }

    /// Opens a connection that only listens to channels, for the second version of the protocol.
    ///
    /// # Errors
    /// When Redis cannot be reached or refuses the login.
    pub(crate) async fn listen(&self) -> Result<redis::aio::PubSub, BackendError> {
        let client = self.client().map_err(|error| backend_error(&error))?;
        let login = self.login();
        match time::timeout(self.connect_time, listen(&client, &login, self.name.as_deref())).await {
            Ok(opened) => opened.map_err(|error| backend_error(&error)),
            Err(_) => Err(unavailable("Redis does not answer in time".to_owned())),
        }
    }
}
