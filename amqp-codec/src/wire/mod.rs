//! What all readers and writers rest on: fields off the front of a slice, arguments one at a time.

pub(crate) mod argument;
pub(crate) mod field;
pub(crate) mod nesting;
pub(crate) mod octets;
pub(crate) mod text;
