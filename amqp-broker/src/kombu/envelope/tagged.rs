//! How kombu writes values that JSON lacks: an object with a type and a value.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose},
};
use chrono::{DateTime, NaiveDateTime};

pub(super) const TYPE: &str = "__type__";
pub(super) const VALUE: &str = "__value__";

pub(super) const BYTES: &str = "bytes";
pub(super) const BASE64: &str = "base64";
pub(super) const DATETIME: &str = "datetime";
pub(super) const DATE: &str = "date";
pub(super) const TIME: &str = "time";
pub(super) const DECIMAL: &str = "decimal";
pub(super) const UUID: &str = "uuid";
/// No tag of kombu's: it stands for a number that JSON lacks while an item is read.
pub(super) const FLOAT: &str = "float";

/// Padding may be absent.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Decodes Base64. As in Python, characters that do not belong to it are skipped.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    if let Ok(bytes) = general_purpose::STANDARD.decode(text) {
        return Some(bytes);
    }
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let digits: Vec<u8> = text.bytes().filter(is_digit).collect();
    LENIENT.decode(digits).ok()
}

/// Appends Base64.
pub(super) fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    // Four digits for each three bytes that were begun.
    out.resize(start + bytes.len().div_ceil(3) * 4, b'=');
    if let Ok(written) = general_purpose::STANDARD.encode_slice(bytes, &mut out[start..]) {
        out.truncate(start + written);
    }
}

/// The end of the year 9999, in seconds since 1970.
const END: u64 = 253_402_300_800;

/// The whole seconds since 1970 of a date and time in ISO 8601, which is UTC unless it says
/// otherwise; `None` when it is none, has a fraction of a second, is earlier, or is after the year
/// 9999, where Python's dates end.
pub(super) fn timestamp(text: &str) -> Option<u64> {
    let time = match DateTime::parse_from_rfc3339(text) {
        Ok(time) => time.to_utc(),
        Err(_) => NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S").ok()?.and_utc(),
    };
    if time.timestamp_subsec_nanos() != 0 {
        return None;
    }
    u64::try_from(time.timestamp()).ok().filter(|seconds| *seconds < END)
}

/// As [`timestamp`] reads it; `None` for what that does not read.
pub(super) fn datetime(seconds: u64) -> Option<String> {
    let seconds = i64::try_from(Some(seconds).filter(|seconds| *seconds < END)?).ok()?;
    let time = DateTime::from_timestamp(seconds, 0)?;
    Some(time.format("%Y-%m-%dT%H:%M:%S+00:00").to_string())
}

/// Scale and digits of a decimal number; `None` when AMQP's decimals do not hold it.
pub(super) fn decimal(text: &str) -> Option<(u8, i32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = [whole, fraction].concat();
    let plain = digits.strip_prefix('-').unwrap_or(&digits).bytes().all(|byte| byte.is_ascii_digit());
    let value = digits.parse().ok().filter(|_| plain)?;
    // A negative zero would lose its sign.
    if value == 0 && text.starts_with('-') {
        return None;
    }
    Some((u8::try_from(fraction.len()).ok()?, value))
}

/// As [`decimal`] reads it, and Python too.
pub(super) fn decimal_text(scale: u8, value: i32) -> String {
    let scale = usize::from(scale);
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if value < 0 { "-" } else { "" };
    let point = if scale == 0 { "" } else { "." };
    [sign, whole, point, fraction].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_utc_unless_they_say_otherwise() {
        assert_eq!(timestamp("2026-01-02T03:04:05"), Some(1_767_323_045));
        assert_eq!(timestamp("2026-01-02T03:04:05+00:00"), Some(1_767_323_045));
        assert_eq!(timestamp("2026-01-02T05:04:05+02:00"), Some(1_767_323_045));
        for other in [
            "2026-01-02T03:04:05.5+00:00",
            "1969-12-31T23:59:59",
            "2026-01-02",
            "soon",
            "+10000-01-01T00:00:00",
        ] {
            assert_eq!(timestamp(other), None, "{other}");
        }
        assert_eq!(datetime(1_767_323_045).as_deref(), Some("2026-01-02T03:04:05+00:00"));
        assert_eq!(datetime(253_402_300_799).as_deref(), Some("9999-12-31T23:59:59+00:00"));
        assert_eq!(datetime(253_402_300_800), None);
        assert_eq!(datetime(u64::MAX), None);
    }

    #[test]
    fn decimals_keep_their_digits() {
        for (text, parts) in [
            ("3.14", (2, 314)),
            ("-0.05", (2, -5)),
            ("0.00", (2, 0)),
            ("7", (0, 7)),
            ("-2147483648", (0, i32::MIN)),
        ] {
            assert_eq!(decimal(text), Some(parts), "{text}");
            assert_eq!(decimal_text(parts.0, parts.1), text);
        }
        for text in ["1E+2", "2147483648", "", "-0.0", "NaN", "+1", "1.-2", "--1"] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }

    #[test]
    fn base64_is_read_leniently() {
        for text in ["eyJhIjoxfQ==", "eyJhIjoxfQ", "eyJh\nIjox fQ=="] {
            assert_eq!(base64(text).unwrap(), br#"{"a":1}"#);
        }
        assert_eq!(base64("a"), None);
        let mut out = b"x".to_vec();
        push_base64(&mut out, b"\xff\0");
        push_base64(&mut out, b"");
        assert_eq!(out, b"x/wA=");
    }
}
