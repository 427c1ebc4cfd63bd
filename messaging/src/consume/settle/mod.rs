//! What happens to a message after an attempt to handle it.

pub(crate) mod acker;
pub(crate) mod broker_delay;
pub(crate) mod marked;
pub(crate) mod next_step;
pub(crate) mod on_failure;
pub(crate) mod on_undecodable;
pub(crate) mod settling;
pub(crate) mod stowed;
pub(crate) mod stuck;
