//! Why a connection, a channel or what is declared on it is not there: told to all who waited for
//! it together.

use std::fmt;

use crate::error::{Error, conflict::Conflict};

/// What a setup ends with that fails; [`Error`] has the same variants.
#[derive(Clone, Debug)]
pub(crate) enum SetupError {
    /// The transport was closed, or dropped.
    Closed,
    Connect {
        host: String,
        source: amqp_client::Error,
    },
    Broker {
        operation: String,
        source: amqp_client::Error,
    },
    Conflict(Box<Conflict>),
    QueueTaken {
        queue: String,
        source: amqp_client::Error,
    },
}

impl SetupError {
    /// For use with `map_err`: what was being done when the client failed.
    pub(crate) fn broker(operation: impl fmt::Display) -> impl FnOnce(amqp_client::Error) -> Self {
        move |source| SetupError::Broker { operation: operation.to_string(), source }
    }

    /// As [`Error::is_permanent`].
    pub(crate) fn is_permanent(&self) -> bool {
        Error::from(self.clone()).is_permanent()
    }
}

impl From<SetupError> for Error {
    fn from(error: SetupError) -> Self {
        match error {
            SetupError::Closed => Error::Closed,
            SetupError::Connect { host, source } => Error::Connect { host, source },
            SetupError::Broker { operation, source } => Error::Broker { operation, source },
            SetupError::Conflict(conflict) => Error::Conflict(conflict),
            SetupError::QueueTaken { queue, source } => Error::QueueTaken { queue, source },
        }
    }
}
