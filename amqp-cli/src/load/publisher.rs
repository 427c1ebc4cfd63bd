//! One publisher of a load.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
};

use amqp_client::{Channel, Confirm, Confirmation, Message, Publisher};
use futures_util::FutureExt as _;
use tokio::{sync::watch, task::yield_now};

use crate::{
    error::Error,
    load::{
        bodies::{Content, Writer},
        counters::{Counters, Load, Stage, add},
        distribution::Recorder,
        kinds::Stamp,
        pace::Pace,
    },
};

/// After so many messages a publisher looks whether it is to end.
const BATCH: u64 = 64;

/// One publisher of a load.
pub(crate) struct LoadPublisher {
    load: Arc<Load>,
    stage: watch::Receiver<Stage>,
    /// Among the counters of all workers.
    worker: usize,
    number: usize,
    outlet: Outlet,
    queues: Vec<usize>,
    writer: Writer,
    /// Which of the queues is next.
    turn: usize,
    published: u64,
    /// The number that it had published when the warm-up was over.
    base: Option<u64>,
}

/// Where messages leave.
enum Outlet {
    Plain(Channel),
    Confirmed(Confirms),
}

/// A publisher with open confirms.
struct Confirms {
    publisher: Publisher,
    window: usize,
    /// With the times at which they were published, or were due.
    open: VecDeque<(u64, Confirm)>,
    recorder: Recorder,
}

impl LoadPublisher {
    pub(crate) async fn new(
        load: Arc<Load>,
        content: Content,
        channel: Channel,
        (worker, number): (usize, usize),
        queues: Vec<usize>,
    ) -> Result<Self, Error> {
        let plan = &load.plan;
        let outlet = match plan.confirm_window {
            0 => Outlet::Plain(channel),
            window => Outlet::Confirmed(Confirms {
                publisher: channel.publisher().await.map_err(Error::broker("turn confirms on"))?,
                window,
                open: VecDeque::with_capacity(window.min(1 << 16)),
                recorder: Recorder::new(&load.confirms)?,
            }),
        };
        let writer = Writer::new(content, plan.stamp, plan.is_persistent);
        let stage = load.stage.subscribe();
        Ok(LoadPublisher {
            load,
            stage,
            worker,
            number,
            outlet,
            queues,
            writer,
            turn: 0,
            published: 0,
            base: None,
        })
    }

