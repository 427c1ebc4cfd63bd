//! The errors of a mailbox.

/// An error of another library or of the user.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The reason why a node was not started or a command not sent. It is wrapped in
/// [`Error::Mailbox`](crate::Error::Mailbox).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MailboxError {
    /// There is a node of this name already. On AMQP its queue belongs to another connection, or
    /// has a consumer.
    #[error("node {node:?} is running already")]
    NameTaken {
        /// The name of the node.
        node: String,
        /// The broker's answer.
        source: amqp_client::Error,
    },
    /// The arguments of a command have to be a struct or a map with text keys, or `()`.
    #[error("the arguments of command {method:?} do not make a JSON object")]
    Arguments {
        /// The method of the command.
        method: String,
    },
    /// The pattern of a command cannot be read.
    #[error("the pattern {pattern:?} cannot be read")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// The cause.
        source: BoxError,
    },
    /// The pattern of a command is longer than this library's nodes evaluate.
    #[error("the pattern of a command has {length} bytes; nodes evaluate at most {limit}")]
    LongPattern {
        /// The length of the pattern in bytes.
        length: usize,
        /// The limit in bytes.
        limit: usize,
    },
}
