//! Publishing with a promise: confirmed by the broker, or an error that tells what is known.

use std::{borrow::Cow, sync::Arc, time::Duration};

use amqp_client::{Confirmation, Message, Returned};
use futures_core::Stream;
use futures_util::StreamExt as _;
use serde::Serialize;
use tokio::time::timeout_at;

use crate::{
    error::{Error, Outcome, Undelivered},
    json_message::json_message,
    lane::{Lane, OpenLane, Required},
    publish_options::PublishOptions,
    retry::{Retry, RetryPolicy},
    serialize::{self, Serializers},
    trace_context::TraceSource,
};

/// Publishes to one exchange, which it declares.
///
/// Cloning gives another handle on the same channel, which all producers of the exchange share. Calls made side by side share the channel and wait for the broker
/// together: to be fast, keep many of them in flight.
#[derive(Clone)]
pub struct Producer {
    lane: Arc<Lane>,
    retry: RetryPolicy,
    mandatory: bool,
    wait_for_route: bool,
    trace: Option<TraceSource>,
    serializers: Serializers,
}

/// What a delivered message took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivered {
    /// How many attempts were made: more than one may have left the message more than once.
    pub attempts: u32,
    /// From the call to the broker's confirm.
    pub elapsed: Duration,
}

impl Producer {
    pub(crate) fn new(lane: Arc<Lane>, trace: Option<TraceSource>) -> Self {
        Producer {
            lane,
            retry: RetryPolicy::default(),
            mandatory: false,
            wait_for_route: false,
            trace,
            serializers: Serializers::new(),
        }
    }

    /// When to try again, and the deadline for everything.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Where [`PublishOptions::serializer`] finds serializers. Default: [`Serializers::new`].
    #[must_use]
    pub fn serializers(mut self, serializers: Serializers) -> Self {
        self.serializers = serializers;
        self
    }

    /// Whether a message that reaches no queue is an error ([`Outcome::Unroutable`]); default false.
    #[must_use]
    pub fn mandatory(mut self, mandatory: bool) -> Self {
        self.mandatory = mandatory;
        self
    }

    /// Whether a mandatory message that reaches no queue is tried again until the deadline, for a queue that is about to be
    /// bound; default false.
    #[must_use]
    pub fn wait_for_route(mut self, wait: bool) -> Self {
        self.wait_for_route = wait;
        self
    }

    /// Publishes a value as persistent JSON, and waits until the broker has taken the responsibility for it.
    ///
    /// Tried again after a lost connection, a nack, or an exchange that went missing, as [`retry`](Self::retry) says. A
    /// message may be published twice where the connection was lost before the broker's answer.
    ///
    /// # Errors
    /// [`Error::Encode`] at once; [`Error::Undelivered`], by the deadline of the retry policy, with what is known.
    ///
    /// # Cancel safety
    /// When the future is dropped the message may or may not be published.
    pub async fn ensure_publish<T: Serialize + ?Sized>(
        &self,
        routing_key: &str,
        body: &T,
    ) -> Result<Delivered, Error> {
        let body = serialize::to_json(body).map_err(|source| Error::Encode { what: "a message", source })?;
        self.deliver(routing_key, &json_message(body, None), None).await
    }

