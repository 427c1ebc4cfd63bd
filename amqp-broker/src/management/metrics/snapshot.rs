//! The state that a page of metrics is made from.

use std::collections::HashMap;

use super::text::labels;
use crate::{
    broker::Broker,
    core::{
        counters::{Churn, MessageCounters, VhostCounters},
        rabbitmq::arguments::QueueType,
        vhost::observe::{ChannelState, QueueState},
    },
    management::observed::{
        connections::{ConnectionState, connections},
        walk,
    },
};

/// The types of queues, in the order of their counters.
pub(super) const TYPES: [QueueType; 3] = [QueueType::Classic, QueueType::Quorum, QueueType::Stream];

/// A virtual host.
pub(super) struct VhostState {
    pub(super) name: String,
    pub(super) queues: Vec<QueueState>,
    /// The labels of each queue.
    labels: Vec<String>,
    pub(super) channels: Vec<ChannelState>,
    pub(super) consumers: usize,
    pub(super) is_low_on_memory: bool,
    pub(super) is_low_on_disk: bool,
    counters: VhostCounters,
}

/// All that pages are made from.
#[derive(Default)]
pub(super) struct Snapshot {
    pub(super) vhosts: Vec<VhostState>,
    pub(super) connections: Vec<ConnectionState>,
}

impl Snapshot {
    /// Observes these virtual hosts; all of them if none is named.
    pub(super) async fn take(broker: &Broker, wanted: &[String]) -> Self {
        let mut vhosts = Vec::new();
        let names = broker.inner.config.vhosts.all();
        for name in names.into_iter().filter(|name| wanted.is_empty() || wanted.contains(name)) {
            let Some(host) = walk::host(broker, &name) else { continue };
            let (queues, channels) = (walk::queues(&host).await, walk::channels(&host).await);
            let of = |queue: &QueueState| labels(&[("vhost", &name), ("queue", &queue.name.to_text())]);
            let labels = queues.iter().map(of).collect();
            vhosts.push(host.with(|_, shared| VhostState {
                name,
                queues,
                labels,
                channels,
                consumers: shared.vhost.entity_counts()[2],
                is_low_on_memory: shared.alarm.is_low_on_memory(),
                is_low_on_disk: shared.alarm.is_low_on_disk(),
                counters: shared.vhost.counters().clone(),
            }));
        }
        let all = connections(broker).await;
        let is_wanted = |connection: &ConnectionState| {
            wanted.is_empty() || wanted.iter().any(|vhost| vhost == connection.vhost())
        };
        Snapshot { vhosts, connections: all.into_iter().filter(is_wanted).collect() }
    }

    pub(super) fn queues(&self) -> impl Iterator<Item = &QueueState> {
        self.vhosts.iter().flat_map(|vhost| &vhost.queues)
    }

    pub(super) fn channels(&self) -> impl Iterator<Item = &ChannelState> {
        self.vhosts.iter().flat_map(|vhost| &vhost.channels)
    }

    /// Counts of the entities that came and went.
    pub(super) fn churn(&self) -> Churn {
        let mut all = Churn::default();
        self.vhosts.iter().for_each(|vhost| all += vhost.counters.churn);
        all
    }

    /// The counts of all channels, closed ones included.
    pub(super) fn all_channels(&self) -> MessageCounters {
        let mut all = MessageCounters::default();
        self.vhosts.iter().for_each(|vhost| all += vhost.counters.closed_channels);
        self.channels().for_each(|channel| all += channel.counters);
        all
    }

    /// The counts of all queues of a type, deleted ones included.
    pub(super) fn all_queues(&self, kind: QueueType) -> MessageCounters {
        let mut all = MessageCounters::default();
        for vhost in &self.vhosts {
            let deleted = vhost.counters.deleted_queues.get(kind as usize);
            all += deleted.copied().unwrap_or_default();
        }
        self.queues().filter(|queue| queue.kind == kind).for_each(|queue| all += queue.counters);
        all
    }

    /// All queues, each with its labels.
    pub(super) fn labelled_queues(&self) -> impl Iterator<Item = (&QueueState, &String)> {
        self.vhosts.iter().flat_map(|vhost| vhost.queues.iter().zip(&vhost.labels))
    }

    /// All channels, each with its labels: its name as management has it, and its virtual host.
    pub(super) fn labelled_channels(&self) -> Vec<(&ChannelState, String)> {
        let named = self.connections.iter().filter_map(|connection| {
            Some(((connection.vhost(), connection.id()?), connection.client.name.as_str()))
        });
        let names: HashMap<_, _> = named.collect();
        let mut all = Vec::new();
        for vhost in &self.vhosts {
            for channel in &vhost.channels {
                let connection = names.get(&(vhost.name.as_str(), channel.connection)).copied();
                let name = format!("{} ({})", connection.unwrap_or_default(), channel.number);
                all.push((channel, labels(&[("channel", &name), ("vhost", &vhost.name)])));
            }
        }
        all
    }
}
