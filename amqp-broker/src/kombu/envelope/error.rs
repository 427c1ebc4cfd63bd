//! What cannot be read or written.

/// Why an item is no envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnvelopeError {
    /// It is not JSON, or JSON of another shape. Columns count from 1 in the part that is wrong.
    #[error("{reason} at column {column}")]
    Json { column: usize, reason: String },
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{field}` {problem}")]
    Field { field: &'static str, problem: &'static str },
}

impl EnvelopeError {
    pub(super) fn field(field: &'static str, problem: &'static str) -> Self {
        EnvelopeError::Field { field, problem }
    }
}

impl From<serde_json::Error> for EnvelopeError {
    fn from(error: serde_json::Error) -> Self {
        // The text ends with line and column. It may quote a part of the item.
        let text = error.to_string();
        let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
        EnvelopeError::Json { column: error.column(), reason: reason.to_owned() }
    }
}

/// Why a message cannot be written: JSON holds only text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {0} is not UTF-8, so that it cannot be stored in Redis as kombu reads it")]
pub(crate) struct NotText(pub(crate) &'static str);
