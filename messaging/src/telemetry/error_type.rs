//! The values of `error.type`, of which there are few.

use crate::error::{Error, Outcome};

/// The operation's future was dropped before its end.
pub(super) const CANCELLED: &str = "cancelled";

/// Returns the class that a failure belongs to.
pub(super) fn error_type(error: &Error) -> &'static str {
    match error {
        Error::Url(_) => "url",
        Error::Connect { .. } => "connect",
        Error::Broker { .. } => "broker",
        Error::Conflict(_) => "conflict",
        Error::QueueTaken { .. } => "queue_taken",
        Error::Closed => "closed",
        Error::Encode { .. } | Error::Serializer(_) | Error::Compression(_) => "encode",
        Error::Decode { .. } | Error::Undecodable(_) => "undecodable",
        Error::Undelivered(undelivered) => match undelivered.outcome {
            Outcome::NotSent => NOT_SENT,
            Outcome::Rejected => "rejected",
            Outcome::Unroutable => "unroutable",
            Outcome::Unknown => "unconfirmed",
        },
        Error::ConsumerEnded { .. } => "consumer_ended",
        Error::Timeout { .. } => "timeout",
        #[cfg(feature = "mailbox")]
        Error::Mailbox(_) => "mailbox",
        #[cfg(feature = "oslo")]
        Error::Oslo(error) => error.class(),
    }
}

/// The message was never sent.
pub(super) const NOT_SENT: &str = "not_sent";
