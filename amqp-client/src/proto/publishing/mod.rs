//! Publishes, until the broker has answered them.

pub(crate) mod confirms;
pub(crate) mod publish;
pub(crate) mod republish;
pub(crate) mod returns;
pub(crate) mod unconfirmed;
pub(crate) mod wakers;
pub(crate) mod wire_tags;
