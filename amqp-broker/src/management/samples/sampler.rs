//! Takes samples of all queues and channels, and of everything together, every few seconds.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    sync::{Arc, Weak},
    time::Duration,
};

use amqp_codec::ShortString;
use tokio::time::{Instant, sleep};

use super::counts::{Counts, Rates};
use crate::{
    broker::Broker,
    core::{
        counters::{Churn, MessageCounters},
        entities::ids::ChannelId,
        vhost::observe::ExchangeState,
    },
    management::observed::{
        connections::connections,
        process::{PROCESS_VALUES, ProcessState},
        walk,
    },
    server::host::since_1970,
    sync::Mutex,
};

/// The time between two samples.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);

/// The number of samples of everything together that are kept: an hour of them.
const KEPT: usize = 720;

/// The number of samples of a queue that are kept: a minute of them.
const KEPT_OF_QUEUE: usize = 13;

/// Samples, the oldest first, with their times in milliseconds since 1970.
type History = VecDeque<(u64, Counts)>;

/// A sample, and the rates since the sample before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sampled {
    pub(crate) counts: Counts,
    pub(crate) rates: Rates,
    /// The time since which nothing has changed, in milliseconds since 1970; `None` if something
    /// has since the sample before.
    pub(crate) idle_since: Option<u64>,
}

/// Some values, and their changes in a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SampledValues<const N: usize> {
    values: [u64; N],
    pub(crate) rates: [f64; N],
}

/// The samples of a virtual host.
#[derive(Clone, Debug, Default)]
struct SampledVhost {
    all: Sampled,
    queues: HashMap<ShortString, Sampled>,
    histories: HashMap<ShortString, History>,
    channels: HashMap<ChannelId, Sampled>,
    /// What was published to each exchange, and went on to queues. The default one has no name.
    exchanges: HashMap<String, SampledValues<2>>,
}

/// The last samples.
#[derive(Debug, Default)]
struct Last {
    at: Option<Instant>,
    all: Sampled,
    churn: Churn,
    vhosts: HashMap<String, SampledVhost>,
    /// The octets of each connection, in and out.
    traffic: HashMap<u64, SampledValues<2>>,
    process: SampledValues<PROCESS_VALUES>,
    /// Samples of everything together.
    history: History,
}

/// The samples of a broker.
#[derive(Debug, Default)]
pub(crate) struct Samples(Mutex<Last>);

impl Samples {
    /// Samples a broker as long as somebody has the samples, and the broker does not end.
    pub(crate) fn of(broker: &Broker) -> Arc<Self> {
        let samples = Arc::new(Samples::default());
        tokio::spawn(run(broker.clone(), Arc::downgrade(&samples)));
        samples
    }

    /// The last sample of a queue.
    pub(crate) fn queue(&self, vhost: &str, name: &ShortString) -> Sampled {
        let last = self.0.lock();
        let sampled = last.vhosts.get(vhost).and_then(|vhost| vhost.queues.get(name));
        sampled.copied().unwrap_or_default()
    }

    pub(crate) fn channel(&self, vhost: &str, id: ChannelId) -> Sampled {
        let last = self.0.lock();
        let sampled = last.vhosts.get(vhost).and_then(|vhost| vhost.channels.get(&id));
        sampled.copied().unwrap_or_default()
    }

    /// The messages published to an exchange, and those that went on to queues, in a second.
    pub(crate) fn exchange(&self, vhost: &str, name: &str) -> [f64; 2] {
        let last = self.0.lock();
        let sampled = last.vhosts.get(vhost).and_then(|vhost| vhost.exchanges.get(name));
        sampled.copied().unwrap_or_default().rates
    }

    /// The octets of a connection in a second, in and out.
    pub(crate) fn connection(&self, number: u64) -> [f64; 2] {
        self.0.lock().traffic.get(&number).copied().unwrap_or_default().rates
    }

    /// The changes of the process's resources in a second, in the order of
    /// [`ProcessState::values`].
    pub(crate) fn process(&self) -> [f64; PROCESS_VALUES] {
        self.0.lock().process.rates
    }

