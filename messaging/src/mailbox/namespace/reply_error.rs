//! What is wrong with a reply.

use crate::error::Malformed;

/// A reply that does not say what a node answered, or says that the node failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The node failed, or has no such method: its answer is `{"error": text}`.
    #[error("node {node:?} failed: {error}")]
    Failed {
        /// The name of the node.
        node: String,
        /// The error as the node wrote it.
        error: String,
    },
    /// The answer of a node is not of the requested type.
    #[error("the answer of node {node:?} is not of the requested type")]
    Decode {
        /// The name of the node.
        node: String,
        /// The cause.
        source: serde_json::Error,
    },
    /// The body of a reply cannot be decoded, or its content type is not accepted.
    #[error("a reply cannot be decoded")]
    Undecodable(#[source] Box<Malformed>),
    /// The body of a reply is not an object with the answers of nodes by their names.
    #[error("a reply is not an object with the answers of nodes by their names")]
    NotAnObject,
    /// The replies that wait to be read have no room for another one.
    #[error("a reply was dropped, because {bytes} bytes of replies wait to be read")]
    NoRoom {
        /// The bytes that wait.
        bytes: usize,
    },
    /// The connection was lost during the call. Replies may be lost; the call goes on.
    #[error("the connection was lost during the call, and replies may be lost")]
    Interrupted,
    /// The consumer of replies ended, so no further replies arrive.
    #[error("no further replies arrive: their consumer ended")]
    Ended,
}
