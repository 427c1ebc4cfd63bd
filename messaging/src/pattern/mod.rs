//! Patterns of names as Python's libraries have them.

mod glob;
mod regular;

pub(crate) use glob::Glob;
pub(crate) use regular::Regular;
