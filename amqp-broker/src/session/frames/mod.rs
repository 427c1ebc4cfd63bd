//! Frames that cannot be read, and those that are read past the table of methods.

pub(crate) mod bad_frame;
pub(crate) mod settling;
