//! The base of all readers and writers: fields are taken off the front of a slice, and arguments
//! are read and written one at a time.

pub(crate) mod argument;
pub(crate) mod field;
pub(crate) mod nesting;
pub(crate) mod octets;
pub(crate) mod text;
