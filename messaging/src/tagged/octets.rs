//! Bytes and UUIDs.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

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
        if tag == "base64" { Ok(BASE64_STANDARD.decode(payload)?) } else { Ok(payload.into_bytes()) }
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

/// A UUID's payload.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hex {
    pub(crate) hex: String,
}

impl Tagged for Uuid {
    type Payload = Hex;
    const TAGS: &'static [&'static str] = &["uuid"];

    fn to_tagged(&self) -> Result<(&'static str, Hex), BoxError> {
        Ok(("uuid", Hex { hex: self.simple().to_string() }))
    }

    fn from_tagged(_tag: &str, payload: Hex) -> Result<Self, BoxError> {
        Self::from_text(&payload.hex)
    }

    fn to_plain(&self) -> Result<Plain<'_>, BoxError> {
        Ok(Plain::Text(self.to_string()))
    }

    fn from_text(text: &str) -> Result<Self, BoxError> {
        Ok(Uuid::parse_str(text)?)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, BoxError> {
        Ok(Uuid::from_slice(bytes)?)
    }
}
