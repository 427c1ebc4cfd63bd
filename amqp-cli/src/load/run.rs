//! Runs a load and measures it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use hdrhistogram::Histogram;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::{
    connection::target::{Target, close},
    context::Context,
    error::Error,
    load::{
        bodies::Content,
        counters::{Counts, Load, Stage},
        kinds::QueueKind,
        measured::{FORMAT, Flow, Interval, Latency, Measured, at, microseconds},
        plan::Plan,
        queues,
        threads::Threads,
    },
};

/// The time between two looks of whoever watches.
const TICK: f64 = 0.25;

/// The pause between two looks whether consumers have taken what was left.
const DRAIN_TICK: Duration = Duration::from_millis(1);

/// Where more or less may be left than was published, consumers that have received nothing for so
/// long are done.
const IDLE: u64 = 500_000_000;

/// The view of a load that its watcher has.
#[derive(Debug)]
pub(crate) enum Shown<'a> {
    /// What goes on at the moment; the end of it is negative before the warm-up is over.
    Live(Interval),
    /// An interval that is over.
    Interval(&'a Interval),
}

/// Shows something; its failure ends the load.
pub(crate) type Show<'a> = dyn FnMut(Shown<'_>) -> Result<(), Error> + 'a;

/// Makes the queues, runs the load until its count or time is reached or a signal comes, and
/// deletes the queues.
///
/// # Errors
/// [`Error::Connect`], [`Error::Broker`]; [`Error::Interrupted`] for a signal before anything was
/// measured.
pub(crate) async fn measure(
    plan: Plan,
    content: &Content,
    target: &Target,
    context: &Context,
    show: &mut Show<'_>,
) -> Result<Measured, Error> {
    let (connection, channel) = context.interrupt.or(target.open_channel()).await?;
    let names = queues::declare(&channel, &plan).await?;
    let measured = run(plan.clone(), names.clone(), content, target, context, show).await;
    queues::delete(&channel, &plan, &names).await;
    close(&connection).await;
    measured
}

async fn run(
    plan: Plan,
    names: Vec<String>,
    content: &Content,
    target: &Target,
    context: &Context,
    show: &mut Show<'_>,
) -> Result<Measured, Error> {
    let load = Arc::new(Load::new(plan, names)?);
    let threads = Threads::start(&load, target, content)?;
    let mut course = Course::new(load.clone(), show);
    let flowed = course.flow(context).await;
    load.stage.send_replace(Stage::Ended);
    threads.join(&load).await;
    if let Some(error) = load.failure.lock().take() {
        return Err(error);
    }
    flowed?;
    Ok(course.measured())
}

/// The course of a load.
struct Course<'a> {
    load: Arc<Load>,
    show: &'a mut Show<'a>,
    /// When the warm-up was over, and what was counted then.
    begin: (u64, Counts),
    /// As of the last interval, and of the last time that anything was shown.
    interval: (u64, Counts),
    shown: (u64, Counts),
    /// When publishers had stopped, and consumers.
    published: (u64, Counts),
    consumed: (u64, Counts),
    left: u64,
    intervals: Vec<Interval>,
}

impl<'a> Course<'a> {
    fn new(load: Arc<Load>, show: &'a mut Show<'a>) -> Self {
        let now = (load.clock.now(), Counts::default());
        Course {
            load,
            show,
            begin: now,
            interval: now,
            shown: now,
            published: now,
            consumed: now,
            left: 0,
            intervals: Vec::new(),
        }
    }

    async fn flow(&mut self, context: &Context) -> Result<(), Error> {
        let parts = self.load.plan.parts().len();
        let mut ready = self.load.ready.subscribe();
        let mut stage = self.load.stage.subscribe();
        tokio::select! {
            biased;
            () = context.interrupt.wait() => return Err(Error::Interrupted),
            _ = stage.wait_for(|stage| *stage == Stage::Ended) => return Ok(()),
            _ = ready.wait_for(|ready| *ready == parts) => {}
        }
        let warm_up = self.load.plan.warm_up;
        if warm_up > 0.0 {
            self.enter(Stage::Flowing);
            self.begin.0 = self.load.clock.now() + (warm_up * 1e9) as u64;
            self.watch(context, Some(warm_up), |_| false).await?;
            if context.interrupt.has_come() {
                return Err(Error::Interrupted);
            }
        }
        self.begin = self.now();
        (self.interval, self.shown) = (self.begin, self.begin);
        self.load.counted_from.store(self.begin.0, Ordering::Relaxed);
        self.load.latencies.take_interval(|_| ());
        self.enter(Stage::Flowing);
        let plan = &self.load.plan;
        let wanted = plan.count.filter(|_| plan.publishers == 0).unwrap_or(u64::MAX);
        let begin = self.begin.1;
        self.watch(context, plan.duration, |counts| (counts - begin).consumed >= wanted).await?;
        self.published = self.now();
        self.consumed = self.published;
        if !context.interrupt.has_come() && self.load.plan.publishers > 0 {
            self.drain(context).await;
        }
        self.end_interval(true)
    }

    /// The next stage, unless all has ended.
    fn enter(&self, next: Stage) {
        self.load.stage.send_if_modified(|stage| {
            let is_later = *stage < next;
            *stage = next.max(*stage);
            is_later
        });
    }

    fn now(&self) -> (u64, Counts) {
        (self.load.clock.now(), self.load.counts())
    }

