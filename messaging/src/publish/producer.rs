//! Publishing with a guarantee: the broker confirms the message, or an error tells what is known
//! about it.

use std::sync::Arc;

use amqp_client::Message;
use futures_core::Stream;
use serde::Serialize;

use crate::{
    error::Error,
    publish::{
        kept::Kept,
        publish_all::PublishAll,
        publish_channel::{PublishChannel, Required},
        publishing::{Published, Publishing},
        route::Route,
        traced::Tracing,
    },
    retry::RetryPolicy,
    serialize::{self, Serializers},
};

/// Publishes to one exchange, which it declares.
///
/// All producers of the exchange share one channel; cloning gives another handle to it. Concurrent
/// calls wait for the broker together: to be fast, keep many of them in flight.
#[derive(Clone)]
pub struct Producer {
    publishing: Publishing,
    serializers: Serializers,
}

impl Producer {
    pub(crate) fn new(publish_channel: Arc<PublishChannel>, tracing: Tracing) -> Self {
        let retry = RetryPolicy::default();
        // On the default exchange the routing key names the one queue that the message is for.
        let mandatory = publish_channel.exchange.is_empty();
        let publishing = Publishing { publish_channel, retry, mandatory, wait_for_route: false, tracing };
        Producer { publishing, serializers: Serializers::new() }
    }

    /// Sets when to retry, and the deadline for all attempts together.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.publishing.retry = policy;
        self
    }

    /// Sets where [`PublishOptions::serializer`](crate::PublishOptions::serializer) finds
    /// serializers. Default: [`Serializers::new`].
    #[must_use]
    pub fn serializers(mut self, serializers: Serializers) -> Self {
        self.serializers = serializers;
        self
    }

    /// Sets whether a message that reaches no queue is an error
    /// ([`Outcome::Unroutable`](crate::Outcome::Unroutable)).
    ///
    /// Default: it is an error on the default exchange, because the routing key names the one queue
    /// that the message is for. It is no error on other exchanges, because possibly nobody is
    /// interested: there [`Published`] means that the broker has accepted the message and put it
    /// into every queue it is routed to, which may be none.
    #[must_use]
    pub fn mandatory(mut self, mandatory: bool) -> Self {
        self.publishing.mandatory = mandatory;
        self
    }

    /// Sets whether a mandatory message that reaches no queue is retried until the deadline, in
    /// case a queue is about to be bound; default false.
    #[must_use]
    pub fn wait_for_route(mut self, wait: bool) -> Self {
        self.publishing.wait_for_route = wait;
        self
    }

    /// Publishes a value, by default as persistent JSON, and waits until the broker has taken
    /// responsibility for it: the message is in every queue it is routed to. On the default
    /// exchange, and elsewhere if [`mandatory`](Self::mandatory) is set, this guarantees that there
    /// is such a queue.
    ///
    /// The first argument is a routing key, or a pair of a routing key and
    /// [`PublishOptions`](crate::PublishOptions).
    ///
    /// ```
    /// # async fn run(producer: messaging::Producer) -> Result<(), messaging::Error> {
    /// use messaging::PublishOptions;
    ///
    /// producer.ensure_publish("image.resize", "cat.png").await?;
    /// let urgent = PublishOptions::new().priority(9);
    /// producer.ensure_publish(("image.resize", &urgent), "dog.png").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The message is retried, as [`retry`](Self::retry) says, after a lost connection, a nack, an
    /// exchange that went missing, or [no answer in time](RetryPolicy::attempt_timeout). It is also
    /// retried when the broker closes the channel because of another message, for example one that
    /// is too large: only that other message fails. A message may be published twice if its answer
    /// was lost or late.
    ///
    /// # Errors
    /// [`Error::Encode`] at once; [`Error::Undelivered`] with what is known. The latter comes at
    /// once for a message that cannot be sent or that the broker refuses, and otherwise by the
    /// deadline of the retry policy.
    ///
    /// # Cancel safety
    /// When the future is dropped the message may or may not be published.
    pub async fn ensure_publish<'a, T: Serialize + ?Sized>(
        &self,
        route: impl Into<Route<'a>>,
        body: &T,
    ) -> Result<Published, Error> {
        let Route { routing_key, options } = route.into();
        let message = match options {
            Some(options) => Kept::Made(Box::new(options.message(body, &self.serializers)?)),
            None => {
                let body = serialize::to_json(body);
                Kept::Json(body.map_err(|source| Error::Encode { what: "a message", source })?)
            }
        };
        let mandatory = options.and_then(|options| options.mandatory);
        let changed = mandatory.map(|mandatory| Box::new(self.clone().mandatory(mandatory)));
        let entities = || options.map(|options| options.entities.clone()).unwrap_or_default();
        let required = options.filter(|options| !options.entities.is_empty());
        let required = required.map(|options| Required { name: &options.definition, entities: &entities });
        let publishing = &changed.as_deref().unwrap_or(self).publishing;
        publishing.publish(routing_key, message, required.as_ref()).await
    }

    /// Publishes each message of a stream, given as routing key and body, with `in_flight` of them
    /// at once, at least one. Returns the results in the order of the messages, each as from
    /// [`ensure_publish`](Self::ensure_publish).
    ///
    /// ```
    /// use futures_util::{StreamExt as _, stream};
    /// use messaging::{Exchange, Queue, Transport};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), messaging::Error> {
    /// let transport = Transport::connect("memory://publish-all").await?;
    /// let mut numbers = transport.consumer(Queue::new("numbers")).start::<u32>().await?;
    ///
    /// let producer = transport.producer(Exchange::default());
    /// let messages = stream::iter(0..1000).map(|number| ("numbers", number));
    /// let mut outcomes = producer.publish_all(messages, 256);
    /// while let Some(outcome) = outcomes.next().await {
    ///     outcome?;
    /// }
    /// assert_eq!(numbers.recv().await.expect("a number")?.body(), &0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # On drop
    /// Messages in flight may or may not be published; nothing more is taken from `messages`.
    pub fn publish_all<'a, S, K, T>(
        &'a self,
        messages: S,
        in_flight: usize,
    ) -> impl Stream<Item = Result<Published, Error>> + Unpin + use<'a, S, K, T>
    where
        S: Stream<Item = (K, T)> + 'a,
        K: AsRef<str> + 'a,
        T: Serialize + 'a,
    {
        PublishAll::new(&self.publishing, messages, in_flight)
    }

    /// Publishes a message that is encoded already, with the same guarantee.
    pub(crate) fn publish_raw(
        &self,
        routing_key: &str,
        message: &Message,
        required: Option<&Required<'_>>,
    ) -> impl Future<Output = Result<Published, Error>> {
        self.publishing.publish(routing_key, Kept::Borrowed(message), required)
    }
}
