//! Putting a message at its place.

use redis::Pipeline;

use super::place::{How, Place};
use crate::{backend::BackendError, redis::hub::Hub};

/// Puts a message at its place.
///
/// # Errors
/// When Redis fails.
pub(crate) async fn put(hub: &Hub, place: &Place, raw: &[u8]) -> Result<(), BackendError> {
    let mut pipeline = redis::pipe();
    add_put(&mut pipeline, place, raw);
    hub.pipeline(pipeline.atomic()).await
}

/// Adds the commands that put a message at its place.
pub(crate) fn add_put(pipeline: &mut Pipeline, place: &Place, raw: &[u8]) {
    let Place { key, how, .. } = place;
    match how {
        How::At(due) => _ = pipeline.cmd("ZADD").arg(key).arg(due).arg(raw).ignore(),
        How::Front(expiry) | How::Back(expiry) => {
            pipeline.cmd(how.command()).arg(key).arg(raw).ignore();
            if let Some(expiry) = expiry {
                for list in expiry.lists(key) {
                    pipeline.cmd("PEXPIRE").arg(list).arg(expiry.lifetime).ignore();
                }
            }
        }
        How::SetAside(most) => {
            pipeline.cmd(how.command()).arg(key).arg(raw).ignore();
            pipeline.cmd("LTRIM").arg(key).arg(0).arg(most.saturating_sub(1)).ignore();
        }
    }
}
