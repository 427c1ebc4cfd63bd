//! Collections that the entities of a virtual host are kept in.

pub(crate) mod arena;
pub(crate) mod segments;
