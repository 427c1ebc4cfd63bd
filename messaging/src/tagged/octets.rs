//! Tagged bytes.

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    prelude::BASE64_STANDARD,
};
use bytes::Bytes;

use super::tag::{Plain, Tagged};
use crate::serialize::BoxError;

impl Tagged for Vec<u8> {
    type Payload = String;
    const TAGS: &'static [&'static str] = &["bytes", "base64"];

    fn to_tagged(&self) -> Result<(&'static str, String), BoxError> {
        Ok(match str::from_utf8(self) {
            Ok(text) => ("bytes", text.to_owned()),
            Err(_) => ("base64", BASE64_STANDARD.encode(self)),
        })
    }

    fn from_tagged(tag: &str, payload: String) -> Result<Self, BoxError> {
        if tag == "base64" { from_base64(&payload) } else { Ok(payload.into_bytes()) }
    }

    fn to_plain(&self) -> Result<Plain<'_>, BoxError> {
        Ok(Plain::Bytes(self))
    }

    fn from_text(text: &str) -> Result<Self, BoxError> {
        Ok(text.into())
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, BoxError> {
        Ok(bytes.to_owned())
    }
}

/// Reads like Python's `b64decode`: other characters are skipped, and the padding ends the text.
fn from_base64(text: &str) -> Result<Vec<u8>, BoxError> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::RequireNone),
    );
    let mut digits = Vec::with_capacity(text.len());
    let mut padding = 0;
    for octet in text.bytes() {
        match octet {
            b'=' if digits.len() % 4 >= 2 => {
                padding += 1;
                if digits.len() % 4 + padding == 4 {
                    return Ok(LENIENT.decode(digits)?);
                }
            }
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => {
                padding = 0;
                digits.push(octet);
            }
            _ => {}
        }
    }
    if digits.len() % 4 == 0 {
        Ok(LENIENT.decode(digits)?)
    } else {
        Err("the base64 lacks its padding".into())
    }
}

impl Tagged for Bytes {
    type Payload = String;
    const TAGS: &'static [&'static str] = Vec::<u8>::TAGS;

    fn to_tagged(&self) -> Result<(&'static str, String), BoxError> {
        Ok(match str::from_utf8(self) {
            Ok(text) => ("bytes", text.to_owned()),
            Err(_) => ("base64", BASE64_STANDARD.encode(self)),
        })
    }

    fn from_tagged(tag: &str, payload: String) -> Result<Self, BoxError> {
        Vec::from_tagged(tag, payload).map(Bytes::from)
    }

    fn to_plain(&self) -> Result<Plain<'_>, BoxError> {
        Ok(Plain::Bytes(self))
    }

    fn from_text(text: &str) -> Result<Self, BoxError> {
        Ok(text.to_owned().into())
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, BoxError> {
        Ok(Bytes::copy_from_slice(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_python_reads_it() {
        for (text, bytes) in [
            ("/wA=", &b"\xff\0"[..]),
            ("/w\r\nA=\n", b"\xff\0"),
            ("/wA=more", b"\xff\0"),
            ("=/w=A==", b"\xff\0"),
            ("QUJD", b"ABC"),
            ("é", b""),
            ("", b""),
        ] {
            assert_eq!(from_base64(text).unwrap(), bytes, "{text:?}");
        }
        for text in ["/wA", "A", "QUJDR", "Q==="] {
            assert!(from_base64(text).is_err(), "{text:?}");
        }
    }
}
