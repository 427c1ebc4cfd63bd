//! RabbitMQ's refusals as those of a backend.

use crate::{backend::BackendError, core::rabbitmq::refusal::Refusal};

/// The virtual host's name in texts: a database of Redis has none.
pub(crate) const VHOST: &str = "/";

/// The refusal with its text (406).
pub(crate) fn precondition_failed(refusal: &Refusal) -> BackendError {
    BackendError::PreconditionFailed(refusal.to_string())
}
