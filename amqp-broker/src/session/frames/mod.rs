//! Malformed frames, and methods that are decoded without the table of methods.

pub(crate) mod bad_frame;
pub(crate) mod settling;
