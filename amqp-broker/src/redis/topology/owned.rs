//! Exclusive queues, which belong to one connection of one process.

use std::time::Duration;

use redis::Value;
use tokio::time::{self, Instant};

use super::deleting::delete_own_queue;
use crate::{
    backend::BackendError,
    core::rabbitmq::refusal::Refusal,
    redis::{
        declared::{Declared, Owner, VHOST},
        hub::Hub,
        owners::gone,
        wire::binding_lifetime,
    },
    shown::shown,
};

/// The longest wait for a queue that another process is deleting.
const DELETING: Duration = Duration::from_secs(5);

/// The pause between two looks at it.
const PAUSE: Duration = Duration::from_millis(5);

/// Checks that a link may use a queue.
///
/// # Errors
/// [`BackendError::Locked`] when it belongs to another.
pub(crate) async fn check_access(hub: &Hub, link: u64, queue: &str) -> Result<(), BackendError> {
    let began = Instant::now();
    loop {
        match owner(hub, queue).await? {
            Some(owner) if !is_own(hub, link, &owner) => release(hub, queue, &owner, began).await?,
            _ => return Ok(()),
        }
    }
}

/// As [`check_access`], by what is known of the queue: for messages.
///
/// # Errors
/// As for [`check_access`].
pub(crate) async fn check_known(hub: &Hub, link: u64, queue: &str) -> Result<(), BackendError> {
    let declared = hub.declared(queue).await?;
    match declared.as_ref().and_then(|declared| declared.owner.as_ref()) {
        Some(owner) if !is_own(hub, link, owner) => check_access(hub, link, queue).await,
        _ => Ok(()),
    }
}

fn is_own(hub: &Hub, link: u64, owner: &Owner) -> bool {
    owner.holder == hub.holder && owner.link == Some(link)
}

async fn owner(hub: &Hub, queue: &str) -> Result<Option<Owner>, BackendError> {
    let stored: Option<Vec<u8>> = hub.command(redis::cmd("GET").arg(hub.keys.queue(queue))).await?;
    Ok(stored.and_then(|stored| Declared::read(&stored)).and_then(|declared| declared.owner))
}

/// The refusal of a queue that belongs to another (405).
pub(super) fn locked(queue: &str) -> BackendError {
    let refusal = Refusal::Locked { name: queue.to_owned(), vhost: VHOST.to_owned() };
    BackendError::Locked(refusal.to_string())
}

/// Deletes a queue whose owner is gone, as RabbitMQ does when the owner's connection ends; waits a
/// moment for one that another deletes. `began` is when the caller began to wait.
///
/// # Errors
/// [`BackendError::Locked`] when the owner is there.
pub(super) async fn release(
    hub: &Hub,
    queue: &str,
    owner: &Owner,
    began: Instant,
) -> Result<(), BackendError> {
    if !gone(hub, [owner.holder.clone()]).await?.is_empty() {
        return delete_owned(hub, queue, owner).await;
    }
    if owner.link.is_some() || began.elapsed() > DELETING {
        return Err(locked(queue));
    }
    time::sleep(PAUSE).await;
    Ok(())
}

/// Deletes a queue that still belongs to an owner that is gone. Of those who try, one does it: it
/// owns the queue meanwhile.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn delete_owned(hub: &Hub, queue: &str, owner: &Owner) -> Result<(), BackendError> {
    let key = hub.keys.queue(queue);
    let mut reads = redis::pipe();
    reads.cmd("GET").arg(&key);
    let taken = hub.transact(std::slice::from_ref(&key), &reads, |mut read| {
        let Some(Value::BulkString(stored)) = read.pop() else { return (None, false) };
        let Some(declared) = Declared::read(&stored) else { return (None, false) };
        let Some(lifetime) = declared.lifetime().filter(|_| declared.owner.as_ref() == Some(owner)) else {
            return (None, false);
        };
        let taken = declared.owned_by(Owner { holder: hub.holder.clone(), link: None });
        let mut take = redis::pipe();
        take.cmd("SET").arg(&key).arg(taken.stored());
        take.arg("PX").arg(binding_lifetime(lifetime));
        (Some(take), true)
    });
    if taken.await?.0 {
        tracing::debug!(queue = shown(queue), "deletes an exclusive queue whose connection is gone");
        delete_own_queue(hub, queue).await?;
    }
    Ok(())
}
