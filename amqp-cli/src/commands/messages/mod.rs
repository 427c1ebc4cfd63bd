//! Publishing and receiving messages.

pub(crate) mod get;
