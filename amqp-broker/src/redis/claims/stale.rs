//! Entries of the index of claims that have no claim.

use redis::{Pipeline, RedisResult, Value};

use crate::{
    backend::BackendError,
    redis::{connect::drop_script, hub::Hub},
};

/// Drops entries of the index that have no claim: they are left overs of an acknowledgement that
/// was interrupted. Kombu claims a message that returns under the same tag again, and an entry
/// whose claim is made meanwhile stays, or nobody would restore it.
///
/// # Errors
/// When Redis fails, or the claims change all the time.
pub(super) async fn drop_stale(hub: &Hub, tags: &[&String]) -> Result<(), BackendError> {
    if hub.scripting() {
        let mut script = drop_script().prepare_invoke();
        script.key(hub.keys.unacked()).key(hub.keys.unacked_index()).arg(tags);
        let answer: RedisResult<u64> = script.invoke_async(&mut hub.commands()).await;
        if !hub.no_scripting(&answer) {
            return hub.checked(answer).map(drop);
        }
    }
    let mut reads = redis::pipe();
    tags.iter().for_each(|tag| _ = reads.cmd("HEXISTS").arg(hub.keys.unacked()).arg(tag));
    hub.transact(&[hub.keys.unacked()], &reads, |claimed| (dropping(hub, tags, &claimed), ())).await?;
    Ok(())
}

/// The command that drops those that are not claimed; `None` when all are.
fn dropping(hub: &Hub, tags: &[&String], claimed: &[Value]) -> Option<Pipeline> {
    let stale = tags.iter().zip(claimed).filter(|(_, claimed)| **claimed == Value::Int(0));
    let stale: Vec<_> = stale.map(|(tag, _)| tag).collect();
    if stale.is_empty() {
        return None;
    }
    let mut pipeline = redis::pipe();
    pipeline.cmd("ZREM").arg(hub.keys.unacked_index()).arg(stale);
    Some(pipeline)
}
