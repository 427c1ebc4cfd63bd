//! The failure of a remote method.

/// The failure of a remote method, as its server described it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("remote error {module}.{class}: {message}")]
#[non_exhaustive]
pub struct RemoteError {
    /// The class of the exception.
    pub class: String,
    /// The module the class is in.
    pub module: String,
    /// The exception's message.
    pub message: String,
    /// The positional arguments of the exception.
    pub args: Vec<serde_json::Value>,
    /// The exception's named arguments.
    pub kwargs: serde_json::Map<String, serde_json::Value>,
    /// The server's traceback, in items of one or more lines.
    pub traceback: Vec<String>,
}
