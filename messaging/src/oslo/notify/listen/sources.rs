//! The queues that a listener consumes from.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use amqp_client::Exchange;

use crate::oslo::notify::level::Level;
use crate::{
    compress::Budget,
    consume::{
        settle::{
            on_failure::{OnFailure, RetryLater},
            settling::Settling,
        },
        subscription::Subscription,
    },
    oslo::wire::{duplicates::RepeatWindow, target::Target},
    transport::Transport,
};

/// The default for notifications that could not be handled: none is lost, and none is retried
/// without limit.
const PATIENT: RetryLater = RetryLater::after(Duration::from_secs(1))
    .doubling_up_to(Duration::from_secs(60))
    .limit(8)
    .dead_letter(true);

/// The topics of a listener, and the pools it belongs to.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) transport: Transport,
    pub(super) targets: Vec<Target>,
    /// The exchange of targets that name none.
    pub(super) exchange: Option<String>,
    pub(super) pools: Vec<String>,
    pub(super) on_failure: OnFailure,
    pub(super) repeats: RepeatWindow,
}

impl Sources {
    pub(super) fn new(transport: &Transport, topic: String) -> Self {
        Sources {
            transport: transport.clone(),
            targets: vec![Target::topic(topic)],
            exchange: None,
            pools: Vec::new(),
            on_failure: OnFailure::Retry(PATIENT),
            repeats: RepeatWindow::default(),
        }
    }

    /// Returns what to consume from for some levels, and how messages from there are settled.
    pub(super) fn subscriptions(
        &self,
        levels: &BTreeSet<Level>,
        prefetch: u16,
    ) -> Vec<(Settling, Subscription)> {
        let topology = self.transport.topology();
        let bindings = || {
            self.targets.iter().flat_map(|target| {
                let own = target.exchange_name().or(self.exchange.as_deref());
                let name = own.unwrap_or(topology.control_exchange_name());
                let exchange = topology.exchange(name);
                levels.iter().map(move |level| (exchange.clone(), level.queue_of(target.topic_name())))
            })
        };
        // A topic of two exchanges has one queue.
        let mut queues = BTreeMap::<String, Vec<(Exchange, String)>>::new();
        for pool in &self.pools {
            queues.insert(pool.clone(), bindings().collect());
        }
        if self.pools.is_empty() {
            for (exchange, key) in bindings() {
                queues.entry(key.clone()).or_default().push((exchange, key));
            }
        }
        let subscriptions = queues.into_iter().map(|(queue, bindings)| {
            let subscription = self.transport.subscription(topology.shared_queue(&queue)).prefetch(prefetch);
            let subscription = subscription.options(topology.consume_options());
            let bound = bindings
                .into_iter()
                .fold(subscription, |subscription, (exchange, key)| subscription.bind(&exchange, key));
            (bound.settling(self.on_failure.clone()), bound)
        });
        subscriptions.collect()
    }

    /// Returns the budget of one listener for decompressed bodies.
    pub(super) fn budget(&self) -> Budget {
        Budget::new(self.transport.traffic().decompressed)
    }
}

/// The setters that all listeners have.
macro_rules! sources {
    ($listener:ident) => {
        impl $listener {
            /// Adds a topic.
            #[must_use]
            pub fn topic(self, topic: impl Into<String>) -> Self {
                self.target(crate::oslo::wire::target::Target::topic(topic))
            }

            /// Adds a topic with an exchange of its own. The other parts of the target are ignored.
            #[must_use]
            pub fn target(mut self, target: crate::oslo::wire::target::Target) -> Self {
                self.sources.targets.push(target);
                self
            }

            /// Sets the exchange of topics that have none of their own; default
            /// [`Topology::control_exchange`](crate::Topology::control_exchange).
            #[must_use]
            pub fn exchange(mut self, exchange: impl Into<String>) -> Self {
                self.sources.exchange = Some(exchange.into());
                self
            }

            /// Adds a pool: a queue of this name instead of the topics' own. Each pool gets every
            /// notification once, and its listeners, Python's included, share them. With several
            /// pools, this listener gets a copy for each. Default none.
            ///
            /// The topics' own queues continue to be filled even if nobody listens to them.
            #[must_use]
            pub fn pool(mut self, name: impl Into<String>) -> Self {
                self.sources.pools.push(name.into());
                self
            }

            /// Sets what happens to a notification that was requeued, whose handler panicked, or
            /// that cannot be decoded; see [`RetryLater`](crate::RetryLater). Default: it is
            /// retried eight times, after a second, two, four and so on up to a minute, and then
            /// kept in the queue `QUEUE.dead`. One that cannot be decoded goes there at once.
            ///
            /// [`OnFailure::Requeue`](crate::OnFailure::Requeue) is what Python does with
            /// `allow_requeue`: the notification comes again at once, and without limit.
            #[must_use]
            pub fn on_failure(mut self, policy: crate::consume::settle::on_failure::OnFailure) -> Self {
                self.sources.on_failure = policy;
                self
            }

            /// Sets how many handled notifications of a queue are remembered, and for how long. One
            /// that comes again is acknowledged and not handled again: after a lost connection it
            /// may be emitted, or delivered, a second time. Default: the last 16,384, without a
            /// limit of time.
            #[must_use]
            pub fn repeats(mut self, window: crate::oslo::wire::duplicates::RepeatWindow) -> Self {
                self.sources.repeats = window;
                self
            }
        }
    };
}
pub(super) use sources;
