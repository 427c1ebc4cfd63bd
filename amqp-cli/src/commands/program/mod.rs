//! The program itself: its completions and manual pages.

pub(crate) mod completions;
pub(crate) mod man;
