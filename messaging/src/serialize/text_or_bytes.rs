//! Values that are text or bytes.

use serde::{
    Serialize,
    ser::{Error as _, Impossible, SerializeSeq, SerializeTuple, SerializeTupleStruct, Serializer},
};

use super::serializer::BoxError;

/// Returns the bytes of a value that is a string.
pub(super) fn text<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, BoxError> {
    match value.serialize(Either)? {
        TextOrBytes::Text(text) => Ok(text.into()),
        TextOrBytes::Bytes(_) => Err("expected a string, not bytes".into()),
    }
}

/// Returns the bytes of a value that is bytes or a string.
pub(super) fn bytes<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, BoxError> {
    match value.serialize(Either)? {
        TextOrBytes::Text(text) => Ok(text.into()),
        TextOrBytes::Bytes(bytes) => Ok(bytes),
    }
}

enum TextOrBytes {
    Text(String),
    Bytes(Vec<u8>),
}

type Error = serde_json::Error;
type Result<T = TextOrBytes, E = Error> = std::result::Result<T, E>;
type Never = Impossible<TextOrBytes, Error>;

fn refused<T>(what: &str) -> Result<T> {
    Err(Error::custom(format_args!("expected a string or bytes, not {what}")))
}

/// Accepts strings, bytes and sequences of octets, also inside newtypes and options, and refuses
/// everything else.
struct Either;

/// Generates the methods for scalars, which refuse each with the name of its type.
macro_rules! refuse {
    ($($method:ident($scalar:ty) as $what:literal;)*) => {
        $(fn $method(self, _: $scalar) -> Result {
            refused($what)
        })*
    };
}

impl Serializer for Either {
    type Ok = TextOrBytes;
    type Error = Error;
    type SerializeSeq = Octets;
    type SerializeTuple = Octets;
    type SerializeTupleStruct = Octets;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStruct = Never;
    type SerializeStructVariant = Never;

    fn serialize_str(self, text: &str) -> Result {
        Ok(TextOrBytes::Text(text.to_owned()))
    }

    fn serialize_char(self, text: char) -> Result {
        Ok(TextOrBytes::Text(text.to_string()))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result {
        Ok(TextOrBytes::Bytes(bytes.to_owned()))
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result {
        value.serialize(self)
    }

    /// Writes the name of the variant, as other formats do.
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result {
        self.serialize_str(variant)
    }

    /// Serializes a `Vec<u8>`, which is a sequence for serde.
    fn serialize_seq(self, length: Option<usize>) -> Result<Octets> {
        // The length is only a claim, so the reserved memory is limited.
        Ok(Octets(Vec::with_capacity(length.unwrap_or_default().min(4096))))
    }

    fn serialize_tuple(self, length: usize) -> Result<Octets> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<Octets> {
        self.serialize_seq(Some(length))
    }

    refuse! {
        serialize_bool(bool) as "a boolean";
        serialize_i8(i8) as "a number";
        serialize_i16(i16) as "a number";
        serialize_i32(i32) as "a number";
        serialize_i64(i64) as "a number";
        serialize_i128(i128) as "a number";
        serialize_u8(u8) as "a number";
        serialize_u16(u16) as "a number";
        serialize_u32(u32) as "a number";
        serialize_u64(u64) as "a number";
        serialize_u128(u128) as "a number";
        serialize_f32(f32) as "a number";
        serialize_f64(f64) as "a number";
        serialize_unit_struct(&'static str) as "nothing";
    }

    fn serialize_unit(self) -> Result {
        refused("nothing")
    }

    fn serialize_none(self) -> Result {
        refused("nothing")
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result {
        refused("an enum with a value")
    }

    fn serialize_tuple_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<Never> {
        refused("an enum with a value")
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Never> {
        refused("a map")
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Never> {
        refused("a struct")
    }

    fn serialize_struct_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<Never> {
        refused("an enum with a value")
    }
}

/// The octets of a sequence so far.
struct Octets(Vec<u8>);

impl Octets {
    fn push<T: Serialize + ?Sized>(&mut self, element: &T) -> Result<()> {
        // Converting a number to a JSON value allocates no memory.
        let octet = serde_json::to_value(element)?.as_u64().and_then(|number| u8::try_from(number).ok());
        match octet {
            Some(octet) => self.0.push(octet),
            None => return refused("a sequence of other things than octets"),
        }
        Ok(())
    }
}

impl SerializeSeq for Octets {
    type Ok = TextOrBytes;
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, element: &T) -> Result<()> {
        self.push(element)
    }

    fn end(self) -> Result {
        Ok(TextOrBytes::Bytes(self.0))
    }
}

impl SerializeTuple for Octets {
    type Ok = TextOrBytes;
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, element: &T) -> Result<()> {
        self.push(element)
    }

    fn end(self) -> Result {
        Ok(TextOrBytes::Bytes(self.0))
    }
}

impl SerializeTupleStruct for Octets {
    type Ok = TextOrBytes;
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, element: &T) -> Result<()> {
        self.push(element)
    }

    fn end(self) -> Result {
        Ok(TextOrBytes::Bytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strings_are_text_and_octets_bytes_however_they_are_held() {
        #[derive(Serialize)]
        struct Name(String);
        assert_eq!(text("é").unwrap(), "é".as_bytes());
        assert_eq!(text(&Some(Name("n".into()))).unwrap(), b"n");
        assert_eq!(bytes(&[0_u8, 128, 255][..]).unwrap(), [0, 128, 255]);
        assert_eq!(bytes(&serde_bytes::Bytes::new(b"\xff")).unwrap(), [0xff]);
        assert_eq!(bytes(&::bytes::Bytes::from_static(b"b")).unwrap(), b"b");
        assert_eq!(bytes("é").unwrap(), "é".as_bytes());
    }

    #[test]
    fn what_is_neither_is_refused() {
        for value in [json!(1), json!(null), json!({"a": 1}), json!([1, 256]), json!([1, -1]), json!(["a"])] {
            assert!(bytes(&value).is_err() && text(&value).is_err(), "{value}");
        }
        assert!(text(&b"abc"[..]).is_err());
        #[derive(Serialize)]
        struct OneOctet {
            octet: u8,
        }
        assert!(bytes(&OneOctet { octet: 1 }).is_err());
    }

    #[test]
    fn all_that_one_string_or_one_list_of_octets_is_written_as_is_taken() {
        #[derive(Serialize)]
        enum Color {
            Red,
        }
        #[derive(Serialize)]
        struct Pair(u8, u8);
        assert_eq!(text(&Color::Red).unwrap(), b"Red");
        assert_eq!(text(&'é').unwrap(), "é".as_bytes());
        assert_eq!(bytes(&Pair(1, 2)).unwrap(), [1, 2]);
        assert_eq!(bytes(&(1_u64, 255_i16)).unwrap(), [1, 255]);
        assert_eq!(bytes(&[0_u8; 10_000][..]).unwrap(), [0; 10_000]);
    }
}
