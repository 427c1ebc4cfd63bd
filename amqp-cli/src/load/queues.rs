//! The queues of a load.

use std::time::Duration;

use amqp_client::{Channel, DeleteOptions, Queue};

use crate::{
    error::Error,
    load::{kinds::QueueKind, plan::Plan},
};

/// A queue that a killed program leaves behind is gone after so much time without use.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 60 * 60);

/// Declares the queues, or checks that there are those of others. Returns their names.
///
/// # Errors
/// [`Error::Broker`].
pub(crate) async fn declare(channel: &Channel, plan: &Plan) -> Result<Vec<String>, Error> {
    let failed = |name: &str| Error::broker(format!("declare queue {name:?}"));
    if !plan.named_queues.is_empty() {
        for name in &plan.named_queues {
            channel.declare(Queue::new(name).passive(true)).await.map_err(failed(name))?;
        }
        return Ok(plan.named_queues.clone());
    }
    let load = fastrand::u64(..);
    let mut names = Vec::new();
    for number in 1..=plan.queues {
        let name = format!("amqp-bench-{load:016x}-{number}");
        let queue = match plan.kind {
            QueueKind::Classic => classic(&name).expires(LEFT_BEHIND),
            QueueKind::Quorum => Queue::quorum(&name).expires(LEFT_BEHIND),
            QueueKind::Stream => Queue::stream(&name).max_age(LEFT_BEHIND),
        };
        let declared = channel.declare(&queue).await.map_err(failed(&name));
        names.push(name);
        if let Err(error) = declared {
            delete(channel, plan, &names).await;
            return Err(error);
        }
    }
    Ok(names)
}

fn classic(name: &str) -> Queue {
    // Named, for a virtual host may have another default.
    let queue = Queue::durable(name);
    queue.arg("x-queue-type", "classic").unwrap_or_else(|_| Queue::durable(name))
}

/// Deletes the queues, unless they are of others. It is no failure if that does not succeed.
pub(crate) async fn delete(channel: &Channel, plan: &Plan, names: &[String]) {
    if plan.named_queues.is_empty() {
        for name in names {
            let _ = channel.delete_queue(name, DeleteOptions::new()).await;
        }
    }
}
