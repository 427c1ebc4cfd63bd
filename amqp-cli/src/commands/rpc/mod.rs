//! Requests and replies, notifications.

pub(crate) mod answer;
pub(crate) mod listen;
pub(crate) mod methods;
pub(crate) mod notify;
pub(crate) mod reply;
pub(crate) mod request;
