//! Connections to the broker that the arguments, the environment or a context name.

pub(crate) mod arguments;
pub(crate) mod target;
