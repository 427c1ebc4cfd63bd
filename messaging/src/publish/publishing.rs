//! The course of a message to an exchange: publish, confirm, retry.

use std::{pin::pin, sync::Arc, time::Duration};

use amqp_client::{Confirm, Confirmation, Message, Report, Route};
use futures_util::FutureExt as _;
use tokio::time::{Instant, timeout_at};

use crate::{
    error::{Error, Outcome, Undelivered},
    publish::{
        attempt::{self, Fault, Progress},
        kept::Kept,
        publish_channel::{Declaration, OpenPublishChannel, PublishChannel, Required},
        refusal,
        traced::Tracing,
    },
    retry::{Retry, RetryPolicy},
    telemetry::observer::Operation,
};

/// The settings with which messages are published to one exchange.
#[derive(Clone)]
pub(crate) struct Publishing {
    pub(crate) publish_channel: Arc<PublishChannel>,
    pub(crate) retry: RetryPolicy,
    pub(crate) mandatory: bool,
    pub(crate) wait_for_route: bool,
    pub(crate) tracing: Tracing,
}

/// The result of a publish that the broker has confirmed: the message is in every queue it was
/// routed to. There was at least one if the message was [mandatory](crate::Producer::mandatory),
/// which is the default on the default exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// How many attempts were made. After more than one, the message may have been published more
    /// than once.
    pub attempts: u32,
    /// The time from the call to the broker's confirm.
    pub elapsed: Duration,
}

/// A message that was sent, and waits for the broker's confirm.
pub(crate) struct AwaitingConfirm {
    pub(crate) publish_channel: Arc<OpenPublishChannel>,
    pub(crate) confirm: Confirm,
}

/// A first attempt at publishing a message.
struct First<'a> {
    message: Kept<'a>,
    begun: Instant,
    is_slow: bool,
    /// The message, if it could be sent at once.
    sent: Option<AwaitingConfirm>,
}

impl Published {
    /// Returns the result of a first attempt that began at `begun` and was confirmed by `now`.
    pub(crate) fn at_first(begun: Instant, now: Instant) -> Self {
        Published { attempts: 1, elapsed: now.saturating_duration_since(begun) }
    }

    fn by(retry: &Retry) -> Self {
        Published { attempts: retry.attempts(), elapsed: retry.elapsed() }
    }
}

impl Publishing {
    /// Publishes a message that is encoded already, with the same guarantee.
    pub(crate) async fn publish(
        &self,
        routing_key: &str,
        message: Kept<'_>,
        required: Option<&Required<'_>>,
    ) -> Result<Published, Error> {
        let (mut first, operation) = self.first(routing_key, message, required.is_none())?;
        let ended = match &mut first.sent {
            Some(sent) => self.first_answer(first.begun, sent).await,
            None => None,
        };
        if let Some(Ok(())) = ended {
            operation.end(Ok(()));
            return Ok(self.delivered_at_first(routing_key, first.begun));
        }
        let fault = ended.and_then(Result::err);
        // The future of the rare case is large. Boxing it keeps the future of the usual case small.
        let published = Box::pin(self.go_on(routing_key, first, fault, required)).await;
        operation.end(published.as_ref().map(drop));
        published
    }

