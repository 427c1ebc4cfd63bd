//! Sets of names and routing keys, as regular expressions.

use regex::bytes::Regex;

/// A set of names or routing keys.
#[derive(Clone, Debug)]
pub(crate) enum Pattern {
    All,
    None,
    /// Only the empty name: what the empty expression stands for in RabbitMQ.
    Empty,
    Matching(Regex),
}

/// An invalid regular expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} is not a regular expression: {why}")]
pub struct InvalidPattern {
    pattern: String,
    why: String,
}

impl InvalidPattern {
    pub(crate) fn new(pattern: &str, why: &str) -> Self {
        InvalidPattern { pattern: pattern.to_owned(), why: why.to_owned() }
    }

    /// The same error of another text, from which the pattern was made.
    pub(super) fn of(self, text: &str) -> Self {
        InvalidPattern { pattern: text.to_owned(), ..self }
    }
}

impl Pattern {
    /// Reads a regular expression.
    ///
    /// # Errors
    /// When it is none; the error names it.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidPattern> {
        Self::compile(text).map_err(|error| {
            // The lines before the last show where the error is; a log line has no room for them.
            let error = error.to_string();
            let why = error.rsplit("error: ").next().unwrap_or_default().trim().to_owned();
            InvalidPattern { pattern: text.to_owned(), why }
        })
    }

    fn compile(text: &str) -> Result<Self, regex::Error> {
        if text.is_empty() { Ok(Pattern::Empty) } else { Regex::new(text).map(Pattern::Matching) }
    }

    /// The regular expression.
    #[cfg(feature = "management")]
    pub(super) fn text(&self) -> &str {
        match self {
            Pattern::All => ".*",
            Pattern::None | Pattern::Empty => "",
            Pattern::Matching(regex) => regex.as_str(),
        }
    }

    /// Tells whether a name is in the set.
    pub(super) fn has(&self, name: &[u8]) -> bool {
        match self {
            Pattern::All => true,
            Pattern::None => false,
            Pattern::Empty => name.is_empty(),
            Pattern::Matching(regex) => regex.is_match(name),
        }
    }
}
