//! Publishing and receiving messages.

pub(crate) mod get;
pub(crate) mod publish;
pub(crate) mod relocate;
pub(crate) mod subscribe;
