//! What becomes of notifications that were looked at.

use std::time::Duration;

use amqp_client::{Delivery, Message, Queue};

use crate::{
    entity::Entities,
    error::Malformed,
    lane::Required,
    on_failure::{OnFailure, RetryLater, mark, retries},
    producer::Producer,
};

/// What becomes of them by default: none is lost, and none is handled without end.
pub(super) const PATIENT: RetryLater = RetryLater::after(Duration::from_secs(1))
    .doubling_up_to(Duration::from_secs(60))
    .limit(8)
    .dead_letter(true);

/// For the notifications of one queue.
pub(super) struct Settling {
    pub(super) queue: String,
    pub(super) on_failure: OnFailure,
    /// To the default exchange.
    pub(super) producer: Producer,
}

impl Settling {
    /// It is done.
    pub(super) async fn done(&self, delivery: Delivery) {
        self.told(delivery.ack().await);
    }

    /// It could not be handled.
    pub(super) async fn failed(&self, delivery: Delivery, failure: &str) {
        let settled = match &self.on_failure {
            OnFailure::Requeue => delivery.reject(true).await,
            OnFailure::Reject => delivery.reject(false).await,
            OnFailure::Retry(later) => self.later(delivery, later, failure).await,
        };
        self.told(settled);
    }

    /// Nobody can read it.
    pub(super) async fn unreadable(&self, delivery: Delivery, reason: &Malformed) {
        tracing::error!(queue = self.queue, %reason, "a notification cannot be read");
        let dead = match &self.on_failure {
            OnFailure::Retry(later) => later.dead_queue(&self.queue),
            OnFailure::Requeue | OnFailure::Reject => None,
        };
        let settled = match (dead, delivery.properties()) {
            (Some(dead), Ok(properties)) => {
                self.move_to(delivery, dead, retries(&properties), &reason.to_string()).await
            }
            _ => delivery.reject(false).await,
        };
        self.told(settled);
    }

    async fn later(&self, delivery: Delivery, later: &RetryLater, failure: &str) -> amqp_client::Result<()> {
        let retries = retries(&delivery.properties()?);
        match later.next_queue(&self.queue, retries) {
            Some(queue) => self.move_to(delivery, queue, retries + 1, failure).await,
            None => delivery.reject(false).await,
        }
    }

    /// Publishes it to another queue, and acknowledges it when the broker has it there.
    async fn move_to(
        &self,
        delivery: Delivery,
        queue: Queue,
        retries: u32,
        failure: &str,
    ) -> amqp_client::Result<()> {
        let (exchange, routing_key) = (delivery.exchange(), delivery.routing_key());
        let properties = mark(delivery.properties()?, retries, failure, &exchange, &routing_key);
        let message = Message::with_properties(delivery.body().clone(), properties);
        let definition = format!("{queue:?}");
        let entities = || Entities { queues: vec![queue.clone()], ..Entities::default() };
        let required = Required { name: &definition, entities: &entities };
        match self.producer.deliver(queue.name(), &message, Some(&required)).await {
            Ok(_) => delivery.ack().await,
            Err(error) => {
                let (queue, to) = (&self.queue, queue.name());
                tracing::warn!(queue, to, %error, "a notification could not be moved; it is requeued");
                delivery.reject(true).await
            }
        }
    }

    fn told(&self, settled: amqp_client::Result<()>) {
        if let Err(error) = settled {
            tracing::debug!(queue = self.queue, %error, "a notification was not settled; it comes again");
        }
    }
}
