//! Publishing a stream of messages, many of them in flight.

use std::{
    collections::VecDeque,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use amqp_client::{Confirm, Confirmation, Message};
use bytes::Bytes;
use futures_core::Stream;
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::BoxFuture,
    stream::{Fuse, FuturesUnordered},
};
use serde::Serialize;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    error::{Error, Outcome},
    publish::{
        attempt::{Fault, Progress},
        json_message::json_message,
        kept::Kept,
        publish_channel::OpenPublishChannel,
        publishing::{AwaitingConfirm, Published, Publishing},
    },
    retry::{Retry, RetryPolicy},
    serialize::Bodies,
    telemetry::observer::Operation,
};

/// A stream of the result of each message of a stream, in their order.
///
/// The broker confirms in order, or nearly so. Therefore only the oldest unconfirmed message waits
/// for its confirm, and one timer serves all deadlines. A message that cannot be sent at once, or
/// fails, becomes a future of its own, and the others do not wait for it.
pub(crate) struct PublishAll<'a, S, K, T> {
    publishing: &'a Publishing,
    messages: Pin<Box<Fuse<S>>>,
    limit: usize,
    /// The messages in flight, oldest first.
    in_flight: VecDeque<State<K>>,
    /// The number of the oldest message in flight.
    oldest: u64,
    /// How many messages, from the oldest on, no longer wait for a confirm: their results are
    /// known, or they are retried.
    awaited: usize,
    /// The sending of the newest message, if the channel had no room for it. Nothing else is sent
    /// before it.
    sending: Option<BoxFuture<'static, Result<AwaitingConfirm, Fault>>>,
    /// The messages that are retried after a failure, with their numbers.
    persisting: FuturesUnordered<BoxFuture<'static, (u64, Result<Published, Error>)>>,
    /// The timer for the deadline of the message whose confirm is waited for, or for an earlier
    /// one.
    timer: Option<Pin<Box<Sleep>>>,
    publish_channels: LanesInUse,
    /// The time until which all first attempts go on at least, because the broker blocks
    /// publishing.
    prolonged: Instant,
    bodies: Bodies,
    /// The template of all messages, without their bodies.
    message: Message,
    /// The time of the last poll.
    now: Instant,
    /// The publishing of all messages; it begins with the first.
    operation: Option<Operation>,
    types: PhantomData<fn(T)>,
}

/// The channels that messages in flight were published on, each with the number of its first
/// message. There is seldom more than one.
#[derive(Default)]
struct LanesInUse(VecDeque<(u64, Arc<OpenPublishChannel>)>);

impl LanesInUse {
    /// Returns the channel that the next message may use.
    fn last(&self) -> Option<&Arc<OpenPublishChannel>> {
        self.0
            .back()
            .map(|(_, publish_channel)| publish_channel)
            .filter(|publish_channel| !publish_channel.is_given_up())
    }

    /// Notes that message `number` was published on this channel.
    fn used(&mut self, number: u64, publish_channel: Arc<OpenPublishChannel>) {
        if !self.0.back().is_some_and(|(_, last)| Arc::ptr_eq(last, &publish_channel)) {
            self.0.push_back((number, publish_channel));
        }
    }

    /// Returns the channel on which message `number` was published, which is in flight.
    fn of(&self, number: u64) -> Option<&Arc<OpenPublishChannel>> {
        let mut latest_first = self.0.iter().rev();
        latest_first.find(|(first, _)| *first <= number).map(|(_, publish_channel)| publish_channel)
    }

    /// Forgets channels that only messages before `oldest` have used, which are no longer in
    /// flight.
    fn release(&mut self, oldest: u64) {
        while self.0.get(1).is_some_and(|(first, _)| *first <= oldest) {
            self.0.pop_front();
        }
    }
}

/// The state of one message.
enum State<K> {
    Sending(Unconfirmed<K>),
    Confirming(Unconfirmed<K>, Confirm),
    Persisting,
    Done(Result<Published, Error>),
}

/// What is needed to publish a message again.
struct Unconfirmed<K> {
    routing_key: K,
    message: Kept<'static>,
    /// The time at which it was taken from the stream.
    begun: Instant,
    /// The time at which its first attempt began.
    attempted: Instant,
    operation: Operation,
}

impl<K: AsRef<str>> Unconfirmed<K> {
    fn retry(&self, policy: RetryPolicy) -> Retry {
        let mut retry = Retry::first(policy, self.begun);
        retry.renew(self.attempted);
        retry
    }

    fn into_parts(self) -> (String, Message, Operation) {
        (self.routing_key.as_ref().to_owned(), self.message.into_message(), self.operation)
    }
}

/// No field is structurally pinned.
impl<S, K, T> Unpin for PublishAll<'_, S, K, T> {}

