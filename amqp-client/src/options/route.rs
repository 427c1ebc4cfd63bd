//! Where a message is published to.

/// Where a message is published to: an exchange, a routing key, and flags.
///
/// A pair converts into a route, which suffices for most publishes:
///
/// ```no_run
/// # async fn run(publisher: amqp_client::Publisher) -> amqp_client::Result<()> {
/// use amqp_client::{Exchange, Message, Queue, Route};
///
/// let (events, jobs) = (Exchange::topic("events"), Queue::new("jobs"));
/// let message = Message::new("hi");
/// publisher.publish((&events, "job.run"), &message).await?.await?;
/// // The default exchange leads straight to the queue.
/// publisher.publish((&Exchange::default(), &jobs), &message).await?.await?;
/// publisher.publish(Route::new(&events, "job.run").mandatory(true), &message).await?.await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route<'a> {
    pub(crate) exchange: &'a str,
    pub(crate) routing_key: &'a str,
    pub(crate) mandatory: bool,
}

impl<'a> Route<'a> {
    /// Makes a route to an exchange, with a routing key. An empty exchange is the default one,
    /// which routes to the queue whose name is the key.
    #[inline]
    pub fn new(
        exchange: &'a (impl AsRef<str> + ?Sized),
        routing_key: &'a (impl AsRef<str> + ?Sized),
    ) -> Self {
        Route { exchange: exchange.as_ref(), routing_key: routing_key.as_ref(), mandatory: false }
    }

    /// Sets whether the message is returned when no queue takes it. Default: it is dropped. If a
    /// [`Publisher`](crate::Publisher) published it, it is returned as
    /// [`Confirmation::Returned`](crate::Confirmation::Returned); if a [`Channel`](crate::Channel)
    /// did, nobody waits for its outcome: the return is
    /// [`Event::Returned`](crate::Event::Returned). Either is counted in
    /// [`Metrics::messages_returned`](crate::Metrics::messages_returned).
    ///
    /// There is no `immediate` flag, for messages that need a waiting consumer: RabbitMQ has
    /// refused it since 3.0 with 540, which ends the connection. A queue with a message TTL of 0
    /// and dead lettering has the same effect.
    #[inline]
    pub fn mandatory(mut self, mandatory: bool) -> Self {
        self.mandatory = mandatory;
        self
    }
}

impl<'a, E, K> From<(&'a E, &'a K)> for Route<'a>
where
    E: AsRef<str> + ?Sized,
    K: AsRef<str> + ?Sized,
{
    #[inline]
    fn from((exchange, routing_key): (&'a E, &'a K)) -> Self {
        Route::new(exchange, routing_key)
    }
}
