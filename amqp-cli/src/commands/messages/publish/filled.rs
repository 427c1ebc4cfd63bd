//! Templates of what is published.

use std::{
    iter,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};

use crate::{
    error::Error,
    output::template::{Field, Template},
};

const FIELDS: &[&str] = &["count", "time", "milliseconds", "random", "uuid"];

/// The longest random text, in characters.
const MOST_RANDOM: usize = 1024 * 1024;

/// Reads a template of what is published.
///
/// # Errors
/// [`Error::Usage`] for an unknown field, or a length that is no number.
pub(crate) fn template(text: &str) -> Result<Template, Error> {
    Template::parse(text, FIELDS).map_err(|error| Error::Usage(error.to_string()))
}

/// Fills a template in for the message of this number.
pub(crate) fn filled(template: &Template, number: u64) -> Bytes {
    let mut filled = Vec::new();
    template.fill(&mut filled, |field, out| out.extend_from_slice(value(field, number).as_bytes()));
    filled.into()
}

fn value(field: &Field, number: u64) -> String {
    let now = SystemTime::now();
    match field.name.as_str() {
        "count" => number.to_string(),
        "time" => DateTime::<Utc>::from(now).to_rfc3339_opts(SecondsFormat::Millis, true),
        "milliseconds" => now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis().to_string(),
        "uuid" => uuid::Uuid::new_v4().to_string(),
        _ => {
            let length = field.argument.as_deref().and_then(|length| length.parse().ok()).unwrap_or(8);
            iter::repeat_with(fastrand::alphanumeric).take(length.min(MOST_RANDOM)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_their_values() {
        let text = |text, number| {
            let filled = filled(&template(text).unwrap(), number);
            String::from_utf8(filled.to_vec()).unwrap()
        };
        assert_eq!(text("n{{count}}", 7), "n7");
        assert_eq!(text("{{random 12}}", 1).len(), 12);
        assert_ne!(text("{{random 32}}", 1), text("{{random 32}}", 1));
        assert!(text("{{time}}", 1).ends_with('Z'));
        assert!(template("{{nope}}").is_err());
    }
}
