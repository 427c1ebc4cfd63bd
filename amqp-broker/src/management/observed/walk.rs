//! Walks through all entities of a virtual host in turns. Other tasks go first after each.

use std::sync::Arc;

use tokio::task::yield_now;

use crate::{
    broker::Broker,
    core::{
        counters::VhostCounters,
        vhost::{
            Vhost,
            inspect::{BindingInfo, InspectionCursor},
            observe::{ChannelState, ConsumerState, ExchangeState, QueueState},
        },
    },
    server::host::Host,
};

/// The virtual host of this name, unless its other side is a backend.
pub(crate) fn host(broker: &Broker, vhost: &str) -> Option<Arc<Host>> {
    broker.inner.host(vhost)
}

async fn all<T>(host: &Host, part: impl Fn(&mut Vhost, u64, &mut InspectionCursor) -> Vec<T>) -> Vec<T> {
    let (mut all, mut cursor) = (Vec::new(), InspectionCursor::default());
    loop {
        let more = host.with(|now, shared| part(&mut shared.vhost, now, &mut cursor));
        all.extend(more);
        if cursor.is_end {
            return all;
        }
        yield_now().await;
    }
}

/// The queues of a virtual host, by name.
pub(crate) async fn queues(host: &Host) -> Vec<QueueState> {
    let mut all = all(host, Vhost::queue_states).await;
    all.sort_unstable_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
    all
}

pub(crate) async fn channels(host: &Host) -> Vec<ChannelState> {
    all(host, |vhost, _, cursor| vhost.channel_states(cursor)).await
}

pub(crate) async fn consumers(host: &Host) -> Vec<ConsumerState> {
    all(host, |vhost, _, cursor| vhost.consumer_states(cursor)).await
}

/// The exchanges of a virtual host, by name, without the default exchange.
pub(crate) async fn exchanges(host: &Host) -> Vec<ExchangeState> {
    let mut all = all(host, |vhost, _, cursor| vhost.exchange_states(cursor)).await;
    all.sort_unstable_by(|a, b| a.info.name.cmp(&b.info.name));
    all
}

/// The bindings of a virtual host, without those of the default exchange.
pub(crate) async fn bindings(host: &Host) -> Vec<BindingInfo> {
    all(host, |vhost, _, cursor| vhost.binding_infos(cursor)).await
}

/// The counts of the virtual host itself.
pub(crate) fn counters(host: &Host) -> VhostCounters {
    host.with(|_, shared| shared.vhost.counters().clone())
}
