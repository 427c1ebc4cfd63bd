//! What the program prints: for people on a terminal, for programs in a pipe.

pub(crate) mod arguments;
pub(crate) mod escape;
pub(crate) mod json;
pub(crate) mod notes;
pub(crate) mod progress;
pub(crate) mod screen;
pub(crate) mod stdout;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod template;
