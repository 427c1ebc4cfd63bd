//! One request, from its arrival to its reply.

use std::{convert::Infallible, sync::Arc, time::Duration};

use amqp_client::Delivery;
use parking_lot::Mutex;
use tokio::time::sleep;

use super::{
    acknowledge::{Acknowledge, Arrival, Known},
    dispatch::Dispatcher,
    endpoint::Answer,
    metrics::{Counts, ServerMetrics, count},
    replies::Replies,
    wire::Received,
};
use crate::{duplicates::RepeatWindow, envelope, error::Malformed, turns::Turn};

/// Where the requests of a server come in.
pub(crate) struct Desk {
    dispatcher: Dispatcher,
    acknowledge: Acknowledge,
    known: Mutex<Known>,
    replies: Replies,
    counts: Counts,
}

/// A request to run, and what to acknowledge after it.
struct Accepted {
    request: Received,
    /// That of a request without an id; others are among the known.
    unsettled: Option<Delivery>,
}

impl Desk {
    pub(crate) fn new(
        dispatcher: Dispatcher,
        acknowledge: Acknowledge,
        window: RepeatWindow,
        replies: Replies,
    ) -> Self {
        Desk {
            dispatcher,
            acknowledge,
            known: Mutex::new(Known::new(window)),
            replies,
            counts: Counts::default(),
        }
    }

    pub(crate) fn metrics(&self) -> ServerMetrics {
        self.counts.read()
    }

    pub(crate) async fn serve(self: Arc<Self>, delivery: Delivery, turn: Turn) {
        let stopping = turn.stopping();
        let Some(Accepted { mut request, unsettled }) = self.accept(delivery).await else { return };
        let answer = self.answer(&mut request).await;
        self.note(&request, &answer);
        let unclaimed = match (&request.message_id, &request.reply_queue) {
            (Some(id), Some(queue)) => {
                // The next method may run while this one's reply leaves, unless too many are leaving already.
                let _room = self.replies.room().await;
                drop(turn);
                self.replies.send(queue, id, &answer).await.map(|unclaimed| (queue, unclaimed))
            }
            (Some(_), None) => {
                tracing::warn!("a request asks for a reply and names no queue for it");
                None
            }
            (None, _) => None,
        };
        self.finish(&request, unsettled).await;
        if let Some((queue, unclaimed)) = unclaimed
            && !Box::pin(self.replies.wait_for_client(queue, unclaimed, stopping)).await
        {
            count(&self.counts.vanished);
        }
    }

    /// The method's answer. Whoever asked for it is told meanwhile that it is being worked on; however the method ends, that ends
    /// with it.
    async fn answer(&self, request: &mut Received) -> Answer {
        match (request.heartbeat, request.message_id.clone(), request.reply_queue.clone()) {
            (Some(interval), Some(id), Some(queue)) => tokio::select! {
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

    /// Reads a request; `None` when there is nothing to run.
    async fn accept(&self, delivery: Delivery) -> Option<Accepted> {
        let request = match read(&delivery) {
            Ok(request) => request,
            Err(reason) => {
                tracing::error!(%reason, "an unreadable request is rejected");
                count(&self.counts.unreadable);
                settled(&delivery.reject(false).await);
                return None;
            }
        };
        let id = request.unique_id.as_deref();
        match (self.acknowledge, id) {
            (Acknowledge::Before, _) => {
                // One that is not settled will be delivered again.
                if !settled(&delivery.ack().await) {
                    return None;
                }
                if id.is_some_and(|id| self.known.lock().is_repeated(id)) {
                    count(&self.counts.repeated);
                    return None;
                }
                Some(Accepted { request, unsettled: None })
            }
            (Acknowledge::After, None) => Some(Accepted { request, unsettled: Some(delivery) }),
            (Acknowledge::After, Some(id)) => {
                let arrival = self.known.lock().begin(id, delivery);
                match arrival {
                    Arrival::New => Some(Accepted { request, unsettled: None }),
                    Arrival::Running => {
                        count(&self.counts.repeated);
                        None
                    }
                    Arrival::Ran(delivery) => {
                        count(&self.counts.repeated);
                        settled(&delivery.ack().await);
                        None
                    }
                }
            }
        }
    }

    /// Counts an answer, and tells of it when it is a failure.
    fn note(&self, request: &Received, answer: &Answer) {
        count(&self.counts.answered);
        let Err(failure) = answer else { return };
        let method = request.method.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
        let (class, message) = (failure.class(), failure.message());
        if failure.is_expected() {
            tracing::debug!(method, class, message, "a method failed");
        } else {
            count(&self.counts.failed);
            tracing::warn!(method, class, message, "a method failed");
        }
    }

    /// Acknowledges what is to be acknowledged after the method.
    async fn finish(&self, request: &Received, unsettled: Option<Delivery>) {
        if self.acknowledge == Acknowledge::Before {
            return;
        }
        let known = request.unique_id.as_deref().map(|id| self.known.lock().end(id));
        for delivery in known.into_iter().flatten().chain(unsettled) {
            settled(&delivery.ack().await);
        }
    }
}

fn settled(outcome: &amqp_client::Result<()>) -> bool {
    if let Err(error) = outcome {
        tracing::debug!(%error, "a request was not settled");
    }
    outcome.is_ok()
}

fn read(delivery: &Delivery) -> Result<Received, Malformed> {
    Ok(Received::from_json(&envelope::open(delivery)?)?)
}
