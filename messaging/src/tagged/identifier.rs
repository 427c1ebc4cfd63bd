//! UUIDs in all the forms that Python's constructor accepts.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, MapAccess, Visitor},
};
use uuid::Uuid;

use super::{
    tag,
    tag::{Plain, Tagged},
};
use crate::serialize::BoxError;

/// A UUID's payload: the arguments of Python's `uuid.UUID`, by name. kombu writes `hex`, and
/// version 5.3.0 also `version`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UuidArguments {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hex: Option<String>,
    #[serde(skip)]
    pub(crate) bytes: Option<Vec<u8>>,
    #[serde(skip)]
    pub(crate) bytes_le: Option<Vec<u8>>,
    #[serde(skip)]
    pub(crate) fields: Option<Vec<u64>>,
    #[serde(skip)]
    pub(crate) int: Option<u128>,
    /// The version, which overrides the bits of the other arguments.
    #[serde(skip)]
    pub(crate) version: Option<u8>,
}

/// The number of bits of each of the `fields`.
const FIELDS: [u32; 6] = [32, 16, 16, 8, 8, 48];

impl UuidArguments {
    /// Returns the UUID that the constructor makes.
    pub(crate) fn uuid(self) -> Result<Uuid, BoxError> {
        let UuidArguments { hex, bytes, bytes_le, fields, int, version } = self;
        let number = match (hex, bytes, bytes_le, fields, int) {
            (Some(hex), None, None, None, None) => from_hex(&hex)?,
            (None, Some(bytes), None, None, None) => Uuid::from_slice(&bytes)?.as_u128(),
            (None, None, Some(bytes), None, None) => Uuid::from_slice_le(&bytes)?.as_u128(),
            (None, None, None, Some(fields), None) => from_fields(&fields)?,
            (None, None, None, None, Some(int)) => int,
            _ => return Err("a uuid takes exactly one of hex, bytes, bytes_le, fields and int".into()),
        };
        match version {
            None => Ok(Uuid::from_u128(number)),
            Some(version @ 1..=8) => Ok(Uuid::from_u128(of_version(number, version))),
            Some(version) => Err(format!("{version} is not a version of a uuid; expected 1 to 8").into()),
        }
    }
}

/// Reads a UUID as Python does: with or without `urn:uuid:`, braces and dashes, in every form that
/// its `int` accepts.
fn from_hex(text: &str) -> Result<u128, BoxError> {
    let bad = || format!("{text:?} is not a uuid in hexadecimal digits");
    let bare = text.replace("urn:", "").replace("uuid:", "");
    let bare = bare.trim_matches(['{', '}']).replace('-', "");
    if bare.chars().count() != 32 {
        return Err(bad().into());
    }
    let digits = bare.trim();
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    let (digits, prefixed) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (digits, true),
        None => (digits, false),
    };
    // One underscore may stand between two digits, and after the prefix.
    let digits = if prefixed { digits.strip_prefix('_').unwrap_or(digits) } else { digits };
    let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !digits.split('_').all(are_digits) {
        return Err(bad().into());
    }
    Ok(u128::from_str_radix(&digits.replace('_', ""), 16)?)
}

fn from_fields(fields: &[u64]) -> Result<u128, BoxError> {
    if fields.len() != FIELDS.len() {
        return Err(format!("a uuid has 6 fields, not {}", fields.len()).into());
    }
    fields.iter().zip(FIELDS).try_fold(0, |number: u128, (&field, bits)| {
        if field >> bits == 0 {
            Ok(number << bits | u128::from(field))
        } else {
            Err(format!("the field {field} of a uuid has over {bits} bits").into())
        }
    })
}

/// Sets the variant and version of RFC 9562.
fn of_version(number: u128, version: u8) -> u128 {
    let number = number & !(0xc000 << 48) | 0x8000 << 48;
    number & !(0xf000 << 64) | u128::from(version) << 76
}

impl<'de> Deserialize<'de> for UuidArguments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Arguments)
    }
}

struct Arguments;

/// Bytes with kombu's tag.
#[derive(Deserialize)]
struct Octets(#[serde(deserialize_with = "tag::deserialize")] Vec<u8>);

impl<'de> Visitor<'de> for Arguments {
    type Value = UuidArguments;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the arguments of a uuid, by name")
    }

    /// Reads the arguments; a null counts as missing.
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<UuidArguments, A::Error> {
        let mut arguments = UuidArguments::default();
        while let Some(name) = entries.next_key::<String>()? {
            match name.as_str() {
                "hex" => arguments.hex = entries.next_value()?,
                "bytes" => arguments.bytes = entries.next_value::<Option<Octets>>()?.map(|octets| octets.0),
                "bytes_le" => {
                    arguments.bytes_le = entries.next_value::<Option<Octets>>()?.map(|octets| octets.0);
                }
                "fields" => arguments.fields = entries.next_value()?,
                "int" => arguments.int = entries.next_value()?,
                "version" => arguments.version = entries.next_value()?,
                // It tells how safely the number was generated, and is not part of it.
                "is_safe" => drop(entries.next_value::<IgnoredAny>()?),
                other => return Err(serde::de::Error::unknown_field(other, NAMES)),
            }
        }
        Ok(arguments)
    }
}

