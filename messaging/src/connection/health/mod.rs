//! Whether the broker answers, and what is known of connections and workers without asking it.

pub(crate) mod check;
pub(crate) mod status;
