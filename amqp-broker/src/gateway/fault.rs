//! What ends a channel or a connection of a gateway.

use amqp_codec::{Error, ReplyCode, ShortString};

use crate::{
    backend::BackendError,
    core::rabbitmq::refusal::{Refusal, reply_text},
};

/// The reason of a close, as the client gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: ReplyCode,
    pub(crate) text: ShortString,
    /// Set when the whole connection is closed for it, and not only the channel.
    pub(crate) closes_connection: bool,
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Fault {
            code: refusal.code(),
            text: refusal.reply_text(),
            closes_connection: refusal.closes_connection(),
        }
    }
}

impl From<BackendError> for Fault {
    fn from(error: BackendError) -> Self {
        let code = error.code();
        // What a backend does not have is the fault of the channel that asked for it alone, even
        // though the specification calls 540 a connection's error (section 1.2.1).
        Fault {
            code,
            text: reply_text(code, &error.to_string()),
            closes_connection: error.closes_connection(),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Refusal::Syntax(error).into()
    }
}
