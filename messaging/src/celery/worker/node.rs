//! The worker as Celery's remote control sees it.

use std::sync::Arc;

use amqp_client::Exchange;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    celery::{
        remote::{
            info::{QueueInfo, ScheduledTask, TaskInfo},
            node::NodeBuilder,
            service::Service,
        },
        worker::{consumers::Consumers, in_hand::Stage, runner::Runner},
    },
    consume::bound_queue::BoundQueue,
    error::Error,
    mailbox::Failure,
};

/// The handlers of remote control, which tell of a worker and change it.
#[derive(Clone)]
pub(super) struct Remote {
    pub(super) runner: Arc<Runner>,
    pub(super) consumers: Arc<Consumers>,
}

impl Service for Remote {
    fn active(&self) -> Vec<TaskInfo> {
        self.runner.in_hand.at(Stage::Active)
    }

    fn reserved(&self) -> Vec<TaskInfo> {
        self.runner.in_hand.at(Stage::Reserved)
    }

    fn scheduled(&self) -> Vec<ScheduledTask> {
        self.runner.in_hand.scheduled()
    }

    fn registered(&self) -> Vec<String> {
        let mut names: Vec<_> = self.runner.tasks.keys().cloned().collect();
        names.sort();
        names
    }

    fn revoked(&self) -> Vec<String> {
        self.runner.in_hand.revoked()
    }

    fn active_queues(&self) -> Vec<QueueInfo> {
        self.consumers.queues().into_iter().map(|name| QueueInfo::new(&name, "", name.clone())).collect()
    }

    fn conf(&self) -> Map<String, Value> {
        let settings = &self.runner.settings;
        let conf = json!({
            "task_default_queue": self.runner.app.default_queue_name(),
            "worker_concurrency": settings.concurrency,
            "worker_prefetch_multiplier": settings.multiplier,
            "task_acks_late": settings.acks_late,
            "task_reject_on_worker_lost": settings.reject_on_worker_lost,
            "task_track_started": settings.track_started,
        });
        conf.as_object().cloned().unwrap_or_default()
    }

    fn stats(&self) -> Map<String, Value> {
        let (runner, places) = (&self.runner, self.runner.slots.count());
        let prefetch = runner.settings.concurrency.saturating_mul(runner.settings.multiplier);
        let stats = json!({
            "total": runner.in_hand.totals(),
            "pool": {"implementation": "messaging", "max-concurrency": places},
            "prefetch_count": prefetch,
        });
        stats.as_object().cloned().unwrap_or_default()
    }

    fn processed(&self) -> u64 {
        self.runner.in_hand.processed()
    }

    fn shutdown(&self, reason: &str) {
        tracing::info!(worker = self.runner.name, reason, "the worker stops");
        self.stop();
    }
}

/// One id, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    One(String),
    Many(Vec<String>),
}

impl From<Ids> for Vec<String> {
    fn from(ids: Ids) -> Self {
        match ids {
            Ids::One(id) => vec![id],
            Ids::Many(ids) => ids,
        }
    }
}

#[derive(Deserialize)]
struct Revoke {
    task_id: Ids,
    #[serde(default)]
    terminate: Option<bool>,
}

#[derive(Deserialize)]
struct Query {
    ids: Ids,
}

#[derive(Deserialize)]
struct Places {
    #[serde(default = "one")]
    n: usize,
}

fn one() -> usize {
    1
}

#[derive(Deserialize)]
struct AddConsumer {
    queue: String,
    exchange: Option<String>,
    exchange_type: Option<String>,
    routing_key: Option<String>,
}

#[derive(Deserialize)]
struct CancelConsumer {
    queue: String,
}

impl Remote {
    pub(super) fn stop(&self) {
        self.consumers.stop();
        self.runner.stop_waiting();
    }

    /// Adds the commands that only a worker has.
    pub(super) fn commands(&self, node: NodeBuilder) -> NodeBuilder {
        let remote = || self.clone();
        let (revoking, terminating, asked) = (remote(), remote(), remote());
        let (growing, shrinking, adding, cancelling) = (remote(), remote(), remote(), remote());
        node.handler("revoke", move |_, revoke: Revoke| {
            let answer = revoking.revoke(&Vec::from(revoke.task_id), revoke.terminate.unwrap_or(false));
            async move { Ok::<_, Failure>(answer) }
        })
        .handler("terminate", move |_, revoke: Revoke| {
            let answer = terminating.revoke(&Vec::from(revoke.task_id), true);
            async move { Ok::<_, Failure>(answer) }
        })
        .handler("query_task", move |_, query: Query| {
            let tasks = asked.runner.in_hand.with_ids(&Vec::from(query.ids));
            async move { Ok::<_, Failure>(tasks) }
        })
        .handler("pool_grow", move |_, Places { n }| {
            growing.runner.slots.grow(n);
            async move { Ok::<_, Failure>(json!({"ok": "more tasks run at once"})) }
        })
        .handler("pool_shrink", move |_, Places { n }| {
            shrinking.runner.slots.shrink(n);
            async move { Ok::<_, Failure>(json!({"ok": "fewer tasks run at once"})) }
        })
        .handler("add_consumer", move |_, add: AddConsumer| adding.clone().add_consumer(add))
        .handler("cancel_consumer", move |_, CancelConsumer { queue }| {
            let was_consumed = cancelling.consumers.cancel(&queue);
            let answer = if was_consumed { "no longer consuming from" } else { "not consuming from" };
            async move { Ok::<_, Failure>(json!({"ok": format!("{answer} {queue}")})) }
        })
    }

    fn revoke(&self, ids: &[String], terminate: bool) -> Value {
        self.runner.in_hand.revoke(ids, terminate);
        json!({"ok": format!("tasks {} flagged as revoked", ids.join(", "))})
    }

    async fn add_consumer(self, add: AddConsumer) -> Result<Value, Error> {
        let AddConsumer { queue, exchange, exchange_type, routing_key } = add;
        if self.consumers.queues().contains(&queue) {
            return Ok(json!({"ok": format!("already consuming from {queue}")}));
        }
        let mut bound = BoundQueue::from(self.runner.app.declared(&queue));
        if let Some(exchange) = exchange.filter(|exchange| !exchange.is_empty()) {
            let exchange =
                Exchange::new(exchange, exchange_type.as_deref().unwrap_or("direct")).durable(true);
            bound = bound.bind(&exchange, routing_key.as_ref().unwrap_or(&queue));
        }
        self.consumers.add(&self.runner, bound).await?;
        Ok(json!({"ok": format!("add consumer {queue}")}))
    }
}
