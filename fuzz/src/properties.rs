use amqp_codec::{EncodedProperties, Error, HeaderTable, RawProperties};
use bytes::Bytes;

use crate::allocation::bounded;

/// Reads a content header's flags and property list, in which each property is absent or has one
/// encoding. What can be decoded can also be split and joined to the same bytes, and headers that
/// are changed and changed back are the same.
pub fn properties(data: &[u8]) {
    let encoded = EncodedProperties::from_encoded(Bytes::copy_from_slice(data));
    let decoded = bounded(data.len(), || encoded.decode());
    if let Ok(properties) = &decoded {
        assert_eq!(properties.encode().as_ref(), Ok(&encoded));
        assert!(!format!("{properties:?}").is_empty());
    }
    let raw = RawProperties::split(&encoded);
    if let Ok(raw) = &raw {
        assert_eq!(raw.join(), encoded);
    }
    let headers = raw.and_then(|raw| raw.headers());
    match (&headers, decoded) {
        (Ok(headers), _) => change(headers),
        (Err(error), decoded) => assert!(decoded.is_err(), "{error}"),
    }
}

fn change(headers: &HeaderTable) {
    let mut changed = headers.clone();
    changed.remove("fuzz");
    let before = changed.clone();
    let inserted: Result<(), Error> = changed.insert("fuzz", 1);
    assert_eq!((inserted, changed.rename("fuzz", "fuzz")), (Ok(()), Ok(true)));
    assert!(changed.remove("fuzz"));
    assert_eq!(changed, before);
}
