//! Who asks, and what it may do.

pub(crate) mod caller;
