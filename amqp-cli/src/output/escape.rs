//! What a peer wrote, made safe for a terminal.

use std::borrow::Cow;

/// Escapes what would move the cursor, colour the text, end the line or turn its direction, as in
/// Rust's string literals. All else stays, letters of any language too.
pub(crate) fn escaped_line(text: &str) -> Cow<'_, str> {
    escape(text, is_unsafe)
}

/// As [`escaped_line`], but line feeds and tabs stay: for bodies.
pub(crate) fn escaped_text(text: &str) -> Cow<'_, str> {
    escape(text, |character| is_unsafe(character) && !matches!(character, '\n' | '\t'))
}

/// The octets of a body for a terminal: text as [`escaped_text`], octets that are not UTF-8 as
/// `\xff`.
pub(crate) fn escaped_octets(octets: &[u8]) -> String {
    let mut shown = String::with_capacity(octets.len());
    for chunk in octets.utf8_chunks() {
        shown.push_str(&escaped_text(chunk.valid()));
        for octet in chunk.invalid() {
            shown.push_str(&format!("\\x{octet:02x}"));
        }
    }
    shown
}

/// Tells whether a character is more than a sign on the screen: control characters, those that
/// turn or join text, line and paragraph separators, and the byte order mark.
pub(crate) fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

fn escape(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match is_escaped(character) {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_signs_of_any_language_stay() {
        for text in ["", "plain \"text\" \\n", "J\u{fc}rgen \u{6f22}\u{5b57} \u{1f600} \u{5d0}"] {
            assert_eq!(escaped_line(text), text);
            assert_eq!(escaped_octets(text.as_bytes()), text);
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        for (text, shown) in [
            ("\x1b[31mred", r"\u{1b}[31mred"),
            ("a\rb", r"a\rb"),
            ("a\nb\tc", r"a\nb\tc"),
            ("\u{9b}2J", r"\u{9b}2J"),
            ("\u{7f}\0", r"\u{7f}\u{0}"),
            ("\u{202e}gnp.exe", r"\u{202e}gnp.exe"),
            ("a\u{2028}b\u{200b}", r"a\u{2028}b\u{200b}"),
        ] {
            assert_eq!(escaped_line(text), shown);
        }
        assert_eq!(escaped_octets(b"a\nb\t\xff\x1b]0;t\x07"), "a\nb\t\\xff\\u{1b}]0;t\\u{7}");
    }
}
