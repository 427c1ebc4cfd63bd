//! One consumer of a load.

use std::sync::{Arc, atomic::Ordering};

use amqp_client::{Acker, Channel, ConsumeOptions, Consumer, Delivery, StreamOffset};
use tokio::{sync::watch, task::yield_now};

use crate::{
    error::Error,
    load::{
        bodies::time_of,
        counters::{Load, Stage, add},
        distribution::Recorder,
        kinds::{QueueKind, Stamp},
        pace::Pace,
    },
};

/// After so many messages a consumer looks whether it is to end.
const BATCH: u32 = 64;

/// One consumer of a load.
pub(crate) struct LoadConsumer {
    load: Arc<Load>,
    stage: watch::Receiver<Stage>,
    /// Among the counters of all workers.
    worker: usize,
    consumer: Consumer,
    /// The messages that are not acknowledged yet.
    held: Vec<Acker>,
    recorder: Recorder,
    pace: Option<Pace>,
}

impl LoadConsumer {
    pub(crate) async fn new(
        load: Arc<Load>,
        channel: &Channel,
        worker: usize,
        queue: usize,
    ) -> Result<Self, Error> {
        let plan = &load.plan;
        let queue = load.queues.get(queue).map_or("", String::as_str);
        let mut options = ConsumeOptions::new().no_ack(plan.ack_every == 0).prefetch(plan.prefetch);
        if plan.kind == QueueKind::Stream {
            let is_own = plan.named_queues.is_empty();
            options = options.stream_offset(if is_own { StreamOffset::First } else { StreamOffset::Next });
        }
        let failed = Error::broker(format!("consume from queue {queue:?}"));
        let consumer = channel.consume(queue, options).await.map_err(failed)?;
        let recorder = Recorder::new(&load.latencies)?;
        let pace = plan.consume_rate.map(|rate| Pace::new(rate, load.clock, 0.0)).transpose()?;
        let stage = load.stage.subscribe();
        Ok(LoadConsumer { load, stage, worker, consumer, held: Vec::new(), recorder, pace })
    }

    /// Consumes until the load ends, and acknowledges what it has received.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let mut left = BATCH;
        // Made once, and not for each message.
        let mut stage = self.stage.clone();
        let ended = stage.wait_for(|stage| *stage == Stage::Ended);
        tokio::pin!(ended);
        loop {
            left -= 1;
            if left == 0 {
                left = BATCH;
                if *self.stage.borrow() == Stage::Ended {
                    break;
                }
                if self.load.plan.threads < self.load.plan.publishers + self.load.plan.consumers {
                    // Messages that are there never wait, and others of its thread would.
                    yield_now().await;
                }
            }
            let delivery = tokio::select! {
                biased;
                delivery = self.consumer.recv() => delivery,
                _ = &mut ended => break,
            };
            match delivery {
                Some(delivery) => self.receive(delivery.map_err(failed)?).await?,
                None => break,
            }
            if let Some(pace) = &mut self.pace {
                pace.forgive(self.load.clock.now());
                pace.advance();
                tokio::select! {
                    biased;
                    waited = pace.wait(self.load.clock) => waited?,
                    _ = &mut ended => break,
                }
            }
        }
        self.settle().await
    }

    #[inline]
    async fn receive(&mut self, delivery: Delivery) -> Result<(), Error> {
        let plan = &self.load.plan;
        if plan.stamp != Stamp::None {
            let now = self.load.clock.now();
            if let Some(time) = time_of(&delivery, plan.stamp, now)
                && time >= self.load.counted_from.load(Ordering::Relaxed)
            {
                self.recorder.record(time, now);
            }
        }
        let counters = &self.load.workers[self.worker];
        add(&counters.consumed, 1);
        add(&counters.consumed_bytes, delivery.body().len() as u64);
        if delivery.redelivered() {
            add(&counters.redelivered, 1);
        }
        match plan.ack_every {
            0 => Ok(()),
            1 => delivery.ack().await.map_err(failed),
            every => {
                self.held.push(delivery.split().1);
                if self.held.len() >= every as usize { self.settle().await } else { Ok(()) }
            }
        }
    }

    /// Acknowledges what is held. The client joins acknowledgements of consecutive messages.
    async fn settle(&mut self) -> Result<(), Error> {
        for acker in self.held.drain(..) {
            acker.ack().await.map_err(failed)?;
        }
        Ok(())
    }
}

#[cold]
fn failed(source: amqp_client::Error) -> Error {
    Error::broker("consume")(source)
}