    pub(crate) fn vhost(&self, vhost: &str) -> Rates {
        self.0.lock().vhosts.get(vhost).map(|vhost| vhost.all.rates).unwrap_or_default()
    }

    /// The rates of everything together.
    pub(crate) fn all(&self) -> Rates {
        self.0.lock().all.rates
    }

    /// The samples of everything together in the last so many milliseconds, the newest first, with
    /// so many milliseconds between them.
    pub(crate) fn history(&self, age: u64, step: u64) -> Vec<(u64, Counts)> {
        chosen(&self.0.lock().history, age, step)
    }

    /// The samples of a queue in the last so many milliseconds, at most a minute, as
    /// [`history`](Self::history) has them.
    pub(crate) fn queue_history(
        &self,
        vhost: &str,
        name: &ShortString,
        age: u64,
        step: u64,
    ) -> Vec<(u64, Counts)> {
        let last = self.0.lock();
        let history = last.vhosts.get(vhost).and_then(|vhost| vhost.histories.get(name));
        history.map(|history| chosen(history, age, step)).unwrap_or_default()
    }
}

/// Chooses samples by their age and the time between them.
fn chosen(history: &History, age: u64, step: u64) -> Vec<(u64, Counts)> {
    let Some((newest, _)) = history.back() else { return Vec::new() };
    let oldest = newest.saturating_sub(age);
    let (mut next, mut chosen) = (*newest, Vec::new());
    for (at, counts) in history.iter().rev().take_while(|(at, _)| *at >= oldest) {
        if *at <= next {
            chosen.push((*at, *counts));
            next = at.saturating_sub(step.max(1));
        }
    }
    chosen
}

async fn run(broker: Broker, samples: Weak<Samples>) {
    // The broker's end does not wait for samples, which hold nothing.
    loop {
        let taken = sample(&broker).await;
        {
            let Some(samples) = samples.upgrade() else { return };
            if broker.inner.is_ending() {
                return;
            }
            samples.0.lock().note(taken);
        }
        sleep(INTERVAL).await;
    }
}

/// The counts of now, without rates.
async fn sample(broker: &Broker) -> Last {
    let mut taken = Last { at: Some(Instant::now()), ..Last::default() };
    for name in broker.inner.config.vhosts.all() {
        let Some(host) = walk::host(broker, &name) else { continue };
        let mut vhost = SampledVhost::default();
        let counters = walk::counters(&host);
        taken.churn += counters.churn;
        let mut channels = counters.closed_channels;
        for channel in walk::channels(&host).await {
            channels += channel.counters;
            let counts = Counts::of(&channel.counters, 0, channel.unacked);
            vhost.channels.insert(channel.id, Sampled { counts, ..Sampled::default() });
        }
        // What is published counts on channels, what is delivered in queues.
        let (mut queues, mut ready, mut unacked) = (MessageCounters::default(), 0, 0);
        counters.deleted_queues.iter().for_each(|deleted| queues += *deleted);
        let default = [counters.default_exchange.published, counters.default_exchange.routed];
        vhost.exchanges.insert(String::new(), SampledValues::of(default));
        for ExchangeState { info, counters } in walk::exchanges(&host).await {
            let values = SampledValues::of([counters.published, counters.routed]);
            vhost.exchanges.insert(info.name, values);
        }
        for queue in walk::queues(&host).await {
            queues += queue.counters;
            ready += queue.ready;
            unacked += queue.unacked;
            let counts = Counts::of(&queue.counters, queue.ready, queue.unacked);
            vhost.queues.insert(queue.name, Sampled { counts, ..Sampled::default() });
        }
        (queues.published, queues.confirmed) = (channels.published, channels.confirmed);
        (queues.returned, queues.dropped) = (channels.returned, channels.dropped);
        vhost.all.counts = Counts::of(&queues, ready, unacked);
        taken.all.counts.add(&vhost.all.counts);
        taken.vhosts.insert(name, vhost);
    }
    for connection in connections(broker).await {
        let octets = SampledValues::of(connection.traffic.octets);
        taken.traffic.insert(connection.client.number, octets);
    }
    let process = tokio::task::spawn_blocking(|| ProcessState::now().values()).await;
    taken.process = SampledValues::of(process.unwrap_or_default());
    taken
}

