//! The disk when the feature `durable` is off: there is none.

use crate::core::journal::records::{Changes, Stored};

/// A disk that cannot exist.
pub(crate) enum Disk {}

impl Disk {
    pub(crate) fn add(&self, _changes: Changes, _change: u64) -> bool {
        match *self {}
    }

    pub(crate) fn backlog(&self) -> u64 {
        match *self {}
    }

    pub(crate) async fn flushed(&self) {
        match *self {}
    }

    pub(crate) async fn close(&self, _redelivered: Vec<Stored>) {
        match *self {}
    }
}
