//! Transports to brokers in this process, and to a Redis.

use amqp_broker::Broker;
#[cfg(feature = "redis")]
use amqp_broker::redis::RedisOptions;
use tokio::io::DuplexStream;

use crate::{connection::brokers::Streams, transport_options::TransportOptions};
#[cfg(feature = "redis")]
use crate::{
    error::{Error, url::UrlError},
    transport::Transport,
    url::TransportUrl,
};

impl TransportOptions {
    /// Connects to this broker in memory, whatever hosts the URL names; login, virtual host and
    /// options are the URL's. This is for tests, which can look into the broker and use its
    /// [faults](amqp_broker::Faults).
    #[must_use]
    pub fn broker(mut self, broker: &Broker) -> Self {
        self.streams = Some(Streams::to(broker.clone()));
        self
    }

    /// Connects over the streams that `connect` makes, whatever hosts the URL names; login, virtual
    /// host and options are the URL's. It is called for each connection, and again for each attempt
    /// to recover one. This is for tests that put something between the transport and a
    /// [`broker`](Self::broker).
    ///
    /// ```
    /// use messaging::TransportOptions;
    ///
    /// let broker = amqp_broker::Broker::builder().build();
    /// let options = TransportOptions::new().streams(move || broker.connect());
    /// let transport = options.lazy("amqp://guest:guest@anywhere/")?;
    /// # Ok::<(), messaging::Error>(())
    /// ```
    #[must_use]
    pub fn streams(mut self, connect: impl Fn() -> DuplexStream + Send + Sync + 'static) -> Self {
        self.streams = Some(Streams::new(connect));
        self
    }

    /// Returns a transport to a Redis with these options; it connects when it is first used. They
    /// can have what no URL can: credentials that are asked for again while connections last.
    ///
    /// ```
    /// use amqp_broker::redis::{RedisLogin, RedisOptions};
    /// use messaging::TransportOptions;
    ///
    /// # fn token() -> String { String::new() }
    /// let options = RedisOptions::parse("redis://localhost:6379/0")?
    ///     .credentials(|| RedisLogin { user: Some("shop".to_owned()), password: Some(token()) });
    /// let transport = TransportOptions::new().on_redis(options)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Url`] when the options are about sentinels and name no master.
    #[cfg(feature = "redis")]
    pub fn on_redis(self, options: RedisOptions) -> Result<Transport, Error> {
        options.check().map_err(UrlError::from)?;
        Ok(self.made(&TransportUrl::Redis(Box::new(options)).into()))
    }
}
