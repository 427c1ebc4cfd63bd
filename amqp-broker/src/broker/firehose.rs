//! The firehose of a virtual host, switched while the broker runs.

use super::Broker;

/// The firehose (<https://www.rabbitmq.com/docs/firehose>).
impl Broker {
    /// Switches the firehose of a virtual host on or off; tells whether there is such a virtual
    /// host. Default: off; a broker that starts again has it off.
    ///
    /// While it is on, each message that a client publishes is copied to the topic exchange
    /// `amq.rabbitmq.trace` with the key `publish.EXCHANGE`, and each that is delivered or fetched
    /// with the key `deliver.QUEUE`. The headers of a copy tell the original's names, properties,
    /// connection, channel and user; its body is the original's. Copies are not copied, direct
    /// replies are not told as delivered, and a virtual host with a
    /// [`backend`](super::BrokerBuilder::backend) has no firehose. While no queue is bound to the
    /// exchange nothing is copied. Copies count as memory until they are in queues, and those
    /// beyond an eighth of its limit are dropped, which the log tells.
    ///
    /// ```
    /// let broker = amqp_broker::Broker::builder().build();
    /// assert!(broker.set_tracing("/", true));
    /// assert!(!broker.set_tracing("nowhere", true));
    /// ```
    pub fn set_tracing(&self, vhost: &str, is_on: bool) -> bool {
        let host = self.inner.host(vhost);
        host.inspect(|host| host.with(|_, shared| shared.vhost.trace(is_on))).is_some()
    }

    /// Tells whether the firehose of a virtual host is on.
    pub fn is_tracing(&self, vhost: &str) -> bool {
        self.inner.host(vhost).is_some_and(|host| host.with(|_, shared| shared.vhost.is_traced()))
    }
}
