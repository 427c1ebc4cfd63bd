//! The program itself: its contexts, completions and manual pages.

pub(crate) mod completions;
pub(crate) mod context;
pub(crate) mod man;
