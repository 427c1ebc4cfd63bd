//! Tasks: what they are given, how they run and how they end.

pub(super) mod arguments;
pub(super) mod call;
pub(super) mod context;
pub(super) mod definition;
pub(super) mod raise;
pub(super) mod run;
