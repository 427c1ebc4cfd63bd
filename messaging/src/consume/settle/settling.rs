//! Settles a message after an attempt to handle it.

use amqp_client::{Message, Queue, Received, Report};
use amqp_codec::{HeaderTable, RawProperties};
use futures_util::FutureExt as _;

use crate::{
    connection::entity::Entities,
    consume::settle::{
        acker::Acker,
        broker_delay::{BrokerDelay, failures},
        marked::{Marks, Whereto},
        next_step::NextStep,
        on_failure::{OnFailure, RetryLater, retries_in},
        stuck::{Stuck, message_id},
    },
    error::Error,
    publish::{producer::Producer, publish_channel::Required},
    telemetry::observer::{HANDLER_FAILED, ObservedQueue, UNDECODABLE},
};

/// Settles the messages of one queue. When a message cannot be settled, its channel has ended and
/// the message is delivered again.
pub(crate) struct Settling {
    pub(crate) queue: String,
    /// Whether rejected messages are dead-lettered, as far as the queue's declaration says.
    pub(crate) dead_letters: bool,
    pub(crate) on_failure: OnFailure,
    /// The pauses that the broker makes before retries, if the queue is declared so.
    pub(crate) broker_delay: Option<BrokerDelay>,
    /// The producer for the default exchange, on a channel that others do not publish on. Without
    /// it, messages that should be published elsewhere are requeued.
    pub(crate) producer: Option<Producer>,
    pub(crate) observed: ObservedQueue,
}

impl Settling {
    /// Returns the settings for messages from this queue.
    pub(crate) fn new(
        queue: &Queue,
        on_failure: OnFailure,
        broker_delay: Option<BrokerDelay>,
        producer: Option<Producer>,
        observed: ObservedQueue,
    ) -> Self {
        let dead_letters = queue.arguments().contains_key("x-dead-letter-exchange");
        Settling {
            queue: queue.name().to_owned(),
            dead_letters,
            on_failure,
            broker_delay,
            producer,
            observed,
        }
    }

    /// Whether a failed message may be published elsewhere, so that a copy must be kept while it is
    /// handled.
    pub(crate) fn publishes(&self) -> bool {
        matches!(self.on_failure, OnFailure::Retry(_))
    }

    /// Acknowledges a message that was handled. This does not wait: the frame is written at the
    /// next occasion.
    pub(crate) fn done(&self, acker: Acker) {
        acker.operation().end_as(None);
        self.told(acker.ack().now_or_never().unwrap_or(Ok(())));
    }

    /// Settles a message that could not be handled.
    ///
    /// # Errors
    /// The message could not be moved where it belongs, and is not settled.
    pub(crate) async fn failed(
        &self,
        received: Option<&Received>,
        acker: Acker,
        failure: &str,
    ) -> Result<(), Stuck> {
        acker.operation().end_as(Some(HANDLER_FAILED));
        let retries = received.map_or(0, |received| self.retries(received));
        let mut next = NextStep::after_failure(&self.on_failure, &self.queue, retries, self.dead_letters);
        let mut is_returned = false;
        if let (NextStep::HandledAgain(pause), Some(delay)) = (&mut next, self.delay()) {
            (*pause, is_returned) = (delay.pause(retries.saturating_add(1)), true);
        }
        let id = received.and_then(message_id);
        tracing::warn!(queue = self.queue, id, failure, "a message could not be handled; {next}");
        let settled = match (&self.on_failure, received) {
            (OnFailure::Requeue, _) => acker.nack(true).await,
            // RabbitMQ counts a message as failed that is rejected, and not one that is nacked.
            (OnFailure::Retry(_), Some(_)) if is_returned => acker.reject(true).await,
            (OnFailure::Retry(later), Some(received)) => {
                return self.later(received, acker, later, retries, failure).await;
            }
            _ => acker.nack(false).await,
        };
        self.told(settled);
        Ok(())
    }

