//! The caller of the API, and its rights.

pub(crate) mod caller;