pub(crate) const NAMES: &[&str] = &["hex", "bytes", "bytes_le", "fields", "int", "version", "is_safe"];

impl Tagged for Uuid {
    type Payload = UuidArguments;
    const TAGS: &'static [&'static str] = &["uuid"];

    fn to_tagged(&self) -> Result<(&'static str, UuidArguments), BoxError> {
        let hex = Some(self.simple().to_string());
        Ok(("uuid", UuidArguments { hex, ..UuidArguments::default() }))
    }

    fn from_tagged(_tag: &str, payload: UuidArguments) -> Result<Self, BoxError> {
        payload.uuid()
    }

    fn to_plain(&self) -> Result<Plain<'_>, BoxError> {
        Ok(Plain::Text(self.to_string()))
    }

    fn from_text(text: &str) -> Result<Self, BoxError> {
        from_hex(text).map(Uuid::from_u128)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, BoxError> {
        Ok(Uuid::from_slice(bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(payload: &str) -> Result<Uuid, String> {
        let arguments: UuidArguments = serde_json::from_str(payload).map_err(|error| error.to_string())?;
        arguments.uuid().map_err(|error| error.to_string())
    }

    const UUID: Uuid = Uuid::from_u128(0x12345678_1234_5678_1234_567812345678);

    #[test]
    fn every_way_to_say_a_uuid_is_read() {
        for payload in [
            r#"{"hex": "12345678123456781234567812345678"}"#,
            r#"{"hex": "urn:uuid:{12345678-1234-5678-1234-567812345678}", "int": null, "is_safe": "unsafe"}"#,
            r#"{"bytes": {"__type__": "base64", "__value__": "EjRWeBI0VngSNFZ4EjRWeA=="}}"#,
            r#"{"bytes_le": {"__type__": "base64", "__value__": "eFY0EjQSeFYSNFZ4EjRWeA=="}}"#,
            r#"{"fields": [305419896, 4660, 22136, 18, 52, 95073701484152]}"#,
            r#"{"int": 24197857161011715162171839636988778104, "version": null}"#,
        ] {
            assert_eq!(read(payload), Ok(UUID), "{payload}");
        }
        assert_eq!(
            read(r#"{"hex": " +0x_2345678_2345678_23456_7_8  "}"#).unwrap().as_u128(),
            0x2345678_2345678_2345678
        );
    }

    #[test]
    fn a_version_beside_it_is_put_in_its_place_as_kombu_5_3_0_has_it() {
        let random = "c9b56ef7b2a04cd29be1e2d9b1b3a9b5";
        let with_version = format!(r#"{{"hex": "{random}", "version": 4}}"#);
        assert_eq!(read(&with_version).unwrap().simple().to_string(), random);
        let changed = read(r#"{"hex": "ffffffffffffffffffffffffffffffff", "version": 1}"#).unwrap();
        assert_eq!(changed.to_string(), "ffffffff-ffff-1fff-bfff-ffffffffffff");
    }

    #[test]
    fn what_python_refuses_is_refused_in_words() {
        for (payload, why) in [
            ("{}", "one of hex"),
            (r#"{"hex": null}"#, "one of hex"),
            (r#"{"hex": "12345678123456781234567812345678", "int": 5}"#, "one of hex"),
            (r#"{"hex": "1234"}"#, "hexadecimal"),
            (r#"{"hex": "12345678__2345678123456781234567"}"#, "hexadecimal"),
            (r#"{"hex": "12345678123456781234567812345678", "version": 0}"#, "version"),
            (r#"{"hex": "12345678123456781234567812345678", "variant": 1}"#, "variant"),
            (r#"{"fields": [305419896, 65536, 22136, 18, 52, 95073701484152]}"#, "16 bits"),
            (r#"{"fields": [1, 2]}"#, "6"),
            (r#"{"bytes": {"__type__": "bytes", "__value__": "short"}}"#, "16"),
            (r#"{"int": -1}"#, "number"),
            (r#"{"int": 340282366920938463463374607431768211456}"#, "number"),
            (r#""12345678123456781234567812345678""#, "by name"),
        ] {
            let told = read(payload).unwrap_err();
            assert!(told.contains(why), "{payload}: {told}");
        }
    }
}
