//! What goes wrong with RPC and notifications only.

pub(crate) mod notify;
pub(crate) mod oslo;
pub(crate) mod remote;
