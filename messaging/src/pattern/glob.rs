//! Patterns of names as in Python's `fnmatch`: `compute.*`, `?`, `[a-c]`, `[!a]`. Other characters
//! stand for themselves, and there is no escaping.

use std::iter::Peekable;

use regex::Regex;

use crate::serialize::BoxError;

/// A pattern that is matched against a whole name.
#[derive(Clone, Debug)]
pub(crate) struct Glob(Regex);

impl Glob {
    pub(crate) fn new(pattern: &str) -> Result<Self, BoxError> {
        Ok(Glob(Regex::new(&translate(pattern))?))
    }

    pub(crate) fn fits(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

fn translate(pattern: &str) -> String {
    let mut regex = String::from(r"(?s)\A");
    let mut rest = pattern.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '[' => match set(&mut rest) {
                Some(set) => regex.push_str(&set),
                None => regex.push_str(r"\["),
            },
            literal => push(&mut regex, literal),
        }
    }
    regex.push_str(r"\z");
    regex
}

/// Parses a set after its opening bracket; if no closing bracket follows, returns `None` and
/// consumes nothing.
fn set(rest: &mut Peekable<impl Iterator<Item = char> + Clone>) -> Option<String> {
    let mut ahead = rest.clone();
    let negated = ahead.next_if_eq(&'!').is_some();
    // A closing bracket at the start belongs to the set.
    let mut characters: Vec<_> = ahead.next_if_eq(&']').into_iter().collect();
    loop {
        match ahead.next()? {
            ']' => break,
            character => characters.push(character),
        }
    }
    *rest = ahead;
    let mut ranges = String::new();
    let mut left = &characters[..];
    loop {
        left = match left {
            [] => break,
            [first, '-', last, after @ ..] => {
                // A backward range is empty.
                if first <= last {
                    push(&mut ranges, *first);
                    ranges.push('-');
                    push(&mut ranges, *last);
                }
                after
            }
            [character, after @ ..] => {
                push(&mut ranges, *character);
                after
            }
        };
    }
    Some(match (ranges.is_empty(), negated) {
        (true, true) => ".".to_owned(),
        // An empty set matches nothing.
        (true, false) => r"[^\x00-\x{10ffff}]".to_owned(),
        (false, true) => format!("[^{ranges}]"),
        (false, false) => format!("[{ranges}]"),
    })
}

fn push(regex: &mut String, literal: char) {
    regex.push_str(&regex::escape(literal.encode_utf8(&mut [0; 4])));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_what_fnmatch_says_they_fit() {
        for (pattern, fits, misses) in [
            ("compute.*", &["compute.", "compute.a.b", "compute.\n"][..], &["compute", "xcompute.a"][..]),
            ("*.end", &[".end", "a.end"], &["a.ends"]),
            ("a?c", &["abc", "a.c"], &["ac", "abbc"]),
            ("[a-c]x", &["ax", "cx"], &["dx", "-x"]),
            ("[!a-c]x", &["dx", "!x"], &["ax"]),
            ("[]a]", &["]", "a"], &["[]a]"]),
            ("[!]a]", &["b"], &["]", "a"]),
            ("[a", &["[a"], &["a"]),
            ("[c-a]x", &[], &["ax", "bx", "x"]),
            ("[!c-a]x", &["ax", "zx"], &["x"]),
            ("[a-]", &["a", "-"], &["b"]),
            ("[^a]", &["^", "a"], &["b"]),
            ("[[&~|\\]", &["[", "&", "~", "|", "\\"], &["a"]),
            (r"\*", &[r"\", r"\a"], &["*"]),
            ("a.c", &["a.c"], &["abc"]),
            ("{a,b}", &["{a,b}"], &["a"]),
            ("", &[""], &["a"]),
        ] {
            let compiled = Glob::new(pattern).unwrap();
            for name in fits {
                assert!(compiled.fits(name), "{pattern} {name}");
            }
            for name in misses {
                assert!(!compiled.fits(name), "{pattern} {name}");
            }
        }
    }
}
