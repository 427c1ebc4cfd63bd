//! Publishing with a promise: confirmed by the broker, or an error that tells what is known.

use std::{collections::HashSet, sync::Arc, time::Duration};

use amqp_client::{Channel, Confirmation, Exchange, Message, Publisher, Returned};
use amqp_codec::{PERSISTENT, Properties, ShortString, Table};
use bytes::Bytes;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::timeout_at;

use crate::{
    entity::Entities,
    error::{Error, Outcome, Undelivered},
    link::Link,
    retry::{Retry, RetryPolicy},
    serialize,
};

/// Publishes to one exchange, which it declares.
///
/// Cloning gives another handle on the same channel. Calls made side by side share the channel and wait for the broker
/// together: to be fast, keep many of them in flight.
#[derive(Clone)]
pub struct Producer {
    shared: Arc<Shared>,
    retry: RetryPolicy,
    mandatory: bool,
    wait_for_route: bool,
}

struct Shared {
    link: Link,
    exchange: String,
    entities: Entities,
    lane: Mutex<Option<Arc<Lane>>>,
    /// Held while a lane opens: all who wait get the one.
    opening: tokio::sync::Mutex<()>,
}

/// A channel to publish on, with what has been declared on it.
struct Lane {
    channel: Channel,
    publisher: Publisher,
    declared: Mutex<HashSet<String>>,
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

/// Entities that a message needs besides the exchange, under a name that tells them from others.
pub(crate) struct Required<'a> {
    pub(crate) name: &'a str,
    pub(crate) entities: &'a (dyn Fn() -> Entities + Sync),
}

impl Producer {
    pub(crate) fn new(link: Link, exchange: Exchange) -> Self {
        let shared = Shared {
            link,
            exchange: exchange.name().to_owned(),
            entities: Entities { exchanges: vec![exchange], ..Entities::default() },
            lane: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
        };
        Producer {
            shared: Arc::new(shared),
            retry: RetryPolicy::default(),
            mandatory: false,
            wait_for_route: false,
        }
    }

    /// When to try again, and the deadline for everything.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
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

    /// Publishes a message as it is, under the same promise.
    pub(crate) async fn deliver(
        &self,
        routing_key: &str,
        message: &Message,
        required: Option<&Required<'_>>,
    ) -> Result<Delivered, Error> {
        let mut retry = Retry::start(self.retry);
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
    async fn attempt(
        &self,
        routing_key: &str,
        message: &Message,
        required: Option<&Required<'_>>,
        progress: &mut Progress,
    ) -> Result<(), Fault> {
        let lane = self.shared.lane().await.map_err(Fault::not_sent)?;
        if let Some(required) = required {
            let declared = lane.declare(required).await;
            declared.map_err(|error| self.shared.failed(&lane, Fault::not_sent(error)))?;
        }
        let exchange = self.shared.exchange.as_str();
        let publisher = &lane.publisher;
        *progress = Progress::Sending;
        let sent = if self.mandatory {
            publisher.publish_mandatory(exchange, routing_key, message).await
        } else {
            publisher.publish(exchange, routing_key, message).await
        };
        let confirm =
            sent.map_err(|source| self.shared.failed(&lane, Fault::not_sent(publishing(source))))?;
        *progress = Progress::Confirming;
        match confirm.await {
            Ok(Confirmation::Ack) => Ok(()),
            Ok(Confirmation::Nack) => Err(Fault { outcome: Outcome::Rejected, source: None }),
            Ok(Confirmation::Returned(returned)) => Err(Fault::returned(&returned)),
            Err(source) => Err(self.shared.failed(&lane, Fault::unknown(publishing(source)))),
        }
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
            exchange: self.shared.exchange.clone(),
            routing_key: routing_key.to_owned(),
            outcome,
            attempts: retry.attempts(),
            elapsed: retry.elapsed(),
            source: source.map(Box::new),
        }))
    }
}

impl Shared {
    /// The lane, opened when there is none that works.
    async fn lane(&self) -> Result<Arc<Lane>, Error> {
        if let Some(lane) = self.open_lane() {
            return Ok(lane);
        }
        let _opening = self.opening.lock().await;
        if let Some(lane) = self.open_lane() {
            return Ok(lane);
        }
        let lane = Arc::new(Lane::open(&self.link, &self.entities).await?);
        *self.lane.lock() = Some(lane.clone());
        Ok(lane)
    }

    fn open_lane(&self) -> Option<Arc<Lane>> {
        self.lane.lock().as_ref().filter(|lane| lane.channel.is_open()).cloned()
    }

    /// Gives up a lane that failed: what it declared may be gone as well.
    fn failed(&self, lane: &Arc<Lane>, fault: Fault) -> Fault {
        self.lane.lock().take_if(|current| Arc::ptr_eq(current, lane));
        fault
    }
}

impl Lane {
    async fn open(link: &Link, entities: &Entities) -> Result<Self, Error> {
        let channel = link.open_channel().await?;
        entities.declare(&channel).await?;
        let publisher = channel.publisher().await.map_err(Error::broker("turn confirms on"))?;
        Ok(Lane { channel, publisher, declared: Mutex::default() })
    }

    /// Declares once on this channel.
    async fn declare(&self, required: &Required<'_>) -> Result<(), Error> {
        if self.declared.lock().contains(required.name) {
            return Ok(());
        }
        // Twice by two at once does no harm.
        (required.entities)().declare(&self.channel).await?;
        self.declared.lock().insert(required.name.to_owned());
        Ok(())
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

/// A persistent message with the properties that kombu and oslo.messaging give every one; `expires` is its time to live.
pub(crate) fn json_message(body: Bytes, expires: Option<Duration>) -> Message {
    let expiration = expires.and_then(|ttl| ShortString::try_from(ttl.as_millis().to_string()).ok());
    let properties = Properties {
        content_type: Some(ShortString::from_static(serialize::CONTENT_TYPE)),
        content_encoding: Some(ShortString::from_static(serialize::CONTENT_ENCODING)),
        headers: Some(Table::new()),
        delivery_mode: Some(PERSISTENT),
        priority: Some(0),
        expiration,
        ..Properties::default()
    };
    Message::with_properties(body, properties)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_captured_properties_of_a_call() {
        let message = json_message(Bytes::from_static(b"{}"), Some(Duration::from_secs(5)));
        let captured = b"\xf9\x00\x10application/json\x05utf-8\x00\x00\x00\x00\x02\x00\x045000";
        assert_eq!(message.properties().encode().unwrap().as_encoded().as_ref(), captured);
    }
}
