//! Nodes: they take the commands that are for them, and answer.

pub(super) mod handlers;
#[allow(clippy::module_inception, reason = "it holds the type `Node`")]
pub(super) mod node;
pub(super) mod request;
mod stop;
