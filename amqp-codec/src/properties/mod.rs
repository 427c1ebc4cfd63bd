//! The 14 properties of basic content (spec section 1.6, and 4.2.6.1 for their flags).

pub(crate) mod raw_properties;

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    error::Error,
    table::Table,
    wire::{
        argument::{Argument, Reader, Writer},
        field::Field,
        text::ShortString,
    },
};

macro_rules! properties {
    ($($(#[$doc:meta])* $field:ident: $type:ty = $bit:literal;)*) => {
        /// The properties of a message. An absent property differs from an empty one, on the wire
        /// too.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
        pub struct Properties {
            $($(#[$doc])* pub $field: Option<$type>,)*
        }

        impl Properties {
            /// The properties in their order on the wire; the flag of the first is bit 15, and so
            /// on down.
            pub const FIELDS: &'static [Field] =
                &[$(Field { name: stringify!($field), kind: <$type as Argument>::KIND },)*];

            /// The octets of flags: one bit a property, the highest first.
            fn flags(&self) -> u16 {
                let mut flags = 0;
                $(if self.$field.is_some() { flags |= 1 << $bit; })*
                flags
            }

            fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
                let flags = reader.u16("property flags")?;
                let known: u16 = 0 $(| 1 << $bit)*;
                if flags & !known != 0 {
                    return Err(Error::UnknownPropertyFlags(flags));
                }
                Ok(Properties {
                    $($field: if flags & (1 << $bit) == 0 { None } else {
                        Some(Argument::read(reader, stringify!($field))?)
                    },)*
                })
            }

            fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $(if let Some(value) = &self.$field {
                    f.write_str(concat!(" ", stringify!($field), "="))?;
                    value.show(f)?;
                })*
                Ok(())
            }

            fn write(&self, writer: &mut Writer<'_>) -> Result<(), Error> {
                writer.u16(self.flags());
                $(if let Some(value) = &self.$field { value.write(writer, stringify!($field))?; })*
                Ok(())
            }
        }
    };
}

properties! {
    /// MIME type of the body.
    content_type: ShortString = 15;
    /// MIME encoding of the body.
    content_encoding: ShortString = 14;
    /// The application's headers, also what a headers exchange routes by.
    headers: Table = 13;
    /// 1 is transient, 2 is persistent.
    delivery_mode: u8 = 12;
    /// From 0 to 9, or to the queue's `x-max-priority`.
    priority: u8 = 11;
    /// The id of the request that this message answers, or that its answer is to carry.
    correlation_id: ShortString = 10;
    /// Where the answer goes: by custom a queue's name.
    reply_to: ShortString = 9;
    /// Time to live in milliseconds, as text.
    expiration: ShortString = 8;
    /// The message's own id.
    message_id: ShortString = 7;
    /// When it was sent, in seconds since 1970-01-01 UTC.
    timestamp: u64 = 6;
    /// The application's name for the kind of message (`type` on the wire).
    kind: ShortString = 5;
    /// The user who sent it; RabbitMQ checks it against the login.
    user_id: ShortString = 4;
    /// The application that sent it.
    app_id: ShortString = 3;
    /// Deprecated; must be empty by the specification.
    cluster_id: ShortString = 2;
}

/// Delivery mode of a message that a durable queue keeps through a restart.
pub const PERSISTENT: u8 = 2;

/// Properties in their encoded form. A message that passes through keeps them byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedProperties(Bytes);

impl EncodedProperties {
    /// No properties at all: two zero octets of flags.
    pub const NONE: EncodedProperties = EncodedProperties(Bytes::from_static(&[0, 0]));

    /// Takes flags and property list. They are unchecked until [`decode`](Self::decode).
    pub fn from_encoded(bytes: Bytes) -> Self {
        EncodedProperties(bytes)
    }

    /// Flags and property list.
    pub fn as_encoded(&self) -> &Bytes {
        &self.0
    }

    /// Decodes the properties.
    ///
    /// # Errors
    /// Flags that basic does not have, a property that reaches past the end, a malformed header
    /// table, bytes left over.
    pub fn decode(&self) -> Result<Properties, Error> {
        let mut reader = Reader::new(&self.0);
        let properties = Properties::read(&mut reader)?;
        reader.finish("properties")?;
        Ok(properties)
    }
}

/// Shows each property that is set, with a space before it: ` content_type="text/plain"
/// priority=3`.
impl fmt::Display for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.show(f)
    }
}

/// Shows the decoded [`Properties`], or why they cannot be decoded.
impl fmt::Display for EncodedProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.decode() {
            Ok(properties) => properties.show(f),
            Err(error) => write!(f, " malformed properties: {error}"),
        }
    }
}

/// Properties that a content header can be written with: decoded ones, or encoded ones that are
/// passed on or sent repeatedly.
pub trait PropertyList {
    /// Appends flags and property list.
    ///
    /// # Errors
    /// [`Error::TooLong`] when the headers are 4 GiB or more. The caller must then remove what was
    /// appended.
    fn append_to(&self, out: &mut BytesMut) -> Result<(), Error>;
}

impl PropertyList for Properties {
    #[inline]
    fn append_to(&self, out: &mut BytesMut) -> Result<(), Error> {
        self.encode_into(out)
    }
}

impl PropertyList for EncodedProperties {
    #[inline]
    fn append_to(&self, out: &mut BytesMut) -> Result<(), Error> {
        out.put_slice(&self.0);
        Ok(())
    }
}

impl Default for EncodedProperties {
    fn default() -> Self {
        Self::NONE
    }
}

impl Properties {
    /// Appends flags and property list.
    ///
    /// # Errors
    /// [`Error::TooLong`] when the headers are 4 GiB or more. The caller must then remove what was
    /// appended.
    pub fn encode_into(&self, out: &mut BytesMut) -> Result<(), Error> {
        let mut writer = Writer::new(out);
        self.write(&mut writer)?;
        writer.finish();
        Ok(())
    }

    /// Flags and property list as bytes of their own.
    ///
    /// # Errors
    /// [`Error::TooLong`] when the headers are 4 GiB or more.
    pub fn encode(&self) -> Result<EncodedProperties, Error> {
        let mut out = BytesMut::new();
        self.encode_into(&mut out)?;
        Ok(EncodedProperties(out.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_captured_header_of_an_oslo_call_is_read_and_written_back() {
        let encoded =
            Bytes::from_static(b"\xf9\x00\x10application/json\x05utf-8\x00\x00\x00\x00\x02\x00\x045000");
        let properties = EncodedProperties::from_encoded(encoded.clone()).decode().unwrap();
        assert_eq!(properties.content_type.as_ref().unwrap(), &"application/json");
        assert_eq!(properties.headers, Some(Table::new()));
        assert_eq!(properties.delivery_mode, Some(PERSISTENT));
        assert_eq!(properties.priority, Some(0));
        assert_eq!(properties.expiration.as_ref().unwrap(), &"5000");
        assert_eq!(properties.encode().unwrap().as_encoded(), &encoded);
    }

    #[test]
    fn a_flag_that_basic_does_not_have_is_refused() {
        for flags in [0x0001u16, 0x0002] {
            let encoded = EncodedProperties::from_encoded(Bytes::copy_from_slice(&flags.to_be_bytes()));
            assert_eq!(encoded.decode(), Err(Error::UnknownPropertyFlags(flags)));
        }
    }
}
