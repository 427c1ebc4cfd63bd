//! Connecting: from options and URIs to an open connection.

pub(crate) mod dial;
pub(crate) mod into_uris;
pub(crate) mod options;
pub(crate) mod recovery;
pub(crate) mod tls;
pub(crate) mod uri;

use std::{io, sync::Arc};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    connect::{
        dial::{
            dialer::{Connector, Dialer, Target},
            transport::BoxedStream,
        },
        into_uris::IntoUris,
        options::ConnectOptions,
        uri::Uri,
    },
    connection::Connection,
    error::Result,
    proto::connection::Engine,
    recovery::connection_task::{ConnectionTask, first_connect},
    runtime::{
        handles::ConnectionHandle,
        shared::{Shared, now},
        trace::Trace,
    },
    sync::{Mutex, spawn},
};

/// Connects with default options; see [`ConnectOptions::connect`].
///
/// # Errors
/// The same as for [`ConnectOptions::connect`].
pub async fn connect(uris: impl IntoUris) -> Result<Connection> {
    ConnectOptions::new().connect(uris).await
}

impl ConnectOptions {
    /// Connects to a broker within the connect deadline. The broker is given as the text of a URI
    /// (`amqp://user:password@host:port/vhost`), or as a [`Uri`].
    ///
    /// Several are given by a URI with several hosts (`amqps://a.example,b.example:5673/vhost`), or
    /// as several [`Uri`]s. They are tried in the order given or shuffled, and the first that
    /// accepts the connection is taken; with [`recovery`](Self::recovery) the same holds for each
    /// later attempt.
    ///
    /// One deadline covers all hosts: that of the first URI that sets one, or else that of the
    /// options. Each host gets an equal share of the remaining time, so that a silent host leaves
    /// time for the others; the addresses of a name share it in the same way. A refused login or
    /// virtual host ends the search, because the other brokers of a cluster would refuse it too,
    /// and trying a wrong password on each would lock the user out sooner. A fault on this side,
    /// such as an unreadable certificate file, also ends it.
    ///
    /// ```no_run
    /// use amqp_client::{ConnectOptions, Uri};
    ///
    /// # async fn run() -> amqp_client::Result<()> {
    /// let options = ConnectOptions::new();
    /// options.connect("amqp://a.example,b.example").await?;
    /// let a = Uri { host: "a.example".into(), ..Uri::default() };
    /// options.connect(&a).await?;
    /// options.connect(&[a, Uri::default()]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// An invalid URI, an unknown host, a refused connection, a failure of TLS, a peer that is no
    /// AMQP broker, a refused login or virtual host, the deadline. With several hosts
    /// [`Error::NoHost`](crate::Error::NoHost) has the error of each; without any it is
    /// [`Error::InvalidUri`](crate::Error::InvalidUri).
    ///
    /// # Cancel safety
    /// Dropping the future abandons the attempt.
    pub async fn connect(&self, uris: impl IntoUris) -> Result<Connection> {
        self.establish(Target::Hosts(uris.into_uris()?)).await
    }

    /// Connects over an existing stream: an in-memory duplex to an embedded broker, a tunnel, a
    /// Unix socket. User, password, virtual host and parameters come from `uri`, and its host
    /// appears in errors only. The stream is used as it is, without TLS on top.
    /// [`recovery`](Self::recovery) has no effect, since there is no second stream after a loss;
    /// see [`connect_with`](Self::connect_with) for that.
    ///
    /// # Errors
    /// The same as for [`connect`](Self::connect), except for name look-up, TCP and TLS.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the attempt.
    pub async fn connect_stream<S>(&self, stream: S, uri: &Uri) -> Result<Connection>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let only = Mutex::new(Some(Box::new(stream) as BoxedStream));
        let options = ConnectOptions { recovery: None, ..self.clone() };
        let connector: Connector = Arc::new(move || {
            let stream = only.lock().take().ok_or_else(|| io::ErrorKind::NotConnected.into());
            Box::pin(std::future::ready(stream))
        });
        options.establish(Target::Connector(connector, Box::new(uri.clone()))).await
    }

    /// Connects like [`connect_stream`](Self::connect_stream), over a stream that `connector`
    /// makes. It is called again each time the connection is to be [recovered](Self::recovery).
    ///
    /// # Errors
    /// The same as for [`connect_stream`](Self::connect_stream), and
    /// [`Error::Connect`](crate::Error::Connect) with the connector's error.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the attempt.
    pub async fn connect_with<C, F, S>(&self, connector: C, uri: &Uri) -> Result<Connection>
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let connector: Connector = Arc::new(move || {
            let connecting = connector();
            Box::pin(async move { connecting.await.map(|stream| Box::new(stream) as BoxedStream) })
        });
        self.establish(Target::Connector(connector, Box::new(uri.clone()))).await
    }

    async fn establish(&self, target: Target) -> Result<Connection> {
        let (recovers, reopens) = match &self.recovery {
            Some(recovery) => (true, recovery.reopen_channels),
            None => (false, false),
        };
        let shared = Arc::new(Shared::new(Engine::new(self.limits, recovers, reopens, now()), Trace::new()));
        let dialer = Dialer { options: self.clone(), target };
        let dialed = first_connect(&dialer, &shared).await?;
        let handle = Arc::new(ConnectionHandle::new(shared.clone(), self.call_timeout));
        let task = ConnectionTask { shared, handle: Arc::downgrade(&handle), dialer };
        spawn(task.run(dialed));
        Ok(Connection::new(handle))
    }
}

#[cfg(all(test, not(feature = "tls")))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        connect::{recovery::Recovery, tls::TlsOptions},
        error::{Error, tls_error::TlsError},
    };

    fn names_the_feature(refused: &Error) -> bool {
        let text = amqp_codec::Report(refused).to_string();
        let typed = matches!(refused, Error::Tls { source: TlsError::NotCompiled { feature: "tls" }, .. });
        typed && text.contains("feature `tls` of `amqp-client` is off")
    }

    /// The listener would accept a plain connection, so a refusal proves that nothing was dialed.
    #[tokio::test]
    async fn what_asks_for_tls_is_refused_in_a_build_without_it_and_told_which_feature_is_off() {
        let listener = amqp_broker::Broker::builder().build().listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr();
        let plain = ConnectOptions::new();
        plain.connect(&format!("amqp://{address}")).await.unwrap().close().await.unwrap();

        let with_options = plain.clone().tls(TlsOptions::new());
        let recovering = plain.clone().recovery(Recovery::new().first_connect(true));
        for (options, uri) in [
            (&plain, format!("amqps://{address}")),
            (&plain, format!("amqps://{address},{address}")),
            (&with_options, format!("amqp://{address}")),
            (&recovering, format!("amqps://{address}")),
        ] {
            let refused = tokio::time::timeout(Duration::from_secs(60), options.connect(&uri)).await.unwrap();
            let refused = refused.unwrap_err();
            assert!(names_the_feature(&refused), "{uri}: {refused:?}");
        }
    }

    #[tokio::test]
    async fn a_stream_of_the_users_own_needs_no_tls_whatever_its_uri_says() {
        let broker = amqp_broker::Broker::builder().build();
        let uri = Uri::parse("amqps://h?verify=verify_peer").unwrap();
        let options = ConnectOptions::new().tls(TlsOptions::new());
        options.connect_stream(broker.connect(), &uri).await.unwrap().close().await.unwrap();
    }
}
