//! The replies to clients: one is always sent, and a client that has vanished holds up nobody.

use std::time::Duration;

use amqp_client::Message;
use amqp_client::Report;
use tokio::time::{Instant, sleep};

use crate::{
    compress::{
        Compression,
        room::{Room, Taken},
    },
    consume::handlers::permits::Stopping,
    error::Error,
    oslo::{
        rpc::{
            message::{failure::Failure, wire::Reply},
            server::{endpoint::Answer, vanished::Vanished},
        },
        wire::envelope,
    },
    publish::{json_message::json_message, options::compressed, producer::Producer},
    sync::Mutex,
};

/// For how long, and at which interval, a reply is retried whose queue does not exist: the client
/// may be reconnecting.
const PATIENCE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_millis(250);
/// The most bytes of replies that are being sent, together with the requests they answer. Beyond
/// that, methods wait until their reply was sent: the broker blocks, or is gone.
const LEAVING: u64 = 64 * 1024 * 1024;
/// The most bytes of replies that wait for their client to come back. Further ones are given up at
/// once.
const WAITING: u64 = 64 * 1024 * 1024;
/// The least that a reply counts in bytes, so that at most 1024 are being sent or wait at once.
const LEAST: u64 = 64 * 1024;

pub(crate) struct Replies {
    /// The producer for the default exchange, which routes to queues by their names.
    producer: Producer,
    compression: Option<Compression>,
    vanished: Mutex<Vanished>,
    leaving: Room,
    waiting: Room,
}

/// A reply that is about to be sent.
pub(crate) struct Leaving {
    message: Message,
    /// Whether it is the failure of the method.
    is_failure: bool,
}

/// A reply whose queue did not exist when it was sent.
pub(crate) struct Unclaimed {
    queue: String,
    message: Message,
}

impl Replies {
    pub(crate) fn new(producer: Producer, compression: Option<Compression>) -> Self {
        Replies {
            producer,
            compression,
            vanished: Mutex::default(),
            leaving: Room::new(LEAVING),
            waiting: Room::new(WAITING),
        }
    }

    /// Waits for room for one more reply; `beside` is the size in bytes of what is kept until it
    /// was sent.
    pub(crate) async fn room(&self, reply: &Leaving, beside: usize) -> Taken {
        self.leaving.take(reply.weight().saturating_add(beside as u64)).await
    }

    /// Sends a heartbeat: the call is being worked on. A lost heartbeat does no harm, because the
    /// next one follows.
    pub(crate) async fn heartbeat(&self, queue: &str, id: &str) {
        let sent = match self.encode(&Reply::heartbeat(id)) {
            Ok(message) => self.producer.publish_raw(queue, &message, None).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            tracing::debug!(error = %Report(&error), "cannot send a heartbeat; the next one follows");
        }
    }

    /// Returns the reply to the call with this id. A result that cannot be encoded becomes a
    /// failure for its caller.
    pub(crate) fn reply(&self, id: &str, answer: &Answer) -> Option<Leaving> {
        let is_failure = answer.is_err();
        match self.encode_answer(id, answer) {
            Ok(message) => Some(Leaving { message, is_failure }),
            Err(error) => self.failure(id, is_failure, &error),
        }
    }

    /// Sends a reply. A result that the broker does not accept, for example because it is too
    /// large, becomes a failure for its caller.
    pub(crate) async fn send(&self, queue: &str, id: &str, reply: Leaving) -> Option<Unclaimed> {
        let Leaving { message, is_failure } = reply;
        match self.attempt(queue, message).await {
            Ok(unclaimed) => unclaimed,
            Err(error) => {
                let failure = self.failure(id, is_failure, &error)?;
                let told = self.attempt(queue, failure.message).await;
                told.inspect_err(not_told).ok().flatten()
            }
        }
    }

    /// Returns a failure in place of a result that cannot be sent; `None` if it was a failure
    /// already.
    fn failure(&self, id: &str, is_failure: bool, error: &Error) -> Option<Leaving> {
        if is_failure {
            tracing::error!(error = %Report(error), "cannot send a failure; its caller waits until its deadline");
            return None;
        }
        tracing::error!(error = %Report(error), "cannot send a reply; its caller receives a failure instead");
        let failure =
            Failure::new("RuntimeError", format!("the result could not be sent: {}", Report(error)));
        let told = self.encode_answer(id, &Err(failure));
        let message = told.inspect_err(not_told).ok()?;
        Some(Leaving { message, is_failure: true })
    }

    async fn attempt(&self, queue: &str, message: Message) -> Result<Option<Unclaimed>, Error> {
        match self.producer.publish_raw(queue, &message, None).await {
            Ok(_) => Ok(None),
            Err(error) if is_unroutable(&error) => Ok(Some(Unclaimed { queue: queue.to_owned(), message })),
            Err(error) => Err(error),
        }
    }

    fn encode_answer(&self, id: &str, answer: &Answer) -> Result<Message, Error> {
        let reply = Reply::new(id, answer).map_err(|source| Error::Encode { what: "a reply", source })?;
        self.encode(&reply)
    }

    fn encode(&self, reply: &Reply<'_>) -> Result<Message, Error> {
        let body = envelope::encode(reply).map_err(|source| Error::Encode { what: "a reply", source })?;
        compressed(json_message(body, None), self.compression)
    }

    /// Retries in case the client comes back. Returns `false` when it has vanished.
    pub(crate) async fn wait_for_client(&self, unclaimed: Unclaimed, mut stopping: Stopping) -> bool {
        let Unclaimed { queue, message } = unclaimed;
        let (queue, weight) = (queue.as_str(), weight(&message));
        let known = self.vanished.lock().contains(queue);
        if !known && let Some(_waiting) = self.waiting.try_take(weight) {
            let give_up = Instant::now() + PATIENCE;
            while Instant::now() < give_up {
                tokio::select! {
                    () = stopping.requested() => break,
                    () = sleep(INTERVAL) => {}
                }
                match self.producer.publish_raw(queue, &message, None).await {
                    Err(error) if is_unroutable(&error) => {}
                    Ok(_) => return true,
                    Err(error) => {
                        tracing::error!(error = %Report(&error), "cannot send a reply; its caller waits until its deadline");
                        return true;
                    }
                }
            }
        }
        tracing::warn!(queue, "the reply queue of a call does not exist; replies to its client are dropped");
        let mut vanished = self.vanished.lock();
        if !vanished.contains(queue) {
            vanished.insert(queue);
        }
        false
    }
}

impl Leaving {
    fn weight(&self) -> u64 {
        weight(&self.message)
    }
}

/// Logs why a caller gets no failure either.
fn not_told(error: &Error) {
    tracing::error!(error = %Report(error), "cannot send the failure in place of the reply; its caller waits until its deadline");
}

fn weight(message: &Message) -> u64 {
    (message.body().len() as u64).max(LEAST)
}

/// Tells whether there was no queue for a reply at last. An earlier attempt may have reached it: a
/// client takes the first of two replies.
fn is_unroutable(error: &Error) -> bool {
    matches!(error, Error::Undelivered(undelivered) if undelivered.is_returned)
}
