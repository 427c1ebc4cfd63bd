//! Remote procedure calls. Their public names are in `crate::rpc`.

pub(crate) mod client;
pub(crate) mod message;
pub(crate) mod server;
pub(crate) mod waiting;
