//! The content of a publish, its headers and properties kept as the bytes they came in.

pub(crate) mod extra_header;
pub(crate) mod header_table;
pub(crate) mod keys;
pub(crate) mod message;
pub(crate) mod properties;
