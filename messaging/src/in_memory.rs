//! Transports to brokers in this process.

use amqp_broker::Broker;
use tokio::io::DuplexStream;

use crate::{connection::brokers::Streams, transport::TransportOptions};

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
}