    /// Publishes until the count is reached or the load ends, and waits for the open confirms.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let load = self.load.clone();
        let mut stage = self.stage.clone();
        let flowed = tokio::select! {
            biased;
            flowed = self.flow() => flowed,
            // A broker that blocks may never take another message.
            _ = stage.wait_for(|stage| *stage == Stage::Ended) => Ok(()),
        };
        load.publishing.send_modify(|publishing| *publishing -= 1);
        flowed
    }

    async fn flow(&mut self) -> Result<(), Error> {
        match self.load.plan.rate {
            None => self.flow_freely().await?,
            Some(rate) => self.flow_at(rate).await?,
        }
        self.settle_all().await
    }

    async fn flow_freely(&mut self) -> Result<(), Error> {
        let needs_time = self.load.plan.stamp != Stamp::None;
        loop {
            let batch = self.batch();
            if batch == 0 {
                return Ok(());
            }
            for _ in 0..batch {
                let now = if needs_time { self.load.clock.now() } else { 0 };
                self.publish(now).await?;
            }
        }
    }

    async fn flow_at(&mut self, rate: u32) -> Result<(), Error> {
        let share = self.number as f64 / self.load.plan.publishers as f64;
        let mut pace = Pace::new(rate, self.load.clock, share)?;
        while self.batch() > 0 {
            self.wait(&mut pace).await?;
            if *self.stage.borrow() > Stage::Flowing {
                continue;
            }
            self.publish(pace.due()).await?;
            pace.advance();
            if self.published.is_multiple_of(BATCH) {
                // When it is late it never waits, and others of its thread would.
                yield_now().await;
            }
        }
        Ok(())
    }

    /// The number of messages to publish before it looks again; 0 when it is to end.
    fn batch(&mut self) -> u64 {
        if *self.stage.borrow() > Stage::Flowing {
            return 0;
        }
        if self.base.is_none() && self.load.is_counting() {
            self.base = Some(self.published);
        }
        match (self.load.plan.count, self.base) {
            (Some(count), Some(base)) => (base + count - self.published).min(BATCH),
            _ => BATCH,
        }
    }

    /// Waits until the next message is due or all ends, and handles confirms meanwhile.
    async fn wait(&mut self, pace: &mut Pace) -> Result<(), Error> {
        loop {
            let counters = counters(&self.load, self.worker);
            let is_over = self.stage.wait_for(|stage| *stage > Stage::Flowing);
            match &mut self.outlet {
                Outlet::Confirmed(confirms) if !confirms.open.is_empty() => tokio::select! {
                    biased;
                    waited = pace.wait(self.load.clock) => return waited,
                    settled = confirms.settle(&self.load, counters) => settled?,
                    _ = is_over => return Ok(()),
                },
                _ => tokio::select! {
                    biased;
                    waited = pace.wait(self.load.clock) => return waited,
                    _ = is_over => return Ok(()),
                },
            }
        }
    }

    #[inline]
    async fn publish(&mut self, time: u64) -> Result<(), Error> {
        let queue = self.queues.get(self.turn).and_then(|queue| self.load.queues.get(*queue));
        let route = ("", queue.map_or("", String::as_str));
        let counters = counters(&self.load, self.worker);
        let message = self.writer.next(time);
        match &mut self.outlet {
            Outlet::Plain(channel) => channel.publish(route, message).await.map_err(failed)?,
            Outlet::Confirmed(confirms) => {
                if confirms.open.len() >= confirms.window {
                    // At full speed there is some room before it goes on, so that messages leave in
                    // batches.
                    let room = if self.load.plan.rate.is_none() { confirms.window / 8 } else { 0 };
                    while confirms.open.len() >= confirms.window - room {
                        confirms.settle(&self.load, counters).await?;
                    }
                }
                let confirm = confirms.publisher.publish(route, message).await.map_err(failed)?;
                confirms.open.push_back((time, confirm));
            }
        }
        self.published += 1;
        self.turn = if self.turn + 1 < self.queues.len() { self.turn + 1 } else { 0 };
        add(&counters.published, 1);
        add(&counters.published_bytes, size_of(message));
        Ok(())
    }

    async fn settle_all(&mut self) -> Result<(), Error> {
        let Outlet::Confirmed(confirms) = &mut self.outlet else { return Ok(()) };
        while !confirms.open.is_empty() {
            confirms.settle(&self.load, counters(&self.load, self.worker)).await?;
        }
        Ok(())
    }
}

impl Confirms {
    /// Waits for the oldest confirm, and takes those that have come with it.
    ///
    /// # Cancel safety
    /// If the future is dropped while pending, the confirm is still open.
    async fn settle(&mut self, load: &Load, counters: &Counters) -> Result<(), Error> {
        let Some((time, confirm)) = self.open.front_mut() else { return Ok(()) };
        let mut outcome = Some(confirm.await);
        let mut time = *time;
        let now = if load.plan.stamp == Stamp::None { 0 } else { load.clock.now() };
        let from = load.counted_from.load(Ordering::Relaxed);
        while let Some(settled) = outcome {
            self.open.pop_front();
            match settled.map_err(failed)? {
                Confirmation::Ack => add(&counters.confirmed, 1),
                Confirmation::Nack | Confirmation::Returned(_) => add(&counters.refused, 1),
            }
            if now != 0 && time >= from {
                self.recorder.record(time, now);
            }
            let Some((published, confirm)) = self.open.front_mut() else { break };
            time = *published;
            outcome = confirm.now_or_never();
        }
        Ok(())
    }
}

fn size_of(message: &Message) -> u64 {
    message.body().len() as u64
}

#[inline]
fn counters(load: &Load, worker: usize) -> &Counters {
    &load.workers[worker]
}

#[cold]
fn failed(source: amqp_client::Error) -> Error {
    Error::broker("publish")(source)
}
