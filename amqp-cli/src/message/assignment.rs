//! Headers and arguments as they are written on a command line.

use std::str::FromStr;

use amqp_client::{Table, Value};

use crate::{error::Error, message::value_json::from_json};

/// `KEY=TEXT`, or `KEY:=JSON` for other types.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Assignment {
    key: String,
    value: Value,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("it is neither KEY=TEXT nor KEY:=JSON")?;
        let (key, value) = match key.strip_suffix(':') {
            None => (key, Value::LongString(value.into())),
            Some(key) => {
                let json = serde_json::from_str(value).map_err(|error| format!("not JSON: {error}"))?;
                (key, from_json(&json)?)
            }
        };
        if key.is_empty() {
            return Err("the key is empty".to_owned());
        }
        Ok(Assignment { key: key.to_owned(), value })
    }
}

/// The table of all assignments; of those with the same key the last one counts.
///
/// # Errors
/// [`Error::Usage`] for a key over 255 octets.
pub(crate) fn table_of(assignments: &[Assignment]) -> Result<Table, Error> {
    let mut table = Table::default();
    for Assignment { key, value } in assignments {
        let inserted = table.insert(key, value.clone());
        inserted.map_err(|error| Error::Usage(format!("{key}: {error}")))?;
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text_and_json_has_its_type() {
        let read = |text: &str| text.parse::<Assignment>().map(|read| (read.key, read.value));
        assert_eq!(read("a=1"), Ok(("a".to_owned(), Value::LongString("1".into()))));
        assert_eq!(read("a=b=c"), Ok(("a".to_owned(), Value::LongString("b=c".into()))));
        assert_eq!(read("x-max-length:=10"), Ok(("x-max-length".to_owned(), Value::I64(10))));
        assert!(read("a").is_err() && read("=1").is_err() && read("a:=b").is_err());
    }
}
