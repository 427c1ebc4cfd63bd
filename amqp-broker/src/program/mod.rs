//! The parts of the program: where it listens, what it logs, and who tells it what.

pub(crate) mod configuration;
pub(crate) mod http_listeners;
pub(crate) mod listeners;
pub(crate) mod service_state;
pub(crate) mod signals;
