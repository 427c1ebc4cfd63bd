//! What the operations of a channel take beside names and messages.

pub(crate) mod delete;
pub(crate) mod get;
pub(crate) mod route;
