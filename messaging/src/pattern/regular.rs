//! Regular expressions as in Python's `re.match`: they have to match from the start of a text, but
//! not up to its end.

use amqp_client::Report;
use fancy_regex::Regex;
#[cfg(feature = "mailbox")]
use fancy_regex::RegexBuilder;

use crate::serialize::BoxError;

/// The most bytes that a peer's pattern may take when it is compiled, which bounds the time for
/// that as well.
#[cfg(feature = "mailbox")]
const COMPILED: usize = 128 * 1024;

/// The most steps back of matching a peer's pattern.
#[cfg(feature = "mailbox")]
const STEPS: usize = 10_000;

/// A pattern that is matched from the start of a text.
#[derive(Clone, Debug)]
pub(crate) struct Regular(Regex);

impl Regular {
    /// Returns a pattern of this service's own.
    #[cfg(any(test, feature = "oslo"))]
    pub(crate) fn new(pattern: &str) -> Result<Self, BoxError> {
        Ok(Regular(Regex::new(&translate(pattern))?))
    }

    /// Returns a pattern of somebody who is not trusted: compiling and matching it is cheap.
    #[cfg(feature = "mailbox")]
    pub(crate) fn of_peer(pattern: &str) -> Result<Self, BoxError> {
        let mut builder = RegexBuilder::new(&translate(pattern));
        let builder = builder.delegate_size_limit(COMPILED).delegate_dfa_size_limit(COMPILED);
        Ok(Regular(builder.backtrack_limit(STEPS).build()?))
    }

    pub(crate) fn fits(&self, text: &str) -> bool {
        match self.0.find(text) {
            // A match that begins at the start is always the one that is found first.
            Ok(found) => found.is_some_and(|found| found.start() == 0),
            Err(error) => {
                tracing::warn!(pattern = self.0.as_str(), error = %Report(&error), "matching a pattern takes too long; it counts as no match");
                false
            }
        }
    }
}

/// Translates Python's dialect into that of the library where they differ: the end of the text,
/// sets, and braces that are no counts.
fn translate(pattern: &str) -> String {
    let multi_line = has_flag(pattern, 'm');
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    let mut in_set = false;
    while let Some(character) = rest.chars().next() {
        let after = &rest[character.len_utf8()..];
        let (written, left) = match character {
            '\\' => match after.chars().next() {
                Some('Z') if !in_set => (r"\z".to_owned(), &after[1..]),
                Some(escaped) => (format!("\\{escaped}"), &after[escaped.len_utf8()..]),
                None => ("\\".to_owned(), after),
            },
            // In a set, these characters stand for themselves: an opening bracket does not nest,
            // and doubled signs are no operators.
            '[' | '&' | '~' | '|' if in_set => (format!("\\{character}"), after),
            ']' if in_set => {
                in_set = false;
                ("]".to_owned(), after)
            }
            '[' => {
                in_set = true;
                let negated = after.strip_prefix('^');
                let mut start = if negated.is_some() { "[^" } else { "[" }.to_owned();
                let after = negated.unwrap_or(after);
                // A closing bracket at the start belongs to the set.
                match after.strip_prefix(']') {
                    Some(after) => {
                        start.push_str(r"\]");
                        (start, after)
                    }
                    None => (start, after),
                }
            }
            '$' if !in_set && !multi_line => (r"(?=\n?\z)".to_owned(), after),
            '{' if !in_set => match counts(after) {
                Some((counts, after)) => (counts, after),
                None => (r"\{".to_owned(), after),
            },
            other => (other.to_string(), after),
        };
        out.push_str(&written);
        rest = left;
    }
    out
}

/// Whether a flag is set for the whole of a pattern.
fn has_flag(pattern: &str, flag: char) -> bool {
    let flags = pattern.strip_prefix("(?").and_then(|flags| flags.split_once(')'));
    flags.is_some_and(|(flags, _)| flags.chars().all(char::is_alphabetic) && flags.contains(flag))
}

/// Parses `{3}`, `{3,}`, `{,5}` or `{3,5}` after the brace. Returns it and the text after it.
fn counts(after: &str) -> Option<(String, &str)> {
    let (counts, after) = after.split_once('}')?;
    let (least, most) = counts.split_once(',').unwrap_or((counts, counts));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(least) || !is_number(most) || counts.is_empty() || counts == "," {
        return None;
    }
    let least = if least.is_empty() { "0" } else { least };
    let counts = if counts.contains(',') { format!("{{{least},{most}}}") } else { format!("{{{least}}}") };
    Some((counts, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_what_python_says_they_fit() {
        for (pattern, fits, misses) in [
            (r"^compute.*", &["compute", "compute.host1"][..], &["xcompute", ""][..]),
            ("compute", &["compute.host1"], &["a compute"]),
            ("a|b", &["a", "bc"], &["ca"]),
            ("", &["", "x"], &[]),
            ("^active$", &["active", "active\n"], &["active\n\n", "actives", "active\nx"]),
            (r"active\Z", &["active"], &["active\n"]),
            ("(?m)^a$", &["a\nb"], &["b\na"]),
            ("(?!compute)", &["network"], &["compute.x"]),
            (r"(?P<a>.)(?P=a)", &["aab"], &["ab"]),
            (r"(.)\1", &["aab"], &["ab"]),
            ("(?i)ERR", &["error"], &["warn"]),
            ("[[]a", &["[a"], &["a"]),
            ("[]a]b", &["]b", "ab"], &["b"]),
            ("[^]a]b", &["xb"], &["]b"]),
            ("[a&&b]c", &["&c", "ac", "bc"], &["xc"]),
            ("a{2}b", &["aab"], &["ab"]),
            ("a{,2}b", &["b", "aab"], &["aaab"]),
            ("{id}", &["{id}"], &["id"]),
            ("a{b", &["a{b"], &["ab"]),
            (r"\d{2,}\.", &["12.", "123."], &["1."]),
            (r"[\]]x", &["]x"], &["x"]),
            ("[$]", &["$"], &["x"]),
            (".", &["x"], &["\n", ""]),
        ] {
            let compiled = Regular::new(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            for text in fits {
                assert!(compiled.fits(text), "{pattern} {text:?}");
            }
            for text in misses {
                assert!(!compiled.fits(text), "{pattern} {text:?}");
            }
        }
    }

    #[cfg(feature = "mailbox")]
    #[test]
    fn a_peers_pattern_is_refused_when_it_is_costly() {
        for (pattern, text) in [(r"w\d@\w+\.example", "w1@host.example"), (r"(?i)W1@(a|b)", "w1@b")] {
            assert!(Regular::of_peer(pattern).unwrap().fits(text), "{pattern}");
        }
        for costly in [r"(\w{97}){90}", r"\w{999}", r"(?:a{1000}){1000}"] {
            assert!(Regular::of_peer(costly).is_err(), "{costly}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_and_what_takes_too_long_does_not_fit() {
        for pattern in ["(", "a**", "[", "\\"] {
            assert!(Regular::new(pattern).is_err(), "{pattern}");
        }
        let slow = Regular::new(r"(a+)+\1$").unwrap();
        assert!(!slow.fits(&format!("{}b", "a".repeat(200))));
    }
}
