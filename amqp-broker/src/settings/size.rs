//! Sizes: a number of bytes, or with a unit.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, de};

/// A number of bytes, plain or with a unit as RabbitMQ reads them: `k`, `M`, `G`, `T` and `KiB`,
/// `MiB`, `GiB`, `TiB` are powers of 1024, `kB`, `MB`, `GB`, `TB` powers of 1000. Upper and lower
/// case are equal, and a space may precede the unit (<https://www.rabbitmq.com/docs/configure>,
/// "Information Units").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// An invalid size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SizeError {
    #[error("a size is a number of bytes, such as 1048576, or one with a unit, such as 64MiB, 500 kB or 1G")]
    Unreadable,
    #[error("a size is at most 18446744073709551615 bytes")]
    TooLarge,
}

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let text = text.trim();
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, unit) = text.split_at_checked(end).unwrap_or_default();
        if digits.is_empty() {
            return Err(SizeError::Unreadable);
        }
        let factor = factor(unit.trim_start()).ok_or(SizeError::Unreadable)?;
        // The text has only digits, so it can only be too large.
        let count: u64 = digits.parse().map_err(|_| SizeError::TooLarge)?;
        count.checked_mul(factor).map(Size).ok_or(SizeError::TooLarge)
    }
}

/// How many bytes a unit is.
fn factor(unit: &str) -> Option<u64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    })
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

/// Reads a number or a text.
struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of bytes, or a string with a unit such as \"64MiB\"")
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
        Ok(Size(bytes))
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
        u64::try_from(bytes).map(Size).map_err(|_| E::invalid_value(de::Unexpected::Signed(bytes), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
        text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_plain_bytes_or_have_a_unit_in_either_case() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            (" 7 B ", 7),
            ("1k", 1024),
            ("1K", 1024),
            ("1KiB", 1024),
            ("500 kB", 500_000),
            ("500kb", 500_000),
            ("64MiB", 64 << 20),
            ("64m", 64 << 20),
            ("3MB", 3_000_000),
            ("1G", 1 << 30),
            ("2gib", 2 << 30),
            ("2GB", 2_000_000_000),
            ("1T", 1 << 40),
            ("1TB", 1_000_000_000_000),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_or_too_large_is_refused_in_words() {
        for text in ["", " ", "k", "-1", "1.5G", "1,000", "1 G B", "1Gx", "0x10", "1e3", "\u{0661}"] {
            assert_eq!(text.parse::<Size>(), Err(SizeError::Unreadable), "{text}");
        }
        for text in ["18446744073709551616", "16777216T", "99999999999999999999999k"] {
            assert_eq!(text.parse::<Size>(), Err(SizeError::TooLarge), "{text}");
        }
    }

    #[test]
    fn a_file_says_a_size_by_a_number_or_a_text() {
        #[derive(Deserialize)]
        struct File {
            size: Size,
        }
        let read = |text: &str| toml::from_str::<File>(text).map(|file| file.size);
        assert_eq!(read("size = 4096").unwrap(), Size(4096));
        assert_eq!(read("size = \"1G\"").unwrap(), Size(1 << 30));
        for text in ["size = -1", "size = 1.5", "size = \"much\"", "size = true"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
