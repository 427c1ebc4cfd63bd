//! Notifications on their way out: kept while no broker takes them.

pub(super) mod backlog;
pub(super) mod buffer;
pub(super) mod emission;
pub(super) mod notifier;
pub(super) mod spool;
