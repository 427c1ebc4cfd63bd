//! Texts of a peer, made safe for a log line.

use std::fmt::{self, Display, Write};

/// The most characters of a text that are shown: enough for a whole reply text, and for the longest
/// name that the protocol allows.
const MOST: usize = 256;

/// Makes a text that may come from a peer safe for a log line: characters that would end the line,
/// colour it or change its direction are escaped as in Rust's string literals, and it is cut to 256
/// characters. Every name, reply text and error from outside passes through here on its way to the
/// log, as the value of a field (`user = shown(name)`), which the log's format puts in quotes.
pub(crate) fn shown(text: impl Display) -> String {
    let mut line = Line::default();
    // An error means that the text was cut.
    if write!(line, "{text}").is_err() {
        line.text.push('\u{2026}');
    }
    line.text
}

/// The beginning of a text.
#[derive(Default)]
struct Line {
    text: String,
    characters: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|character| self.write_char(character))
    }

    fn write_char(&mut self, character: char) -> fmt::Result {
        if self.characters == MOST {
            return Err(fmt::Error);
        }
        self.characters += 1;
        match character {
            // `escape_debug` would escape these, but they are harmless and readable.
            '"' | '\'' | '\\' => self.text.push(character),
            _ => self.text.extend(character.escape_debug()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_for_what_it_is_stays() {
        for text in ["guest", "", "it's \"a\" \\b", "J\u{fc}rgen \u{6f22}\u{5b57} \u{1f600}"] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn what_would_end_colour_or_turn_a_line_is_escaped() {
        for character in "\n\r\t\0\u{7}\u{8}\u{b}\u{c}\u{1b}\u{7f}\u{85}\u{9b}\u{a0}\u{ad}\u{200b}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\
            \u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}\u{61c}\u{feff}\u{e0041}\u{301}"
            .chars()
        {
            let line = shown(format_args!("a{character}b"));
            assert!(line.starts_with("a\\") && line.ends_with('b'), "{line:?}");
            assert!(!line.contains(character), "{line:?}");
        }
        assert_eq!(shown("a\nb\u{1b}[31m\u{202e}"), "a\\nb\\u{1b}[31m\\u{202e}");
    }

    #[test]
    fn what_is_longer_than_a_line_bears_is_cut() {
        assert_eq!(shown("x".repeat(MOST)), "x".repeat(MOST));
        assert_eq!(shown("\u{e9}".repeat(MOST + 1)), "\u{e9}".repeat(MOST) + "\u{2026}");
        // Escapes are not cut in two.
        let line = shown("\n".repeat(1 << 20));
        assert_eq!(line, "\\n".repeat(MOST) + "\u{2026}");
    }
}
