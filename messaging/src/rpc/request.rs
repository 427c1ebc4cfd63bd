//! One request, from its arrival to its reply.

use std::{convert::Infallible, sync::Arc, time::Duration};

use amqp_client::Delivery;
use parking_lot::Mutex;
use tokio::time::sleep;

use super::{
    acknowledge::{Acknowledge, Arrival, Known},
    dispatch::Dispatcher,
    endpoint::Answer,
    field::Field,
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

/// What of a request that is to run has to be acknowledged after it. Those with an id are among the known.
struct Accepted {
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

    /// The turn ends when the method has run and its reply is about to leave.
    pub(crate) async fn serve(self: Arc<Self>, delivery: Delivery, mut turn: Turn) -> Turn {
        let text = match envelope::open(&delivery) {
            Ok(text) => text,
            Err(reason) => {
                self.refuse(delivery, &reason).await;
                return turn;
            }
        };
        let mut strict = String::new();
        match Received::from_json(&text, &mut strict) {
            Ok(request) => self.run(delivery, request, &mut turn).await,
            Err(error) => self.refuse(delivery, &error.into()).await,
        }
        turn
    }

    async fn run(&self, delivery: Delivery, mut request: Received<'_>, turn: &mut Turn) {
        let id = request.unique_id.as_deref();
        let Some(Accepted { unsettled }) = self.accept(delivery, id).await else { return };
        let answer = self.answer(&mut request).await;
        self.note(&request, &answer);
        let unclaimed = match (&request.message_id, &request.reply_queue) {
            (Some(id), Some(queue)) => {
                // The next method may run while this one's reply leaves, unless too many are leaving already.
                let _room = self.replies.room().await;
                turn.end();
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
            && !Box::pin(self.replies.wait_for_client(queue, unclaimed, turn.stopping())).await
        {
            count(&self.counts.vanished);
        }
    }

    /// The method's answer. Whoever asked for it is told meanwhile that it is being worked on; however the method ends, that ends
    /// with it.
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

    async fn refuse(&self, delivery: Delivery, reason: &Malformed) {
        tracing::error!(%reason, "an unreadable request is rejected");
        count(&self.counts.unreadable);
        settled(&delivery.reject(false).await);
    }

    /// Whether a request of this id is to run.
    async fn accept(&self, delivery: Delivery, id: Option<&str>) -> Option<Accepted> {
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
                Some(Accepted { unsettled: None })
            }
            (Acknowledge::After, None) => Some(Accepted { unsettled: Some(delivery) }),
            (Acknowledge::After, Some(id)) => {
                let arrival = self.known.lock().begin(id, delivery);
                match arrival {
                    Arrival::New => Some(Accepted { unsettled: None }),
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
    fn note(&self, request: &Received<'_>, answer: &Answer) {
        count(&self.counts.answered);
        let Err(failure) = answer else { return };
        let method = request.method.as_ref().and_then(Field::as_text).unwrap_or_default();
        let (class, message) = (failure.class(), failure.message());
        if failure.is_expected() {
            tracing::debug!(method, class, message, "a method failed");
        } else {
            count(&self.counts.failed);
            tracing::warn!(method, class, message, "a method failed");
        }
    }

    /// Acknowledges what is to be acknowledged after the method.
    async fn finish(&self, request: &Received<'_>, unsettled: Option<Delivery>) {
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
