//! What the nodes and callers of a namespace share, and the messages between them.

pub(super) mod builder;
pub(super) mod clock;
mod log_limit;
pub(super) mod mailbox;
pub(super) mod metrics;
#[allow(clippy::module_inception, reason = "it holds the type `Namespace`")]
pub(super) mod namespace;
mod peers;
pub(super) mod recipients;
pub(super) mod reply;
pub(super) mod reply_error;
pub(super) mod reply_queue;
pub(super) mod wire;
