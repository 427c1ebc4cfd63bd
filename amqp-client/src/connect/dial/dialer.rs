//! Dialing a broker, for the first time or again: hosts are tried one after the other, all within
//! one deadline.

use std::{borrow::Cow, future::poll_fn, io, pin::Pin, sync::Arc, task::Poll, time::Duration};

use amqp_codec::{ReplyCode, Report};
use tokio::time::{Instant, timeout};
use tracing::debug;

#[cfg(feature = "tls")]
use crate::connect::tls;
use crate::{
    connect::{
        dial::transport::{self, BoxedStream},
        options::ConnectOptions,
        uri::Uri,
    },
    error::{Error, Result, tls_error::TlsError},
    login::credentials::Credentials,
    proto::{connection::wait::WaitFor, handshake::Login},
    runtime::{
        driver::Driver,
        shared::{Shared, now},
        waiting::Waiting,
    },
};

/// Makes a new stream to the broker on each call.
pub(crate) type Connector =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = io::Result<BoxedStream>> + Send>> + Send + Sync>;

/// Where the broker is.
pub(crate) enum Target {
    Hosts(Vec<Uri>),
    /// Streams that the user makes. The URI supplies login, virtual host and parameters.
    Connector(Connector, Box<Uri>),
}

/// How a connection reaches its broker.
pub(crate) struct Dialer {
    pub(crate) options: ConnectOptions,
    pub(crate) target: Target,
}

/// An open connection: its driver, and how long its credentials are valid.
pub(crate) struct Dialed {
    pub(crate) driver: Driver<BoxedStream>,
    pub(crate) valid_for: Option<Duration>,
}

impl Dialer {
    /// Makes one attempt, which ends at the first host that accepts the connection.
    ///
    /// # Errors
    /// The same as for [`ConnectOptions::connect`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the attempt.
    pub(crate) async fn dial(&self, shared: &Arc<Shared>) -> Result<Dialed> {
        match &self.target {
            Target::Hosts(uris) => self.any(shared, uris).await,
            Target::Connector(connector, uri) => {
                let after = uri.connection_timeout.unwrap_or(self.options.connect_timeout);
                let opening = async {
                    let refused =
                        |source| Error::Connect { address: uri.address(), source: Arc::new(source) };
                    self.open(shared, connector().await.map_err(refused)?, uri).await
                };
                within(after, uri, opening).await
            }
        }
    }

    async fn any(&self, shared: &Arc<Shared>, uris: &[Uri]) -> Result<Dialed> {
        let begun = Instant::now();
        let after =
            uris.iter().find_map(|uri| uri.connection_timeout).unwrap_or(self.options.connect_timeout);
        let mut left = after;
        let mut failures = Vec::new();
        for (uri, to_try) in self.in_order(uris).iter().zip((1..=uris.len()).rev()) {
            let share = left / u32::try_from(to_try).unwrap_or(u32::MAX);
            let error = match within(share, uri, self.host(shared, uri, share)).await {
                Ok(dialed) => return Ok(dialed),
                Err(error) => error,
            };
            if uris.len() == 1 || is_final(&error) {
                return Err(error);
            }
            debug!(host = %uri.address(), error = %Report(&error), "cannot connect to this host; the next one is tried");
            failures.push((uri.address(), error));
            left = after.saturating_sub(begun.elapsed());
        }
        if failures.is_empty() {
            return Err(Error::InvalidUri("it names no host".into()));
        }
        Err(Error::NoHost(failures.into()))
    }

    fn in_order<'a>(&self, uris: &'a [Uri]) -> Cow<'a, [Uri]> {
        if !self.options.shuffle_hosts || uris.len() < 2 {
            return Cow::Borrowed(uris);
        }
        let mut shuffled = uris.to_vec();
        fastrand::shuffle(&mut shuffled);
        Cow::Owned(shuffled)
    }

    async fn host(&self, shared: &Arc<Shared>, uri: &Uri, share: Duration) -> Result<Dialed> {
        if uri.tls || self.options.tls.is_some() && cfg!(not(feature = "tls")) {
            return self.host_over_tls(shared, uri, share).await;
        }
        let stream = transport::tcp(uri, share).await?;
        self.open(shared, Box::new(stream), uri).await
    }

    #[cfg(not(feature = "tls"))]
    async fn host_over_tls(&self, _: &Arc<Shared>, uri: &Uri, _: Duration) -> Result<Dialed> {
        Err(Error::Tls { address: uri.address(), source: TlsError::not_compiled() })
    }

    #[cfg(feature = "tls")]
    async fn host_over_tls(&self, shared: &Arc<Shared>, uri: &Uri, share: Duration) -> Result<Dialed> {
        let no_tls = |source| Error::Tls { address: uri.address(), source };
        let options = self.options.tls.clone().unwrap_or_default().with_parameters_of(uri);
        let config = tls::stream::client_config(&options).await.map_err(no_tls)?;
        let name = options.name_for(&uri.host).map_err(no_tls)?;
        let stream = transport::tcp(uri, share).await?;
        let stream = tls::stream::connect(stream, config, name).await.map_err(no_tls)?;
        self.open(shared, Box::new(stream), uri).await.map_err(|error| match &error {
            Error::ConnectionLost(lost) => TlsError::from_lost(lost).map_or(error.clone(), no_tls),
            _ => error,
        })
    }

    /// Does the handshake over a stream.
    async fn open(&self, shared: &Arc<Shared>, stream: BoxedStream, uri: &Uri) -> Result<Dialed> {
        let options = &self.options;
        let mechanisms = options.begin_login(uri)?;
        let credentials = match &options.credentials {
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
            tune: options.tune(uri),
            client_properties: options.client_properties()?,
        };
        shared.trace.begin(&uri.address(), &uri.vhost, options.name.as_deref());
        shared.with(|engine| engine.begin(login, now()));
        let mut driver = Driver::new(shared.clone(), stream);
        let mut opening = Waiting::new(&**shared);
        poll_fn(|cx| {
            let is_over = driver.poll(cx).is_ready();
            let opened = opening.poll_for(cx, WaitFor::State, |engine| engine.opened());
            if is_over && opened.is_pending() { Poll::Ready(Err(Error::end_of_stream())) } else { opened }
        })
        .await
        .inspect_err(|reason| shared.trace.not_connected(reason))?;
        Ok(Dialed { driver, valid_for })
    }
}

async fn within<T>(after: Duration, uri: &Uri, connecting: impl Future<Output = Result<T>>) -> Result<T> {
    match timeout(after, connecting).await {
        Ok(result) => result,
        Err(_) => Err(Error::ConnectTimeout { address: uri.address(), after }),
    }
}

/// Tells whether neither another host nor another attempt can succeed. An unavailable virtual host
/// is not final: it may be available on another node, and RabbitMQ closes with other codes then.
pub(crate) fn is_final(error: &Error) -> bool {
    match error {
        Error::LoginRefused { .. } | Error::Credentials(_) | Error::InvalidUri(_) | Error::Invalid(_) => true,
        Error::VhostRefused { close, .. } => {
            matches!(close.code, ReplyCode::NOT_ALLOWED | ReplyCode::ACCESS_REFUSED | ReplyCode::INVALID_PATH)
        }
        Error::Tls { source, .. } => source.is_own(),
        _ => false,
    }
}
