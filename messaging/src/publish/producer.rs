//! Publishing with a promise: confirmed by the broker, or an error that tells what is known.

use std::sync::Arc;

use amqp_client::Message;
use futures_core::Stream;
use serde::Serialize;

use crate::{
    error::Error,
    publish::{
        json_message::json_message,
        options::PublishOptions,
        publish_all::PublishAll,
        publish_channel::{PublishChannel, Required},
        publishing::{Published, Publishing},
    },
    retry::RetryPolicy,
    serialize::{self, Serializers},
    trace_context::TraceSource,
};

/// Publishes to one exchange, which it declares.
///
/// Cloning gives another handle on the same channel, which all producers of the exchange share.
/// Calls made side by side share the channel and wait for the broker together: to be fast, keep
/// many of them in flight.
#[derive(Clone)]
pub struct Producer {
    publishing: Publishing,
    serializers: Serializers,
}

impl Producer {
    pub(crate) fn new(publish_channel: Arc<PublishChannel>, trace: Option<TraceSource>) -> Self {
        let retry = RetryPolicy::default();
        // To the default exchange a message has one queue that it is for, and no other way.
        let mandatory = publish_channel.exchange.is_empty();
        let publishing = Publishing { publish_channel, retry, mandatory, wait_for_route: false, trace };
        Producer { publishing, serializers: Serializers::new() }
    }

    /// When to try again, and the deadline for everything.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.publishing.retry = policy;
        self
    }

    /// Where [`PublishOptions::serializer`] finds serializers. Default: [`Serializers::new`].
    #[must_use]
    pub fn serializers(mut self, serializers: Serializers) -> Self {
        self.serializers = serializers;
        self
    }

    /// Tells whether a message that reaches no queue is an error
    /// ([`Outcome::Unroutable`](crate::Outcome::Unroutable)).
    ///
    /// Default: on the default exchange it is, for there the routing key names the one queue that
    /// the message is for. On other exchanges it is not, for nobody may be interested:
    /// [`Published`] means there that the broker has taken the message, and put it into every queue
    /// it is routed to, which may be none.
    #[must_use]
    pub fn mandatory(mut self, mandatory: bool) -> Self {
        self.publishing.mandatory = mandatory;
        self
    }

    /// Whether a mandatory message that reaches no queue is tried again until the deadline, for a
    /// queue that is about to be bound; default false.
    #[must_use]
    pub fn wait_for_route(mut self, wait: bool) -> Self {
        self.publishing.wait_for_route = wait;
        self
    }

    /// Publishes a value as persistent JSON, and waits until the broker has taken the
    /// responsibility for it: the message is in every queue it is routed to. That there is one is
    /// part of the promise on the default exchange, and on others when it is
    /// [`mandatory`](Self::mandatory).
    ///
    /// Tried again after a lost connection, a nack, an exchange that went missing, or [no answer in
    /// time](RetryPolicy::attempt_timeout), as [`retry`](Self::retry) says; and when the broker
    /// closes the channel for another message, one that is too large, say: that one alone is told.
    /// A message may be published twice where its answer was lost, or late.
    ///
    /// # Errors
    /// [`Error::Encode`] at once; [`Error::Undelivered`] with what is known: at once for what
    /// cannot be sent or is refused by the broker, and by the deadline of the retry policy else.
    ///
    /// # Cancel safety
    /// When the future is dropped the message may or may not be published.
    pub async fn ensure_publish<T: Serialize + ?Sized>(
        &self,
        routing_key: &str,
        body: &T,
    ) -> Result<Published, Error> {
        let body = serialize::to_json(body).map_err(|source| Error::Encode { what: "a message", source })?;
        self.publish_raw(routing_key, &json_message(body, None), None).await
    }

    /// As [`ensure_publish`](Self::ensure_publish), with properties and needs of this message's
    /// own.
    ///
    /// # Errors
    /// As [`ensure_publish`](Self::ensure_publish).
    ///
    /// # Cancel safety
    /// When the future is dropped the message may or may not be published.
    pub async fn ensure_publish_with<T: Serialize + ?Sized>(
        &self,
        routing_key: &str,
        body: &T,
        options: &PublishOptions,
    ) -> Result<Published, Error> {
        let message = options.message(body, &self.serializers)?;
        let changed = options.mandatory.map(|mandatory| self.clone().mandatory(mandatory));
        let producer = changed.as_ref().unwrap_or(self);
        if options.entities.is_empty() {
            return producer.publish_raw(routing_key, &message, None).await;
        }
        let required = Required { name: &options.definition, entities: &|| options.entities.clone() };
        producer.publish_raw(routing_key, &message, Some(&required)).await
    }

    /// Publishes each message of a stream, routing key and body, `in_flight` of them at once, at
    /// least one; what became of each, in their order, as [`ensure_publish`](Self::ensure_publish)
    /// tells it.
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
    /// What was begun may or may not be published; nothing more is taken from `messages`.
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

    /// Publishes a message as it is, under the same promise.
    pub(crate) async fn publish_raw(
        &self,
        routing_key: &str,
        message: &Message,
        required: Option<&Required<'_>>,
    ) -> Result<Published, Error> {
        self.publishing.publish(routing_key, message, required).await
    }
}
