//! Reads settings from a TOML file. Its errors never show a value, which may be a password.

use std::{error::Error, fmt, ops::Range};

use serde::de::DeserializeOwned;

/// Why a file cannot be read. It contains no part of any value in the file, and not even of a line
/// that is not TOML.
#[derive(Debug)]
pub(crate) struct FileError {
    /// Line and column, both counted from 1.
    at: Option<(usize, usize)>,
    why: String,
}

impl Error for FileError {}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.at {
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.why)
    }
}

/// Reads a file.
///
/// # Errors
/// When it is not TOML, or has an unknown key.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, FileError> {
    // The message for invalid TOML does not depend on the contents.
    let refused = |error: toml::de::Error| FileError {
        at: error.span().map(|span| position(text, &span)),
        why: error.message().to_owned(),
    };
    let _: toml::Table = text.parse().map_err(refused)?;
    toml::from_str(text).map_err(|error| {
        let key = error.span().and_then(|span| key(text, &span).or_else(|| head(text, &span)));
        let key = key.map(|key| format!("{key}: "));
        FileError {
            at: error.span().map(|span| position(text, &span)),
            why: format!("{}{}", key.unwrap_or_default(), words(error.message())),
        }
    })
}

/// The line and column at which a span begins.
fn position(text: &str, span: &Range<usize>) -> (usize, usize) {
    let before = text.get(..span.start).unwrap_or(text);
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
    (before.matches('\n').count() + 1, column + 1)
}

/// The key of a value that begins here, if it is on the same line.
fn key<'a>(text: &'a str, span: &Range<usize>) -> Option<&'a str> {
    let (before, _) = text.split_at_checked(span.start)?;
    let key = before.rsplit('\n').next()?.trim_end().strip_suffix('=')?.trim();
    key.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(&octet)).then_some(key)
}

/// The header of a table that begins here.
fn head<'a>(text: &'a str, span: &Range<usize>) -> Option<&'a str> {
    let line = text.get(span.start..)?.lines().next()?.trim_end();
    let name = line.strip_prefix('[')?.strip_suffix(']')?;
    let is_name = name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_[]".contains(&octet));
    is_name.then_some(line)
}

/// The message of serde about a value, without the value.
fn words(message: &str) -> String {
    if message == "missing field `password`" {
        return format!("{message}; who logs in by certificate only is a user-without-password");
    }
    // These messages contain only keys.
    if ["unknown field", "missing field", "duplicate field"].iter().any(|known| message.starts_with(known)) {
        return message.to_owned();
    }
    match message.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {}", kind(expected)),
        None => "this is not what is expected here".to_owned(),
    }
}

/// TOML's name for a type of Rust.
fn kind(expected: &str) -> &str {
    match expected {
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number of at least 0",
        "a sequence" => "an array",
        "path string" => "a string",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct File {
        #[serde(default)]
        user: Vec<User>,
        heartbeat: Option<u16>,
        listen: Option<Vec<String>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct User {
        name: String,
        password: String,
    }

    fn refused(text: &str) -> String {
        parse::<File>(text).unwrap_err().to_string()
    }

    #[test]
    fn no_error_repeats_a_value() {
        for line in [
            "password = \"hunter2",
            "password = 'hunter2",
            "password = \"\"\"hunter2",
            "password = hunter2",
            "password = hunter2\"",
            "password = \"hunter2\" hunter2",
            "password = \"hunter2\\q\"",
            "password \"hunter2\"",
            "password: \"hunter2\"",
            "password = [\"hunter2\"]",
            "password = [hunter2",
            "password = { x = \"hunter2\" }",
            "password = \"hunter2\"\npassword = \"hunter2\"",
            "password = \"hunter2\", x",
            "\"hunter2\"",
            "hunter2",
            "name = \"x\" password = \"hunter2\"",
        ] {
            let error = refused(&format!("[[user]]\nname = \"ada\"\n{line}\n"));
            assert!(!error.contains("hunter") && error.starts_with("line "), "{line}: {error}");
        }
        for text in [
            "user = \"ada:hunter2\"",
            "user = [\"ada:hunter2\"]",
            "heartbeat = \"hunter2\"",
            "heartbeat = \"hunter2, expected hunter2\"",
            "listen = \"hunter2\"",
            "[[user]]\nname = 5\npassword = \"hunter2\"",
        ] {
            let error = refused(text);
            assert!(!error.contains("hunter"), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_key() {
        assert_eq!(
            refused("\nheartbeat = 70000"),
            "line 2, column 13: heartbeat: expected a whole number from 0 to 65535"
        );
        assert_eq!(refused("listen = 5"), "line 1, column 10: listen: expected an array");
        assert!(
            refused("heart-beat = 5").starts_with("line 1, column 1: unknown field `heart-beat`, expected")
        );
        assert!(
            refused("[[user]]\nname = \"ada\"")
                .contains("missing field `password`; who logs in by certificate")
        );
        assert_eq!(refused("\n[user]\nname = \"ada\""), "line 2, column 1: [user]: expected an array");
        assert!(refused("listen = [\"a\"\nheartbeat = 5").starts_with("line "));
    }
}
