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

/// What becomes of notifications that could not be handled, by default: none is lost, and none is
/// handled without end.
const PATIENT: RetryLater = RetryLater::after(Duration::from_secs(1))
    .doubling_up_to(Duration::from_secs(60))
    .limit(8)
    .dead_letter(true);

/// Topics, and the pools they are heard in.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) transport: Transport,
    pub(super) targets: Vec<Target>,
    /// Of targets that name none.
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

    /// What to consume from for some levels, and what becomes of what comes from there.
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

    /// What is decompressed for one listener.
    pub(super) fn budget(&self) -> Budget {
        Budget::new(self.transport.traffic().decompressed)
    }
}

/// The setters that all listeners have.
macro_rules! sources {
    ($listener:ident) => {
        impl $listener {
            /// One topic more.
            #[must_use]
            pub fn topic(self, topic: impl Into<String>) -> Self {
                self.target(crate::oslo::wire::target::Target::topic(topic))
            }

            /// One topic more, with an exchange of its own: all else that a target may have means
            /// nothing here.
            #[must_use]
            pub fn target(mut self, target: crate::oslo::wire::target::Target) -> Self {
                self.sources.targets.push(target);
                self
            }

            /// The exchange of topics that have none of their own; default
            /// [`Topology::control_exchange`](crate::Topology::control_exchange).
            #[must_use]
            pub fn exchange(mut self, exchange: impl Into<String>) -> Self {
                self.sources.exchange = Some(exchange.into());
                self
            }

            /// A queue of this name instead of the topics' own: each pool gets every notification
            /// deduplication, and its listeners, Python's among them, share them. With several
            /// pools, this listener gets a copy for each. Default none.
            ///
            /// The topics' own queues go on being filled, when nobody listens to them.
            #[must_use]
            pub fn pool(mut self, name: impl Into<String>) -> Self {
                self.sources.pools.push(name.into());
                self
            }

            /// What becomes of a notification that was requeued, or whose handler panicked, and of
            /// one that cannot be read, as [`RetryLater`](crate::RetryLater) tells it. Default:
            /// handled again after a second, two, four and so on up to a minute, eight times, and
            /// then kept in the queue `QUEUE.dead`, where unreadable ones go at once.
            ///
            /// [`OnFailure::Requeue`](crate::OnFailure::Requeue) is what Python does with
            /// `allow_requeue`: it comes again at deduplication, and without end.
            #[must_use]
            pub fn on_failure(mut self, policy: crate::consume::settle::on_failure::OnFailure) -> Self {
                self.sources.on_failure = policy;
                self
            }

            /// How much is remembered of what was handled from a queue, so that a notification that
            /// comes again is acknowledged and not handled again: after a lost connection it is
            /// emitted, or delivered, once more. Default: the last 16,384, for ever.
            #[must_use]
            pub fn repeats(mut self, window: crate::oslo::wire::duplicates::RepeatWindow) -> Self {
                self.sources.repeats = window;
                self
            }
        }
    };
}
pub(super) use sources;
