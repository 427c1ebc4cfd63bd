//! Arguments as Celery shows them, for the headers `argsrepr` and `kwargsrepr`, which tools
//! display.

use std::fmt::{self, Write as _};

use serde_json::{Map, Value};

/// The most characters of a text, Celery's `argsrepr_maxsize`.
const MOST: usize = 1024;
/// The levels of nesting that are shown, Celery's `task_repr_maxlevels`.
const LEVELS: usize = 3;
/// What stands for the rest.
const REST: &str = "...";

/// Shows positional arguments as a tuple.
pub(crate) fn tuple(arguments: &[Value]) -> String {
    shown(|text| {
        list(arguments, ["(", ")"], 1, text)?;
        // A tuple of one has a comma.
        if arguments.len() == 1 {
            text.insert(text.len() - 1, ',');
        }
        Ok(())
    })
}

/// Shows one value.
pub(crate) fn one(of: &Value) -> String {
    shown(|text| value(of, 1, text))
}

/// Shows named arguments as a dictionary.
pub(crate) fn dictionary(arguments: &Map<String, Value>) -> String {
    shown(|text| map(arguments, 1, text))
}

fn shown(write: impl FnOnce(&mut String) -> fmt::Result) -> String {
    let mut text = String::new();
    // To write to a text does not fail.
    let _ = write(&mut text);
    if let Some((end, _)) = text.char_indices().nth(MOST) {
        text.truncate(end);
        text.push_str(REST);
    }
    text
}

fn value(shown: &Value, level: usize, text: &mut String) -> fmt::Result {
    match shown {
        Value::Null => text.write_str("None"),
        Value::Bool(true) => text.write_str("True"),
        Value::Bool(false) => text.write_str("False"),
        Value::Number(number) => write!(text, "{number}"),
        Value::String(string) => quoted(string, text),
        Value::Array(_) | Value::Object(_) if level > LEVELS => text.write_str(REST),
        Value::Array(values) => list(values, ["[", "]"], level, text),
        Value::Object(values) => map(values, level, text),
    }
}

fn list(values: &[Value], [open, close]: [&str; 2], level: usize, text: &mut String) -> fmt::Result {
    text.write_str(open)?;
    for (nth, one) in values.iter().enumerate() {
        text.write_str(if nth == 0 { "" } else { ", " })?;
        value(one, level + 1, text)?;
        if text.len() > 4 * MOST {
            break;
        }
    }
    text.write_str(close)
}

fn map(values: &Map<String, Value>, level: usize, text: &mut String) -> fmt::Result {
    text.write_str("{")?;
    for (nth, (name, one)) in values.iter().enumerate() {
        text.write_str(if nth == 0 { "" } else { ", " })?;
        quoted(name, text)?;
        text.write_str(": ")?;
        value(one, level + 1, text)?;
        if text.len() > 4 * MOST {
            break;
        }
    }
    text.write_str("}")
}

/// Quotes a text as Celery does, which escapes nothing but the quote.
fn quoted(string: &str, text: &mut String) -> fmt::Result {
    text.write_char('\'')?;
    for character in string.chars().take(MOST) {
        text.write_str(if character == '\'' { "\\" } else { "" })?;
        text.write_char(character)?;
    }
    text.write_char('\'')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(arguments: &Value) -> String {
        tuple(arguments.as_array().unwrap())
    }

    #[test]
    fn arguments_are_shown_as_celery_shows_them() {
        assert_eq!(of(&json!([])), "()");
        assert_eq!(of(&json!([2])), "(2,)");
        assert_eq!(of(&json!([2, 3.5, null, true, false])), "(2, 3.5, None, True, False)");
        assert_eq!(of(&json!(["it's", "a \"b\"\n\\é"])), "('it\\'s', 'a \"b\"\n\\é')");
        assert_eq!(of(&json!([{"a": [1]}, [[]]])), "({'a': [1]}, [[]])");
        assert_eq!(dictionary(json!({"x": 1, "y": "z"}).as_object().unwrap()), "{'x': 1, 'y': 'z'}");
    }

    #[test]
    fn what_is_deep_or_long_is_cut_off() {
        assert_eq!(of(&json!([[[[[1]]]]])), "([[...]],)");
        let long = of(&json!(["x".repeat(5000)]));
        assert_eq!((long.chars().count(), long.ends_with("...")), (MOST + 3, true));
        let many = of(&json!(vec![7; 1_000_000]));
        assert_eq!(many.chars().count(), MOST + 3);
    }
}
