//! A virtual host's operations, which call what its own folder provides. What is not done in one
//! turn is a value, and continues in a later one.

#[cfg(feature = "management")]
mod clear;
mod clock;
mod commit;
pub(crate) mod consume;
mod consumer_timeout;
mod dispatch;
pub(crate) mod policies;
mod proceed;
pub(crate) mod publish;
mod remove;
pub(crate) mod settle;
pub(crate) mod topology;
mod trace;
