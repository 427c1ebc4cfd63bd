//! The header that names the compression of a body.

use amqp_codec::{ValueRef, borrowed::ContentProperties};

use super::compression::{COMPILED, Compression};
use crate::error::Malformed;

/// The header's name.
pub(crate) const HEADER: &str = "compression";

/// How many bytes of an unknown name an error repeats at most.
const SHOWN: usize = 255;

/// Returns the compression that a message's header names. A header without a value counts as none,
/// as in kombu.
///
/// # Errors
/// [`Malformed::UnknownCompression`] for any other value: kombu cannot read the message either.
pub(crate) fn named(properties: &ContentProperties<'_>) -> Result<Option<Compression>, Malformed> {
    let header =
        properties.headers.and_then(|mut headers| headers.find(|(name, _)| *name == HEADER.as_bytes()));
    match header.map(|(_, value)| value) {
        None | Some(ValueRef::Void | ValueRef::Bool(false) | ValueRef::LongString([])) => Ok(None),
        Some(ValueRef::LongString(name)) => {
            let known = str::from_utf8(name).ok().and_then(|name| name.parse().ok());
            known.map(Some).ok_or_else(|| unknown(Some(name)))
        }
        Some(_) => Err(unknown(None)),
    }
}

/// As [`named`], but an unknown name counts as none: oslo.messaging reads the body as it is then.
#[cfg(feature = "oslo")]
pub(crate) fn named_or_none(properties: &ContentProperties<'_>) -> Option<Compression> {
    named(properties).ok().flatten()
}

#[cold]
fn unknown(name: Option<&[u8]>) -> Malformed {
    let name = name.map(|name| String::from_utf8_lossy(name.get(..SHOWN).unwrap_or(name)).into_owned());
    Malformed::UnknownCompression { name, compiled: COMPILED }
}

#[cfg(test)]
mod tests {
    use amqp_codec::{Properties, Table, Value};

    use super::*;

    fn named_by(value: impl Into<Value>) -> Result<Option<Compression>, Malformed> {
        let mut headers = Table::new();
        headers.insert("other", "zlib").unwrap();
        headers.insert(HEADER, value).unwrap();
        let properties = Properties { headers: Some(headers), ..Properties::default() }.encode().unwrap();
        let properties = ContentProperties::decode(properties.as_encoded()).unwrap();
        let named = named(&properties);
        #[cfg(feature = "oslo")]
        assert_eq!(named_or_none(&properties), *named.as_ref().unwrap_or(&None));
        named
    }

    #[test]
    fn a_header_names_a_compression_or_has_no_value() {
        assert_eq!(named(&ContentProperties::default()).unwrap(), None);
        for nothing in [Value::from(""), Value::Void, Value::from(false)] {
            assert_eq!(named_by(nothing).unwrap(), None);
        }
        for compression in Compression::ALL {
            assert_eq!(named_by(compression.content_type()).unwrap(), Some(compression));
        }
    }

    #[test]
    fn any_other_value_is_an_error_that_repeats_its_beginning() {
        let long = format!("{}\u{e9}", "x".repeat(254));
        let cut = format!("{}\u{fffd}", "x".repeat(254));
        for (value, expected) in [
            (Value::from("application/x-unknown"), Some("application/x-unknown")),
            (Value::from(long.as_str()), Some(cut.as_str())),
            (Value::from(5), None),
            (Value::from(true), None),
        ] {
            let Err(Malformed::UnknownCompression { name, compiled }) = named_by(value) else {
                panic!("it names none")
            };
            assert_eq!(name.as_deref(), expected);
            assert!(compiled.contains(&"zlib"));
        }
    }

    #[test]
    fn the_names_that_errors_list_are_those_that_are_compiled_in() {
        let compiled = Compression::ALL.iter().filter(|compression| compression.compress(b"").is_ok());
        assert_eq!(COMPILED, compiled.map(|compression| compression.name()).collect::<Vec<_>>());
    }
}
