//! What becomes of a message once somebody has tried to handle it.

use amqp_client::{Acker, Message, Queue, Received};

use crate::{
    entity::Entities,
    lane::Required,
    on_failure::{OnFailure, RetryLater, mark, retries},
    producer::Producer,
};

/// For the messages of one queue. Where a message cannot be settled, its channel has ended and it comes again.
pub(crate) struct Settling {
    pub(crate) queue: String,
    pub(crate) on_failure: OnFailure,
    /// To the default exchange; without it what is to be published elsewhere is requeued.
    pub(crate) producer: Option<Producer>,
}

impl Settling {
    /// Whether one that fails may be published elsewhere, so that it is to be kept while it is handled.
    pub(crate) fn publishes(&self) -> bool {
        matches!(self.on_failure, OnFailure::Retry(_))
    }

    /// It is done.
    pub(crate) async fn done(&self, acker: Acker) {
        self.told(acker.ack().await);
    }

    /// It could not be handled.
    pub(crate) async fn failed(&self, received: Option<&Received>, acker: Acker, failure: &str) {
        tracing::warn!(queue = self.queue, failure, "a message could not be handled");
        let settled = match (&self.on_failure, received) {
            (OnFailure::Requeue, _) => acker.nack(true).await,
            (OnFailure::Retry(later), Some(received)) => self.later(received, acker, later, failure).await,
            _ => acker.nack(false).await,
        };
        self.told(settled);
    }

    /// Nobody can read it: whoever handles it next will not read it any better.
    pub(crate) async fn unreadable(&self, received: Option<&Received>, acker: Acker, reason: &str) {
        tracing::warn!(queue = self.queue, reason, "a message cannot be read");
        let dead = match &self.on_failure {
            OnFailure::Retry(later) => later.dead_queue(&self.queue),
            OnFailure::Requeue | OnFailure::Reject => None,
        };
        let properties = received.and_then(|received| received.properties().ok());
        let settled = match (dead, received, properties) {
            (Some(dead), Some(received), Some(properties)) => {
                self.move_to(received, acker, dead, retries(&properties), reason).await
            }
            _ => acker.nack(false).await,
        };
        self.told(settled);
    }

    async fn later(
        &self,
        received: &Received,
        acker: Acker,
        later: &RetryLater,
        failure: &str,
    ) -> amqp_client::Result<()> {
        let retries = retries(&received.properties()?);
        match later.next_queue(&self.queue, retries) {
            Some(queue) => self.move_to(received, acker, queue, retries + 1, failure).await,
            None => acker.nack(false).await,
        }
    }

    /// Publishes it to another queue, and acknowledges it when the broker has it there.
    async fn move_to(
        &self,
        received: &Received,
        acker: Acker,
        queue: Queue,
        retries: u32,
        failure: &str,
    ) -> amqp_client::Result<()> {
        let Some(producer) = &self.producer else { return acker.nack(true).await };
        let (exchange, routing_key) = (received.exchange(), received.routing_key());
        let properties = mark(received.properties()?, retries, failure, &exchange, &routing_key);
        let message = Message::with_properties(received.body().clone(), properties);
        let definition = format!("{queue:?}");
        let entities = || Entities { queues: vec![queue.clone()], ..Entities::default() };
        let required = Required { name: &definition, entities: &entities };
        match producer.deliver(queue.name(), &message, Some(&required)).await {
            Ok(_) => acker.ack().await,
            Err(error) => {
                let (queue, to) = (&self.queue, queue.name());
                tracing::warn!(queue, to, %error, "a message could not be moved; it is requeued");
                acker.nack(true).await
            }
        }
    }

    fn told(&self, settled: amqp_client::Result<()>) {
        if let Err(error) = settled {
            tracing::debug!(queue = self.queue, %error, "a message was not settled; it comes again");
        }
    }
}
