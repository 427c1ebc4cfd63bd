//! What a transport is told about RPC and notifications.

pub(crate) mod topology;
pub(crate) mod traffic;
