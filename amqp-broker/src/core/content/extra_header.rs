//! A header that the broker adds to deliveries.

use amqp_codec::{Error, HeaderTable, content::CONTENT_HEADER_LEN};

use super::properties::{Changes, Relevant};

/// The content header with one more integer header. The headers are then sorted by name, as
/// RabbitMQ writes them.
///
/// # Errors
/// Properties that cannot be read.
pub(crate) fn with_extra_header(header: &[u8], name: &str, number: u64) -> Result<Vec<u8>, Error> {
    extended(header, name, number, Changes::default())
}

/// As [`with_extra_header`], also with delivery mode 1 where there is none.
///
/// # Errors
/// Properties that cannot be read.
pub(crate) fn with_extra_header_and_mode(header: &[u8], name: &str, number: u64) -> Result<Vec<u8>, Error> {
    extended(header, name, number, Changes { transient: true, ..Changes::default() })
}

fn extended(header: &[u8], name: &str, number: u64, changes: Changes<'_>) -> Result<Vec<u8>, Error> {
    let relevant = Relevant::find(header.get(CONTENT_HEADER_LEN..).unwrap_or_default())?;
    let mut headers = HeaderTable::from_encoded(relevant.headers.unwrap_or_default())?;
    headers.insert(name, i64::try_from(number).unwrap_or(i64::MAX))?;
    headers.sort();
    Changes { headers: Some(headers.as_encoded()), ..changes }.apply(header)
}

#[cfg(test)]
mod tests {
    use amqp_codec::{EncodedProperties, Properties, Table, Value};

    use super::*;

    #[test]
    fn the_extra_header_takes_the_place_of_what_had_its_name() {
        let mut headers = Table::new();
        headers.push("z", 1).unwrap();
        headers.push("x-extra", "forged").unwrap();
        let properties = Properties { headers: Some(headers), priority: Some(4), ..Default::default() };
        let fixed = [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
        let header = [&fixed[..], properties.encode().unwrap().as_encoded()].concat();
        let extended = with_extra_header(&header, "x-extra", 7).unwrap();
        assert!(extended.starts_with(&fixed));
        let read = EncodedProperties::from_encoded(extended[12..].to_vec().into()).decode().unwrap();
        let entries: Vec<_> =
            read.headers.as_ref().unwrap().iter().map(|(name, value)| (name.to_string(), value)).collect();
        assert_eq!(entries, [("x-extra".to_owned(), Value::I64(7)), ("z".to_owned(), Value::I32(1))]);
        assert_eq!(read.priority, Some(4));
    }
}
