//! Connections to a broker, which are opened when needed, and what is declared on them.

pub(crate) mod binding;
pub(crate) mod brokers;
pub(crate) mod entity;
pub(crate) mod event;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod lazy_connection;
pub(crate) mod left;
pub(crate) mod metrics;
pub(crate) mod server;
pub(crate) mod setup;
pub(crate) mod setup_error;
pub(crate) mod silence;
pub(crate) mod state;
pub(crate) mod suspect;
