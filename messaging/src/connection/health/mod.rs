//! The probe of the broker, and the status of connections and workers without asking it.

pub(crate) mod check;
pub(crate) mod status;
