//! Outgoing notifications, which are buffered while no broker accepts them.

pub(super) mod backlog;
pub(super) mod buffer;
pub(super) mod emitter;
pub(super) mod notifier;
#[cfg(feature = "spool")]
pub(super) mod spool;
#[cfg(not(feature = "spool"))]
#[path = "no_spool.rs"]
pub(super) mod spool;
