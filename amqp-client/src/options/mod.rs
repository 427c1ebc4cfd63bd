//! The options of a channel's operations.

pub(crate) mod delete;
pub(crate) mod get;
pub(crate) mod route;