    /// Shows what goes on until the time is over, all publishers have ended, the counts are
    /// reached, a signal comes or something fails.
    async fn watch(
        &mut self,
        context: &Context,
        seconds: Option<f64>,
        is_done: impl Fn(Counts) -> bool,
    ) -> Result<(), Error> {
        let plan = &self.load.plan;
        let has_publishers = plan.publishers > 0;
        let mut ticks = interval(Duration::from_secs_f64(plan.interval.min(TICK)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stage = self.load.stage.subscribe();
        let mut publishing = self.load.publishing.subscribe();
        // A century, for there is no time that never comes.
        let over = sleep(Duration::try_from_secs_f64(seconds.unwrap_or(3e9)).unwrap_or(Duration::MAX));
        tokio::pin!(over);
        loop {
            tokio::select! {
                biased;
                () = context.interrupt.wait() => return Ok(()),
                _ = stage.wait_for(|stage| *stage == Stage::Ended) => return Ok(()),
                _ = publishing.wait_for(|left| *left == 0), if has_publishers => return Ok(()),
                () = &mut over => return Ok(()),
                _ = ticks.tick() => self.tick()?,
            }
            if is_done(self.load.counts()) {
                return Ok(());
            }
        }
    }

    fn tick(&mut self) -> Result<(), Error> {
        let now = self.now();
        if self.load.is_counting() && seconds(self.interval.0, now.0) >= self.load.plan.interval * 0.98 {
            self.end_interval(false)?;
        }
        let mut live = rates(self.shown, now);
        live.end = (now.0 as f64 - self.begin.0 as f64) / 1e9;
        if let Some(last) = self.intervals.last() {
            (live.p50, live.p99, live.max) = (last.p50, last.p99, last.max);
        }
        self.shown = now;
        (self.show)(Shown::Live(live))
    }

    /// Ends an interval. The last one counts only if it is long enough to tell something.
    fn end_interval(&mut self, is_last: bool) -> Result<(), Error> {
        let now = if is_last { self.consumed } else { self.now() };
        let length = seconds(self.interval.0, now.0);
        if is_last && length < self.load.plan.interval * 0.2 && !self.intervals.is_empty() {
            return Ok(());
        }
        let mut ended = rates(self.interval, now);
        ended.end = seconds(self.begin.0, now.0);
        (ended.p50, ended.p99, ended.max) = self.load.latencies.take_interval(percentiles);
        self.interval = now;
        self.intervals.push(ended);
        (self.show)(Shown::Interval(&ended))
    }

    /// Waits until publishers have stopped and consumers have taken what is left.
    async fn drain(&mut self, context: &Context) {
        let (is_timed, limit) = (self.load.plan.duration.is_some(), self.load.plan.drain);
        self.enter(Stage::Draining);
        let begin = self.load.clock.now();
        let mut moved = self.now();
        while seconds(begin, self.load.clock.now()) < limit && !context.interrupt.has_come() {
            let (now, counts) = self.now();
            if counts.consumed != moved.1.consumed {
                moved = (now, counts);
            }
            let has_stopped = *self.load.publishing.borrow() == 0;
            let is_idle = !self.is_exact() && now - moved.0 > IDLE;
            if has_stopped && (counts.consumed >= self.expected(counts) || is_idle) {
                break;
            }
            sleep(DRAIN_TICK).await;
        }
        let counts = self.load.counts();
        if self.load.plan.consumers > 0 {
            self.left = self.expected(counts).saturating_sub(counts.consumed);
        }
        if !is_timed {
            // What took time to arrive counts with that time.
            self.consumed = moved;
        }
    }

    /// The number of messages that consumers are to receive.
    fn expected(&self, counts: Counts) -> u64 {
        let plan = &self.load.plan;
        let taken = counts.published - counts.refused;
        match plan.kind {
            _ if plan.consumers == 0 => 0,
            QueueKind::Stream => taken * plan.consumers.div_ceil(plan.queue_count()).max(1) as u64,
            QueueKind::Classic | QueueKind::Quorum => taken,
        }
    }

    /// Tells whether consumers receive what is published and nothing else.
    fn is_exact(&self) -> bool {
        let plan = &self.load.plan;
        plan.named_queues.is_empty()
            && (plan.kind != QueueKind::Stream || plan.consumers.is_multiple_of(plan.queue_count()))
    }

    fn measured(&self) -> Measured {
        let load = &self.load;
        let is_corrected = load.plan.rate.is_some();
        let latency = |total: &Histogram<u64>| Latency::of(total, is_corrected);
        let (publishing, consuming) = (self.published.1 - self.begin.1, self.consumed.1 - self.begin.1);
        let publishing_seconds = seconds(self.begin.0, self.published.0);
        let consuming_seconds = seconds(self.begin.0, self.consumed.0);
        Measured {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            broker: load.broker.lock().clone(),
            plan: load.plan.clone(),
            seconds: consuming_seconds,
            published: Flow::new(publishing.published, publishing.published_bytes, publishing_seconds),
            confirmed: Flow::new(publishing.confirmed, 0, publishing_seconds),
            consumed: Flow::new(consuming.consumed, consuming.consumed_bytes, consuming_seconds),
            refused: consuming.refused,
            redelivered: consuming.redelivered,
            left: self.left,
            latency: load.latencies.with_total(latency),
            confirm_latency: load.confirms.with_total(latency),
            intervals: self.intervals.clone(),
        }
    }
}

fn seconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e9
}

/// The flow from one moment to another, a second.
fn rates(from: (u64, Counts), to: (u64, Counts)) -> Interval {
    let (length, went) = (seconds(from.0, to.0).max(1e-9), to.1 - from.1);
    Interval {
        published: went.published as f64 / length,
        confirmed: went.confirmed as f64 / length,
        consumed: went.consumed as f64 / length,
        ..Interval::default()
    }
}

fn percentiles(histogram: &Histogram<u64>) -> (Option<f64>, Option<f64>, Option<f64>) {
    if histogram.is_empty() {
        return (None, None, None);
    }
    (Some(at(histogram, 50.0)), Some(at(histogram, 99.0)), Some(microseconds(histogram.max())))
}
