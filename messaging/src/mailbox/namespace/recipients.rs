//! The nodes that a command is for.

use serde_json::Value;

use crate::pattern::{Glob, Regular};

/// The longest pattern that a node evaluates, in bytes. Host names are shorter than 256 bytes.
pub(crate) const LONGEST_PATTERN: usize = 4096;

/// How a pattern is matched against the name of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Matcher {
    /// Python's `fnmatch`: `*`, `?`, `[a-c]` and `[!a]`, against the whole name.
    Glob,
    /// Python's `re.match`: a regular expression that matches from the start of the name, not
    /// necessarily up to its end.
    Pcre,
}

impl Matcher {
    /// Returns kombu's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Matcher::Glob => "glob",
            Matcher::Pcre => "pcre",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Matcher::Glob, Matcher::Pcre].into_iter().find(|matcher| matcher.name() == name)
    }

    /// Whether the pattern fits the name.
    pub(crate) fn fits(self, pattern: &str, name: &str) -> Result<bool, crate::serialize::BoxError> {
        Ok(match self {
            Matcher::Glob => Glob::new(pattern)?.fits(name),
            Matcher::Pcre => Regular::of_peer(pattern)?.fits(name),
        })
    }
}

/// The nodes that a received command is for, as kombu reads them.
#[derive(Debug, Default)]
pub(crate) struct Recipients {
    pub(crate) destination: Destination,
    pub(crate) pattern: Option<String>,
    pub(crate) matcher: Option<String>,
}

/// The names of the nodes that a command is for.
#[derive(Debug, Default)]
pub(crate) enum Destination {
    /// No name, which means every node.
    #[default]
    Everyone,
    Names(Vec<String>),
    /// A text instead of a list: Python's `in` then looks for the name within the text.
    Text(String),
}

impl Destination {
    /// Reads the `destination` of a command; `None` if it is neither null, text nor a list. Items
    /// that are no texts are nobody's name.
    pub(crate) fn read(value: Value) -> Option<Self> {
        Some(match value {
            Value::Null => Destination::Everyone,
            Value::String(text) if text.is_empty() => Destination::Everyone,
            Value::String(text) => Destination::Text(text),
            Value::Array(items) if items.is_empty() => Destination::Everyone,
            Value::Array(items) => {
                let text = |item: Value| item.as_str().map(str::to_owned);
                Destination::Names(items.into_iter().filter_map(text).collect())
            }
            _ => return None,
        })
    }
}

impl Recipients {
    /// Whether a node of this name is among them. Names take precedence over a pattern, and a
    /// pattern without a matcher means every node.
    ///
    /// # Errors
    /// The reason why that cannot be told: an unknown matcher, or a pattern that is invalid or too
    /// long.
    pub(crate) fn include(&self, node: &str) -> Result<bool, String> {
        match &self.destination {
            Destination::Names(names) => return Ok(names.iter().any(|name| name == node)),
            Destination::Text(text) => return Ok(text.contains(node)),
            Destination::Everyone => {}
        }
        let present = |text: &'_ Option<String>| text.clone().filter(|text| !text.is_empty());
        let (Some(pattern), Some(matcher)) = (present(&self.pattern), present(&self.matcher)) else {
            return Ok(true);
        };
        if pattern.len() > LONGEST_PATTERN {
            return Err(format!("its pattern of {} bytes is over {LONGEST_PATTERN}", pattern.len()));
        }
        let known = Matcher::of(&matcher).ok_or_else(|| format!("there is no matcher {matcher:?}"))?;
        known.fits(&pattern, node).map_err(|error| format!("its pattern {pattern:?} cannot be read: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn include(destination: Value, pattern: &str, matcher: &str) -> Result<bool, String> {
        let text = |text: &str| Some(text.to_owned());
        let destination = Destination::read(destination).unwrap();
        Recipients { destination, pattern: text(pattern), matcher: text(matcher) }.include("w1@host")
    }

    #[test]
    fn a_node_is_included_as_kombu_includes_it() {
        for (destination, pattern, matcher, included) in [
            (json!(null), "", "", true),
            (json!([]), "", "", true),
            (json!(""), "", "", true),
            (json!(["w1@host"]), "", "", true),
            (json!(["w1"]), "", "", false),
            (json!([1, "w1@host"]), "", "", true),
            (json!([1]), "", "", false),
            (json!("a,w1@host,b"), "", "", true),
            (json!("w1"), "", "", false),
            (json!(["other"]), "w1@*", "glob", false),
            (json!(null), "w1@*", "glob", true),
            (json!(null), "w2@*", "glob", false),
            (json!(null), "w2@*", "", true),
            (json!(null), "", "glob", true),
            (json!(null), "", "nosuch", true),
            (json!(null), r"w\d@", "pcre", true),
            (json!(null), "host", "pcre", false),
        ] {
            let found = include(destination.clone(), pattern, matcher);
            assert_eq!(found, Ok(included), "{destination} {pattern} {matcher}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_an_error() {
        assert!(include(json!(null), "x", "nosuch").is_err());
        assert!(include(json!(null), "(", "pcre").is_err());
        assert!(include(json!(null), &"a".repeat(LONGEST_PATTERN + 1), "pcre").is_err());
        assert!(Destination::read(json!({})).is_none());
    }

    proptest! {
        /// Python's `fnmatch` takes any text for a pattern.
        #[test]
        fn any_pattern_is_read_or_refused(pattern in "[a-c!?*^\\[\\]\\\\(){}|+.$&~-]{0,12}|.{0,40}", name in "[a-c]{0,6}|.{0,12}") {
            prop_assert!(Matcher::Glob.fits(&pattern, &name).is_ok(), "{pattern:?}");
            // It may be invalid; what must not happen is a panic.
            let _ = Matcher::Pcre.fits(&pattern, &name);
        }
    }
}
