//! What kombu's virtual transports have in common: the JSON of a message, priorities, and bindings.

#![allow(dead_code, unused_imports, reason = "the commands that use them are not all written")]

pub(crate) mod binding_member;
pub(crate) mod envelope;
pub(crate) mod priorities;
