//! Receiving messages: from where, into what, and what becomes of them.

pub(crate) mod child;
pub(crate) mod receive;
pub(crate) mod settlement;
pub(crate) mod sources;
