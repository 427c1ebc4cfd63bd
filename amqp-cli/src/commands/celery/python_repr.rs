//! JSON as Python's `repr` writes it, for people who look at a task.

use serde_json::Value as Json;

/// The longest text, in characters: Celery cuts its own as well.
const MOST: usize = 1024;

/// The value as Python would write it, cut if it is long.
pub(super) fn python_repr(value: &Json) -> String {
    let whole = repr(value);
    match whole.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &whole[..end]),
        None => whole,
    }
}

fn repr(value: &Json) -> String {
    match value {
        Json::Null => "None".to_owned(),
        Json::Bool(true) => "True".to_owned(),
        Json::Bool(false) => "False".to_owned(),
        Json::Number(number) => number.to_string(),
        Json::String(text) => quoted(text),
        Json::Array(items) => format!("[{}]", items.iter().map(repr).collect::<Vec<_>>().join(", ")),
        Json::Object(entries) => {
            let entries = entries.iter().map(|(key, value)| format!("{}: {}", quoted(key), repr(value)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut quoted = String::from(quote);
    for character in text.chars() {
        match character {
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            _ if character == quote => quoted.extend(['\\', quote]),
            _ if u32::from(character) < 0x20 || character == '\u{7f}' => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(character)));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push(quote);
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_python_writes() {
        let value = serde_json::json!([1, 2.5, "it's", "say \"it's\"\n", null, true, {"k": [false]}]);
        let python = r#"[1, 2.5, "it's", 'say "it\'s"\n', None, True, {'k': [False]}]"#;
        assert_eq!(python_repr(&value), python);
        assert_eq!(python_repr(&"x".repeat(5000).into()).len(), MOST + 3);
    }
}
