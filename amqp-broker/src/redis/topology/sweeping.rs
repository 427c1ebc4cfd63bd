//! Removing queues that nobody owns any more.

use super::owned::delete_owned;
use crate::{
    backend::BackendError,
    redis::{declared::Declared, hub::Hub, owners::gone},
};

/// The most queues that are looked at together.
const MOST_LOOKS: usize = 200;

/// Deletes exclusive queues whose connections are gone, whoever declared them.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn sweep_queues(hub: &Hub) -> Result<(), BackendError> {
    let queues: Vec<String> = hub.command(redis::cmd("SMEMBERS").arg(hub.keys.exclusive())).await?;
    for queues in queues.chunks(MOST_LOOKS) {
        sweep_some(hub, queues).await?;
    }
    Ok(())
}

async fn sweep_some(hub: &Hub, queues: &[String]) -> Result<(), BackendError> {
    let keys: Vec<_> = queues.iter().map(|queue| hub.keys.queue(queue)).collect();
    let stored: Vec<Option<Vec<u8>>> = hub.command(redis::cmd("MGET").arg(keys)).await?;
    let mut owned = Vec::new();
    for (queue, stored) in queues.iter().zip(stored) {
        let declared = stored.and_then(|stored| Declared::read(&stored));
        match declared.and_then(|declared| declared.owner) {
            Some(owner) => owned.push((queue, owner)),
            None => hub.command(redis::cmd("SREM").arg(hub.keys.exclusive()).arg(queue)).await?,
        }
    }
    let gone = gone(hub, owned.iter().map(|(_, owner)| owner.holder.clone())).await?;
    for (queue, owner) in owned.iter().filter(|(_, owner)| gone.contains(&owner.holder)) {
        delete_owned(hub, queue, owner).await?;
    }
    Ok(())
}
