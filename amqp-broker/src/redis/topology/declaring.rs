//! Declaring queues.

use redis::{Pipeline, Value};
use tokio::time::Instant;

use super::{
    owned::{locked, release},
    queues::{count, numbers, total},
};
use crate::{
    backend::{BackendError, QueueDeclaration},
    redis::{
        declared::{Declared, Owner},
        hub::Hub,
        owners::hold_lease,
        publish::note_retry_queue,
        wire::binding_lifetime,
    },
};

/// The outcome of a declaration.
enum Outcome {
    /// It is stored.
    Stored(Declared),
    /// The queue exists and differs, or nothing here can serve it.
    Refused(BackendError),
    /// The queue belongs to another.
    Owned(Owner),
}

/// Declares a queue, for a link; returns how many messages it holds.
///
/// # Errors
/// [`BackendError::Locked`] when it belongs to another, [`BackendError::PreconditionFailed`] when
/// it exists otherwise, and [`BackendError::NotImplemented`] for arguments that are not served.
pub(crate) async fn declare_queue(
    hub: &Hub,
    link: u64,
    queue: &QueueDeclaration,
) -> Result<u32, BackendError> {
    let by = Owner { holder: hub.holder.clone(), link: Some(link) };
    if queue.exclusive {
        hold_lease(hub).await?;
    }
    let began = Instant::now();
    loop {
        match declare_once(hub, queue, &by).await? {
            (Outcome::Refused(error), _) => return Err(error),
            (Outcome::Owned(owner), _) => release(hub, &queue.name, &owner, began).await?,
            (Outcome::Stored(declared), counts) => {
                if declared.delay().is_some() {
                    note_retry_queue(hub, &queue.name).await?;
                }
                hub.arrivals.queues.forget(&hub.keys.queue(&queue.name));
                if declared.lifetime().is_some() {
                    hub.leases.add_queue(link, &queue.name);
                }
                return Ok(total(hub, &queue.name, &counts));
            }
        }
    }
}

async fn declare_once(
    hub: &Hub,
    queue: &QueueDeclaration,
    by: &Owner,
) -> Result<(Outcome, Vec<u64>), BackendError> {
    let key = hub.keys.queue(&queue.name);
    let mut reads = redis::pipe();
    reads.cmd("GET").arg(&key);
    let declared = hub.transact(std::slice::from_ref(&key), &reads, |mut read| {
        let current = match read.pop() {
            Some(Value::BulkString(stored)) => Declared::read_existing(&stored),
            _ => None,
        };
        match compared(current, queue, by) {
            Outcome::Stored(declared) => {
                let mut pipeline = redis::pipe();
                store(hub, &mut pipeline, &queue.name, &declared);
                count(hub, &mut pipeline, &queue.name);
                (Some(pipeline), Outcome::Stored(declared))
            }
            other => (None, other),
        }
    });
    let (outcome, answers) = declared.await?;
    let answers = if let Value::Array(answers) = answers { answers } else { Vec::new() };
    Ok((outcome, numbers(&answers)))
}

/// Compares a declaration with the one that exists. RabbitMQ, too, looks first whether the queue
/// exists otherwise.
fn compared(current: Option<Declared>, queue: &QueueDeclaration, by: &Owner) -> Outcome {
    if let Some(current) = current {
        match (&current.owner, queue.exclusive) {
            (Some(owner), _) if owner != by => return Outcome::Owned(owner.clone()),
            (Some(_), false) | (None, true) => return Outcome::Refused(locked(&queue.name)),
            _ => {}
        }
        if let Err(error) = current.check_same(queue) {
            return Outcome::Refused(error);
        }
    }
    match Declared::new(queue, by.clone()) {
        Ok(declared) => Outcome::Stored(declared),
        Err(error) => Outcome::Refused(error),
    }
}

/// Stores a declaration. As in kombu, a declaration without `x-expires` clears that of an earlier
/// one.
fn store(hub: &Hub, pipeline: &mut Pipeline, queue: &str, declared: &Declared) {
    if declared.owner.is_some() {
        pipeline.cmd("SADD").arg(hub.keys.exclusive()).arg(queue).ignore();
    }
    let set = pipeline.cmd("SET").arg(hub.keys.queue(queue)).arg(declared.stored());
    match declared.lifetime() {
        Some(lifetime) => {
            set.arg("PX").arg(binding_lifetime(lifetime)).ignore();
            for list in hub.keys.lists(queue) {
                pipeline.cmd("PEXPIRE").arg(list).arg(lifetime).ignore();
            }
        }
        None => {
            set.ignore();
            for list in hub.keys.lists(queue) {
                pipeline.cmd("PERSIST").arg(list).ignore();
            }
        }
    }
}
