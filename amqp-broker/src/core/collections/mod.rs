//! Collections for the entities of a virtual host.

pub(crate) mod arena;
pub(crate) mod segments;
