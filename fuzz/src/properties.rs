use amqp_codec::EncodedProperties;
use bytes::Bytes;

use crate::allocation::bounded;

/// A content header's flags and property list: each property is there or not, and has one spelling.
pub fn properties(data: &[u8]) {
    let encoded = EncodedProperties::from_encoded(Bytes::copy_from_slice(data));
    if let Ok(properties) = bounded(data.len(), || encoded.decode()) {
        assert_eq!(properties.encode().as_ref(), Ok(&encoded));
        assert!(!format!("{properties:?}").is_empty());
    }
}
