//! The effects of an operation on others than its caller.

pub(crate) mod delivery_path;
pub(crate) mod lost_replies;
pub(crate) mod sink;
