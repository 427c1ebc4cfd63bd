//! The properties of a content header by their names.

use amqp_codec::{EncodedProperties, Properties};
use bytes::{BufMut as _, Bytes, BytesMut};

use super::argument::{Argument, Found, Reader};

/// Reads flags and property list as far as they are well-formed, which begin at `start`.
pub(crate) fn read(payload: &Bytes, start: usize) -> Option<Vec<Found>> {
    let mut reader = Reader { payload, at: start, bits: 0 };
    let flags = reader.number(2)?;
    let mut found = Vec::new();
    for (index, field) in Properties::FIELDS.iter().enumerate() {
        if flags & (0x8000 >> index) == 0 {
            continue;
        }
        match reader.next(*field) {
            Some(property) => found.push(property),
            None => break,
        }
    }
    Some(found)
}

/// Makes flags and property list of properties by their names. `None` if one is unknown or does
/// not fit.
pub(crate) fn encode(properties: &[(&str, Argument)]) -> Option<EncodedProperties> {
    let is_known = |name: &str| Properties::FIELDS.iter().any(|field| field.name == name);
    if !properties.iter().all(|(name, _)| is_known(name)) {
        return None;
    }
    let (mut flags, mut list) = (0_u16, BytesMut::new());
    for (index, field) in Properties::FIELDS.iter().enumerate() {
        if let Some((_, value)) = properties.iter().find(|(name, _)| *name == field.name) {
            flags |= 0x8000 >> index;
            value.put(field.kind, &mut list)?;
        }
    }
    let mut encoded = BytesMut::new();
    encoded.put_u16(flags);
    encoded.put_slice(&list);
    Some(EncodedProperties::from_encoded(encoded.freeze()))
}