    /// As [`ensure_publish`](Self::ensure_publish), with properties and needs of this message's own.
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
    ) -> Result<Delivered, Error> {
        let message = options.message(body, &self.serializers)?;
        let producer = match options.mandatory {
            Some(mandatory) => self.clone().mandatory(mandatory),
            None => self.clone(),
        };
        if options.entities.is_empty() {
            return producer.deliver(routing_key, &message, None).await;
        }
        let required = Required { name: &options.definition, entities: &|| options.entities.clone() };
        producer.deliver(routing_key, &message, Some(&required)).await
    }

    /// Publishes each message of a stream, routing key and body, `in_flight` of them at once, at least one; what became of each, in
    /// their order, as [`ensure_publish`](Self::ensure_publish) tells it.
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
    /// let producer = transport.producer(Exchange::direct(""));
    /// let messages = stream::iter(0..1000).map(|number| ("numbers", number));
    /// let mut outcomes = producer.publish_all(messages, 256);
    /// while let Some(outcome) = outcomes.next().await {
    ///     outcome?;
    /// }
    /// assert_eq!(numbers.next().await.expect("a number")?.body(), &0);
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
    ) -> impl Stream<Item = Result<Delivered, Error>> + Unpin + use<'a, S, K, T>
    where
        S: Stream<Item = (K, T)> + 'a,
        K: AsRef<str> + 'a,
        T: Serialize + 'a,
    {
        let publishing = messages.map(move |(routing_key, body)| async move {
            self.ensure_publish(routing_key.as_ref(), &body).await
        });
        Box::pin(publishing.buffered(in_flight.max(1)))
    }

    /// Publishes a message as it is, under the same promise.
    pub(crate) async fn deliver(
        &self,
        routing_key: &str,
        message: &Message,
        required: Option<&Required<'_>>,
    ) -> Result<Delivered, Error> {
        let mut retry = Retry::start(self.retry);
        let message = &*match &self.trace {
            Some(trace) => trace.mark(message)?,
            None => Cow::Borrowed(message),
        };
        // The worst that any attempt left behind, and the last cause that says more than that time ran out.
        let mut unknown = false;
        let mut cause = None;
        loop {
            retry.begin();
            let mut progress = Progress::Opening;
            let attempt = self.attempt(routing_key, message, required, &mut progress);
            let fault = match timeout_at(retry.deadline(), attempt).await {
                Ok(Ok(())) => return Ok(Delivered { attempts: retry.attempts(), elapsed: retry.elapsed() }),
                Ok(Err(fault)) => fault,
                Err(_) => progress.out_of_time(&retry, cause.take()),
            };
            unknown |= fault.outcome == Outcome::Unknown;
            if !self.is_worth_a_retry(&fault) || !retry.pause().await {
                let outcome = if unknown { Outcome::Unknown } else { fault.outcome };
                return Err(self.undelivered(routing_key, outcome, &retry, fault.source));
            }
            cause = fault.source;
        }
    }

    /// One attempt: over when the broker has answered.
    ///
    /// What a message requires may have been deleted since it was declared. It is mandatory then in any case, and declared
    /// again when the message comes back.
    async fn attempt(
        &self,
        routing_key: &str,
        message: &Message,
        required: Option<&Required<'_>>,
        progress: &mut Progress,
    ) -> Result<(), Fault> {
        let lane = self.lane.open().await.map_err(Fault::not_sent)?;
        let mandatory = self.mandatory || required.is_some();
        let mut may_be_deleted = required;
        loop {
            if let Some(required) = required {
                let declared = lane.declare(required).await;
                declared.map_err(|error| self.failed(&lane, Fault::not_sent(error)))?;
            }
            match (
                self.publish(&lane, routing_key, message, mandatory, progress).await?,
                may_be_deleted.take(),
            ) {
                (Confirmation::Ack, _) => return Ok(()),
                (Confirmation::Nack, _) => return Err(Fault { outcome: Outcome::Rejected, source: None }),
                (Confirmation::Returned(_), Some(required)) => lane.forget(required),
                (Confirmation::Returned(_), None) if !self.mandatory => return Ok(()),
                (Confirmation::Returned(returned), None) => return Err(Fault::returned(&returned)),
            }
        }
    }

    async fn publish(
        &self,
        lane: &Arc<OpenLane>,
        routing_key: &str,
        message: &Message,
        mandatory: bool,
        progress: &mut Progress,
    ) -> Result<Confirmation, Fault> {
        let exchange = self.lane.exchange.as_str();
        let publisher = &lane.publisher;
        *progress = Progress::Sending;
        let sent = if mandatory {
            publisher.publish_mandatory(exchange, routing_key, message).await
        } else {
            publisher.publish(exchange, routing_key, message).await
        };
        let confirm = sent.map_err(|source| self.failed(lane, Fault::not_sent(publishing(source))))?;
        *progress = Progress::Confirming;
        confirm.await.map_err(|source| self.failed(lane, Fault::unknown(publishing(source))))
    }

    fn failed(&self, lane: &Arc<OpenLane>, fault: Fault) -> Fault {
        self.lane.give_up(lane);
        fault
    }

    fn is_worth_a_retry(&self, fault: &Fault) -> bool {
        match fault.outcome {
            Outcome::Unroutable => self.wait_for_route,
            _ => !fault.source.as_ref().is_some_and(Error::is_permanent),
        }
    }

    fn undelivered(
        &self,
        routing_key: &str,
        outcome: Outcome,
        retry: &Retry,
        source: Option<Error>,
    ) -> Error {
        Error::Undelivered(Box::new(Undelivered {
            exchange: self.lane.exchange.clone(),
            routing_key: routing_key.to_owned(),
            outcome,
            attempts: retry.attempts(),
            elapsed: retry.elapsed(),
            source: source.map(Box::new),
        }))
    }
}

/// How far an attempt is, for when its time runs out.
enum Progress {
    Opening,
    Sending,
    Confirming,
}

impl Progress {
    fn out_of_time(&self, retry: &Retry, cause: Option<Error>) -> Fault {
        let (outcome, during) = match self {
            Progress::Opening => (Outcome::NotSent, "connecting"),
            Progress::Sending => (Outcome::NotSent, "waiting for room to send"),
            Progress::Confirming => (Outcome::Unknown, "waiting for the broker's confirm"),
        };
        Fault { outcome, source: cause.or(Some(Error::Timeout { after: retry.elapsed(), during })) }
    }
}

/// How an attempt ended.
struct Fault {
    outcome: Outcome,
    source: Option<Error>,
}

impl Fault {
    fn not_sent(source: Error) -> Self {
        Fault { outcome: Outcome::NotSent, source: Some(source) }
    }

    fn unknown(source: Error) -> Self {
        Fault { outcome: Outcome::Unknown, source: Some(source) }
    }

    fn returned(returned: &Returned) -> Self {
        tracing::debug!(code = %returned.code(), text = returned.text(), "a mandatory message came back");
        Fault { outcome: Outcome::Unroutable, source: None }
    }
}

fn publishing(source: amqp_client::Error) -> Error {
    Error::Broker { operation: "publish".to_owned(), source }
}
