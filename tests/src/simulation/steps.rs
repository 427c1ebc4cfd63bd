//! A client does its steps one after the other.

use std::{sync::atomic::Ordering, time::Duration};

use amqp_client::{ConsumeOptions, GetOptions};
use fastrand::Rng;
use tokio::time::sleep;

use super::{
    client::Client,
    consumer::{Running, start, watch},
    scenario::{ClientPlan, Manner, NumberedStep, QUEUES, Step, UNACKED_QUEUE},
};

impl Client {
    /// Does all steps, and ends.
    pub(super) async fn run(mut self, plan: ClientPlan) {
        for NumberedStep { number, step } in plan.steps {
            self.world.log.add(format_args!("client {} step {number}: {step:?}", self.number));
            self.step(number, step).await;
        }
        self.settle().await;
        // Half of the clients close their connections with consumers that run.
        if self.number.is_multiple_of(2) {
            while let Some(consumer) = self.consumers.pop_front() {
                self.end_consumer(consumer, false).await;
            }
        }
        self.close().await;
        self.world.log.add(format_args!("client {} ended", self.number));
    }

    async fn step(&mut self, number: usize, step: Step) {
        match step {
            Step::Publish { channel, batch } => self.publish(channel, batch).await,
            Step::Settle => self.settle().await,
            Step::Consume { channel, queue, prefetch, manner } => {
                self.consume(channel, QUEUES[queue], prefetch, manner).await;
            }
            Step::Watch { channel } => self.watch(channel).await,
            Step::Cancel | Step::DropConsumer => {
                if let Some(consumer) = self.consumers.pop_front() {
                    self.end_consumer(consumer, matches!(step, Step::DropConsumer)).await;
                }
            }
            Step::Get { channel, queue, manner } => self.get(number, channel, QUEUES[queue], manner).await,
            Step::CloseChannel { channel } => {
                if let Some(used) = self.channels[channel].take() {
                    self.world.call("closing a channel", used.channel.close()).await;
                }
            }
            Step::DropChannel { channel } => drop(self.channels[channel].take()),
            Step::CloseConnection => self.close().await,
            Step::DropConnection => self.abandon().await,
            Step::Pause { milliseconds } => sleep(Duration::from_millis(milliseconds)).await,
            _ => self.change_topology(step).await,
        }
    }

    async fn consume(&mut self, channel: usize, queue: &'static str, prefetch: u16, manner: Manner) {
        let Some(used) = self.channel(channel).await else { return };
        let options = ConsumeOptions::new().prefetch(prefetch);
        let Some(consumer) = self.world.call("consume", used.channel.consume(queue, options)).await else {
            return;
        };
        let place = self.place(used.channel, queue);
        self.consumers.push_back(start(place, consumer, prefetch, manner));
    }

    async fn watch(&mut self, channel: usize) {
        let Some(used) = self.channel(channel).await else { return };
        let options = ConsumeOptions::new().no_ack(true);
        let consuming = used.channel.consume(UNACKED_QUEUE, options);
        let Some(consumer) = self.world.call("consume", consuming).await else { return };
        let place = self.place(used.channel, UNACKED_QUEUE);
        self.consumers.push_back(watch(place, consumer));
    }

    async fn get(&mut self, number: usize, channel: usize, queue: &'static str, manner: Manner) {
        let Some(used) = self.channel(channel).await else { return };
        let getting = used.channel.get(queue, GetOptions::new());
        let Some(Some(delivery)) = self.world.call("get", getting).await else { return };
        let mut place = self.place(used.channel, queue);
        place.serial = used.serial;
        let (mut held, mut unproven) = (Vec::new(), Vec::new());
        place.hold(delivery, &mut held);
        if !held.is_empty() {
            let mut rng = Rng::with_seed(self.world.seed ^ number as u64);
            place.settle_one(&mut held, &mut unproven, manner, &mut rng).await;
        }
        if number.is_multiple_of(2) {
            place.prove(unproven).await;
        }
        self.held.append(&mut held);
    }

    async fn end_consumer(&self, consumer: Running, drops: bool) {
        consumer.leash.drops.store(drops, Ordering::Relaxed);
        consumer.leash.cancels.notify_one();
        self.world.ends("a consumer", consumer.task).await;
    }

    /// Closes the connection, and waits for all that ends with it.
    async fn close(&mut self) {
        self.channels = [None, None];
        if let Some(connection) = self.connection.take().filter(|connection| !connection.is_closed()) {
            self.world.call("closing", connection.close()).await;
        }
        self.settle().await;
        while let Some(consumer) = self.consumers.pop_front() {
            self.world.ends("a consumer of a closed connection", consumer.task).await;
        }
        self.held.clear();
    }

    /// Drops all handles.
    async fn abandon(&mut self) {
        for consumer in self.consumers.drain(..) {
            consumer.task.abort();
            let _ = consumer.task.await;
        }
        self.forget();
        self.held.clear();
        self.channels = [None, None];
        self.connection = None;
    }
}
