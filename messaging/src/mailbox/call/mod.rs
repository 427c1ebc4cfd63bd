//! Commands, and the replies to them.

pub(super) mod command;
pub(super) mod replies;
