//! Arguments and properties by their names: what methods consist of, without a type for each.

pub(crate) mod argument;
pub(crate) mod properties;
