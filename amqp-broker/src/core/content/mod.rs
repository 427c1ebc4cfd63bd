//! The content of a publish. Headers and properties stay in the bytes in which they arrived.

pub(crate) mod extra_header;
pub(crate) mod header_table;
pub(crate) mod keys;
pub(crate) mod message;
pub(crate) mod properties;
pub(crate) mod returns;
