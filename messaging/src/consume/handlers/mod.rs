//! Handlers that run: how many at once, where, and in which span and trace.

pub(crate) mod handling;
mod held;
pub(crate) mod inline_executor;
pub(crate) mod permits;
