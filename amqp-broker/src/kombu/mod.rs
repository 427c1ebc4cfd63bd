//! What kombu's virtual transports have in common: the JSON of a message, priorities, and bindings.

pub(crate) mod binding_member;
pub(crate) mod envelope;
pub(crate) mod priorities;
