//! A request, from its arrival to its reply.

use std::{convert::Infallible, sync::Arc, time::Duration};

use amqp_client::{Delivery, Report};
use tokio::time::sleep;

use crate::{
    compress::Budget,
    consume::{
        handlers::{handling::Handling, permits::Permit},
        settle::{acker::Acker, stuck::message_id},
    },
    error::Malformed,
    oslo::{
        rpc::{
            message::{field::Field, wire::Received},
            server::{
                acknowledge::{Acknowledge, Arrival, KnownRequests},
                dispatch::Dispatcher,
                endpoint::Answer,
                metrics::{Counts, ServerMetrics, count},
                replies::{Replies, Unclaimed},
            },
        },
        wire::{
            duplicates::RepeatWindow,
            envelope::{self, Opened},
            fingerprint::Fingerprint,
        },
    },
    sync::Mutex,
    telemetry::observer::{ObservedQueue, Observer, Operation, UNDECODABLE},
};

/// Handles the requests of a server.
pub(crate) struct RequestHandler {
    dispatcher: Dispatcher,
    acknowledge: Acknowledge,
    known: Mutex<KnownRequests>,
    replies: Replies,
    budget: Budget,
    counts: Counts,
    observer: Observer,
    observed: ObservedQueue,
}

/// A request that will run.
struct Accepted {
    id: Option<Fingerprint>,
    /// What is acknowledged after it has run. Requests with an id are also in the memory of known
    /// ones.
    unsettled: Option<Acker>,
}

impl RequestHandler {
    pub(crate) fn new(
        dispatcher: Dispatcher,
        acknowledge: Acknowledge,
        window: RepeatWindow,
        replies: Replies,
        budget: Budget,
        observer: &Observer,
    ) -> Self {
        RequestHandler {
            dispatcher,
            acknowledge,
            known: Mutex::new(KnownRequests::new(window)),
            replies,
            budget,
            counts: Counts::default(),
            observer: observer.clone(),
            observed: observer.any_queue(),
        }
    }

    pub(crate) fn metrics(&self) -> ServerMetrics {
        self.counts.read()
    }

    /// Releases the permit when the method has run and its reply is about to be sent. A reply that
    /// waits for its client keeps nothing else alive.
    pub(crate) async fn serve(self: Arc<Self>, delivery: Delivery, mut permit: Permit) -> Permit {
        if let Some(unclaimed) = self.run(delivery, &mut permit).await
            && !Box::pin(self.replies.wait_for_client(unclaimed, permit.stopping())).await
        {
            count(&self.counts.vanished);
        }
        permit
    }

    async fn run(&self, delivery: Delivery, permit: &mut Permit) -> Option<Unclaimed> {
        let (received, acker) = delivery.split();
        let operation = self.observed.process(&received);
        let acker = Acker::new(acker, operation.clone());
        let Opened { text, trace, room: _room } = match envelope::open(&received, &self.budget).await {
            Ok(opened) => opened,
            Err(reason) => return self.refuse(&received, acker, &reason).await,
        };
        let mut strict = String::new();
        let mut request = match Received::from_json(&text, &mut strict) {
            Ok(request) => request,
            Err(error) => return self.refuse(&received, acker, &error.into()).await,
        };
        let id = request.unique_id.as_deref();
        let method = request.method.as_ref().and_then(Field::as_text);
        let handling =
            Handling::of_request(&received, request.message_id.as_deref().or(id), method, trace, &operation);
        // The text is a decompressed copy, so the received body is no longer needed.
        drop(received);
        let accepted = self.accept(acker, id.map(Fingerprint::of)).await?;
        // Python's dialect of JSON may have been replaced in a copy.
        let beside = 2 * text.len();
        let unclaimed = handling.around(self.work(&mut request, beside, permit)).await;
        operation.end_as(None);
        self.finish(accepted).await;
        unclaimed
    }

    /// Runs the method and sends the reply, both as one operation.
    async fn work(
        &self,
        request: &mut Received<'_>,
        beside: usize,
        permit: &mut Permit,
    ) -> Option<Unclaimed> {
        let operation = self.serving(request);
        let working = async {
            let answer = self.answer(request).await;
            self.note(request, &answer);
            let failure = answer.as_ref().err().map(|failure| failure.class().to_owned());
            let unclaimed = self.reply(request, answer, beside, permit).await;
            operation.end_as(failure.as_deref());
            unclaimed
        };
        operation.around(working).await
    }

    fn serving(&self, request: &Received<'_>) -> Operation {
        let namespace = request.namespace.as_ref().and_then(Field::as_text);
        let method = request.method.as_ref().and_then(Field::as_text).unwrap_or_default();
        self.observer.serve(namespace, method, || self.dispatcher.has_method(request))
    }