    /// Begins a first attempt. It sends the message at once if it may and can.
    fn first<'a>(
        &self,
        routing_key: &str,
        message: Kept<'a>,
        may_send: bool,
    ) -> Result<(First<'a>, Operation), Error> {
        let begun = Instant::now();
        let is_slow = self.publish_channel.slow.contains(routing_key);
        let (mut message, operation) = match self.tracing.is_off() {
            true => (message, Operation::default()),
            false => self.tracing.publish(routing_key, message)?,
        };
        let send = |message: &Message| self.send_at_once(routing_key, message);
        let sent = if may_send && !is_slow { message.with(send) } else { None };
        Ok((First { message, begun, is_slow, sent }, operation))
    }

    /// Publishes if the channel is open and has room.
    fn send_at_once(&self, routing_key: &str, message: &Message) -> Option<AwaitingConfirm> {
        let publish_channel = self.publish_channel.opened()?;
        let confirm = self.begin(&publish_channel, routing_key, message)?;
        Some(AwaitingConfirm { publish_channel, confirm })
    }

    /// Returns what the broker's answer to a first attempt means; `None` when its time runs out
    /// before.
    fn first_answer(
        &self,
        begun: Instant,
        AwaitingConfirm { publish_channel, confirm }: &mut AwaitingConfirm,
    ) -> impl Future<Output = Option<Result<(), Fault>>> {
        let tag = confirm.tag();
        timeout_at(self.retry.first_attempt_end(begun), confirm).map(move |confirmed| {
            Some(match confirmed.ok()? {
                Ok(Confirmation::Ack) => Ok(()),
                confirmed => self.confirmed(&self.publish_channel, publish_channel, tag, confirmed),
            })
        })
    }

    fn delivered_at_first(&self, routing_key: &str, begun: Instant) -> Published {
        self.publish_channel.answered(routing_key);
        Published::at_first(begun, Instant::now())
    }

    /// Goes on after a first attempt that did not deliver the message. There is no `fault` if the
    /// message was not sent, or its time ran out.
    async fn go_on(
        &self,
        routing_key: &str,
        First { message, begun, is_slow, sent }: First<'_>,
        fault: Option<Fault>,
        required: Option<&Required<'_>>,
    ) -> Result<Published, Error> {
        let message = message.into_message();
        let mut retry = Retry::first(self.retry, begun);
        let fault = match (sent, fault) {
            (Some(sent), None) => match self.late_answer(routing_key, sent, &retry).await {
                Ok(()) => return Ok(self.delivered_at_first(routing_key, begun)),
                Err(fault) => Some(fault),
            },
            (Some(_), fault) => fault,
            (None, _) => {
                retry = Retry::start(self.retry);
                None
            }
        };
        self.persist(routing_key, &message, required, retry, (fault, is_slow)).await
    }

    /// Returns what the broker's answer to a first attempt means whose time ran out. It waits for
    /// that only if the broker blocks publishing.
    async fn late_answer(
        &self,
        routing_key: &str,
        AwaitingConfirm { publish_channel, confirm }: AwaitingConfirm,
        retry: &Retry,
    ) -> Result<(), Fault> {
        let tag = confirm.tag();
        match self.within_attempt(retry, confirm).await {
            Some(confirmed) => self.confirmed(&self.publish_channel, &publish_channel, tag, confirmed),
            None => {
                let progress = Progress::Confirming(publish_channel, tag);
                Err(self.out_of_time(&self.publish_channel, routing_key, &progress, retry, None))
            }
        }
    }

    /// Publishes at once if the channel is open and has room; otherwise returns `None`. An error
    /// here shows again in `wait_and_send`.
    pub(crate) fn begin(
        &self,
        publish_channel: &OpenPublishChannel,
        routing_key: &str,
        message: &Message,
    ) -> Option<Confirm> {
        let route = self.route(routing_key, self.mandatory);
        publish_channel.publisher.try_publish(route, message).ok().flatten()
    }

    /// Publishes as soon as that is possible.
    ///
    /// # Errors
    /// By the deadline of `retry`.
    pub(crate) async fn wait_and_send(
        &self,
        routing_key: &str,
        message: &Message,
        retry: &mut Retry,
    ) -> Result<AwaitingConfirm, Fault> {
        let out_of_time = |progress, retry: &Retry| {
            self.out_of_time(&self.publish_channel, routing_key, &progress, retry, None)
        };
        let publish_channel = match self.within_attempt(retry, pin!(self.publish_channel.open())).await {
            Some(opened) => opened.map_err(Fault::not_sent)?,
            None => return Err(out_of_time(Progress::Opening, retry)),
        };
        retry.renew(Instant::now());
        let sending = pin!(self.send(&publish_channel, routing_key, message, self.mandatory));
        let sent = self.within_attempt(retry, sending).await;
        match sent {
            Some(Ok(confirm)) => Ok(AwaitingConfirm { publish_channel: publish_channel.clone(), confirm }),
            Some(Err(source)) => Err(refusal::not_sent(&self.publish_channel, &publish_channel, source)),
            None => Err(out_of_time(Progress::Sending(publish_channel.clone()), retry)),
        }
    }

    /// Returns the result of `step`; `None` when the attempt's time runs out before, unless the
    /// broker blocks publishing.
    async fn within_attempt<T>(&self, retry: &Retry, mut step: impl Future<Output = T> + Unpin) -> Option<T> {
        let mut until = retry.attempt_deadline();
        loop {
            match timeout_at(until, &mut step).await {
                Ok(done) => return Some(done),
                Err(_) => until = self.prolonged(retry, until)?,
            }
        }
    }

    /// Returns the fault of an attempt whose time ran out. If the broker blocks publishing, that
    /// takes precedence over other causes. A channel that still owes an answer is replaced. If it
    /// has answered later messages, only the message's own queue does not answer: this message, and
    /// others with its key, then use another channel.
    pub(crate) fn out_of_time(
        &self,
        publish_channel: &PublishChannel,
        routing_key: &str,
        progress: &Progress,
        retry: &Retry,
        cause: Option<Box<Error>>,
    ) -> Fault {
        let blocked = publish_channel.blocked().map(|source| Box::new(Error::broker("publish")(source)));
        let fault = progress.out_of_time(retry, blocked.or(cause));
        match progress {
            Progress::Opening => fault,
            Progress::Sending(open) => {
                publish_channel.give_up(open);
                fault
            }
            Progress::Confirming(open, tag) => {
                publish_channel.give_up(open);
                let is_overtaken = *tag < open.publisher.unanswered().start;
                let apart = is_overtaken.then(|| self.publish_channel.add_slow(routing_key));
                Fault { apart, ..fault }
            }
        }
    }

    /// Returns until when an attempt goes on whose time ran out at `ended`; `None` when it is over.
    pub(crate) fn prolonged(&self, retry: &Retry, ended: Instant) -> Option<Instant> {
        let goes_on = ended < retry.deadline() && self.publish_channel.blocked().is_some();
        goes_on.then(|| retry.time_from(Instant::now()))
    }

    /// Retries until the message is delivered or retrying is useless; `fault` is the result of a
    /// first attempt that was made elsewhere.
    pub(crate) async fn persist(
        &self,
        routing_key: &str,
        message: &Message,
        required: Option<&Required<'_>>,
        mut retry: Retry,
        (mut fault, is_slow): (Option<Fault>, bool),
    ) -> Result<Published, Error> {
        // All attempts add to the fate; the cause is the last one that is more than a timeout.
        let mut fate = Fate::default();
        let mut cause = None;
        let slow_channel = if is_slow { self.publish_channel.slow.channel(routing_key) } else { None };
        let mut publish_channel = slow_channel.unwrap_or_else(|| self.publish_channel.clone());
        loop {
            if let Some(fault) = fault.take() {
                fate.add(&fault);
                if fault.is_of_another || self.is_worth_a_retry(&fault) {
                    let (outcome, attempts) = (fault.outcome, retry.attempts());
                    let error = fault.source.as_deref().map(|error| tracing::field::display(Report(error)));
                    tracing::debug!(
                        routing_key,
                        attempts,
                        error,
                        "a message {outcome}; it is published again"
                    );
                }
                let goes_on = if fault.is_of_another {
                    retry.excuse()
                } else {
                    self.is_worth_a_retry(&fault) && retry.pause().await
                };
                if !goes_on {
                    return Err(self.undelivered(routing_key, &fate, fault, &retry));
                }
                publish_channel = fault.apart.unwrap_or(publish_channel);
                cause = fault.source;
            }
            retry.begin();
            if retry.attempts() > 1 {
                self.publish_channel.count_retry();
            }
            let mut progress = Progress::Opening;
            let opened = self.within_attempt(&retry, pin!(self.opened(&publish_channel, required))).await;
            let ended = match opened {
                Some(Ok((open, declared))) => {
                    retry.renew(Instant::now());
                    let required = required.zip(declared);
                    let attempt = self.attempt(
                        (&publish_channel, &open),
                        routing_key,
                        message,
                        required,
                        &mut progress,
                    );
                    self.within_attempt(&retry, pin!(attempt)).await
                }
                Some(Err(fault)) => Some(Err(fault)),
                None => None,
            };
            fault = match ended {
                Some(Ok(())) => {
                    self.publish_channel.answered(routing_key);
                    return Ok(Published::by(&retry));
                }
                Some(Err(fault)) => Some(fault),
                None => {
                    Some(self.out_of_time(&publish_channel, routing_key, &progress, &retry, cause.take()))
                }
            };
        }
    }

    /// Returns the open channel, with what a message requires declared on it.
    async fn opened(
        &self,
        publish_channel: &Arc<PublishChannel>,
        required: Option<&Required<'_>>,
    ) -> Result<(Arc<OpenPublishChannel>, Option<Arc<Declaration>>), Fault> {
        let open = publish_channel.open().await.map_err(Fault::not_sent)?;
        let Some(required) = required else { return Ok((open, None)) };
        let declared = publish_channel.declare(&open, required).await.map_err(Fault::not_sent)?;
        Ok((open, Some(declared)))
    }

    /// Publishes the message on the open channel, where what it requires is declared, and waits for
    /// the broker's answer.
    ///
    /// What a message requires may have been deleted since it was declared. A message with
    /// requirements is therefore always mandatory, and they are declared again when it is returned.
    async fn attempt(
        &self,
        (publish_channel, open): (&PublishChannel, &Arc<OpenPublishChannel>),
        routing_key: &str,
        message: &Message,
        mut required: Option<(&Required<'_>, Arc<Declaration>)>,
        progress: &mut Progress,
    ) -> Result<(), Fault> {
        let mandatory = self.mandatory || required.is_some();
        loop {
            *progress = Progress::Sending(open.clone());
            let sent = self.send(open, routing_key, message, mandatory).await;
            let confirm = sent.map_err(|source| refusal::not_sent(publish_channel, open, source))?;
            let tag = confirm.tag();
            *progress = Progress::Confirming(open.clone(), tag);
            match (confirm.await, required.take()) {
                (Ok(Confirmation::Returned(_)), Some((required, gone))) => {
                    // The message was returned, so the broker does not have it.
                    *progress = Progress::Opening;
                    open.forget(required, &gone);
                    publish_channel.declare(open, required).await.map_err(Fault::not_sent)?;
                }
                (confirmed, _) => return self.confirmed(publish_channel, open, tag, confirmed),
            }
        }
    }

    /// Returns what the broker's answer to the publish with this tag means. A channel that ended
    /// instead is given up.
    pub(crate) fn confirmed(
        &self,
        publish_channel: &PublishChannel,
        open: &Arc<OpenPublishChannel>,
        tag: u64,
        confirmed: amqp_client::Result<Confirmation>,
    ) -> Result<(), Fault> {
        let confirmation =
            confirmed.map_err(|source| refusal::unanswered(publish_channel, open, tag, source))?;
        let is_nack = matches!(confirmation, Confirmation::Nack);
        match attempt::outcome(&confirmation) {
            Err(fault) if is_nack && !publish_channel.is_nack_certain() => {
                Err(Fault { outcome: Outcome::Unknown, ..fault })
            }
            // It was mandatory only to check its requirements, which exist now.
            Err(Fault { outcome: Outcome::Unroutable, .. }) if !self.mandatory => Ok(()),
            outcome => outcome,
        }
    }

    async fn send(
        &self,
        publish_channel: &OpenPublishChannel,
        routing_key: &str,
        message: &Message,
        mandatory: bool,
    ) -> amqp_client::Result<Confirm> {
        publish_channel.publisher.publish(self.route(routing_key, mandatory), message).await
    }

    fn route<'a>(&'a self, routing_key: &'a str, mandatory: bool) -> Route<'a> {
        Route::new(self.publish_channel.exchange.as_str(), routing_key).mandatory(mandatory)
    }

    fn is_worth_a_retry(&self, fault: &Fault) -> bool {
        match fault.outcome {
            Outcome::Unroutable => self.wait_for_route,
            _ => !fault.source.as_ref().is_some_and(|source| source.is_permanent()),
        }
    }

    fn undelivered(&self, routing_key: &str, fate: &Fate, last: Fault, retry: &Retry) -> Error {
        Error::Undelivered(Box::new(Undelivered {
            exchange: self.publish_channel.exchange.clone(),
            routing_key: routing_key.to_owned(),
            outcome: fate.outcome(&last),
            attempts: retry.attempts(),
            elapsed: retry.elapsed(),
            is_returned: last.outcome == Outcome::Unroutable,
            source: last.source,
        }))
    }
}

/// What all attempts together tell about the message.
#[derive(Default)]
struct Fate {
    /// Whether the broker may have the message.
    unknown: bool,
    /// Whether the broker may have it unless this is the message that the broker refuses.
    suspected: bool,
}

impl Fate {
    fn add(&mut self, fault: &Fault) {
        let is_suspect = fault.is_of_another && fault.apart.is_some();
        self.unknown |= fault.outcome == Outcome::Unknown && !is_suspect;
        self.suspected |= is_suspect;
    }

    /// Returns what is known when this fault ended the last attempt. A message that is refused for
    /// its properties or size (406) would have been refused in earlier attempts as well.
    fn outcome(&self, last: &Fault) -> Outcome {
        let is_refused = last.outcome == Outcome::Rejected;
        let refused =
            is_refused && last.source.as_ref().is_some_and(|source| source.is_precondition_failed());
        if self.unknown || (self.suspected && !refused) { Outcome::Unknown } else { last.outcome }
    }
}