impl<'a, S, K, T> PublishAll<'a, S, K, T>
where
    S: Stream<Item = (K, T)>,
    K: AsRef<str>,
    T: Serialize,
{
    pub(crate) fn new(publishing: &'a Publishing, messages: S, in_flight: usize) -> Self {
        let now = Instant::now();
        PublishAll {
            publishing,
            messages: Box::pin(messages.fuse()),
            limit: in_flight.max(1),
            in_flight: VecDeque::new(),
            oldest: 0,
            awaited: 0,
            sending: None,
            persisting: FuturesUnordered::new(),
            timer: None,
            publish_channels: LanesInUse::default(),
            prolonged: now,
            bodies: Bodies::default(),
            message: json_message(Bytes::new(), None),
            now,
            operation: None,
            types: PhantomData,
        }
    }

    /// Starts messages until the limit in flight is reached.
    fn fill(&mut self, cx: &mut Context<'_>) {
        loop {
            if let Some(sending) = &mut self.sending {
                let Poll::Ready(sent) = sending.poll_unpin(cx) else { return };
                self.sending = None;
                self.sent(sent);
            }
            if self.in_flight.len() >= self.limit {
                return;
            }
            let Poll::Ready(Some((routing_key, body))) = self.messages.as_mut().poll_next(cx) else { return };
            let state = self.begin(routing_key, &body).unwrap_or_else(|error| State::Done(Err(error)));
            self.in_flight.push_back(state);
        }
    }

    fn begin(&mut self, routing_key: K, body: &T) -> Result<State<K>, Error> {
        let body = self.bodies.json(body).map_err(|source| Error::Encode { what: "a message", source })?;
        *self.message.body_mut() = body;
        let tracing = &self.publishing.tracing;
        let all = self.operation.get_or_insert_with(|| tracing.publish_all());
        let (marked, operation) = tracing.one_of(all, routing_key.as_ref(), &self.message)?;
        let message = marked.as_deref().unwrap_or(&self.message);
        if self.publishing.publish_channel.slow.contains(routing_key.as_ref()) {
            let unconfirmed = self.unconfirmed(routing_key, marked, operation);
            let number = self.oldest + self.in_flight.len() as u64;
            self.persisting.push(persist(self.publishing, number, unconfirmed, None));
            return Ok(State::Persisting);
        }
        let begun = self.publish_channels.last().and_then(|publish_channel| {
            self.publishing.begin(publish_channel, routing_key.as_ref(), message)
        });
        if begun.is_none() {
            let mut retry = Retry::first(self.publishing.retry, self.now);
            let publishing = self.publishing.clone();
            let (routing_key, message) = (routing_key.as_ref().to_owned(), message.clone());
            let sending = async move { publishing.wait_and_send(&routing_key, &message, &mut retry).await };
            self.sending = Some(sending.boxed());
        }
        let unconfirmed = self.unconfirmed(routing_key, marked, operation);
        Ok(match begun {
            Some(confirm) => State::Confirming(unconfirmed, confirm),
            None => State::Sending(unconfirmed),
        })
    }

    /// Takes the newest message out of the template.
    fn unconfirmed(
        &mut self,
        routing_key: K,
        marked: Option<Box<Message>>,
        operation: Operation,
    ) -> Unconfirmed<K> {
        let body = std::mem::take(self.message.body_mut());
        let message = marked.map_or(Kept::Json(body), Kept::Made);
        Unconfirmed { routing_key, message, begun: self.now, attempted: self.now, operation }
    }

    /// Notes the result of sending the newest message.
    fn sent(&mut self, sent: Result<AwaitingConfirm, Fault>) {
        let number = self.oldest + self.in_flight.len() as u64 - 1;
        let Some(newest) = self.in_flight.back_mut() else { return };
        *newest = match (std::mem::replace(newest, State::Persisting), sent) {
            (State::Sending(mut unconfirmed), Ok(AwaitingConfirm { publish_channel, confirm })) => {
                unconfirmed.attempted = self.now;
                self.publish_channels.used(number, publish_channel);
                State::Confirming(unconfirmed, confirm)
            }
            (State::Sending(unconfirmed), Err(fault)) => {
                self.persisting.push(persist(self.publishing, number, unconfirmed, Some(fault)));
                State::Persisting
            }
            (other, _) => other,
        };
    }

    /// Polls for the result of the oldest message.
    fn poll_oldest(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Published, Error>>> {
        loop {
            match self.in_flight.front() {
                None => return Poll::Ready(None),
                Some(State::Done(_)) => {
                    let Some(State::Done(outcome)) = self.in_flight.pop_front() else { continue };
                    self.has_ended();
                    return Poll::Ready(Some(outcome));
                }
                Some(_) => ready!(self.poll_awaited(cx)),
            }
        }
    }

    /// Notes that the oldest message's result was returned, so that it is no longer in flight.
    fn has_ended(&mut self) {
        self.oldest += 1;
        self.awaited = self.awaited.saturating_sub(1);
        self.publish_channels.release(self.oldest);
    }

    /// Notes that the results of all messages were returned.
    fn has_ended_all(&mut self) {
        if let Some(operation) = self.operation.take() {
            operation.counted(self.oldest);
            operation.end(Ok(()));
        }
    }

    /// Waits for one confirm, or for the end of its time. When it fails, the messages behind it
    /// follow in the next calls; if their channel or time has ended too, all of them are retried
    /// concurrently.
    fn poll_awaited(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(State::Persisting | State::Done(_)) = self.in_flight.get(self.awaited) {
            self.awaited += 1;
        }
        let Some(state) = self.in_flight.get_mut(self.awaited) else { return Poll::Pending };
        let State::Confirming(unconfirmed, confirm) = state else { return Poll::Pending };
        let (number, tag) = (self.oldest + self.awaited as u64, confirm.tag());
        let failed = match confirm.poll_unpin(cx) {
            Poll::Ready(confirmed) => {
                judge(self.publishing, &self.publish_channels, (number, tag), confirmed).err()
            }
            Poll::Pending => {
                let retry = unconfirmed.retry(self.publishing.retry);
                let ends = retry.attempt_deadline().max(self.prolonged);
                ready!(poll_deadline(&mut self.timer, ends, cx));
                if let Some(until) = self.publishing.prolonged(&retry, ends) {
                    self.prolonged = until;
                    return Poll::Ready(());
                }
                let key = unconfirmed.routing_key.as_ref();
                Some(overdue(self.publishing, &self.publish_channels, (number, tag), key, &retry))
            }
        };
        if let Some(fault) = failed {
            if let State::Confirming(unconfirmed, _) = std::mem::replace(state, State::Persisting) {
                self.persisting.push(persist(self.publishing, number, unconfirmed, Some(fault)));
            }
        } else {
            self.publishing.publish_channel.answered(unconfirmed.routing_key.as_ref());
            unconfirmed.operation.end(Ok(()));
            *state = State::Done(Ok(Published::at_first(unconfirmed.begun, self.now)));
        }
        Poll::Ready(())
    }

    /// Takes the results of retried messages. Returns whether there were any.
    fn poll_persisting(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        while let Poll::Ready(Some((number, outcome))) = self.persisting.poll_next_unpin(cx) {
            any = true;
            let index = number.checked_sub(self.oldest).and_then(|index| usize::try_from(index).ok());
            if let Some(state) = index.and_then(|index| self.in_flight.get_mut(index)) {
                *state = State::Done(outcome);
            }
        }
        any
    }
}

impl<S, K, T> Stream for PublishAll<'_, S, K, T>
where
    S: Stream<Item = (K, T)>,
    K: AsRef<str>,
    T: Serialize,
{
    type Item = Result<Published, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.now = Instant::now();
        this.fill(cx);
        loop {
            match this.poll_oldest(cx) {
                Poll::Ready(None) if !this.messages.is_done() => return Poll::Pending,
                Poll::Ready(None) => {
                    this.has_ended_all();
                    return Poll::Ready(None);
                }
                Poll::Ready(outcome) => return Poll::Ready(outcome),
                Poll::Pending if this.poll_persisting(cx) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// Returns what the broker's answer to message `number` means, which has this tag on its channel.
fn judge(
    publishing: &Publishing,
    publish_channels: &LanesInUse,
    (number, tag): (u64, u64),
    confirmed: amqp_client::Result<Confirmation>,
) -> Result<(), Fault> {
    match publish_channels.of(number) {
        Some(publish_channel) => {
            publishing.confirmed(&publishing.publish_channel, publish_channel, tag, confirmed)
        }
        // Not reached: a message that has an answer was published on some channel.
        None => Err(Fault::new(Outcome::Unknown, None)),
    }
}

/// Returns the fault of message `number`, which the broker has not answered in its attempt's time.
fn overdue(
    publishing: &Publishing,
    publish_channels: &LanesInUse,
    (number, tag): (u64, u64),
    routing_key: &str,
    retry: &Retry,
) -> Fault {
    let publish_channel = publish_channels.of(number).cloned();
    let progress = publish_channel
        .map_or(Progress::Opening, |publish_channel| Progress::Confirming(publish_channel, tag));
    publishing.out_of_time(&publishing.publish_channel, routing_key, &progress, retry, None)
}

/// Polls until the deadline. The timer is moved to a later deadline only after it has fired, to
/// save work; it never fires later than a requested deadline.
fn poll_deadline(timer: &mut Option<Pin<Box<Sleep>>>, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
    let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
    if deadline < timer.deadline() {
        timer.as_mut().reset(deadline);
    }
    ready!(timer.as_mut().poll(cx));
    if timer.deadline() < deadline {
        timer.as_mut().reset(deadline);
        ready!(timer.as_mut().poll(cx));
    }
    Poll::Ready(())
}

/// Retries a message that failed, or starts one whose key is slow.
fn persist<K: AsRef<str>>(
    publishing: &Publishing,
    number: u64,
    unconfirmed: Unconfirmed<K>,
    fault: Option<Fault>,
) -> BoxFuture<'static, (u64, Result<Published, Error>)> {
    let publishing = publishing.clone();
    let is_slow = fault.is_none();
    let retry = if is_slow { Retry::start(publishing.retry) } else { unconfirmed.retry(publishing.retry) };
    let (routing_key, message, operation) = unconfirmed.into_parts();
    let persisting = async move {
        let published = publishing.persist(&routing_key, &message, None, retry, (fault, is_slow)).await;
        operation.end(published.as_ref().map(drop));
        (number, published)
    };
    persisting.boxed()
}
