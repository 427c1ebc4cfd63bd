//! Messages on their way to one exchange: published, confirmed, published again.

use std::{sync::Arc, time::Duration};

use amqp_client::{Confirm, Confirmation, Message};
use futures_util::FutureExt as _;
use tokio::time::{Instant, timeout_at};

use crate::{
    attempt::{self, Fault, Progress},
    error::{Error, Outcome, Undelivered},
    lane::{Lane, OpenLane, Required},
    retry::{Retry, RetryPolicy},
    trace_context::TraceSource,
};

/// How messages to one exchange are published.
#[derive(Clone)]
pub(crate) struct Publishing {
    pub(crate) lane: Arc<Lane>,
    pub(crate) retry: RetryPolicy,
    pub(crate) mandatory: bool,
    pub(crate) wait_for_route: bool,
    pub(crate) trace: Option<TraceSource>,
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

/// A message on its way to the broker.
pub(crate) struct Sent {
    pub(crate) lane: Arc<OpenLane>,
    pub(crate) confirm: Confirm,
}

impl Delivered {
    pub(crate) fn by(retry: &Retry, now: Instant) -> Self {
        Delivered { attempts: retry.attempts(), elapsed: retry.elapsed_until(now) }
    }
}

impl Publishing {
    /// Publishes a message as it is, under the same promise.
    pub(crate) async fn deliver(
        &self,
        routing_key: &str,
        message: &Message,
        required: Option<&Required<'_>>,
    ) -> Result<Delivered, Error> {
        let mut retry = Retry::start(self.retry);
        let marked = self.mark(message)?;
        let message = marked.as_deref().unwrap_or(message);
        let mut first = None;
        if required.is_none()
            && let Some(lane) = self.lane.opened()
            && let Some(confirm) = self.begin(&lane, routing_key, message)
        {
            retry.begin();
            first = match timeout_at(retry.deadline(), confirm).await {
                Ok(confirmed) => self.confirmed(Some(&lane), confirmed).err(),
                Err(_) => Some(Progress::Confirming.out_of_time(&retry, None)),
            };
            if first.is_none() {
                return Ok(Delivered::by(&retry, Instant::now()));
            }
        }
        // What is seldom needed is large, and would be moved about with each message.
        Box::pin(self.persist(routing_key, message, required, retry, first)).await
    }

    /// The message with the present trace, when it is to carry one and does not.
    pub(crate) fn mark(&self, message: &Message) -> Result<Option<Box<Message>>, Error> {
        match &self.trace {
            None => Ok(None),
            Some(trace) => trace.mark(message).map(|marked| marked.map(Box::new)),
        }
    }

    /// Publishes at once, when the channel is open and has room. Whatever is in the way shows again when that is waited for.
    pub(crate) fn begin(&self, lane: &OpenLane, routing_key: &str, message: &Message) -> Option<Confirm> {
        self.send(lane, routing_key, message, self.mandatory).now_or_never()?.ok()
    }

    /// Publishes, as soon as that is possible.
    ///
    /// # Errors
    /// By the deadline of `retry`.
    pub(crate) async fn wait_and_send(
        &self,
        routing_key: &str,
        message: &Message,
        retry: &Retry,
    ) -> Result<Sent, Fault> {
        let mut progress = Progress::Opening;
        let sending = async {
            let lane = self.lane.open().await.map_err(Fault::not_sent)?;
            progress = Progress::Sending;
            match self.send(&lane, routing_key, message, self.mandatory).await {
                Ok(confirm) => Ok(Sent { lane, confirm }),
                Err(source) => Err(self.failed(&lane, Fault::not_published(source))),
            }
        };
        let sent = timeout_at(retry.deadline(), sending).await;
        sent.unwrap_or_else(|_| Err(progress.out_of_time(retry, None)))
    }

    /// Tries until the message is delivered or there is no point in trying again; `fault` is how the first attempt ended that was
    /// made elsewhere.
    pub(crate) async fn persist(
        &self,
        routing_key: &str,
        message: &Message,
        required: Option<&Required<'_>>,
        mut retry: Retry,
        mut fault: Option<Fault>,
    ) -> Result<Delivered, Error> {
        // The worst that any attempt left behind, and the last cause that says more than that time ran out.
        let mut unknown = false;
        let mut cause = None;
        loop {
            if let Some(fault) = fault.take() {
                unknown |= fault.outcome == Outcome::Unknown;
                if !self.is_worth_a_retry(&fault) || !retry.pause().await {
                    let outcome = if unknown { Outcome::Unknown } else { fault.outcome };
                    return Err(self.undelivered(routing_key, outcome, &retry, fault.source));
                }
                cause = fault.source;
            }
            retry.begin();
            let mut progress = Progress::Opening;
            let attempt = self.attempt(routing_key, message, required, &mut progress);
            fault = match timeout_at(retry.deadline(), attempt).await {
                Ok(Ok(())) => return Ok(Delivered::by(&retry, Instant::now())),
                Ok(Err(fault)) => Some(fault),
                Err(_) => Some(progress.out_of_time(&retry, cause.take())),
            };
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
            *progress = Progress::Sending;
            let sent = self.send(&lane, routing_key, message, mandatory).await;
            let confirm = sent.map_err(|source| self.failed(&lane, Fault::not_published(source)))?;
            *progress = Progress::Confirming;
            match (confirm.await, may_be_deleted.take()) {
                (Ok(Confirmation::Returned(_)), Some(required)) => lane.forget(required),
                (confirmed, _) => return self.confirmed(Some(&lane), confirmed),
            }
        }
    }

    /// What the broker's answer means; a channel that ended instead is given up.
    pub(crate) fn confirmed(
        &self,
        lane: Option<&Arc<OpenLane>>,
        confirmed: amqp_client::Result<Confirmation>,
    ) -> Result<(), Fault> {
        if confirmed.is_err()
            && let Some(lane) = lane
        {
            self.lane.give_up(lane);
        }
        match attempt::outcome(confirmed) {
            // It was mandatory for its requirements' sake, which are there.
            Err(Fault { outcome: Outcome::Unroutable, .. }) if !self.mandatory => Ok(()),
            outcome => outcome,
        }
    }

    async fn send(
        &self,
        lane: &OpenLane,
        routing_key: &str,
        message: &Message,
        mandatory: bool,
    ) -> amqp_client::Result<Confirm> {
        let exchange = self.lane.exchange.as_str();
        if mandatory {
            lane.publisher.publish_mandatory(exchange, routing_key, message).await
        } else {
            lane.publisher.publish(exchange, routing_key, message).await
        }
    }

    fn failed(&self, lane: &Arc<OpenLane>, fault: Fault) -> Fault {
        self.lane.give_up(lane);
        fault
    }

    fn is_worth_a_retry(&self, fault: &Fault) -> bool {
        match fault.outcome {
            Outcome::Unroutable => self.wait_for_route,
            _ => !fault.source.as_ref().is_some_and(|source| source.is_permanent()),
        }
    }

    fn undelivered(
        &self,
        routing_key: &str,
        outcome: Outcome,
        retry: &Retry,
        source: Option<Box<Error>>,
    ) -> Error {
        Error::Undelivered(Box::new(Undelivered {
            exchange: self.lane.exchange.clone(),
            routing_key: routing_key.to_owned(),
            outcome,
            attempts: retry.attempts(),
            elapsed: retry.elapsed(),
            source,
        }))
    }
}
