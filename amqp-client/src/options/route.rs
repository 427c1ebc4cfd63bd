//! Where a message is to go.

/// Where a message is published to: an exchange, a routing key, and what is said of the two.
///
/// A pair is one, so that most write no more than it:
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
    /// To an exchange, with a routing key. An empty exchange is the default one, which routes to
    /// the queue of the key's name.
    #[inline]
    pub fn new(
        exchange: &'a (impl AsRef<str> + ?Sized),
        routing_key: &'a (impl AsRef<str> + ?Sized),
    ) -> Self {
        Route { exchange: exchange.as_ref(), routing_key: routing_key.as_ref(), mandatory: false }
    }

    /// Whether the message is to come back when no queue takes it. Default: it is dropped.
    /// Published by a [`Publisher`](crate::Publisher), it comes back as
    /// [`Confirmation::Returned`](crate::Confirmation::Returned); published by a
    /// [`Channel`](crate::Channel), it is counted in
    /// [`Metrics::messages_returned`](crate::Metrics::messages_returned) alone, for nobody waits
    /// for it.
    ///
    /// There is no `immediate` beside it, for messages that must find a consumer waiting: RabbitMQ
    /// has refused that with 540 since 3.0, which ends the connection. A queue with a message TTL
    /// of 0 and dead lettering does what it did.
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
