//! The way of replies back to the clients: they always leave, and a client that has vanished holds
//! up nobody.

use std::time::Duration;

use amqp_client::Message;
use amqp_client::Report;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::oslo::rpc::{
    failure::Failure,
    server::{endpoint::Answer, vanished::Vanished},
    wire::Reply,
};
use crate::{
    compress::{
        Compression,
        room::{Room, Taken},
    },
    consume::permits::Stopping,
    error::{Error, Outcome},
    oslo::wire::envelope,
    publish::{json_message::json_message, options::compressed, producer::Producer},
};

/// How long, and how often, a reply is tried whose queue is not there: the client may be
/// reconnecting.
const PATIENCE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_millis(250);
/// What replies on their way to the broker may have together, in bytes, with the requests they
/// answer. When there is more, methods have to wait for their reply to leave: the broker blocks, or
/// is gone.
const LEAVING: u64 = 64 * 1024 * 1024;
/// The same of replies that wait for their client to come back. Those beyond are given up at once.
const WAITING: u64 = 64 * 1024 * 1024;
/// What a reply counts at least: no more than 1024 leave or wait at once.
const LEAST: u64 = 64 * 1024;

pub(crate) struct Replies {
    /// To the default exchange, which routes to queues by their names.
    producer: Producer,
    compression: Option<Compression>,
    vanished: Mutex<Vanished>,
    leaving: Room,
    waiting: Room,
}

/// A reply about to leave.
pub(crate) struct Leaving {
    message: Message,
    /// Whether it tells that the method failed.
    is_failure: bool,
}

/// A reply whose queue was not there when it was sent.
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

    /// Room for one more reply, as soon as there is some; `beside` are the bytes that are kept
    /// until it has left.
    pub(crate) async fn room(&self, reply: &Leaving, beside: usize) -> Taken {
        self.leaving.take(reply.weight().saturating_add(beside as u64)).await
    }

    /// That a call is being worked on. One that is lost is made up for by the next.
    pub(crate) async fn heartbeat(&self, queue: &str, id: &str) {
        let sent = match self.encode(&Reply::heartbeat(id)) {
            Ok(message) => self.producer.publish_raw(queue, &message, None).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            tracing::debug!(error = %Report(&error), "a heartbeat was not sent");
        }
    }

    /// The reply to the call of this id. A result that cannot be encoded is a failure to its
    /// caller.
    pub(crate) fn reply(&self, id: &str, answer: &Answer) -> Option<Leaving> {
        let is_failure = answer.is_err();
        match self.encode_answer(id, answer) {
            Ok(message) => Some(Leaving { message, is_failure }),
            Err(error) => self.failure(id, is_failure, &error),
        }
    }

    /// Sends a reply. A result that the broker does not take, because it is too large, say, is a
    /// failure to its caller.
    pub(crate) async fn send(&self, queue: &str, id: &str, reply: Leaving) -> Option<Unclaimed> {
        let Leaving { message, is_failure } = reply;
        match self.attempt(queue, message).await {
            Ok(unclaimed) => unclaimed,
            Err(error) => {
                let failure = self.failure(id, is_failure, &error)?;
                let told = self.attempt(queue, failure.message).await;
                told.inspect_err(|error| tracing::error!(error = %Report(error), "nor was its failure"))
                    .ok()
                    .flatten()
            }
        }
    }

    /// That there was a result, in the place of one that cannot be sent.
    fn failure(&self, id: &str, is_failure: bool, error: &Error) -> Option<Leaving> {
        tracing::error!(error = %Report(error), "a reply was not sent");
        if is_failure {
            return None;
        }
        let failure =
            Failure::new("RuntimeError", format!("the result could not be sent: {}", Report(error)));
        let told = self.encode_answer(id, &Err(failure));
        let message =
            told.inspect_err(|error| tracing::error!(error = %Report(error), "nor was its failure")).ok()?;
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

    /// Goes on trying, in case the client comes back. `false` when it has vanished.
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
                        tracing::error!(error = %Report(&error), "a reply was not sent");
                        return true;
                    }
                }
            }
        }
        tracing::warn!(queue, "the client of a call has vanished");
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

fn weight(message: &Message) -> u64 {
    (message.body().len() as u64).max(LEAST)
}

fn is_unroutable(error: &Error) -> bool {
    matches!(error, Error::Undelivered(undelivered) if undelivered.outcome == Outcome::Unroutable)
}
