//! The reason why setting up a connection, a channel or a declaration failed. All callers that
//! waited for it get the same.

use std::fmt;

use amqp_codec::ReplyCode;

use crate::error::{Error, conflict::Conflict};

/// The error of a failed setup; [`Error`] has the same variants.
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
    /// Returns a function for `map_err` that adds the operation to an error of the client.
    pub(crate) fn broker(operation: impl fmt::Display) -> impl FnOnce(amqp_client::Error) -> Self {
        move |source| SetupError::Broker { operation: operation.to_string(), source }
    }

    /// Whether something that the operation needs does not exist.
    pub(crate) fn is_missing(&self) -> bool {
        let SetupError::Broker { source, .. } = self else { return false };
        source.close().is_some_and(|close| close.code == ReplyCode::NOT_FOUND)
    }

    /// Whether retrying is useless, as [`Error::is_permanent`] says.
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
