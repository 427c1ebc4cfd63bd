//! Outgoing notifications, which are buffered while no broker accepts them.

pub(crate) mod backlog;
pub(crate) mod buffer;
pub(crate) mod emitter;
pub(crate) mod notifier;
#[cfg(feature = "spool")]
pub(crate) mod spool;
#[cfg(not(feature = "spool"))]
#[path = "no_spool.rs"]
pub(crate) mod spool;
