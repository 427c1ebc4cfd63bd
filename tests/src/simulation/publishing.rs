//! The publishes of a client, and what it learns of their outcome.

use std::time::Duration;

use amqp_client::{Confirmation, Message, Route};
use tokio::time::timeout;

use super::{
    account::{Outcome, body_of},
    client::{Client, Pending, UsedChannel},
    scenario::Batch,
};

/// The time for which an outcome is waited for: longer than a lost connection takes to be noticed
/// and recovered.
const PATIENCE: Duration = Duration::from_secs(600);

impl Client {
    /// Publishes messages.
    pub(super) async fn publish(&mut self, channel: usize, batch: Batch) {
        let Some(used) = self.channel(channel).await else { return };
        for _ in 0..batch.count {
            self.publish_one(&used, batch).await;
        }
    }

    async fn publish_one(&mut self, used: &UsedChannel, batch: Batch) {
        let Batch { target, size, persistent, mandatory, republish, .. } = batch;
        let (exchange, key) = target.route(self.number);
        let number = self.world.account.publish(&batch, used.serial);
        let mut message = Message::new(body_of(number, size));
        if persistent {
            message = message.persistent();
        }
        let route = Route::new(exchange, &key).mandatory(mandatory || self.world.is_mandatory);
        let publisher = used.publisher.clone().republish(republish);
        match self.world.call("publish", publisher.publish(route, message)).await {
            Some(confirm) => {
                let generation = self.world.network.generation(self.number);
                self.world.account.published_on(number, generation);
                self.pending.push(Pending { number, generation, confirm });
            }
            None => self.world.account.outcome(number, Outcome::Unsent, 0),
        }
    }

    /// Waits for the outcome of all publishes.
    pub(super) async fn settle(&mut self) {
        for Pending { number, generation, confirm } in std::mem::take(&mut self.pending) {
            let outcome = match timeout(PATIENCE, confirm).await {
                Ok(Ok(Confirmation::Ack)) => Outcome::Confirmed,
                Ok(Ok(Confirmation::Nack)) => Outcome::Nacked,
                Ok(Ok(Confirmation::Returned(_))) => Outcome::Returned,
                Ok(Err(error)) => {
                    self.world.failed("a publish", &error);
                    Outcome::Lost
                }
                Err(_) => {
                    if !self.world.swallows {
                        self.world.log.violation(format!("message {number} gets no outcome"));
                    }
                    Outcome::Lost
                }
            };
            let repeats = self.world.network.generation(self.number) - generation;
            self.world.account.outcome(number, outcome, repeats);
        }
    }

    /// Gives up the outcome of all publishes.
    pub(super) fn forget(&mut self) {
        for Pending { number, generation, .. } in self.pending.drain(..) {
            let repeats = self.world.network.generation(self.number) - generation;
            self.world.account.outcome(number, Outcome::Lost, repeats);
        }
    }
}
