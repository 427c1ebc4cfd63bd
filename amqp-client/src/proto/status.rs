//! What stays of a channel after its end, and what its handles see without the engine's lock.

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

use crate::error::Error;
use crate::proto::publishing::confirms::{Confirms, Progress, Settled};
use crate::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

/// What the handles of a channel see without the engine's lock, and after the channel's end.
#[derive(Debug, Default)]
pub(crate) struct ChannelStatus {
    pub(crate) ended: OnceLock<Error>,
    pub(crate) progress: Arc<Progress>,
    /// Delivery tags up to this one belong to lost connections.
    stale_up_to: AtomicU64,
    /// The confirms at the channel's end.
    pub(crate) remains: Mutex<Option<Confirms>>,
}

impl ChannelStatus {
    /// Tells whether a delivery with this tag belongs to a lost connection, so that it is delivered
    /// again.
    #[inline]
    pub(crate) fn is_stale(&self, tag: u64) -> bool {
        tag <= self.stale_up_to.load(Ordering::Acquire)
    }

    pub(crate) fn set_stale_up_to(&self, tag: u64) {
        self.stale_up_to.store(tag, Ordering::Release);
    }

    /// Returns the outcome of a publish, after the channel's end.
    pub(crate) fn outcome(&self, tag: u64) -> Option<Settled> {
        self.remains.lock().as_mut()?.outcome(tag)
    }

    /// Tells whether every publish up to `tag` was settled, after the channel's end.
    pub(crate) fn is_settled_up_to(&self, tag: u64) -> bool {
        self.remains.lock().as_ref().is_some_and(|confirms| confirms.is_settled_up_to(tag))
    }

    /// Returns the tags after the last answer, at the channel's end.
    pub(crate) fn unanswered(&self) -> Range<u64> {
        self.remains.lock().as_ref().map_or(1..1, Confirms::unanswered)
    }

    /// Returns why the channel ended.
    pub(crate) fn reason(&self) -> Error {
        self.ended.get().cloned().unwrap_or(Error::ConnectionEnded)
    }
}
