//! Properties split into their encoded fields, so that one can be changed while the others keep
//! their bytes.

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    error::Error,
    properties::{EncodedProperties, Properties},
    table::header_table::HeaderTable,
    wire::field::FieldKind,
};

/// How many properties there are.
const FIELDS: usize = Properties::FIELDS.len();

/// The properties of a message, each in its encoded form, for programs that pass a message on with
/// few changes. The headers' values are not checked, so they may nest deeper than [`Properties`]
/// may.
///
/// Properties go by the names of [`Properties::FIELDS`], which are those of the fields of
/// [`Properties`].
///
/// ```
/// use amqp_codec::{Properties, RawProperties, ShortString};
///
/// let expiration = Some(ShortString::from_static("5000"));
/// let encoded = Properties { priority: Some(3), expiration, ..Properties::default() }.encode()?;
/// let mut raw = RawProperties::split(&encoded)?;
/// assert_eq!(raw.get("expiration"), Some(&b"5000"[..]));
/// raw.remove("expiration");
/// let mut headers = raw.headers()?;
/// headers.insert("x-retries", 1)?;
/// raw.set_headers(&headers)?;
/// let changed = raw.join().decode()?;
/// assert_eq!((changed.priority, changed.expiration), (Some(3), None));
/// # Ok::<(), amqp_codec::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawProperties {
    /// Each property as it is on the wire, including its length.
    fields: [Option<Bytes>; FIELDS],
}

impl RawProperties {
    /// Splits properties into fields, which share their bytes.
    ///
    /// # Errors
    /// Flags that basic does not have, a property that reaches past the end, bytes left over.
    pub fn split(encoded: &EncodedProperties) -> Result<Self, Error> {
        let encoded = encoded.as_encoded();
        let (flags, mut at) = match encoded.first_chunk::<2>() {
            Some(flags) => (u16::from_be_bytes(*flags), 2),
            None => return Err(Error::Truncated { what: "property flags", needed: 2, left: encoded.len() }),
        };
        let mut raw = RawProperties::default();
        let mut unknown = flags;
        for ((slot, field), bit) in raw.fields.iter_mut().zip(Properties::FIELDS).zip(bits()) {
            unknown &= !bit;
            if flags & bit == 0 {
                continue;
            }
            let rest = encoded.get(at..).unwrap_or_default();
            let length = whole_length(field.kind, rest)
                .filter(|length| *length <= rest.len())
                .ok_or(Error::Truncated { what: field.name, needed: rest.len() + 1, left: rest.len() })?;
            *slot = Some(encoded.slice(at..at + length));
            at += length;
        }
        if unknown != 0 {
            return Err(Error::UnknownPropertyFlags(flags));
        }
        match encoded.len() - at {
            0 => Ok(raw),
            count => Err(Error::TrailingBytes { what: "properties", count }),
        }
    }

    /// The property of this name without its length: text as its bytes, numbers as they stand on
    /// the wire, headers as entries.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let index = index(name)?;
        let kind = Properties::FIELDS.get(index)?.kind;
        self.fields.get(index)?.as_ref()?.get(length_octets(kind)..)
    }

    /// Removes a property; tells whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        index(name).and_then(|index| self.fields.get_mut(index)?.take()).is_some()
    }

    /// The headers; empty when there are none.
    ///
    /// # Errors
    /// When an entry is malformed. A value nested in it is not checked.
    pub fn headers(&self) -> Result<HeaderTable, Error> {
        HeaderTable::from_encoded(self.get("headers").unwrap_or_default())
    }

    /// Replaces the headers.
    ///
    /// # Errors
    /// [`Error::TooLong`] when they are 4 GiB or more.
    pub fn set_headers(&mut self, headers: &HeaderTable) -> Result<(), Error> {
        let entries = headers.as_encoded();
        let too_long =
            |_| Error::TooLong { what: "headers", length: entries.len() as u64, limit: u32::MAX.into() };
        let length = u32::try_from(entries.len()).map_err(too_long)?;
        let mut whole = BytesMut::with_capacity(4 + entries.len());
        whole.put_u32(length);
        whole.put_slice(entries);
        if let Some(slot) = index("headers").and_then(|index| self.fields.get_mut(index)) {
            *slot = Some(whole.freeze());
        }
        Ok(())
    }

    /// Joins the fields to flags and property list.
    pub fn join(&self) -> EncodedProperties {
        let present =
            || self.fields.iter().zip(bits()).filter_map(|(field, bit)| Some((field.as_ref()?, bit)));
        let mut out = BytesMut::with_capacity(2 + present().map(|(field, _)| field.len()).sum::<usize>());
        out.put_u16(present().fold(0, |flags, (_, bit)| flags | bit));
        present().for_each(|(field, _)| out.put_slice(field));
        EncodedProperties::from_encoded(out.freeze())
    }
}

