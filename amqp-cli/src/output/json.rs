//! JSON of which each object is one line, and nothing in it moves a cursor.

use serde::Serialize;

use crate::output::escape::is_unsafe;

/// The value as JSON on one line. serde_json escapes only what JSON demands; characters that a
/// terminal would obey, such as C1 controls, are escaped here too, for the reader of a pipe may be
/// one. They occur in strings alone, as everything else in JSON is ASCII.
pub(crate) fn line(value: &impl Serialize) -> String {
    // What this program serializes has string keys and no failing serializer.
    let json = serde_json::to_string(value).unwrap_or_default();
    if !json.contains(is_unsafe) {
        return json;
    }
    let mut safe = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        match is_unsafe(character) {
            true => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    safe.push_str(&format!("\\u{unit:04x}"));
                }
            }
            false => safe.push(character),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped_and_means_the_same() {
        let text = "\x1b[2J \u{9b} \u{202e} \u{e0041} \n \u{fc}";
        let json = line(&text);
        assert_eq!(json, r#""\u001b[2J \u009b \u202e \udb40\udc41 \n ü""#);
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
