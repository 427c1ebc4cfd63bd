//! What the links of a backend share and leave to each other.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{sync::Mutex, time};

use super::{
    metrics::RedisMetrics,
    orphans::{Left, Orphans},
    tasks::Tasks,
};
use crate::{
    backend::BackendError,
    redis::{
        claims::return_claims,
        declared::Owner,
        hub::{Counts, Hub, Leased},
        options::RedisOptions,
        owners::remove_consumers,
        topology,
    },
    sync::atomic::{AtomicBool, Ordering},
};

/// The longest pause between two attempts to clear up after lost connections.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The pause after the first attempt.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// What the links of a [`Redis`](super::backend::Redis) share, and leave to each other.
#[derive(Debug)]
pub(super) struct Shared {
    options: Arc<RedisOptions>,
    current: Mutex<Option<Current>>,
    orphans: Arc<Orphans>,
    clearing: AtomicBool,
    counts: Arc<Counts>,
}

#[derive(Debug)]
struct Current {
    hub: Arc<Hub>,
    _tasks: Tasks,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.orphans.end();
    }
}

impl Shared {
    /// Nothing is connected yet.
    pub(super) fn new(options: RedisOptions) -> Self {
        Shared {
            options: Arc::new(options),
            current: Mutex::default(),
            orphans: Arc::default(),
            clearing: AtomicBool::new(false),
            counts: Arc::default(),
        }
    }

    /// Returns what was done by all its hubs.
    pub(super) fn metrics(&self) -> RedisMetrics {
        RedisMetrics {
            undecodable: self.counts.undecodable(),
            settled_too_late: self.counts.settled_too_late(),
        }
    }

    /// Starts the task that clears up after links, unless it runs.
    pub(super) fn start_clearing(shared: &Arc<Self>) {
        if !shared.clearing.swap(true, Ordering::Relaxed) {
            let (orphans, options) = (Arc::clone(&shared.orphans), Arc::clone(&shared.options));
            tokio::spawn(clear(Arc::downgrade(shared), orphans, options));
        }
    }

    /// The hub, which is made anew when it is lost.
    pub(super) async fn hub(&self) -> Result<Arc<Hub>, BackendError> {
        let mut current = self.current.lock().await;
        if let Some(current) = &*current
            && current.hub.arrivals.loss.why().is_none()
        {
            return Ok(Arc::clone(&current.hub));
        }
        *current = None;
        let hub = Hub::connect(Arc::clone(&self.options), Arc::clone(&self.counts)).await?;
        let tasks = Tasks::start(&hub);
        *current = Some(Current { hub: Arc::clone(&hub), _tasks: tasks });
        Ok(hub)
    }

    /// Takes over what a link leaves behind that is gone.
    pub(super) fn inherit(&self, hub: &Hub, link: u64) {
        self.orphans.add(left_by(hub, link));
    }

    /// Returns what a failed claim of a link may have claimed.
    pub(super) fn return_pending(&self, hub: &Hub, link: u64) {
        let tags = hub.held.take_pending(link).into_iter().map(|number| hub.tag(number));
        self.orphans.add(Left { tags: tags.collect(), ..Left::default() });
    }

    /// Clears up after a link that is closed.
    pub(super) async fn clear_up_after(&self, hub: &Hub, link: u64) {
        let mut left = left_by(hub, link);
        if clear_up(hub, &mut left).await.is_err() {
            self.orphans.add(left);
        }
    }
}

/// Forgets a link; returns what is left of it in Redis.
fn left_by(hub: &Hub, link: u64) -> Left {
    let numbers = hub.held.take(link);
    let tags = numbers.into_iter().map(|number| hub.tag(number)).collect();
    let mut left = Left { tags, ..Left::default() };
    for queue in hub.arrivals.fanouts.leave(link) {
        let (bindings, patterns) = hub.arrivals.fanouts.remove(&queue);
        left.bindings.extend(bindings);
        left.patterns.extend(patterns);
        left.fanout_queues.push(queue);
    }
    hub.arrivals.watches.forget(link);
    hub.arrivals.loss.forget(link);
    let Leased { queues, consumers, .. } = hub.leases.remove_link(link);
    let owner = Owner { holder: hub.holder.clone(), link: Some(link) };
    left.queues.extend(queues.into_iter().map(|queue| (queue, owner.clone())));
    let consumers = consumers.into_iter().map(|(queue, count)| (hub.holder.clone(), queue, count));
    left.consumers.extend(consumers);
    left
}

async fn clear_up(hub: &Hub, left: &mut Left) -> Result<(), BackendError> {
    return_claims(hub, &left.tags).await?;
    left.tags.clear();
    hub.unsubscribe(&left.patterns).await?;
    left.patterns.clear();
    while let Some(binding) = left.bindings.last() {
        topology::unbind(hub, binding).await?;
        left.bindings.pop();
    }
    while let Some(queue) = left.fanout_queues.last() {
        topology::delete_left(hub, queue).await?;
        left.fanout_queues.pop();
    }
    while let Some((holder, queue, count)) = left.consumers.last() {
        remove_consumers(hub, holder, queue, *count).await?;
        left.consumers.pop();
    }
    // Those that expire, and are not exclusive, have no owner, and stay.
    while let Some((queue, owner)) = left.queues.last() {
        topology::delete_owned(hub, queue, owner).await?;
        left.queues.pop();
    }
    Ok(())
}

/// Clears up after links until the backend is gone, and a last time after it.
async fn clear(shared: Weak<Shared>, orphans: Arc<Orphans>, options: Arc<RedisOptions>) {
    let mut pause = SHORTEST_PAUSE;
    while let Some(mut left) = orphans.next().await {
        let (hub, is_last) = match shared.upgrade() {
            Some(shared) => (shared.hub().await, false),
            None => (Hub::connect(Arc::clone(&options), Arc::default()).await, true),
        };
        let cleared = match hub {
            Ok(hub) => clear_up(&hub, &mut left).await,
            Err(error) => Err(error),
        };
        match cleared {
            Ok(()) => pause = SHORTEST_PAUSE,
            Err(error) if is_last && pause >= LONGEST_PAUSE => {
                tracing::warn!(%error, "leaves claims in Redis until they lapse");
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot clear up in Redis after a lost connection, and tries again");
                orphans.add(left);
                time::sleep(pause).await;
                pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            }
        }
    }
}
