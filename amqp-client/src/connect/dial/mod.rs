//! The way to a broker: TCP or a stream of the user's own, TLS, the handshake.

pub(crate) mod dialer;
pub(crate) mod transport;