impl Last {
    /// Replaces these samples by newer ones, whose rates follow from both.
    fn note(&mut self, mut taken: Last) {
        let passed = taken.at.zip(self.at).map_or(0.0, |(now, before)| (now - before).as_secs_f64());
        if passed > 0.0 {
            taken.all.rates = taken.all.counts.rates_since(&self.all.counts, passed);
            for (name, vhost) in &mut taken.vhosts {
                let Some(before) = self.vhosts.get(name) else { continue };
                vhost.all.rates = vhost.all.counts.rates_since(&before.all.counts, passed);
                let then = self.history.back().map(|(then, _)| *then);
                rate(&mut vhost.queues, &before.queues, passed, then);
                rate(&mut vhost.channels, &before.channels, passed, then);
                rate_values(&mut vhost.exchanges, &before.exchanges, passed);
            }
            rate_values(&mut taken.traffic, &self.traffic, passed);
            taken.process.rate(&self.process, passed);
        }
        let now = since_1970();
        for (name, vhost) in &mut taken.vhosts {
            let mut before = self.vhosts.get_mut(name).map(|vhost| std::mem::take(&mut vhost.histories));
            for (queue, sampled) in &vhost.queues {
                let history = before.as_mut().and_then(|before| before.remove(queue));
                let mut history = history.unwrap_or_default();
                if history.len() >= KEPT_OF_QUEUE {
                    history.pop_front();
                }
                history.push_back((now, sampled.counts));
                vhost.histories.insert(queue.clone(), history);
            }
        }
        taken.history = std::mem::take(&mut self.history);
        if taken.history.len() >= KEPT {
            taken.history.pop_front();
        }
        taken.history.push_back((now, taken.all.counts));
        *self = taken;
    }
}

impl<const N: usize> Default for SampledValues<N> {
    fn default() -> Self {
        Self::of([0; N])
    }
}

impl<const N: usize> SampledValues<N> {
    fn of(values: [u64; N]) -> Self {
        SampledValues { values, rates: [0.0; N] }
    }

    /// Sets the rates since values before.
    fn rate(&mut self, before: &Self, passed: f64) {
        for ((rate, now), before) in self.rates.iter_mut().zip(self.values).zip(before.values) {
            *rate = (now as f64 - before as f64) / passed;
        }
    }
}

/// Sets the rates since the samples before, which were taken `then`.
fn rate<K: Hash + Eq>(
    now: &mut HashMap<K, Sampled>,
    before: &HashMap<K, Sampled>,
    passed: f64,
    then: Option<u64>,
) {
    for (key, sampled) in now {
        let known = before.get(key);
        let before = known.copied().unwrap_or_default();
        sampled.rates = sampled.counts.rates_since(&before.counts, passed);
        let is_same = known.is_some() && sampled.counts == before.counts;
        sampled.idle_since = if is_same { before.idle_since.or(then) } else { None };
    }
}

/// Sets the rates since the values before.
fn rate_values<K: Hash + Eq>(
    now: &mut HashMap<K, SampledValues<2>>,
    before: &HashMap<K, SampledValues<2>>,
    passed: f64,
) {
    for (key, values) in now {
        values.rate(&before.get(key).copied().unwrap_or_default(), passed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn rates_follow_from_two_samples_and_the_history_is_chosen_by_age_and_step() {
        let mut last = Last::default();
        let counts = |published| {
            let mut counts = Counts::default();
            counts.0[0] = published;
            counts
        };
        for published in [0, 50, 60] {
            let all = Sampled { counts: counts(published), ..Sampled::default() };
            last.note(Last { at: Some(Instant::now()), all, ..Last::default() });
            tokio::time::advance(INTERVAL).await;
        }
        assert_eq!(last.all.rates.at(0), 2.0);
        last.history = (0..10).map(|n| (n * 5_000, counts(n))).collect();
        let samples = Samples(Mutex::new(last));
        let chosen: Vec<u64> = samples.history(20_000, 10_000).iter().map(|(at, _)| *at).collect();
        assert_eq!(chosen, [45_000, 35_000, 25_000]);
    }
}
