//! Credentials, and the mechanisms of login.

pub(crate) mod credentials;
pub(crate) mod sasl;
