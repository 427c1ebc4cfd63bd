//! The way of replies back to the clients: they always leave, and a client that has vanished holds up nobody.

use std::time::Duration;

use amqp_client::Message;
use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep},
};

use super::{endpoint::Answer, failure::Failure, vanished::Vanished, wire::Reply};
use crate::{
    compress::Compression,
    envelope,
    error::{Error, Outcome},
    json_message::json_message,
    producer::Producer,
    publish_options::compressed,
    turns::Stopping,
};

/// How long, and how often, a reply is tried whose queue is not there: the client may be reconnecting.
const PATIENCE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_millis(250);
/// Replies on their way to the broker. When there are more, methods have to wait for theirs to leave: the broker blocks, or is gone.
const LEAVING: usize = 1024;
/// Replies that wait for their client to come back. When there are more, they are given up at once.
const WAITING: usize = 1024;

pub(crate) struct Replies {
    /// To the default exchange, which routes to queues by their names.
    producer: Producer,
    compression: Option<Compression>,
    vanished: Mutex<Vanished>,
    leaving: Semaphore,
    waiting: Semaphore,
}

/// A reply whose queue was not there when it was sent.
pub(crate) struct Unclaimed(Message);

impl Replies {
    pub(crate) fn new(producer: Producer, compression: Option<Compression>) -> Self {
        Replies {
            producer,
            compression,
            vanished: Mutex::default(),
            leaving: Semaphore::new(LEAVING),
            waiting: Semaphore::new(WAITING),
        }
    }

    /// Room for one more reply. `None` never comes: nobody closes the semaphore.
    pub(crate) async fn room(&self) -> Option<SemaphorePermit<'_>> {
        self.leaving.acquire().await.ok()
    }

    /// That a call is being worked on. One that is lost is made up for by the next.
    pub(crate) async fn heartbeat(&self, queue: &str, id: &str) {
        let sent = match self.encode(&Reply::heartbeat(id)) {
            Ok(message) => self.producer.deliver(queue, &message, None).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "a heartbeat was not sent");
        }
    }

    /// Sends an answer. A result that cannot be sent, because it is too large, say, is a failure to its caller.
    pub(crate) async fn send(&self, queue: &str, id: &str, answer: &Answer) -> Option<Unclaimed> {
        match self.attempt(queue, id, answer).await {
            Ok(unclaimed) => unclaimed,
            Err(error) => {
                tracing::error!(%error, "a reply was not sent");
                if answer.is_err() {
                    return None;
                }
                let failure = Failure::new("RuntimeError", format!("the result could not be sent: {error}"));
                let told = self.attempt(queue, id, &Err(failure)).await;
                told.inspect_err(|error| tracing::error!(%error, "nor was its failure")).ok().flatten()
            }
        }
    }

    async fn attempt(&self, queue: &str, id: &str, answer: &Answer) -> Result<Option<Unclaimed>, Error> {
        let encoded = |source| Error::Encode { what: "a reply", source };
        let message = self.encode(&Reply::new(id, answer).map_err(encoded)?)?;
        match self.producer.deliver(queue, &message, None).await {
            Ok(_) => Ok(None),
            Err(error) if is_unroutable(&error) => Ok(Some(Unclaimed(message))),
            Err(error) => Err(error),
        }
    }

    fn encode(&self, reply: &Reply<'_>) -> Result<Message, Error> {
        let body = envelope::encode(reply).map_err(|source| Error::Encode { what: "a reply", source })?;
        compressed(json_message(body, None), self.compression)
    }

    /// Goes on trying, in case the client comes back. `false` when it has vanished.
    pub(crate) async fn wait_for_client(
        &self,
        queue: &str,
        Unclaimed(message): Unclaimed,
        mut stopping: Stopping,
    ) -> bool {
        let known = self.vanished.lock().contains(queue);
        if !known && let Ok(_waiting) = self.waiting.try_acquire() {
            let give_up = Instant::now() + PATIENCE;
            while Instant::now() < give_up {
                tokio::select! {
                    () = stopping.requested() => break,
                    () = sleep(INTERVAL) => {}
                }
                match self.producer.deliver(queue, &message, None).await {
                    Err(error) if is_unroutable(&error) => {}
                    Ok(_) => return true,
                    Err(error) => {
                        tracing::error!(%error, "a reply was not sent");
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

fn is_unroutable(error: &Error) -> bool {
    matches!(error, Error::Undelivered(undelivered) if undelivered.outcome == Outcome::Unroutable)
}