    /// Sends the reply, if one is requested; `beside` is the size of what is kept until then.
    async fn reply(
        &self,
        request: &Received<'_>,
        answer: Answer,
        beside: usize,
        permit: &mut Permit,
    ) -> Option<Unclaimed> {
        let id = request.message_id.as_deref()?;
        let Some(queue) = request.reply_queue.as_deref() else {
            tracing::warn!("a request asks for a reply and names no queue for it; no reply is sent");
            return None;
        };
        let reply = self.replies.reply(id, &answer)?;
        drop(answer);
        // The next method may run while this reply is sent, unless too many are being sent.
        let _room = self.replies.room(&reply, beside).await;
        permit.end();
        self.replies.send(queue, id, reply).await
    }

    /// Runs the method. If requested, the caller gets heartbeats meanwhile, which end with the
    /// method, however it ends.
    async fn answer(&self, request: &mut Received<'_>) -> Answer {
        let Some(interval) = request.heartbeat else { return self.dispatcher.answer(request).await };
        match (request.message_id.clone(), request.reply_queue.clone()) {
            (Some(id), Some(queue)) => tokio::select! {
                answer = self.dispatcher.answer(request) => answer,
                never = Box::pin(self.heartbeats(&queue, &id, interval)) => match never {},
            },
            _ => self.dispatcher.answer(request).await,
        }
    }

    async fn heartbeats(&self, queue: &str, id: &str, interval: Duration) -> Infallible {
        loop {
            sleep(interval).await;
            self.replies.heartbeat(queue, id).await;
        }
    }

    /// Rejects a malformed request, for which there is no reply.
    async fn refuse(
        &self,
        refused: &amqp_client::Received,
        acker: Acker,
        reason: &Malformed,
    ) -> Option<Unclaimed> {
        let (queue, id) = (&*refused.routing_key(), message_id(refused));
        tracing::error!(queue, id, reason = %Report(reason), "a request cannot be decoded; it is rejected");
        count(&self.counts.unreadable);
        acker.operation().end_as(Some(UNDECODABLE));
        settled(&acker.reject(false).await);
        None
    }

    /// Decides whether a request with this id will run.
    async fn accept(&self, acker: Acker, id: Option<Fingerprint>) -> Option<Accepted> {
        match (self.acknowledge, id) {
            (Acknowledge::Before, _) => {
                // A request that is not settled will be delivered again.
                if !settled(&acker.ack().await) {
                    return None;
                }
                if id.is_some_and(|id| self.known.lock().is_repeated(id)) {
                    count(&self.counts.repeated);
                    return None;
                }
                Some(Accepted { id, unsettled: None })
            }
            (Acknowledge::After, None) => Some(Accepted { id, unsettled: Some(acker) }),
            (Acknowledge::After, Some(known)) => {
                let arrival = self.known.lock().begin(known, acker);
                match arrival {
                    Arrival::New => Some(Accepted { id, unsettled: None }),
                    Arrival::Running => {
                        count(&self.counts.repeated);
                        None
                    }
                    Arrival::Ran(acker) => {
                        count(&self.counts.repeated);
                        settled(&acker.ack().await);
                        None
                    }
                }
            }
        }
    }

    /// Counts an answer, and logs a failure.
    fn note(&self, request: &Received<'_>, answer: &Answer) {
        count(&self.counts.answered);
        let Err(failure) = answer else { return };
        let method = request.method.as_ref().and_then(Field::as_text).unwrap_or_default();
        let (class, message) = (failure.class(), failure.message());
        let next = if request.message_id.is_some() {
            "its caller receives the failure"
        } else {
            "no caller waits for a reply"
        };
        if failure.is_expected() {
            tracing::debug!(method, class, message, "a method failed; {next}");
        } else {
            count(&self.counts.failed);
            tracing::warn!(method, class, message, "a method failed; {next}");
        }
    }

    /// Acknowledges a request after its method.
    async fn finish(&self, Accepted { id, unsettled }: Accepted) {
        if self.acknowledge == Acknowledge::Before {
            return;
        }
        let known = id.map(|id| self.known.lock().end(id));
        for acker in known.into_iter().flatten().chain(unsettled) {
            settled(&acker.ack().await);
        }
    }
}

fn settled(outcome: &amqp_client::Result<()>) -> bool {
    if let Err(error) = outcome {
        tracing::debug!(error = %Report(error), "a request could not be settled; the broker delivers it again");
    }
    outcome.is_ok()
}
