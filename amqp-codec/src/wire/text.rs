//! Short and long strings. Both are bytes first: AMQP peers send text that is not UTF-8, and a
//! proxy must pass it on.

use std::{borrow::Borrow, borrow::Cow, fmt, hash, str};

use bytes::Bytes;

use crate::error::Error;

/// A text of at most 255 bytes, checked when it is made: names, routing keys, consumer tags.
///
/// Cloning shares the bytes; a short string read from a frame is a slice of the read buffer.
#[derive(Clone, Default)]
pub struct ShortString(Bytes);

impl ShortString {
    /// The most bytes a short string holds: its length travels in one octet.
    pub const MAX: usize = 255;

    /// The empty string.
    pub const EMPTY: ShortString = ShortString(Bytes::new());

    /// Takes a literal, without allocating.
    ///
    /// # Panics
    /// At compile time when used in a `const`, otherwise when called, if the literal is longer than
    /// 255 bytes.
    pub const fn from_static(text: &'static str) -> Self {
        assert!(text.len() <= Self::MAX, "a short string holds at most 255 bytes");
        ShortString(Bytes::from_static(text.as_bytes()))
    }

    /// Takes bytes that need not be UTF-8, without copying.
    ///
    /// # Errors
    /// [`Error::ShortStringTooLong`] over 255 bytes; `what` names the field in it.
    pub fn from_bytes(what: &'static str, bytes: Bytes) -> Result<Self, Error> {
        check_short(what, bytes.len())?;
        Ok(ShortString(bytes))
    }

    /// Copies text; `what` names the field in the error.
    ///
    /// # Errors
    /// [`Error::ShortStringTooLong`] over 255 bytes.
    pub fn new(what: &'static str, text: &str) -> Result<Self, Error> {
        check_short(what, text.len())?;
        Ok(ShortString(Bytes::copy_from_slice(text.as_bytes())))
    }

    /// Takes bytes from the wire reader, whose length octet cannot exceed 255.
    pub(crate) fn from_wire(bytes: Bytes) -> Self {
        debug_assert!(bytes.len() <= Self::MAX);
        ShortString(bytes)
    }

    /// Copies the string out of the read buffer that it may be a slice of.
    pub fn detach(&self) -> Self {
        ShortString(Bytes::copy_from_slice(&self.0))
    }
}

/// Checks a length against the short string limit.
pub(crate) fn check_short(what: &'static str, length: usize) -> Result<(), Error> {
    if length > ShortString::MAX { Err(Error::ShortStringTooLong { what, length }) } else { Ok(()) }
}

/// Up to 4 GiB of bytes, often but not always text.
///
/// Cloning shares the bytes; a long string read from a frame is a slice of the read buffer.
#[derive(Clone, Default)]
pub struct LongString(Bytes);

impl LongString {
    /// The empty string.
    pub const EMPTY: LongString = LongString(Bytes::new());

    /// Takes a literal, without allocating.
    pub const fn from_static(text: &'static str) -> Self {
        LongString(Bytes::from_static(text.as_bytes()))
    }
}

impl From<Bytes> for LongString {
    fn from(bytes: Bytes) -> Self {
        LongString(bytes)
    }
}

impl From<String> for LongString {
    fn from(text: String) -> Self {
        LongString(Bytes::from(text))
    }
}

impl From<&str> for LongString {
    fn from(text: &str) -> Self {
        LongString(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl TryFrom<&str> for ShortString {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self, Error> {
        ShortString::new("short string", text)
    }
}

impl TryFrom<String> for ShortString {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        ShortString::from_bytes("short string", Bytes::from(text))
    }
}

/// A login response or another secret. It travels as a long string and never appears in `Debug` or
/// `Display`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(LongString);

impl Secret {
    /// The secret bytes.
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }

    pub(crate) fn inner(&self) -> &LongString {
        &self.0
    }
}

impl<T: Into<LongString>> From<T> for Secret {
    fn from(bytes: T) -> Self {
        Secret(bytes.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

macro_rules! byte_string {
    ($name:ident) => {
        impl $name {
            /// The bytes.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }

            /// The text.
            ///
            /// # Errors
            /// When the bytes are not UTF-8.
            pub fn as_str(&self) -> Result<&str, str::Utf8Error> {
                str::from_utf8(&self.0)
            }

            /// The text, with the replacement character for bytes that are not UTF-8.
            pub fn to_text(&self) -> Cow<'_, str> {
                String::from_utf8_lossy(&self.0)
            }

            /// The shared bytes themselves.
            pub fn into_bytes(self) -> Bytes {
                self.0
            }

            /// Length in bytes.
            pub fn len(&self) -> usize {
                self.0.len()
            }

            /// Whether there are no bytes.
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_text())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.as_str() {
                    Ok(text) => fmt::Debug::fmt(text, f),
                    Err(_) => fmt::Debug::fmt(&self.0, f),
                }
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0 == other.0
            }
        }

        impl Eq for $name {}

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.as_bytes() == other.as_bytes()
            }
        }

        // Strings hash by their bytes, as `Borrow<[u8]>` demands: maps keyed by a string are
        // searched with plain bytes.
        impl hash::Hash for $name {
            fn hash<H: hash::Hasher>(&self, state: &mut H) {
                self.as_bytes().hash(state);
            }
        }

        impl Borrow<[u8]> for $name {
            fn borrow(&self) -> &[u8] {
                self.as_bytes()
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                self.as_bytes()
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.as_bytes().cmp(other.as_bytes())
            }
        }
    };
}

byte_string!(ShortString);
byte_string!(LongString);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_string_over_255_bytes_is_refused_with_field_and_length() {
        let error = ShortString::new("routing_key", &"k".repeat(256)).unwrap_err();
        assert_eq!(error, Error::ShortStringTooLong { what: "routing_key", length: 256 });
        assert!(ShortString::new("routing_key", &"k".repeat(255)).is_ok());
    }

    #[test]
    fn bytes_that_are_not_text_are_kept_and_shown() {
        let odd = ShortString::from_bytes("key", Bytes::from_static(b"a\xffb")).unwrap();
        assert!(odd.as_str().is_err());
        assert_eq!(odd.as_bytes(), b"a\xffb");
        assert_eq!(odd.to_string(), "a\u{fffd}b");
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::from("\0guest\0hunter2");
        assert_eq!(format!("{secret:?}"), "[redacted]");
        assert_eq!(secret.expose(), b"\0guest\0hunter2");
    }
}