/// The flags of the properties in their order (spec section 4.2.6.1).
fn bits() -> impl Iterator<Item = u16> {
    (0..16).map(|place| 1 << (15 - place))
}

fn index(name: &str) -> Option<usize> {
    Properties::FIELDS.iter().position(|field| field.name == name)
}

/// How many octets the length of such a property has.
const fn length_octets(kind: FieldKind) -> usize {
    match kind {
        FieldKind::ShortString => 1,
        FieldKind::LongString | FieldKind::Table => 4,
        _ => 0,
    }
}

/// The length of the first property, including its length octets; `None` when those are truncated.
fn whole_length(kind: FieldKind, rest: &[u8]) -> Option<usize> {
    match kind {
        FieldKind::ShortString => rest.first().map(|length| 1 + usize::from(*length)),
        FieldKind::LongString | FieldKind::Table => {
            rest.first_chunk().map(|length| 4 + u32::from_be_bytes(*length) as usize)
        }
        FieldKind::Bit | FieldKind::Octet => Some(1),
        FieldKind::Short => Some(2),
        FieldKind::Long => Some(4),
        FieldKind::LongLong => Some(8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{table::Table, wire::text::ShortString};

    fn all() -> Properties {
        let mut headers = Table::new();
        headers.insert("number", 1).unwrap();
        let text = |text: &'static str| Some(ShortString::from_static(text));
        Properties {
            content_type: text("application/json"),
            content_encoding: text("utf-8"),
            headers: Some(headers),
            delivery_mode: Some(2),
            priority: Some(0),
            correlation_id: text("c"),
            reply_to: text("r"),
            expiration: text("60000"),
            message_id: text("m"),
            timestamp: Some(1),
            kind: text("k"),
            user_id: text("u"),
            app_id: text("a"),
            cluster_id: text("i"),
        }
    }

    #[test]
    fn what_is_taken_apart_is_put_together_again() {
        let few = Properties { headers: Some(Table::new()), timestamp: Some(2), ..Properties::default() };
        for properties in [all(), few, Properties::default()] {
            let encoded = properties.encode().unwrap();
            assert_eq!(RawProperties::split(&encoded).unwrap().join(), encoded);
        }
    }

    #[test]
    fn one_is_read_changed_or_taken_out_and_the_others_stay() {
        let mut raw = RawProperties::split(&all().encode().unwrap()).unwrap();
        assert_eq!(raw.get("message_id"), Some(&b"m"[..]));
        assert_eq!(raw.get("delivery_mode"), Some(&[2][..]));
        assert_eq!(raw.get("timestamp"), Some(&1u64.to_be_bytes()[..]));
        assert_eq!(raw.get("no such"), None);
        assert!(raw.remove("user_id") && raw.remove("expiration") && !raw.remove("expiration"));
        let mut headers = raw.headers().unwrap();
        headers.insert("number", 2).unwrap();
        raw.set_headers(&headers).unwrap();
        let mut expected = Properties { user_id: None, expiration: None, ..all() };
        expected.headers.as_mut().unwrap().insert("number", 2).unwrap();
        assert_eq!(raw.join().decode().unwrap(), expected);
        let mut none = RawProperties::default();
        assert!(none.headers().unwrap().is_empty());
        none.set_headers(&headers).unwrap();
        assert_eq!(none.join().decode().unwrap().headers, expected.headers);
    }

    #[test]
    fn errors_are_those_of_decoding() {
        let encoded = all().encode().unwrap();
        let encoded = encoded.as_encoded();
        for end in 0..encoded.len() {
            assert!(RawProperties::split(&EncodedProperties::from_encoded(encoded.slice(..end))).is_err());
        }
        let longer = EncodedProperties::from_encoded([encoded, &b"x"[..]].concat().into());
        let trailing = Error::TrailingBytes { what: "properties", count: 1 };
        assert_eq!(RawProperties::split(&longer), Err(trailing));
        let unknown = EncodedProperties::from_encoded(Bytes::from_static(&[0, 1]));
        assert_eq!(RawProperties::split(&unknown), Err(Error::UnknownPropertyFlags(1)));
    }

    #[test]
    fn headers_of_any_depth_pass() {
        let deep = (0..40).fold(Vec::new(), |inner: Vec<u8>, _| {
            let length = u32::try_from(inner.len()).unwrap();
            [&b"\x01dF"[..], &length.to_be_bytes(), &inner].concat()
        });
        let mut raw = RawProperties::default();
        raw.set_headers(&HeaderTable::from_encoded(&deep).unwrap()).unwrap();
        let encoded = raw.join();
        assert!(encoded.decode().is_err());
        assert_eq!(RawProperties::split(&encoded).unwrap().headers().unwrap().as_encoded(), deep);
    }
}