    /// Settles a message that cannot be decoded. Retrying it is useless, because nobody can decode
    /// it later either.
    ///
    /// # Errors
    /// As [`failed`](Self::failed).
    pub(crate) async fn unreadable(
        &self,
        received: Option<&Received>,
        acker: Acker,
        reason: &str,
    ) -> Result<(), Stuck> {
        acker.operation().end_as(Some(UNDECODABLE));
        let id = received.and_then(message_id);
        let withheld = received.and_then(Received::withheld);
        let next = NextStep::of_unreadable(&self.on_failure, &self.queue, withheld, self.dead_letters);
        tracing::warn!(queue = self.queue, id, reason, "a message cannot be decoded; {next}");
        let dead = match &self.on_failure {
            OnFailure::Retry(later) => later.dead_queue(&self.queue),
            OnFailure::Requeue | OnFailure::Reject => None,
        };
        match (dead, received) {
            (_, Some(received)) if received.withheld().is_some() && !self.dead_letters => {
                Err(Stuck::new(acker, reason))
            }
            (Some(dead), Some(received)) if received.withheld().is_none() => {
                let retries = self.retries(received);
                self.move_to(received, acker, dead, retries, reason, Whereto::Dead).await
            }
            _ => {
                self.told(acker.nack(false).await);
                Ok(())
            }
        }
    }

    async fn later(
        &self,
        received: &Received,
        acker: Acker,
        later: &RetryLater,
        retries: u32,
        failure: &str,
    ) -> Result<(), Stuck> {
        match later.next_queue(&self.queue, retries) {
            Some(queue) => {
                let whereto = if later.is_exhausted(retries) { Whereto::Dead } else { Whereto::Waiting };
                self.move_to(received, acker, queue, retries.saturating_add(1), failure, whereto).await
            }
            None => {
                self.told(acker.nack(false).await);
                Ok(())
            }
        }
    }

    /// Returns the pauses of the queue, if the broker makes them.
    fn delay(&self) -> Option<&BrokerDelay> {
        self.broker_delay.as_ref().filter(|delay| delay.is_in_effect())
    }

    fn retries(&self, received: &Received) -> u32 {
        retries_in(&headers(received)).saturating_add(self.returns(received))
    }

    /// Returns how often the message has failed and returned to its queue.
    pub(crate) fn returns(&self, received: &Received) -> u32 {
        let is_counted = received.redelivered() && self.delay().is_some();
        if is_counted { failures(received) } else { 0 }
    }

    /// Publishes the message to another queue, and acknowledges it when the broker has confirmed
    /// that.
    async fn move_to(
        &self,
        received: &Received,
        acker: Acker,
        queue: Queue,
        retries: u32,
        failure: &str,
        whereto: Whereto,
    ) -> Result<(), Stuck> {
        let Some(producer) = &self.producer else {
            self.told(acker.nack(true).await);
            return Ok(());
        };
        let (exchange, routing_key) = (&received.exchange(), &received.routing_key());
        let marks = Marks { queue: &self.queue, retries, failure, exchange, routing_key };
        let operation = acker.operation().clone();
        match operation.around(publish(producer, received, &queue, marks, whereto)).await {
            Ok(()) => {
                self.told(acker.ack().await);
                Ok(())
            }
            Err(error) => Err(Stuck::new(
                acker,
                &format!("cannot move the message to queue {:?}: {}", queue.name(), Report(&error)),
            )),
        }
    }

    fn told(&self, settled: amqp_client::Result<()>) {
        if let Err(error) = settled {
            tracing::debug!(queue = self.queue, error = %Report(&error), "a message could not be settled; the broker delivers it again");
        }
    }
}

/// Declares a queue and publishes a message to it.
async fn publish(
    producer: &Producer,
    received: &Received,
    queue: &Queue,
    marks: Marks<'_>,
    whereto: Whereto,
) -> Result<(), Error> {
    let properties =
        marks.put_on(&received.encoded_properties(), whereto).map_err(amqp_client::Error::Invalid);
    let properties = properties.map_err(Error::broker("set the retry headers of a message"))?;
    let message = Message::with_encoded_properties(received.body().clone(), properties);
    let definition = format!("{queue:?}");
    let entities = || Entities { queues: vec![queue.clone()], ..Entities::default() };
    let required = Required { name: &definition, entities: &entities };
    producer.publish_raw(queue.name(), &message, Some(&required)).await.map(drop)
}

/// Returns the headers of a message, with nested values still encoded; none when they cannot be
/// read.
fn headers(received: &Received) -> HeaderTable {
    RawProperties::split(&received.encoded_properties()).and_then(|raw| raw.headers()).unwrap_or_default()
}
