//! The settings of a listener for HTTP.

use std::time::Duration;

/// The settings of a listener for HTTP: what it serves, and its limits.
///
/// ```
/// use amqp_broker::HttpOptions;
///
/// let open = HttpOptions::metrics();
/// let closed = HttpOptions::metrics().metrics_need_login(true);
/// # drop((open, closed));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct HttpOptions {
    pub(crate) has_management: bool,
    pub(crate) metrics_need_login: bool,
    pub(crate) max_connections: usize,
    pub(crate) max_body: usize,
    pub(crate) header_timeout: Duration,
    pub(crate) body_timeout: Duration,
    pub(crate) max_page_size: usize,
}

impl Default for HttpOptions {
    fn default() -> Self {
        HttpOptions {
            has_management: true,
            metrics_need_login: false,
            max_connections: 256,
            max_body: 8 << 20,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            max_page_size: 500,
        }
    }
}

impl HttpOptions {
    /// Everything: the management API, its page, metrics and health.
    pub fn new() -> Self {
        HttpOptions::default()
    }

    /// Metrics and health alone, for an address that a Prometheus may reach.
    pub fn metrics() -> Self {
        HttpOptions { has_management: false, ..HttpOptions::default() }
    }

    /// Set when metrics demand the login of a user with the tag `monitoring` or `administrator`.
    /// Default: they do not, as in RabbitMQ.
    pub fn metrics_need_login(mut self, is_needed: bool) -> Self {
        self.metrics_need_login = is_needed;
        self
    }

    /// Limits the connections at a time, to 1 or more. Default 256. Further ones wait until one
    /// ends.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections.max(1);
        self
    }

    /// Limits the body of a request, in bytes. Default 8 MiB. A larger one is answered with 400.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Limits how long a client may take to send the headers of a request, or to send its next
    /// request. Default 10 s. Then its connection is closed.
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.header_timeout = timeout;
        self
    }

    /// Limits how long a client may take to send the body of a request, or stop reading an answer.
    /// Default 30 s. Then it is answered with 408, or its connection is closed.
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.body_timeout = timeout;
        self
    }

    /// Limits the entities of a page that a client may ask for. Default 500, as in RabbitMQ. A
    /// larger one is refused with 400.
    pub fn max_page_size(mut self, entities: usize) -> Self {
        self.max_page_size = entities.max(1);
        self
    }
}
