//! Who logs in, and how.

pub(crate) mod credentials;
pub(crate) mod sasl;
